//! `POST /register`, and a user's own sessions: `GET /sessions`, `DELETE /sessions/{sid}`.

mod handler;

use std::process::ExitCode;

use aws_lc_rs::rand::SystemRandom;
use shared::config::{self, PageOrigins};
use shared::http::error::ErrorBody;
use shared::password::hash::Hasher;
use shared::password::policy::PasswordPolicy;
use shared::store::client;
use shared::store::denylist::DenylistTable;
use shared::store::login_attempts::LoginAttemptsTable;
use shared::store::sessions::SessionsTable;
use shared::store::users::UsersTable;
use shared::telemetry;
use shared::throttle::Throttle;

use handler::Account;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::run(env!("CARGO_CRATE_NAME"), run).await
}

async fn run() -> Result<(), lambda_runtime::Error> {
    let account = wire()?;
    // The init phase has a full CPU: connect there. If it fails, the first request tries again.
    if let Err(error) = account.sessions.warm_up().await {
        telemetry::warm_up_failed(&error);
    }
    shared::http::serve::run("account", ErrorBody::Plain, Some(PageOrigins::from_env()), |request| {
        account.handle(request)
    })
    .await
}

fn wire() -> Result<Account, lambda_runtime::Error> {
    let registration = config::is_registration_enabled()?;
    let policy = PasswordPolicy::new(config::min_password_length()?)?;
    let free_attempts = config::free_attempts_per_address()?;
    let users = config::table_name("USERS_TABLE_NAME")?;
    let sessions = config::table_name("SESSIONS_TABLE_NAME")?;
    let denylist = config::table_name("DENYLIST_TABLE_NAME")?;
    let attempts = config::table_name("LOGIN_ATTEMPTS_TABLE_NAME")?;
    let client = client::from_lambda_environment();
    Ok(Account {
        users: UsersTable::new(client.clone(), users),
        sessions: SessionsTable::new(client.clone(), sessions),
        denylist: DenylistTable::new(client.clone(), denylist),
        throttle: Throttle::new(LoginAttemptsTable::new(client, attempts), free_attempts),
        hasher: Hasher::new(),
        policy,
        random: SystemRandom::new(),
        registration,
    })
}
