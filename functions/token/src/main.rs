//! The OAuth endpoints: `POST /token` (RFC 6749 §6), `POST /revoke` (RFC 7009), `POST /introspect` (RFC 7662).

mod handler;

use std::process::ExitCode;

use aws_lc_rs::rand::SystemRandom;
use aws_sdk_dynamodb::Client;
use shared::authorization::AccessTokenAuthorizer;
use shared::config::{self, PageOrigins, SealingConfig, TokenParties};
use shared::http::error::ErrorBody;
use shared::keys::active::ActiveKeyCache;
use shared::keys::sealing::Sealer;
use shared::keys::verification::VerificationKeys;
use shared::store::client;
use shared::store::denylist::DenylistTable;
use shared::store::login_attempts::LoginAttemptsTable;
use shared::store::sessions::SessionsTable;
use shared::store::signing_keys::SigningKeysTable;
use shared::store::users::UsersTable;
use shared::telemetry;
use shared::throttle::Throttle;
use shared::token::issuer::Issuer;

use handler::TokenEndpoints;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::run(env!("CARGO_CRATE_NAME"), run).await
}

async fn run() -> Result<(), lambda_runtime::Error> {
    let endpoints = wire()?;
    // The init phase has a full CPU: connect, read and open the keys there. If it fails, the first request tries again.
    if let Err(error) = endpoints.keys.get(shared::clock::now()).await {
        telemetry::warm_up_failed(&error);
    }
    shared::http::serve::run("refresh", ErrorBody::OAuth, Some(PageOrigins::from_env()), |request| {
        endpoints.handle(request)
    })
    .await
}

fn wire() -> Result<TokenEndpoints, lambda_runtime::Error> {
    let parties = TokenParties::from_env()?;
    let issuer =
        Issuer { audience: parties.audience.clone(), lifetime_seconds: config::access_token_lifetime_seconds()? };
    let free_attempts = config::free_attempts_per_address()?;
    let grace_seconds = config::refresh_grace_seconds()?;
    let sealing = SealingConfig::from_env()?;
    let accepts_hs256 = config::accepts_hs256()?;
    let users = config::table_name("USERS_TABLE_NAME")?;
    let sessions = config::table_name("SESSIONS_TABLE_NAME")?;
    let denylist = config::table_name("DENYLIST_TABLE_NAME")?;
    let attempts = config::table_name("LOGIN_ATTEMPTS_TABLE_NAME")?;
    let keys = config::table_name("SIGNING_KEYS_TABLE_NAME")?;
    let sdk_config = client::lambda_config();
    let sealer = Sealer::new(&sealing, &sdk_config)?;
    let opener = accepts_hs256.then(|| Sealer::new(&sealing, &sdk_config)).transpose()?;
    let client = Client::new(&sdk_config);
    let keys = SigningKeysTable::new(client.clone(), keys);
    let denylist = DenylistTable::new(client.clone(), denylist);
    Ok(TokenEndpoints {
        authorizer: AccessTokenAuthorizer::new(VerificationKeys::new(keys.clone(), opener), denylist.clone()),
        users: UsersTable::new(client.clone(), users),
        sessions: SessionsTable::new(client.clone(), sessions),
        denylist,
        throttle: Throttle::new(LoginAttemptsTable::new(client, attempts), free_attempts),
        keys: ActiveKeyCache::new(keys, sealer),
        random: SystemRandom::new(),
        parties,
        issuer,
        grace_seconds,
    })
}
