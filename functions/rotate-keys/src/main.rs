//! Makes the keys of access and refresh tokens: the first ones when the stack is deployed, as a custom resource of
//! CloudFormation, and the next ones on a schedule. It is the only function that may write keys.

mod custom_resource;
mod handler;
mod retry;

use std::process::ExitCode;

use aws_sdk_dynamodb::Client;
use lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;
use shared::config::{self, SealingConfig};
use shared::keys::rotation::RotationPolicy;
use shared::keys::sealing::Sealer;
use shared::store::client;
use shared::store::signing_keys::SigningKeysTable;
use shared::{event_loop, telemetry};
use tracing::Instrument as _;

use handler::RotateKeys;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::run(env!("CARGO_CRATE_NAME"), run).await
}

async fn run() -> Result<(), lambda_runtime::Error> {
    let rotate_keys = wire()?;
    let rotate_keys = &rotate_keys;
    event_loop::run(|LambdaEvent { payload, context }: LambdaEvent<Box<RawValue>>| {
        let span = telemetry::request_span("rotate_keys", &context.request_id);
        async move { rotate_keys.handle(&payload).await }.instrument(span)
    })
    .await
}

fn wire() -> Result<RotateKeys, lambda_runtime::Error> {
    let algorithm = config::signing_algorithm()?;
    let sealing = SealingConfig::from_env()?;
    let keys = config::table_name("SIGNING_KEYS_TABLE_NAME")?;
    let sdk_config = client::lambda_config();
    Ok(RotateKeys {
        table: SigningKeysTable::new(Client::new(&sdk_config), keys),
        sealer: Sealer::new(&sealing, &sdk_config)?,
        purposes: config::key_purposes(),
        algorithm,
        policy: RotationPolicy::default(),
    })
}
