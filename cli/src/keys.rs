//! `latchkey keys`.

use clap::Subcommand;
use shared::clock::{self, EpochSeconds};
use shared::config::{self, ConfigError, MAX_ACCESS_TOKEN_LIFETIME_SECONDS};
use shared::keys::KeyPurpose;
use shared::keys::generation::{GenerationError, generate};
use shared::keys::sealing::{Sealer, SealingError};
use shared::store::StoreError;
use shared::store::sessions::ABSOLUTE_LIFETIME_SECONDS;
use shared::store::signing_keys::SigningKeysTable;

use crate::terminal::say;
use crate::user::client;

/// How long a key signs, in seconds: a year.
const SIGNING_PERIOD_SECONDS: EpochSeconds = 365 * 24 * 60 * 60;

#[derive(Subcommand)]
pub(crate) enum KeysCommand {
    /// Make the first keys, where there are none that sign
    ///
    /// Needs SIGNING_KEYS_TABLE_NAME and LATCHKEY_SEALING_KEY, the same sealing key as the deployment's.
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
    let sealer = Sealer::local(&config::sealing_key()?)?;
    let table = SigningKeysTable::new(client().await, name);
    for purpose in [KeyPurpose::AccessToken, KeyPurpose::RefreshToken] {
        init(&table, purpose, &sealer).await?;
    }
    Ok(())
}

async fn init(table: &SigningKeysTable, purpose: KeyPurpose, sealer: &Sealer) -> Result<(), KeysError> {
    let now = clock::now();
    if let Some(key) = table.public_keys(purpose).await?.iter().find(|key| key.is_active_at(now)) {
        say(&format!("{purpose}: {} signs already", key.kid));
        return Ok(());
    }
    let retires_at = now + SIGNING_PERIOD_SECONDS;
    let longest_token = match purpose {
        KeyPurpose::AccessToken => MAX_ACCESS_TOKEN_LIFETIME_SECONDS,
        KeyPurpose::RefreshToken => ABSOLUTE_LIFETIME_SECONDS,
    };
    let key = generate(purpose, now, retires_at, sealer).await?;
    table.add(purpose, &key, retires_at + longest_token).await?;
    say(&format!("{purpose}: made {}, which signs from now on", key.record.kid));
    Ok(())
}
