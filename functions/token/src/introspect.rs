//! `POST /introspect` (RFC 7662).

use api::config::TokenParties;
use api::error::ApiError;
use auth::EpochSeconds;
use auth::id::ClientId;
use auth::introspection::{ActiveToken, TokenKind, TokenStates};
use serde_json::{Value, json};
use shared::http::error::RequestError;
use shared::http::form::Form;
use shared::http::request::caller;
use shared::http::{Request, Response, StatusCode, response};

/// Roles that may introspect tokens: that of resource servers, and administrators.
const SERVICE: &str = "service";
const ADMIN: &str = "admin";

/// The state of a token at this moment (RFC 7662 §2.2), for callers with one of these roles.
pub(crate) async fn introspect(
    states: &TokenStates,
    parties: &TokenParties,
    request: &Request,
) -> Result<Response, ApiError> {
    let caller = caller(request)?;
    if !caller.has_role(SERVICE) && !caller.has_role(ADMIN) {
        return Err(RequestError::MissingRole(SERVICE).into());
    }
    let form = Form::read(request)?;
    let iss = api::request::issuer(request, parties)?;
    let asked = form.get("token_type_hint").and_then(TokenKind::hinted);
    let token = states.introspect(form.required("token")?, asked, EpochSeconds::now()).await?;
    let body = token.map_or_else(|| json!({ "active": false }), |token| state(token, &iss));
    Ok(response::json(StatusCode::OK, &body)?)
}

fn state(token: ActiveToken, iss: &str) -> Value {
    match token {
        ActiveToken::Access(claims) => json!({
            "active": true,
            "token_type": "Bearer",
            "iss": claims.iss,
            "sub": claims.sub,
            "aud": claims.aud,
            "client_id": claims.client_id,
            "username": claims.username,
            "exp": claims.exp,
            "iat": claims.iat,
            "nbf": claims.nbf,
            "jti": claims.jti,
            "sid": claims.sid,
            "roles": claims.roles,
        }),
        // No roles: a refresh token gives access to nothing.
        ActiveToken::Refresh(session, user) => json!({
            "active": true,
            "token_type": "refresh_token",
            "iss": iss,
            "sub": user.user_id,
            "client_id": ClientId::first_party(),
            "username": user.username,
            "exp": session.ends_at(),
            "iat": session.refreshed_at,
            "sid": session.sid,
        }),
    }
}
