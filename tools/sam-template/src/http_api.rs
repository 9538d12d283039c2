//! HTTP APIs: their properties, authorizers and CORS.

use std::collections::BTreeMap;

use crate::{
    Api, ApiKind, Authorizer, AuthorizerEvent, Cors, LambdaAuthorizer, Resource, Template,
    authorizers::{IAM_AUTHORIZER, function_of, identity_sources, known_authorizer, result_ttl},
    error::Invalid,
    events::apis,
    resolved::Resolved,
};

/// Properties that shape answers and are not read.
const UNREAD: [&str; 5] = ["DefaultRouteSettings", "DefinitionBody", "DefinitionUri", "Domain", "RouteSettings"];

pub(crate) fn read(template: &Template) -> Result<Vec<Api>, Invalid> {
    apis(template, ApiKind::Http, api)
}

fn api(resource: &Resource<'_>) -> Result<Api, Invalid> {
    let at = resource.at();
    let auth = resource.property("Auth")?;
    let of_auth = |key: &str| auth.as_ref().and_then(|auth| auth.get(key));
    let mut authorizers = BTreeMap::new();
    for (name, authorizer) in of_auth("Authorizers").map(|all| all.entries()).transpose()?.unwrap_or_default() {
        authorizers.insert(name, read_authorizer(resource.template, &authorizer)?);
    }
    if of_auth("EnableIamAuthorizer").map(|enable| enable.boolean()).transpose()?.unwrap_or_default() {
        authorizers.insert(IAM_AUTHORIZER.to_owned(), Authorizer::Iam);
    }
    let default_authorizer = match of_auth("DefaultAuthorizer") {
        Some(name) => Some(known_authorizer(&name, &authorizers)?),
        None => None,
    };
    let mut unread = Vec::new();
    for name in UNREAD {
        if resource.property(name)?.is_some() {
            unread.push(format!("{at}.Properties.{name}"));
        }
    }
    let mut stage_variables = BTreeMap::new();
    if let Some(variables) = resource.property("StageVariables")? {
        for (name, value) in variables.entries()? {
            stage_variables.insert(name, value.text()?);
        }
    }
    Ok(Api {
        kind: ApiKind::Http,
        logical_id: resource.logical_id.to_owned(),
        id: resource.template.physical_name(resource.logical_id, &at)?.unwrap_or_default(),
        routes: Vec::new(),
        authorizers,
        default_authorizer,
        cors: resource.property("CorsConfiguration")?.map_or(Ok(None), |cors| read_cors(&cors))?,
        authorizes_preflights: false,
        binary_media_types: Vec::new(),
        stage: resource.property("StageName")?.map_or_else(|| Ok("$default".to_owned()), |stage| stage.text())?,
        stage_variables,
        unread,
    })
}

fn read_authorizer(template: &Template, authorizer: &Resolved) -> Result<Authorizer, Invalid> {
    let Some(arn) = authorizer.get("FunctionArn") else {
        authorizer.require("JwtConfiguration").map_err(|_| {
            Invalid::expected(&authorizer.at, "FunctionArn, of a Lambda authorizer, or JwtConfiguration, of a JWT one")
        })?;
        return Ok(Authorizer::Jwt);
    };
    let simple = authorizer.get("EnableSimpleResponses").map_or(Ok(false), |enable| enable.boolean())?;
    Ok(Authorizer::Lambda(LambdaAuthorizer {
        function: function_of(template, &arn)?,
        event: match authorizer.require("AuthorizerPayloadFormatVersion")?.text()?.as_str() {
            "2.0" | "2" => AuthorizerEvent::HttpV2,
            "1.0" | "1" => AuthorizerEvent::HttpV1,
            _ => {
                let at = format!("{}.AuthorizerPayloadFormatVersion", authorizer.at);
                return Err(Invalid::expected(at, "2.0 or 1.0"));
            }
        },
        enable_simple_responses: simple,
        identity_sources: identity_sources(authorizer)?,
        result_ttl: result_ttl(authorizer)?,
    }))
}

fn read_cors(cors: &Resolved) -> Result<Option<Cors>, Invalid> {
    if let Ok(enabled) = cors.boolean() {
        // SAM's `CorsConfiguration: true`.
        return Ok(enabled.then(|| Cors { allow_origins: vec!["*".to_owned()], ..Cors::default() }));
    }
    cors.entries()?;
    let texts = |key: &str| cors.get(key).map_or_else(|| Ok(Vec::new()), |list| list.texts());
    Ok(Some(Cors {
        allow_credentials: cors.get("AllowCredentials").map_or(Ok(false), |allow| allow.boolean())?,
        allow_headers: texts("AllowHeaders")?,
        allow_methods: texts("AllowMethods")?,
        allow_origins: texts("AllowOrigins")?,
        expose_headers: texts("ExposeHeaders")?,
        max_age: cors.get("MaxAge").map(|age| age.unsigned()).transpose()?,
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Api, Authorizer, AuthorizerEvent, Cors, LambdaAuthorizer, Parameters, Template};

    const SOURCE: &str = r"
Globals:
  HttpApi:
    CorsConfiguration: true
    StageVariables: { colour: blue }
Conditions:
  Never: !Equals [a, b]
Resources:
  Rest: { Type: AWS::Serverless::Api, Properties: { StageName: prod } }
  Raw: { Type: AWS::ApiGatewayV2::Api }
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      StageName: prod
      DefaultRouteSettings: { ThrottlingBurstLimit: 1 }
      CorsConfiguration:
        AllowOrigins: [https://a.example.com]
        AllowMethods: [GET]
        AllowCredentials: true
        ExposeHeaders: [x-a]
        MaxAge: '5'
      Auth:
        DefaultAuthorizer: Tokens
        EnableIamAuthorizer: true
        Authorizers:
          Tokens:
            FunctionArn: !Sub arn:aws:lambda:${AWS::Region}:${AWS::AccountId}:function:${Guard}
            AuthorizerPayloadFormatVersion: 2.0
            EnableSimpleResponses: true
            Identity:
              StageVariables: [colour]
              QueryStrings: [q]
              Context: [routeKey]
              Headers: [X-Token, X-Tenant]
              ReauthorizeEvery: 60
          Policy: { FunctionArn: !GetAtt Guard.Arn, AuthorizerPayloadFormatVersion: '1.0' }
          Jwt: { JwtConfiguration: { issuer: https://issuer.example.com, audience: [a] } }
  Guard: { Type: AWS::Serverless::Function, Properties: { CodeUri: guard } }
  Absent:
    Type: AWS::Serverless::Function
    Condition: Never
    Properties: { Events: { A: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: GET, Path: /absent } } } }
  Items:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: items
      Events:
        Get: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: get, Path: '/items/{id}', TimeoutInMillis: 5000 } }
        Open: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: POST, Path: /open, Auth: { Authorizer: NONE } } }
        Old:
          Type: HttpApi
          Properties:
            { ApiId: !Ref Api, Method: ANY, Path: '/{proxy+}', PayloadFormatVersion: '1.0', Auth: { Authorizer: Jwt } }
        Iam: { Type: HttpApi, Properties: { ApiId: !Ref Api, Method: PUT, Path: /iam, Auth: { Authorizer: AWS_IAM } } }
        Rest: { Type: Api, Properties: { Method: GET, Path: /rest } }
        Raw: { Type: HttpApi, Properties: { ApiId: !Ref Raw, Method: GET, Path: /raw } }
        Queue: { Type: SQS, Properties: { Queue: x } }
  Fallback: { Type: AWS::Serverless::Function, Properties: { CodeUri: x, Events: { Any: { Type: HttpApi } } } }
";

    fn parse(source: &str) -> Template {
        Template::parse("t.yaml".as_ref(), source, Parameters::new("stack")).unwrap()
    }

    fn apis() -> Vec<Api> {
        parse(SOURCE).http_apis().unwrap()
    }

    #[test]
    fn routes_belong_to_the_api_they_name_and_take_its_default_authorizer() {
        let apis = apis();
        let routes: Vec<_> = apis[0]
            .routes
            .iter()
            .map(|route| {
                let key = format!("{} {}", route.method, route.path);
                (key, route.authorizer.as_deref(), route.payload_format_version.as_str(), route.timeout)
            })
            .collect();
        assert_eq!(
            routes,
            [
                ("GET /items/{id}".to_owned(), Some("Tokens"), "2.0", Some(Duration::from_secs(5))),
                ("PUT /iam".to_owned(), Some("AWS_IAM"), "2.0", None),
                ("ANY /{proxy+}".to_owned(), Some("Jwt"), "1.0", None),
                ("POST /open".to_owned(), None, "2.0", None),
            ]
        );
        assert!(apis[0].routes.iter().all(|route| route.function == "Items"));
    }

    #[test]
    fn an_event_without_an_api_belongs_to_the_one_sam_adds() {
        let apis = apis();
        let implicit = &apis[1];
        assert_eq!(implicit.logical_id, "ServerlessHttpApi");
        assert_eq!(implicit.cors, Some(Cors { allow_origins: vec!["*".to_owned()], ..Cors::default() }));
        assert_eq!(implicit.routes.len(), 1);
        assert_eq!((implicit.routes[0].method.as_str(), implicit.routes[0].path.as_str()), ("ANY", "$default"));
        assert_eq!(implicit.routes[0].authorizer, None);
    }

    #[test]
    fn authorizers_know_their_function_and_identity_sources_in_order() {
        let authorizers = apis().swap_remove(0).authorizers;
        let expected = LambdaAuthorizer {
            function: "Guard".to_owned(),
            event: AuthorizerEvent::HttpV2,
            enable_simple_responses: true,
            identity_sources: [
                "$request.header.X-Token",
                "$request.header.X-Tenant",
                "$request.querystring.q",
                "$context.routeKey",
                "$stageVariables.colour",
            ]
            .map(str::to_owned)
            .to_vec(),
            result_ttl: Duration::from_mins(1),
        };
        assert_eq!(authorizers["Tokens"], Authorizer::Lambda(expected));
        let expected = LambdaAuthorizer {
            function: "Guard".to_owned(),
            event: AuthorizerEvent::HttpV1,
            enable_simple_responses: false,
            identity_sources: Vec::new(),
            result_ttl: Duration::from_mins(5),
        };
        assert_eq!(authorizers["Policy"], Authorizer::Lambda(expected));
        assert_eq!(authorizers["Jwt"], Authorizer::Jwt);
        assert_eq!(authorizers["AWS_IAM"], Authorizer::Iam);
    }

    #[test]
    fn an_api_has_its_stage_cors_and_what_is_not_read() {
        let api = apis().swap_remove(0);
        assert_eq!((api.stage.as_str(), api.id.as_str()), ("prod", "stack-Api"));
        assert_eq!(api.stage_variables["colour"], "blue");
        assert_eq!(
            api.cors,
            Some(Cors {
                allow_credentials: true,
                allow_headers: Vec::new(),
                allow_methods: vec!["GET".to_owned()],
                allow_origins: vec!["https://a.example.com".to_owned()],
                expose_headers: vec!["x-a".to_owned()],
                max_age: Some(5),
            })
        );
        assert_eq!(api.unread, ["Resources.Api.Properties.DefaultRouteSettings"]);
        assert_eq!(parse(SOURCE).other_apis().unwrap(), ["Resources.Raw", "Resources.Items.Properties.Events.Raw"]);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let message = |from: &str, to: &str| {
            assert!(SOURCE.contains(from), "{from}");
            parse(&SOURCE.replace(from, to)).http_apis().unwrap_err().to_string()
        };
        assert_eq!(
            message("Authorizer: Jwt", "Authorizer: Jtw"),
            "t.yaml, Resources.Items.Properties.Events.Old.Properties.Auth.Authorizer: the API has no authorizer Jtw; \
             add it under Auth.Authorizers or correct the name"
        );
        assert_eq!(
            message("DefaultAuthorizer: Tokens", "DefaultAuthorizer: Token"),
            "t.yaml, Resources.Api.Properties.Auth.DefaultAuthorizer: the API has no authorizer Token; add it under \
             Auth.Authorizers or correct the name"
        );
        assert_eq!(
            message("function:${Guard}", "function:other"),
            "t.yaml, Resources.Api.Properties.Auth.Authorizers.Tokens.FunctionArn: expected the ARN of a function of \
             this template, such as !GetAtt MyFunction.Arn"
        );
        assert_eq!(
            message("Method: POST, ", ""),
            "t.yaml, Resources.Items.Properties.Events.Open.Properties: Method is missing"
        );
        assert_eq!(
            message("Path: /open", "Path: open"),
            "t.yaml, Resources.Items.Properties.Events.Open.Properties.Path: expected a path that starts with /"
        );
        assert_eq!(
            message("JwtConfiguration", "Jwt"),
            "t.yaml, Resources.Api.Properties.Auth.Authorizers.Jwt: expected FunctionArn, of a Lambda authorizer, or \
             JwtConfiguration, of a JWT one"
        );
    }
}
