//! REST APIs: the same as HTTP APIs, in SAM's other words.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Api, ApiKind, Authorizer, AuthorizerEvent, Cors, LambdaAuthorizer, Resource, Template,
    authorizers::{IAM_AUTHORIZER, function_of, identity_sources, known_authorizer, result_ttl},
    error::Invalid,
    events::apis,
    resolved::Resolved,
};

/// The stage of the API that SAM adds.
const IMPLICIT_STAGE: &str = "Prod";

/// Properties that shape answers and are not read.
const UNREAD: [&str; 11] = [
    "AccessLogSetting",
    "ApiKeySourceType",
    "CacheClusterEnabled",
    "CanarySetting",
    "DefinitionBody",
    "DefinitionUri",
    "Domain",
    "GatewayResponses",
    "MethodSettings",
    "MinimumCompressionSize",
    "Models",
];

/// Members of `Auth` that decide who gets through, and that are not read.
const UNREAD_AUTH: [&str; 4] = ["ApiKeyRequired", "InvokeRole", "ResourcePolicy", "UsagePlan"];

pub(crate) fn read(template: &Template) -> Result<Vec<Api>, Invalid> {
    apis(template, ApiKind::Rest, api)
}

fn api(resource: &Resource<'_>) -> Result<Api, Invalid> {
    let at = resource.at();
    let auth = resource.property("Auth")?;
    let of_auth = |key: &str| auth.as_ref().and_then(|auth| auth.get(key));
    let mut authorizers = BTreeMap::from([(IAM_AUTHORIZER.to_owned(), Authorizer::Iam)]);
    for (name, authorizer) in of_auth("Authorizers").map(|all| all.entries()).transpose()?.unwrap_or_default() {
        authorizers.insert(name, read_authorizer(resource.template, &authorizer)?);
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
    unread.extend(UNREAD_AUTH.iter().filter_map(|name| of_auth(name)).map(|unread| unread.at));
    let mut stage_variables = BTreeMap::new();
    if let Some(variables) = resource.property("Variables")? {
        for (name, value) in variables.entries()? {
            stage_variables.insert(name, value.text()?);
        }
    }
    let stage = match resource.property("StageName")? {
        Some(stage) => stage.text()?,
        None => IMPLICIT_STAGE.to_owned(),
    };
    let binary_media_types = resource.property("BinaryMediaTypes")?.map(|types| types.texts()).transpose()?;
    Ok(Api {
        kind: ApiKind::Rest,
        logical_id: resource.logical_id.to_owned(),
        id: resource.template.physical_name(resource.logical_id, &at)?.unwrap_or_default(),
        routes: Vec::new(),
        authorizers,
        default_authorizer,
        cors: resource.property("Cors")?.map(|cors| read_cors(&cors)).transpose()?,
        authorizes_preflights: of_auth("AddDefaultAuthorizerToCorsPreflight")
            .map_or(Ok(true), |authorizes| authorizes.boolean())?,
        // `~1` is how SAM writes a slash here.
        binary_media_types: binary_media_types.unwrap_or_default().iter().map(|of| of.replace("~1", "/")).collect(),
        stage,
        stage_variables,
        unread,
    })
}

fn read_authorizer(template: &Template, authorizer: &Resolved) -> Result<Authorizer, Invalid> {
    let Some(arn) = authorizer.get("FunctionArn") else {
        authorizer.require("UserPoolArn").map_err(|_| {
            Invalid::expected(&authorizer.at, "FunctionArn, of a Lambda authorizer, or UserPoolArn, of a Cognito one")
        })?;
        // Cognito's tokens are verified by API Gateway itself.
        return Ok(Authorizer::Jwt);
    };
    let identity = authorizer.get("Identity");
    let of_identity = |key: &str| identity.as_ref().and_then(|identity| identity.get(key));
    let payload_type = authorizer.get("FunctionPayloadType").map_or(Ok("TOKEN".to_owned()), |kind| kind.text())?;
    let (event, identity_sources) = match payload_type.as_str() {
        "REQUEST" => (AuthorizerEvent::RestRequest, identity_sources(authorizer)?),
        "TOKEN" => {
            let header = of_identity("Header").map_or(Ok("Authorization".to_owned()), |header| header.text())?;
            let validation = of_identity("ValidationExpression").map(|expression| expression.text()).transpose()?;
            (AuthorizerEvent::RestToken { validation }, vec![format!("$request.header.{header}")])
        }
        _ => return Err(Invalid::expected(format!("{}.FunctionPayloadType", authorizer.at), "TOKEN or REQUEST")),
    };
    Ok(Authorizer::Lambda(LambdaAuthorizer {
        function: function_of(template, &arn)?,
        event,
        enable_simple_responses: false,
        identity_sources,
        result_ttl: result_ttl(authorizer)?.min(Duration::from_hours(1)),
    }))
}

/// `Cors` is an origin or an object, and each text in it stands in single quotes.
fn read_cors(cors: &Resolved) -> Result<Cors, Invalid> {
    let unquoted = |text: Resolved| text.text().map(|text| text.trim_matches('\'').to_owned());
    if cors.value.is_string() {
        return Ok(Cors { allow_origins: vec![unquoted(cors.clone())?], ..Cors::default() });
    }
    cors.entries()?;
    let list = |key: &str| -> Result<Vec<String>, Invalid> {
        let text = cors.get(key).map(unquoted).transpose()?.unwrap_or_default();
        Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    };
    let at = |key: &str| format!("{}.{key}", cors.at);
    Ok(Cors {
        allow_credentials: cors.get("AllowCredentials").map_or(Ok(false), |allow| allow.boolean())?,
        allow_headers: list("AllowHeaders")?,
        allow_methods: list("AllowMethods")?,
        allow_origins: list("AllowOrigin")?,
        expose_headers: Vec::new(),
        max_age: match cors.get("MaxAge").map(unquoted).transpose()? {
            None => None,
            Some(age) => Some(age.parse().map_err(|_| Invalid::expected(at("MaxAge"), "seconds in single quotes"))?),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{Api, ApiKind, Authorizer, AuthorizerEvent, Cors, LambdaAuthorizer, Parameters, Template};

    const SOURCE: &str = r#"
Resources:
  Shop:
    Type: AWS::Serverless::Api
    Properties:
      StageName: prod
      Variables: { colour: blue }
      BinaryMediaTypes: [image~1png, "*/*"]
      Cors: { AllowOrigin: "'https://a.example.com'", AllowHeaders: "'authorization, x-a'", MaxAge: "'60'" }
      GatewayResponses: {}
      Auth:
        DefaultAuthorizer: Token
        AddDefaultAuthorizerToCorsPreflight: false
        ApiKeyRequired: true
        Authorizers:
          Token:
            FunctionArn: !GetAtt Guard.Arn
            Identity: { Header: X-Token, ValidationExpression: "Bearer .+", ReauthorizeEvery: 0 }
          Request:
            FunctionArn: !GetAtt Guard.Arn
            FunctionPayloadType: REQUEST
            Identity: { Headers: [X-Token], QueryStrings: [q], Context: [httpMethod] }
          Pool: { UserPoolArn: arn }
  Guard: { Type: AWS::Serverless::Function, Properties: { CodeUri: guard } }
  Items:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: items
      Events:
        Get: { Type: Api, Properties: { RestApiId: !Ref Shop, Method: get, Path: "/items/{id}" } }
        Open: { Type: Api, Properties: { RestApiId: !Ref Shop, Method: ANY, Path: /open, Auth: { Authorizer: NONE } } }
        Iam: { Type: Api, Properties: { RestApiId: !Ref Shop, Method: GET, Path: /iam, Auth: { Authorizer: AWS_IAM } } }
        Implicit: { Type: Api, Properties: { Method: GET, Path: /implicit } }
"#;

    fn apis() -> Vec<Api> {
        Template::parse("t.yaml".as_ref(), SOURCE, Parameters::new("stack")).unwrap().rest_apis().unwrap()
    }

    #[test]
    fn routes_belong_to_the_api_they_name_or_to_the_one_sam_adds() {
        let apis = apis();
        let names: Vec<_> = apis.iter().map(|api| (api.kind, api.logical_id.as_str(), api.stage.as_str())).collect();
        assert_eq!(names, [(ApiKind::Rest, "ServerlessRestApi", "Prod"), (ApiKind::Rest, "Shop", "prod")]);
        let routes = |api: &Api| -> Vec<String> {
            let line = |route: &crate::Route| {
                let authorizer = route.authorizer.as_deref().unwrap_or("-");
                format!("{} {} {authorizer} {}", route.method, route.path, route.payload_format_version)
            };
            api.routes.iter().map(line).collect()
        };
        assert_eq!(routes(&apis[0]), ["GET /implicit - 1.0"]);
        assert_eq!(routes(&apis[1]), ["GET /items/{id} Token 1.0", "GET /iam AWS_IAM 1.0", "ANY /open - 1.0"]);
    }

    #[test]
    fn an_api_has_what_shapes_its_answers() {
        let api = apis().swap_remove(1);
        assert_eq!(api.binary_media_types, ["image/png", "*/*"]);
        assert_eq!(api.stage_variables["colour"], "blue");
        assert!(!api.authorizes_preflights);
        assert_eq!(
            api.cors,
            Some(Cors {
                allow_origins: vec!["https://a.example.com".to_owned()],
                allow_headers: vec!["authorization".to_owned(), "x-a".to_owned()],
                max_age: Some(60),
                ..Cors::default()
            })
        );
        assert_eq!(
            api.unread,
            ["Resources.Shop.Properties.GatewayResponses", "Resources.Shop.Properties.Auth.ApiKeyRequired"]
        );
    }

    #[test]
    fn authorizers_are_of_both_kinds() {
        let api = apis().swap_remove(1);
        let lambda = |event, sources: &[&str], seconds| {
            Authorizer::Lambda(LambdaAuthorizer {
                function: "Guard".to_owned(),
                event,
                enable_simple_responses: false,
                identity_sources: sources.iter().map(|source| (*source).to_owned()).collect(),
                result_ttl: Duration::from_secs(seconds),
            })
        };
        let token = AuthorizerEvent::RestToken { validation: Some("Bearer .+".to_owned()) };
        assert_eq!(api.authorizers["Token"], lambda(token, &["$request.header.X-Token"], 0));
        let sources = ["$request.header.X-Token", "$request.querystring.q", "$context.httpMethod"];
        assert_eq!(api.authorizers["Request"], lambda(AuthorizerEvent::RestRequest, &sources, 300));
        assert_eq!(api.authorizers["Pool"], Authorizer::Jwt);
    }
}
