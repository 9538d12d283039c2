//! HTTP APIs: routes from the events of functions, authorizers, CORS.
//!
//! A function's event names its API; one that names none belongs to the API SAM then adds, [`IMPLICIT_API`].

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use crate::{
    Resource, Template,
    error::{Invalid, Problem},
    events::events,
    functions,
    resolved::Resolved,
    rest_api,
};

/// Which of API Gateway's products an API is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiKind {
    /// `AWS::Serverless::HttpApi`.
    Http,
    /// `AWS::Serverless::Api`.
    Rest,
}

/// An HTTP or REST API of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Which of the two.
    pub kind: ApiKind,
    /// Its key under `Resources`.
    pub logical_id: String,
    /// What `Ref` of it gives: the API's id.
    pub id: String,
    /// Its routes, in no particular order.
    pub routes: Vec<Route>,
    /// Its authorizers by name.
    pub authorizers: BTreeMap<String, Authorizer>,
    /// The name of the authorizer of routes that name none. It is already in [`Route::authorizer`].
    pub default_authorizer: Option<String>,
    /// Its CORS configuration, if it has one.
    pub cors: Option<Cors>,
    /// Whether the default authorizer also applies to preflights, which SAM does for a REST API.
    pub authorizes_preflights: bool,
    /// Media types whose bodies a REST API passes as base64.
    pub binary_media_types: Vec<String>,
    /// The name of its stage, `$default` for an HTTP API unless the template says otherwise.
    pub stage: String,
    /// The stage's variables.
    pub stage_variables: BTreeMap<String, String>,
    /// Places in the template that change AWS's responses and that are not read.
    pub unread: Vec<String>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method in upper case, or `ANY`. `ANY` for the route `$default`.
    pub method: String,
    /// The path, such as `/items/{id}`, or `$default`.
    pub path: String,
    /// The logical id of the function it invokes.
    pub function: String,
    /// The name of its authorizer; `None` is a public route. The name is a key of [`Api::authorizers`].
    pub authorizer: Option<String>,
    /// The version of the event the function gets: `2.0` or `1.0`.
    pub payload_format_version: String,
    /// The integration's time limit, if the template sets one.
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorizer {
    /// A Lambda function decides.
    Lambda(LambdaAuthorizer),
    /// A JWT authorizer of API Gateway's own.
    Jwt,
    /// IAM decides.
    Iam,
}

/// An authorizer that is a Lambda function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaAuthorizer {
    /// The logical id of the function.
    pub function: String,
    /// Its event.
    pub event: AuthorizerEvent,
    /// Whether it answers `isAuthorized` and not an IAM policy.
    pub enable_simple_responses: bool,
    /// What a request must have, such as `$request.header.Authorization`, in the order SAM writes it. Those of a REST
    /// API are written the same way here.
    pub identity_sources: Vec<String>,
    /// How long a decision is cached; zero is not at all.
    pub result_ttl: Duration,
}

/// The event of an authorizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorizerEvent {
    /// Payload format 2.0 of an HTTP API.
    HttpV2,
    /// Payload format 1.0 of an HTTP API.
    HttpV1,
    /// The request, by a REST API.
    RestRequest,
    /// The value of its one identity source, by a REST API.
    RestToken {
        /// A regular expression that the whole token must match, or the authorizer is not called.
        validation: Option<String>,
    },
}

/// The CORS configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are CloudFormation's")]
pub struct Cors {
    pub allow_credentials: bool,
    pub allow_headers: Vec<String>,
    pub allow_methods: Vec<String>,
    pub allow_origins: Vec<String>,
    pub expose_headers: Vec<String>,
    pub max_age: Option<u64>,
}

/// The logical id of the API that SAM adds for events which name none.
pub(crate) const IMPLICIT_API: &str = "ServerlessHttpApi";

const TYPE: &str = "AWS::Serverless::HttpApi";

/// SAM's name for a route's authorizer when IAM decides.
pub(crate) const IAM_AUTHORIZER: &str = "AWS_IAM";

/// SAM's own default for `ReauthorizeEvery`.
const DEFAULT_RESULT_TTL_SECONDS: u64 = 300;

/// Properties that shape answers and are not read.
const UNREAD: [&str; 5] = ["DefaultRouteSettings", "DefinitionBody", "DefinitionUri", "Domain", "RouteSettings"];

pub(crate) fn read(template: &Template) -> Result<Vec<Api>, Invalid> {
    let events = events(template, ApiKind::Http)?;
    let mut apis = template.resources(&[TYPE])?.iter().map(api).collect::<Result<Vec<_>, _>>()?;
    let implicit = json!({ "Type": TYPE });
    if events.iter().any(|event| event.api.is_none()) && template.resource(IMPLICIT_API).is_none() {
        // It has no properties of its own, but `Globals` holds for it.
        apis.push(api(&Resource { template, logical_id: IMPLICIT_API, body: &implicit })?);
    }
    for event in events {
        let id = event.api_id(template)?;
        // An event of an API that SAM does not make is among `others`.
        if let Some(api) = apis.iter_mut().find(|api| api.id == id) {
            event.add_to(api)?;
        }
    }
    apis.sort_by(|one, other| one.logical_id.cmp(&other.logical_id));
    Ok(apis)
}

pub(crate) fn others(template: &Template) -> Result<Vec<String>, Invalid> {
    let kinds = ["AWS::ApiGatewayV2::Api", "AWS::ApiGateway::RestApi"];
    let mut others: Vec<String> = template.resources(&kinds)?.iter().map(Resource::at).collect();
    for (kind, apis) in [(ApiKind::Http, read(template)?), (ApiKind::Rest, rest_api::read(template)?)] {
        for event in events(template, kind)? {
            let id = event.api_id(template)?;
            if !apis.iter().any(|api| api.id == id) {
                others.push(event.at);
            }
        }
    }
    Ok(others)
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

/// The identity sources of an authorizer that are lists of names.
pub(crate) fn identity_sources(authorizer: &Resolved) -> Result<Vec<String>, Invalid> {
    let identity = authorizer.get("Identity");
    let mut sources = Vec::new();
    for (key, prefix) in [
        ("Headers", "$request.header."),
        ("QueryStrings", "$request.querystring."),
        ("Context", "$context."),
        ("StageVariables", "$stageVariables."),
    ] {
        let names = identity.as_ref().and_then(|identity| identity.get(key));
        let names = names.map_or_else(|| Ok(Vec::new()), |names| names.texts())?;
        sources.extend(names.iter().map(|name| format!("{prefix}{name}")));
    }
    Ok(sources)
}

/// How long the decisions of an authorizer are cached.
pub(crate) fn result_ttl(authorizer: &Resolved) -> Result<Duration, Invalid> {
    let seconds = authorizer.get("Identity").and_then(|identity| identity.get("ReauthorizeEvery"));
    let seconds = seconds.map_or(Ok(DEFAULT_RESULT_TTL_SECONDS), |seconds| seconds.unsigned())?;
    Ok(Duration::from_secs(seconds))
}

/// The function whose ARN this is.
pub(crate) fn function_of(template: &Template, arn: &Resolved) -> Result<String, Invalid> {
    let text = arn.text()?;
    for function in template.resources(&[functions::TYPE])? {
        if template.attribute(function.logical_id, "Arn", &arn.at)? == text {
            return Ok(function.logical_id.to_owned());
        }
    }
    Err(Invalid::expected(&arn.at, "the ARN of a function of this template, such as !GetAtt MyFunction.Arn"))
}

pub(crate) fn known_authorizer(name: &Resolved, authorizers: &BTreeMap<String, Authorizer>) -> Result<String, Invalid> {
    let text = name.text()?;
    if authorizers.contains_key(&text) {
        Ok(text)
    } else {
        Err(Invalid::new(&name.at, Problem::UnknownAuthorizer(text)))
    }
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
