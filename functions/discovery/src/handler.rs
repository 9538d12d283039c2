//! Request in, response out.

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};
use lambda_http::{Body, Request};
use serde::Serialize;
use serde_json::{Value, json};
use shared::clock;
use shared::config::TokenParties;
use shared::http::error::ApiError;
use shared::http::{request, response};
use shared::keys::verification::VerificationKeys;

/// How long a cache may keep the answers: a key is published long before it signs, so five minutes are safe, and short
/// enough that a withdrawn key is soon forgotten.
const CACHING: &str = "public, max-age=300";

/// What the answers need.
pub(crate) struct Discovery {
    pub(crate) keys: VerificationKeys,
    pub(crate) parties: TokenParties,
}

impl Discovery {
    /// One of the two.
    pub(crate) async fn handle(&self, request: Request) -> Result<Response<Body>, ApiError> {
        match request::route_key(&request) {
            Some("GET /.well-known/jwks.json") => self.key_set().await,
            Some("GET /.well-known/oauth-authorization-server") => {
                tracing::Span::current().record("event", "discover_metadata");
                cacheable(&metadata(&request::issuer(&request, &self.parties)?))
            }
            _ => Err(ApiError::NoRoute),
        }
    }

    /// The public keys that verify access tokens (RFC 7517 §5), read again once a minute.
    async fn key_set(&self) -> Result<Response<Body>, ApiError> {
        let now = clock::now();
        let ring = match self.keys.reread_if_due(now).await? {
            Some(ring) => ring,
            None => self.keys.ring(now).await?,
        };
        cacheable(&ring.jwks(now))
    }
}

/// What there is to be asked (RFC 8414 §2), and nothing that there is not. Without an authorization endpoint there are no
/// response types; the member is required all the same.
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

fn cacheable(value: &impl Serialize) -> Result<Response<Body>, ApiError> {
    let mut response = response::json(StatusCode::OK, value)?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(CACHING));
    Ok(response)
}
