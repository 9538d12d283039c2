//! The Lambda authorizer, for every kind of API that API Gateway has: decides for every protected route whether the access token still counts.

mod event;
mod handler;

use std::process::ExitCode;

use aws_sdk_dynamodb::Client;
use lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;
use shared::authorization::AccessTokenAuthorizer;
use shared::config::{self, SealingConfig, TokenParties};
use shared::keys::sealing::Sealer;
use shared::keys::verification::VerificationKeys;
use shared::store::client;
use shared::store::denylist::DenylistTable;
use shared::store::signing_keys::SigningKeysTable;
use shared::{event_loop, telemetry};
use tracing::Instrument as _;

use handler::Authorizer;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::run(env!("CARGO_CRATE_NAME"), run).await
}

async fn run() -> Result<(), lambda_runtime::Error> {
    let authorizer = wire()?;
    // The init phase has a full CPU: connect and read the keys there. If it fails, the first request tries again.
    if let Err(error) = authorizer.tokens.warm_up(shared::clock::now()).await {
        telemetry::warm_up_failed(&error);
    }
    let authorizer = &authorizer;
    event_loop::run(|LambdaEvent { payload, context }: LambdaEvent<Box<RawValue>>| {
        let span = telemetry::request_span("authorize", &context.request_id);
        async move { authorizer.handle(&payload).await }.instrument(span)
    })
    .await
}

fn wire() -> Result<Authorizer, lambda_runtime::Error> {
    let parties = TokenParties::from_env()?;
    let denylist = config::table_name("DENYLIST_TABLE_NAME")?;
    let keys = config::table_name("SIGNING_KEYS_TABLE_NAME")?;
    // Public keys need no seal to be opened; the secrets of HS256 do.
    let sealing = if config::accepts_hs256()? { Some(SealingConfig::from_env()?) } else { None };
    let sdk_config = client::lambda_config();
    let sealer = sealing.map(|sealing| Sealer::new(&sealing, &sdk_config)).transpose()?;
    let client = Client::new(&sdk_config);
    let keys = VerificationKeys::new(SigningKeysTable::new(client.clone(), keys), sealer);
    Ok(Authorizer { tokens: AccessTokenAuthorizer::new(keys, DenylistTable::new(client, denylist)), parties })
}
