//! Request in, response out.

use api::config::{self, TokenParties};
use api::environment::Environment;
use api::error::ApiError;
use auth::EpochSeconds;
use auth::id::ClientId;
use auth::introspection::TokenStates;
use auth::sessions::refresh::Refresher;
use shared::StartError;
use shared::http::form::Form;
use shared::http::problem::ErrorBody;
use shared::http::{HttpFunction, Route};

use crate::{grants, introspect, revoke};

pub(crate) struct TokenEndpoints {
    pub(crate) refresher: Refresher,
    pub(crate) states: TokenStates,
    pub(crate) parties: TokenParties,
}

impl HttpFunction for TokenEndpoints {
    const NAME: &'static str = env!("CARGO_CRATE_NAME");
    const EVENT: &'static str = "refresh";
    const ERROR_BODY: ErrorBody = ErrorBody::OAuth;
    const REJECTS_FOREIGN_PAGES: bool = true;
    const ROUTES: &'static [Route<Self, ApiError>] = &[
        Route::new("POST /token", "refresh", |endpoints, request| Box::pin(grants::exchange(endpoints, request))),
        Route::new("POST /revoke", "revoke", |endpoints, request| Box::pin(revoke::revoke(endpoints, request))),
        Route::new("POST /introspect", "introspect", |endpoints, request| {
            Box::pin(introspect::introspect(endpoints, request))
        }),
    ];
    type Error = ApiError;

    fn from_env() -> Result<Self, StartError> {
        let environment = Environment::of_lambda();
        let parties = TokenParties::from_env()?;
        let tokens = environment.token_issuer(&parties.audience)?;
        let grace_seconds = config::refresh_grace_seconds()?;
        let refresher = Refresher {
            sessions: environment.sessions()?,
            users: environment.users()?,
            tokens: tokens.clone(),
            throttle: environment.throttle()?,
            grace_seconds,
        };
        let states = TokenStates {
            authorizer: environment.authorizer()?,
            tokens,
            sessions: environment.sessions()?,
            users: environment.users()?,
            audience: parties.audience.clone(),
            grace_seconds,
        };
        Ok(Self { refresher, states, parties })
    }

    async fn warm_up(&self) -> Result<(), StartError> {
        self.refresher.tokens.ready(EpochSeconds::now()).await?;
        Ok(())
    }
}

/// A client may identify itself (RFC 6749 §3.2.1); there is only one.
pub(crate) fn check_client(form: &Form) -> Result<(), ApiError> {
    match form.get("client_id") {
        Some(client_id) if ClientId::new(client_id) != ClientId::first_party() => Err(ApiError::InvalidClient),
        None | Some(_) => Ok(()),
    }
}
