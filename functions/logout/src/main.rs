//! `POST /logout`: ends the caller's session, or with `?everywhere=true` all of them, and denies the access tokens.

mod handler;

use std::process::ExitCode;

use shared::config::{self, PageOrigins};
use shared::http::error::ErrorBody;
use shared::store::client;
use shared::store::denylist::DenylistTable;
use shared::store::sessions::SessionsTable;
use shared::store::users::UsersTable;
use shared::telemetry;

use handler::Logout;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::run(env!("CARGO_CRATE_NAME"), run).await
}

async fn run() -> Result<(), lambda_runtime::Error> {
    let logout = wire()?;
    // The init phase has a full CPU: connect there. If it fails, the first request tries again.
    if let Err(error) = logout.sessions.warm_up().await {
        telemetry::warm_up_failed(&error);
    }
    shared::http::serve::run("logout", ErrorBody::Plain, Some(PageOrigins::from_env()), |request| {
        logout.handle(request)
    })
    .await
}

fn wire() -> Result<Logout, lambda_runtime::Error> {
    let users = config::table_name("USERS_TABLE_NAME")?;
    let sessions = config::table_name("SESSIONS_TABLE_NAME")?;
    let denylist = config::table_name("DENYLIST_TABLE_NAME")?;
    let client = client::from_lambda_environment();
    Ok(Logout {
        users: UsersTable::new(client.clone(), users),
        sessions: SessionsTable::new(client.clone(), sessions),
        denylist: DenylistTable::new(client, denylist),
    })
}
