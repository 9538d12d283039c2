//! `POST /login`: a username and a password for an access and a refresh token. `POST /password`: another password, and
//! new tokens for it. One function for both: they need the same rights, and no other function has them.

mod handler;

use std::process::ExitCode;

use aws_lc_rs::rand::SystemRandom;
use aws_sdk_dynamodb::Client;
use shared::config::{self, PageOrigins, SealingConfig, TokenParties};
use shared::http::error::ErrorBody;
use shared::keys::active::ActiveKeyCache;
use shared::keys::sealing::Sealer;
use shared::password::hash::Hasher;
use shared::password::policy::PasswordPolicy;
use shared::store::client;
use shared::store::denylist::DenylistTable;
use shared::store::login_attempts::LoginAttemptsTable;
use shared::store::sessions::SessionsTable;
use shared::store::signing_keys::SigningKeysTable;
use shared::store::users::UsersTable;
use shared::telemetry;
use shared::throttle::Throttle;
use shared::token::issuer::Issuer;

use handler::Login;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::run(env!("CARGO_CRATE_NAME"), run).await
}

async fn run() -> Result<(), lambda_runtime::Error> {
    let login = wire()?;
    // The init phase has a full CPU: connect, read and open the keys there. If it fails, the first request tries again.
    if let Err(error) = login.keys.get(shared::clock::now()).await {
        telemetry::warm_up_failed(&error);
    }
    shared::http::serve::run("login", ErrorBody::Plain, Some(PageOrigins::from_env()), |request| login.handle(request))
        .await
}

fn wire() -> Result<Login, lambda_runtime::Error> {
    let parties = TokenParties::from_env()?;
    let issuer =
        Issuer { audience: parties.audience.clone(), lifetime_seconds: config::access_token_lifetime_seconds()? };
    let sealing = SealingConfig::from_env()?;
    let policy = PasswordPolicy::new(config::min_password_length()?)?;
    let free_attempts = config::free_attempts_per_address()?;
    let users = config::table_name("USERS_TABLE_NAME")?;
    let sessions = config::table_name("SESSIONS_TABLE_NAME")?;
    let denylist = config::table_name("DENYLIST_TABLE_NAME")?;
    let attempts = config::table_name("LOGIN_ATTEMPTS_TABLE_NAME")?;
    let keys = config::table_name("SIGNING_KEYS_TABLE_NAME")?;
    let sdk_config = client::lambda_config();
    let sealer = Sealer::new(&sealing, &sdk_config)?;
    let client = Client::new(&sdk_config);
    Ok(Login {
        users: UsersTable::new(client.clone(), users),
        sessions: SessionsTable::new(client.clone(), sessions),
        denylist: DenylistTable::new(client.clone(), denylist),
        throttle: Throttle::new(LoginAttemptsTable::new(client.clone(), attempts), free_attempts),
        keys: ActiveKeyCache::new(SigningKeysTable::new(client, keys), sealer),
        hasher: Hasher::new(),
        policy,
        random: SystemRandom::new(),
        parties,
        issuer,
    })
}
