//! Request in, response out.

use api::config::{self, TokenParties};
use api::environment::Environment;
use api::error::ApiError;
use auth::EpochSeconds;
use auth::introspection::TokenStates;
use auth::sessions::refresh::Refresher;
use shared::StartError;
use shared::http::problem::ErrorBody;
use shared::http::{HttpFunction, Route};

use crate::grants::Grants;
use crate::{introspect, revoke};

pub(crate) struct TokenEndpoints {
    grants: Grants,
    states: TokenStates,
}

impl HttpFunction for TokenEndpoints {
    const NAME: &'static str = env!("CARGO_CRATE_NAME");
    const EVENT: &'static str = "refresh";
    const ERROR_BODY: ErrorBody = ErrorBody::OAuth;
    const REJECTS_FOREIGN_PAGES: bool = true;
    const ROUTES: &'static [Route<Self, ApiError>] = &[
        Route::new("POST /token", "refresh", |endpoints, request| Box::pin(endpoints.grants.exchange(request))),
        Route::new("POST /revoke", "revoke", |endpoints, request| Box::pin(revoke::revoke(&endpoints.states, request))),
        Route::new("POST /introspect", "introspect", |endpoints, request| {
            Box::pin(introspect::introspect(&endpoints.states, &endpoints.grants.parties, request))
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
        Ok(Self { grants: Grants { parties, refresher }, states })
    }

    async fn warm_up(&self) -> Result<(), StartError> {
        self.grants.refresher.tokens.ready(EpochSeconds::now()).await?;
        Ok(())
    }
}
