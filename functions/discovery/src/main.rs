//! `GET /.well-known/jwks.json`: the public keys that verify access tokens (RFC 7517).
//! `GET /.well-known/oauth-authorization-server`: what there is to be asked (RFC 8414).

mod handler;

use std::process::ExitCode;

use shared::config::{self, TokenParties};
use shared::http::error::ErrorBody;
use shared::keys::verification::VerificationKeys;
use shared::store::client;
use shared::store::signing_keys::SigningKeysTable;
use shared::telemetry;

use handler::Discovery;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::run(env!("CARGO_CRATE_NAME"), run).await
}

async fn run() -> Result<(), lambda_runtime::Error> {
    let discovery = wire()?;
    // The init phase has a full CPU: connect and read the keys there. If it fails, the first request tries again.
    if let Err(error) = discovery.keys.ring(shared::clock::now()).await {
        telemetry::warm_up_failed(&error);
    }
    shared::http::serve::run("discover_keys", ErrorBody::Plain, None, |request| discovery.handle(request)).await
}

fn wire() -> Result<Discovery, lambda_runtime::Error> {
    let parties = TokenParties::from_env()?;
    let keys = config::table_name("SIGNING_KEYS_TABLE_NAME")?;
    let client = client::from_lambda_environment();
    Ok(Discovery { keys: VerificationKeys::new(SigningKeysTable::new(client, keys), None), parties })
}
