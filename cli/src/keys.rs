//! `latchkey keys`.

use clap::Subcommand;
use shared::clock::{self, EpochSeconds};
use shared::config::{self, ConfigError, MAX_ACCESS_TOKEN_LIFETIME_SECONDS, SealingConfig};
use shared::keys::algorithm::SigningAlgorithm;
use shared::keys::generation::{GenerationError, generate};
use shared::keys::sealing::{Sealer, SealingError};
use shared::keys::{KeyKind, KeyPurpose};
use shared::store::StoreError;
use shared::store::sessions::ABSOLUTE_LIFETIME_SECONDS;
use shared::store::signing_keys::SigningKeysTable;

use crate::terminal::say;

/// How long a key signs, in seconds: a year.
const SIGNING_PERIOD_SECONDS: EpochSeconds = 365 * 24 * 60 * 60;

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Make the first keys, where there are none that sign
    ///
    /// Needs SIGNING_KEYS_TABLE_NAME and LATCHKEY_KMS_KEY_ID, the deployment's own.
    Init,
}

/// A command about keys failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Sealing(#[from] SealingError),
    #[error("no key could be made")]
    Generation(#[from] GenerationError),
    #[error("the table of keys did not answer")]
    Store(#[from] StoreError),
}

pub(crate) async fn run(command: KeysCommand) -> Result<(), KeysError> {
    let KeysCommand::Init = command;
    let name = config::table_name("SIGNING_KEYS_TABLE_NAME")?;
    let sealing = SealingConfig::from_env()?;
    let sdk_config = shared::store::client::config_loader().load().await;
    let sealer = Sealer::new(&sealing, &sdk_config)?;
    let table = SigningKeysTable::new(aws_sdk_dynamodb::Client::new(&sdk_config), name);
    for kind in [KeyKind::AccessToken(SigningAlgorithm::Es256), KeyKind::RefreshToken] {
        init(&table, kind, &sealer).await?;
    }
    Ok(())
}

async fn init(table: &SigningKeysTable, kind: KeyKind, sealer: &Sealer) -> Result<(), KeysError> {
    let now = clock::now();
    let purpose = kind.purpose();
    if let Some(key) = table.public_keys(purpose).await?.iter().find(|key| key.is_active_at(now)) {
        say(&format!("{purpose}: {} signs already", key.kid));
        return Ok(());
    }
    let retires_at = now + SIGNING_PERIOD_SECONDS;
    let longest_token = match purpose {
        KeyPurpose::AccessToken => MAX_ACCESS_TOKEN_LIFETIME_SECONDS,
        KeyPurpose::RefreshToken => ABSOLUTE_LIFETIME_SECONDS,
    };
    let key = generate(kind, now, retires_at, sealer).await?;
    table.add(purpose, &key, retires_at + longest_token).await?;
    say(&format!("{purpose}: made {}, which signs from now on", key.record.kid));
    Ok(())
}
