//! HTTP and REST APIs, as both are described once they are read.

use std::{collections::BTreeMap, time::Duration};

/// Which of API Gateway's products an API is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiKind {
    /// `AWS::Serverless::HttpApi`.
    Http,
    /// `AWS::Serverless::Api`.
    Rest,
}

impl ApiKind {
    /// The type of the resource.
    pub(crate) const fn resource_type(self) -> &'static str {
        match self {
            Self::Http => "AWS::Serverless::HttpApi",
            Self::Rest => "AWS::Serverless::Api",
        }
    }

    /// The logical id of the API that SAM adds for events which name none.
    pub(crate) const fn implicit_id(self) -> &'static str {
        match self {
            Self::Http => "ServerlessHttpApi",
            Self::Rest => "ServerlessRestApi",
        }
    }

    /// The kind of the API that SAM adds under this logical id.
    pub(crate) fn of_implicit(logical_id: &str) -> Option<Self> {
        [Self::Http, Self::Rest].into_iter().find(|kind| kind.implicit_id() == logical_id)
    }
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
