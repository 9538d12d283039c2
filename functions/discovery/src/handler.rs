//! Request in, response out.

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Response, StatusCode};
use lambda_http::{Body, Request};
use shared::clock;
use shared::http::error::ApiError;
use shared::http::{request, response};
use shared::keys::verification::VerificationKeys;

/// How long a cache may keep the keys: a key is published long before it signs, so five minutes are safe, and short
/// enough that a withdrawn key is soon forgotten.
const CACHING: &str = "public, max-age=300";

/// What the answer needs.
pub(crate) struct Discovery {
    pub(crate) keys: VerificationKeys,
}

impl Discovery {
    /// The key set, read again once a minute.
    pub(crate) async fn handle(&self, request: Request) -> Result<Response<Body>, ApiError> {
        if request::route_key(&request) != Some("GET /.well-known/jwks.json") {
            return Err(ApiError::NoRoute);
        }
        let now = clock::now();
        let ring = match self.keys.reread_if_due(now).await? {
            Some(ring) => ring,
            None => self.keys.ring(now).await?,
        };
        let mut response = response::json(StatusCode::OK, &ring.jwks(now))?;
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(CACHING));
        Ok(response)
    }
}
