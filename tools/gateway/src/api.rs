//! One HTTP or REST API of a template, made ready to serve.
//!
//! At the start, the gateway names what the template uses and it does not emulate. A route that needs it is closed:
//! it answers 500, and is never open for lack of a decision.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use hyper::HeaderMap;
use sam_template::{ApiKind, Cors, LambdaAuthorizer, Parameters, Template};

use crate::{
    authorizer::Authorizer, cors, event::ApiContext, identity::IdentitySource, invoke::Function, routes::Routes,
};

/// Longest wait of an HTTP API for an integration.
const HTTP_INTEGRATION_LIMIT: Duration = Duration::from_secs(30);

/// Longest wait of a REST API, unless the account's quota was raised.
const REST_INTEGRATION_LIMIT: Duration = Duration::from_secs(29);

/// An API ready to serve.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) context: ApiContext,
    pub(crate) routes: Routes<Target>,
    /// Of an HTTP API. That of a REST API is in its routes.
    pub(crate) cors: Option<Cors>,
}

/// What a route leads to.
#[derive(Debug)]
pub(crate) struct Target {
    /// `GET /me`, or `$default`.
    pub(crate) key: String,
    pub(crate) access: Access,
    pub(crate) integration: Integration,
}

/// What answers on a route.
#[derive(Debug)]
pub(crate) enum Integration {
    Function {
        function: Arc<Function>,
        /// How long it may take.
        limit: Duration,
        payload: Payload,
    },
    /// The mock that answers preflights of a REST API.
    Preflight(HeaderMap),
}

/// The form of a function's event, and of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    V1,
    V2,
}

/// Who may use a route.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    Public,
    Authorized(Arc<Authorizer>),
    /// Nobody: the route needs something that is not emulated.
    Closed,
}

/// Why a template cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Template(#[from] sam_template::Error),
    #[error("the template has no API; add a function with an event of type HttpApi or Api")]
    NoApi,
    #[error("the template has the APIs {0}; choose one with --api")]
    SeveralApis(String),
    #[error("the template has no API {0}; it has {1}")]
    UnknownApi(String, String),
    #[error("the function {0} cannot be invoked at {1}; give --invoke-url an address such as http://127.0.0.1:9000")]
    InvokeUrl(String, String),
}

/// The source of an API, read again when the template changes.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) template: PathBuf,
    pub(crate) parameters: Parameters,
    pub(crate) choice: Choice,
}

impl Source {
    /// Reads the API, and returns a sentence for everything that is not emulated.
    pub(crate) fn read(&self) -> Result<(Api, Vec<String>), Error> {
        Api::read(&Template::load(&self.template, self.parameters.clone())?, &self.choice)
    }
}

/// The API's options of the command line.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) api: Option<String>,
    pub(crate) domain_name: String,
    pub(crate) invoke_url: String,
    /// How many invocations of a function may run at once.
    pub(crate) concurrency: usize,
}

impl Api {
    /// Reads the API, and returns a sentence for everything that is not emulated.
    fn read(template: &Template, choice: &Choice) -> Result<(Self, Vec<String>), Error> {
        let mut apis = template.http_apis()?;
        apis.extend(template.rest_apis()?);
        let api = choose(apis, choice.api.as_deref())?;
        let mut notices = notices(&api, template.other_apis()?);
        let functions = functions(template, choice)?;
        let authorizers = authorizers(&api, &functions, &mut notices);
        let access = |authorizer: Option<&String>| match authorizer {
            None => Access::Public,
            Some(name) => authorizers.get(name).cloned().unwrap_or(Access::Closed),
        };
        let ceiling = match api.kind {
            ApiKind::Http => HTTP_INTEGRATION_LIMIT,
            ApiKind::Rest => REST_INTEGRATION_LIMIT,
        };
        let mut routes = Vec::new();
        for route in &api.routes {
            let key = key(route);
            let mut access = access(route.authorizer.as_ref());
            let payload = if route.payload_format_version == "1.0" { Payload::V1 } else { Payload::V2 };
            if !["1.0", "2.0"].contains(&route.payload_format_version.as_str()) {
                notices.push(format!("payload format {}: {key} answers 500", route.payload_format_version));
                access = Access::Closed;
            }
            // Every route comes from an event of a function of this template.
            let Some(function) = functions.get(&route.function) else { continue };
            let limit = route.timeout.map_or(ceiling, |timeout| timeout.min(ceiling));
            let integration = Integration::Function { function: Arc::clone(function), limit, payload };
            routes.push((route.method.clone(), route.path.clone(), Target { key, access, integration }));
        }
        let is_rest = api.kind == ApiKind::Rest;
        if let Some(cors) = api.cors.as_ref().filter(|_| is_rest) {
            let default = api.default_authorizer.as_ref().filter(|_| api.authorizes_preflights);
            routes.extend(preflights(&api, cors).map(|(path, headers)| {
                let key = format!("OPTIONS {path}");
                let target = Target { key, access: access(default), integration: Integration::Preflight(headers) };
                ("OPTIONS".to_owned(), path, target)
            }));
        }
        let parameters = template.parameters();
        let context = ApiContext {
            kind: api.kind,
            api_id: api.id,
            account_id: parameters.account_id.clone(),
            region: parameters.region.clone(),
            domain_name: choice.domain_name.clone(),
            stage: api.stage,
            stage_variables: api.stage_variables,
            binary_media_types: api.binary_media_types,
        };
        Ok((Self { context, routes: Routes::new(routes), cors: api.cors.filter(|_| !is_rest) }, notices))
    }
}

/// The paths that SAM adds a preflight to, with what it answers.
fn preflights(api: &sam_template::Api, cors: &Cors) -> impl Iterator<Item = (String, HeaderMap)> {
    let mut methods = BTreeMap::<String, Vec<String>>::new();
    for route in &api.routes {
        methods.entry(route.path.clone()).or_default().push(route.method.clone());
    }
    methods.into_iter().filter(|(_, methods)| !methods.iter().any(|method| method == "OPTIONS")).map(
        |(path, methods)| {
            let mut all = if methods.iter().any(|method| method == "ANY") {
                ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"].map(str::to_owned).to_vec()
            } else {
                methods
            };
            all.push("OPTIONS".to_owned());
            all.sort();
            (path, cors::mock_headers(cors, &all))
        },
    )
}

fn choose(mut apis: Vec<sam_template::Api>, choice: Option<&str>) -> Result<sam_template::Api, Error> {
    let names = apis.iter().map(|api| api.logical_id.as_str()).collect::<Vec<_>>().join(", ");
    let Some(choice) = choice else {
        return match apis.pop() {
            None => Err(Error::NoApi),
            Some(_) if !apis.is_empty() => Err(Error::SeveralApis(names)),
            Some(api) => Ok(api),
        };
    };
    match apis.iter().position(|api| api.logical_id == choice) {
        Some(index) => Ok(apis.swap_remove(index)),
        None => Err(Error::UnknownApi(choice.to_owned(), names)),
    }
}

fn notices(api: &sam_template::Api, other_apis: Vec<String>) -> Vec<String> {
    let mut notices = other_apis;
    notices.extend(api.unread.iter().cloned());
    if api.cors.is_some() && api.kind == ApiKind::Http {
        for route in api.routes.iter().filter(|route| route.authorizer.is_some()) {
            if matches!(route.method.as_str(), "ANY" | "OPTIONS") {
                let key = key(route);
                notices.push(format!("the authorizer of {key} for CORS preflights: AWS calls it, here they need none"));
            }
        }
    }
    notices
}

fn key(route: &sam_template::Route) -> String {
    if route.path == "$default" { route.path.clone() } else { format!("{} {}", route.method, route.path) }
}

/// The functions by their logical ids.
fn functions(
    template: &Template,
    Choice { invoke_url, concurrency, .. }: &Choice,
) -> Result<BTreeMap<String, Arc<Function>>, Error> {
    let mut functions = BTreeMap::new();
    for function in template.functions()? {
        let cannot = || Error::InvokeUrl(function.binary.clone(), invoke_url.clone());
        if !invoke_url.starts_with("http://") {
            return Err(cannot());
        }
        let invocable = Function::new(invoke_url, function.binary.clone(), function.timeout, *concurrency);
        let invocable = invocable.map_err(|_| cannot())?;
        functions.insert(function.logical_id, Arc::new(invocable));
    }
    Ok(functions)
}

/// The authorizers by name.
fn authorizers(
    api: &sam_template::Api,
    functions: &BTreeMap<String, Arc<Function>>,
    notices: &mut Vec<String>,
) -> BTreeMap<String, Access> {
    let mut authorizers = BTreeMap::new();
    for (name, authorizer) in &api.authorizers {
        // A REST API always has that of IAM; an unused one is not reported.
        let is_used = |route: &sam_template::Route| route.authorizer.as_ref() == Some(name);
        if *authorizer == sam_template::Authorizer::Iam && !api.routes.iter().any(is_used) {
            continue;
        }
        let access = match read_authorizer(authorizer, functions) {
            Ok(authorizer) => Access::Authorized(Arc::new(authorizer)),
            Err(reason) => {
                notices.push(format!("{reason}: every route of the authorizer {name} answers 500"));
                Access::Closed
            }
        };
        authorizers.insert(name.clone(), access);
    }
    authorizers
}

/// The error names what is not emulated.
fn read_authorizer(
    authorizer: &sam_template::Authorizer,
    functions: &BTreeMap<String, Arc<Function>>,
) -> Result<Authorizer, String> {
    let LambdaAuthorizer { function, event, enable_simple_responses, identity_sources, result_ttl } = match authorizer {
        sam_template::Authorizer::Lambda(lambda) => lambda,
        sam_template::Authorizer::Jwt => return Err("JWT authorizers".to_owned()),
        sam_template::Authorizer::Iam => return Err("IAM authorization".to_owned()),
    };
    let function = functions.get(function).ok_or_else(|| format!("the function {function}"))?;
    let read = |text: &String| IdentitySource::parse(text).ok_or_else(|| format!("the identity source {text}"));
    let sources = identity_sources.iter().map(read).collect::<Result<_, _>>()?;
    Authorizer::new(Arc::clone(function), event.clone(), *enable_simple_responses, sources, *result_ttl)
}
