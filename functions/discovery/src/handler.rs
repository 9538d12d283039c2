//! Request in, response out.

use api::config::TokenParties;
use api::environment::Environment;
use api::error::ApiError;
use api::request::issuer;
use auth::EpochSeconds;
use auth::keys::verification::VerificationKeys;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde::Serialize;
use serde_json::{Value, json};
use shared::StartError;
use shared::http::{HttpFunction, Request, Response, Route, StatusCode, response};

/// How long a cache may keep the responses: a key is published long before it signs, so five minutes are safe, and
/// short enough that a revoked key is soon forgotten.
const CACHING: &str = "public, max-age=300";

pub(crate) struct Discovery {
    keys: VerificationKeys,
    parties: TokenParties,
}

impl HttpFunction for Discovery {
    const NAME: &'static str = env!("CARGO_CRATE_NAME");
    const EVENT: &'static str = "discover_keys";
    const ROUTES: &'static [Route<Self, ApiError>] = &[
        Route::new("GET /.well-known/jwks.json", "discover_keys", |discovery, _| Box::pin(discovery.key_set())),
        Route::new("GET /.well-known/oauth-authorization-server", "discover_metadata", |discovery, request| {
            shared::http::ready(discovery.metadata(request))
        }),
    ];
    type Error = ApiError;

    fn from_env() -> Result<Self, StartError> {
        let parties = TokenParties::from_env()?;
        Ok(Self { keys: VerificationKeys::new(Environment::of_lambda().signing_keys()?, None), parties })
    }

    async fn warm_up(&self) -> Result<(), StartError> {
        self.keys.key_set(EpochSeconds::now()).await?;
        Ok(())
    }
}

impl Discovery {
    /// The public keys that verify access tokens (RFC 7517 §5), read again once a minute.
    async fn key_set(&self) -> Result<Response, ApiError> {
        let now = EpochSeconds::now();
        let keys = match self.keys.reread_if_due(now).await? {
            Some(keys) => keys,
            None => self.keys.key_set(now).await?,
        };
        cacheable(&keys.to_jwks(now))
    }

    fn metadata(&self, request: &Request) -> Result<Response, ApiError> {
        cacheable(&metadata(&issuer(request, &self.parties)?))
    }
}

/// The server's metadata (RFC 8414 §2). Without an authorization endpoint there are no response types; the member is
/// required nevertheless.
fn metadata(issuer: &str) -> Value {
    let base = issuer.trim_end_matches('/');
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{base}/token"),
        "token_endpoint_auth_methods_supported": ["none"],
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        "response_types_supported": [],
        "grant_types_supported": ["refresh_token"],
        "revocation_endpoint": format!("{base}/revoke"),
        "revocation_endpoint_auth_methods_supported": ["none"],
        "introspection_endpoint": format!("{base}/introspect"),
        "introspection_endpoint_auth_methods_supported": ["Bearer"],
    })
}

fn cacheable(value: &impl Serialize) -> Result<Response, ApiError> {
    let mut response = response::json(StatusCode::OK, value)?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(CACHING));
    Ok(response)
}
