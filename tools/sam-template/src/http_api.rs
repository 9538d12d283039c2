//! HTTP APIs: routes from the events of functions, authorizers, CORS.
//!
//! A function's event names its API; one that names none belongs to the API SAM then adds, [`IMPLICIT_API`].

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::{
    Resource, Template,
    error::{Invalid, Problem},
    functions,
    resolved::Resolved,
};

/// An HTTP API of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpApi {
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
    /// The name of its stage, `$default` unless the template says otherwise.
    pub stage: String,
    /// The stage's variables.
    pub stage_variables: BTreeMap<String, String>,
    /// Places in the template that shape how AWS answers a request, and that nothing above speaks of.
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
    /// The name of its authorizer; `None` is a public route. The name is a key of [`HttpApi::authorizers`].
    pub authorizer: Option<String>,
    /// The version of the event the function gets: `2.0` or `1.0`.
    pub payload_format_version: String,
    /// The integration's time limit, if the template sets one.
    pub timeout: Option<Duration>,
}

/// An authorizer.
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
    /// The version of the event it gets: `2.0` or `1.0`.
    pub payload_format_version: String,
    /// Whether it answers `isAuthorized` and not an IAM policy.
    pub enable_simple_responses: bool,
    /// What a request must have, such as `$request.header.Authorization`, in the order SAM writes it.
    pub identity_sources: Vec<String>,
    /// How long a verdict is kept; zero is not at all.
    pub result_ttl: Duration,
}

/// What the API answers about other origins.
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
const IAM_AUTHORIZER: &str = "AWS_IAM";

/// SAM's own default for `ReauthorizeEvery`.
const DEFAULT_RESULT_TTL_SECONDS: u64 = 300;

/// Properties that shape answers and are not read.
const UNREAD: [&str; 5] = ["DefaultRouteSettings", "DefinitionBody", "DefinitionUri", "Domain", "RouteSettings"];

pub(crate) fn read(template: &Template) -> Result<Vec<HttpApi>, Invalid> {
    let events = events(template, "HttpApi")?;
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
    let kinds = ["AWS::ApiGatewayV2::Api", "AWS::ApiGateway::RestApi", "AWS::Serverless::Api"];
    let mut others: Vec<String> = template.resources(&kinds)?.iter().map(Resource::at).collect();
    others.extend(events(template, "Api")?.into_iter().map(|event| event.at));
    let apis = read(template)?;
    for event in events(template, "HttpApi")? {
        let id = event.api_id(template)?;
        if !apis.iter().any(|api| api.id == id) {
            others.push(event.at);
        }
    }
    Ok(others)
}

fn api(resource: &Resource<'_>) -> Result<HttpApi, Invalid> {
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
    Ok(HttpApi {
        logical_id: resource.logical_id.to_owned(),
        id: resource.template.physical_name(resource.logical_id, &at)?.unwrap_or_default(),
        routes: Vec::new(),
        authorizers,
        default_authorizer,
        cors: resource.property("CorsConfiguration")?.map_or(Ok(None), |cors| read_cors(&cors))?,
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
    let identity = authorizer.get("Identity");
    let of_identity = |key: &str| identity.as_ref().and_then(|identity| identity.get(key));
    let mut identity_sources = Vec::new();
    for (key, prefix) in [
        ("Headers", "$request.header."),
        ("QueryStrings", "$request.querystring."),
        ("Context", "$context."),
        ("StageVariables", "$stageVariables."),
    ] {
        let names = of_identity(key).map_or_else(|| Ok(Vec::new()), |names| names.texts())?;
        identity_sources.extend(names.iter().map(|name| format!("{prefix}{name}")));
    }
    let ttl = of_identity("ReauthorizeEvery").map_or(Ok(DEFAULT_RESULT_TTL_SECONDS), |seconds| seconds.unsigned())?;
    let simple = authorizer.get("EnableSimpleResponses").map_or(Ok(false), |enable| enable.boolean())?;
    Ok(Authorizer::Lambda(LambdaAuthorizer {
        function: function_of(template, &arn)?,
        payload_format_version: authorizer.require("AuthorizerPayloadFormatVersion")?.text()?,
        enable_simple_responses: simple,
        identity_sources,
        result_ttl: Duration::from_secs(ttl),
    }))
}

/// The function whose ARN this is.
fn function_of(template: &Template, arn: &Resolved) -> Result<String, Invalid> {
    let text = arn.text()?;
    for function in template.resources(&[functions::TYPE])? {
        if template.attribute(function.logical_id, "Arn", &arn.at)? == text {
            return Ok(function.logical_id.to_owned());
        }
    }
    Err(Invalid::expected(&arn.at, "the ARN of a function of this template, such as !GetAtt MyFunction.Arn"))
}

fn known_authorizer(name: &Resolved, authorizers: &BTreeMap<String, Authorizer>) -> Result<String, Invalid> {
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

/// An event of a function, before its API is known.
struct Event<'t> {
    function: &'t str,
    at: String,
    properties: Option<Resolved>,
    api: Option<Resolved>,
}

fn events<'t>(template: &'t Template, kind: &str) -> Result<Vec<Event<'t>>, Invalid> {
    let mut found = Vec::new();
    for resource in template.resources(&[functions::TYPE])? {
        let Some(events) = resource.body.pointer("/Properties/Events").and_then(Value::as_object) else { continue };
        for (name, event) in events.iter().filter(|(_, event)| event.get("Type").and_then(Value::as_str) == Some(kind))
        {
            let at = format!("{}.Properties.Events.{name}", resource.at());
            let properties = match event.get("Properties") {
                Some(properties) => template.resolve(properties, format!("{at}.Properties"))?,
                None => None,
            };
            let api = properties.as_ref().and_then(|properties| properties.get("ApiId"));
            found.push(Event { function: resource.logical_id, at, properties, api });
        }
    }
    Ok(found)
}

impl Event<'_> {
    /// The id of the API the event belongs to.
    fn api_id(&self, template: &Template) -> Result<String, Invalid> {
        match &self.api {
            Some(api) => api.text(),
            None => Ok(template.physical_name(IMPLICIT_API, &self.at)?.unwrap_or_default()),
        }
    }

    fn property(&self, name: &str) -> Option<Resolved> {
        self.properties.as_ref().and_then(|properties| properties.get(name))
    }

    fn required(&self, name: &str) -> Result<Resolved, Invalid> {
        let missing = || Invalid::new(format!("{}.Properties", self.at), Problem::Missing(name.to_owned()));
        self.property(name).ok_or_else(missing)
    }

    /// Adds the event's route to its API.
    fn add_to(&self, api: &mut HttpApi) -> Result<(), Invalid> {
        let path = match self.property("Path") {
            None if self.property("Method").is_some() => return self.required("Path").map(drop),
            None => "$default".to_owned(),
            Some(path) => path.text()?,
        };
        let method = if path == "$default" { "ANY".to_owned() } else { method_of(&self.required("Method")?)? };
        if path != "$default" && !path.starts_with('/') {
            return Err(Invalid::expected(format!("{}.Properties.Path", self.at), "a path that starts with /"));
        }
        if self.property("RouteSettings").is_some() {
            api.unread.push(format!("{}.Properties.RouteSettings", self.at));
        }
        let timeout = self.property("TimeoutInMillis").map(|timeout| timeout.unsigned()).transpose()?;
        let authorizer = match self.property("Auth").and_then(|auth| auth.get("Authorizer")) {
            Some(own) if own.value == "NONE" => None,
            Some(own) => Some(known_authorizer(&own, &api.authorizers)?),
            None => api.default_authorizer.clone(),
        };
        api.routes.push(Route {
            method,
            path,
            function: self.function.to_owned(),
            authorizer,
            payload_format_version: self
                .property("PayloadFormatVersion")
                .map_or_else(|| Ok("2.0".to_owned()), |version| version.text())?,
            timeout: timeout.map(Duration::from_millis),
        });
        Ok(())
    }
}

fn method_of(method: &Resolved) -> Result<String, Invalid> {
    let method = method.text()?.to_uppercase();
    Ok(if method == "X-AMAZON-APIGATEWAY-ANY-METHOD" { "ANY".to_owned() } else { method })
}
