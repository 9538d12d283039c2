//! `latchkey keys`.

use std::time::Duration;

use api::config;
use auth::EpochSeconds;
use auth::id::KeyId;
use auth::keys::REREAD_AFTER_SECONDS;
use auth::keys::rotation::{self, Rotated, RotationError, RotationPolicy, rotate};
use auth::keys::wrapping::{EncryptionContext, KeyWrapper, WrappingError};
use auth::signing_key::{KeyKind, KeyPurpose, KeyRecord};
use auth::store::StoreError;
use auth::store::client::config_loader;
use auth::store::signing_keys::SigningKeysTable;
use aws_config::SdkConfig;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use latchkey_verifier::{LEEWAY_SECONDS, SigningAlgorithm};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::config::{ConfigError, table_name};

use crate::terminal::Output;

/// Within how many seconds every function has read the keys again.
const READ_BY_ALL_SECONDS: u64 = REREAD_AFTER_SECONDS;

#[derive(Args)]
pub(crate) struct KeysArguments {
    /// Print JSON, for scripts: an object for each key, and errors as `{"error": code, "message": text}` on standard
    /// error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Create the keys that are due, as the stack itself does once a day: the first ones, or successors
    ///
    /// Needs LATCHKEY_KMS_KEY_ID, the deployment's own.
    Init {
        /// The algorithm of a new access-token key: ES256, RS256, EdDSA or HS256
        #[arg(long, env = "LATCHKEY_SIGNING_ALGORITHM", default_value_t = SigningAlgorithm::Es256)]
        algorithm: SigningAlgorithm,
    },
    /// List all keys: which one signs, which ones verify, and until when
    List,
    /// Create new keys now, which sign from a day later; the old ones verify until their last token has expired
    ///
    /// Needs LATCHKEY_KMS_KEY_ID, the deployment's own.
    Rotate {
        /// The algorithm of the new access-token key: ES256, RS256, EdDSA or HS256
        #[arg(long, env = "LATCHKEY_SIGNING_ALGORITHM", default_value_t = SigningAlgorithm::Es256)]
        algorithm: SigningAlgorithm,
        /// Sign immediately. Other verifiers that cached the key set may reject new tokens until they read it
        /// again
        #[arg(long)]
        now: bool,
        /// Only the keys of this purpose: access-token or refresh-token
        #[arg(long, value_parser = purpose)]
        purpose: Option<KeyPurpose>,
        /// When the new keys stop signing, in seconds after they start
        #[arg(long, value_name = "SECONDS", default_value_t = RotationPolicy::default().sign_for_seconds,
              value_parser = clap::value_parser!(u64).range(10..))]
        sign_for: u64,
    },
    /// Revoke a key that may be stolen: every token that it signed is rejected within a minute
    ///
    /// It waits until every function has read the key that signs in its place, at most 70 s after `rotate --now`. Until
    /// then a login could issue tokens of the revoked key, which are immediately rejected. Ctrl-C while it waits leaves
    /// the key in place.
    #[command(alias = "retire")]
    Revoke {
        /// The key's id
        #[arg(allow_hyphen_values = true)]
        kid: String,
        /// Do not wait. Users who log in or refresh within the next minute may have to log in again
        #[arg(long)]
        at_once: bool,
    },
    /// Print the secret of an HS256 key in base64url, for another verifier, which could then sign tokens too
    ///
    /// Needs LATCHKEY_KMS_KEY_ID, and the permission to decrypt with it.
    Export {
        /// The key's id
        #[arg(allow_hyphen_values = true)]
        kid: String,
    },
}

/// A command about keys failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Wrapping(#[from] WrappingError),
    #[error("no key was created")]
    Rotation(#[from] RotationError),
    #[error("the table of keys did not answer")]
    Store(#[from] StoreError),
    #[error("there is no key {0}; `latchkey keys list` shows all")]
    Unknown(KeyId),
    #[error(
        "{kid} is the only {purpose} key that signs for the next minutes: without it nobody could log in. First create another one with `latchkey keys rotate --now`"
    )]
    OnlyKey { kid: KeyId, purpose: KeyPurpose },
    #[error(
        "{kid} is the newest {purpose} key that signs: functions would sign with it for up to {READ_BY_ALL_SECONDS} s more. First create a newer one with `latchkey keys rotate --now --purpose {purpose}`, or revoke it anyway with --at-once"
    )]
    Signs { kid: KeyId, purpose: KeyPurpose },
    #[error(
        "{kid} is a {purpose} key: it signs nothing, and no login is possible without it. docs/OPERATIONS.md says how to replace it if it may be stolen"
    )]
    SignsNothing { kid: KeyId, purpose: KeyPurpose },
    #[error("interrupted; {0} is not revoked")]
    Interrupted(KeyId),
    #[error(
        "{0} is not an HS256 key of access tokens. Public keys are in the key set, and other private keys cannot be exported"
    )]
    NotExportable(KeyId),
}

impl KeysError {
    /// The stable name, for scripts.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "configuration",
            Self::Wrapping(_) => "sealing_failed",
            Self::Rotation(_) => "rotation_failed",
            Self::Store(_) => "store_failed",
            Self::Unknown(_) => "unknown_key",
            Self::OnlyKey { .. } => "only_key",
            Self::Signs { .. } => "signs",
            Self::SignsNothing { .. } => "signs_nothing",
            Self::Interrupted(_) => "interrupted",
            Self::NotExportable(_) => "not_exportable",
        }
    }
}

pub(crate) async fn run(arguments: KeysArguments) -> Result<(), KeysError> {
    let output = Output { json: arguments.json };
    let name = table_name("SIGNING_KEYS_TABLE_NAME")?;
    let sdk_config = config_loader().load().await;
    let table = SigningKeysTable::new(aws_sdk_dynamodb::Client::new(&sdk_config), name);
    match arguments.command {
        KeysCommand::Init { algorithm } => {
            let wrapper = wrapper(&sdk_config)?;
            for kind in KeyPurpose::ALL.map(|purpose| KeyKind::of(purpose, algorithm)) {
                make(&table, &wrapper, kind, RotationPolicy::default(), output).await?;
            }
            Ok(())
        }
        KeysCommand::Rotate { algorithm, now, purpose, sign_for } => {
            let wrapper = wrapper(&sdk_config)?;
            let default = RotationPolicy::default();
            let policy = RotationPolicy {
                publish_ahead_seconds: if now { 0 } else { default.publish_ahead_seconds },
                // Regardless of its age.
                rotate_after_seconds: 0,
                sign_for_seconds: sign_for,
            };
            for kind in [KeyKind::AccessToken(algorithm), KeyKind::RefreshToken] {
                if purpose.is_none_or(|purpose| purpose == kind.purpose()) {
                    make(&table, &wrapper, kind, policy, output).await?;
                }
            }
            Ok(())
        }
        KeysCommand::List => list(&table, output).await,
        KeysCommand::Revoke { kid, at_once } => revoke(&table, &KeyId::new(kid), at_once, output).await,
        KeysCommand::Export { kid } => export(&table, &wrapper(&sdk_config)?, &KeyId::new(kid), output).await,
    }
}

fn wrapper(sdk_config: &SdkConfig) -> Result<KeyWrapper, KeysError> {
    Ok(KeyWrapper::new(&config::wrapping_key()?, sdk_config)?)
}

async fn make(
    table: &SigningKeysTable,
    wrapper: &KeyWrapper,
    kind: KeyKind,
    policy: RotationPolicy,
    output: Output,
) -> Result<(), KeysError> {
    let purpose = kind.purpose();
    let rotated = rotate(table, wrapper, kind, policy, EpochSeconds::now()).await?;
    if let (Rotated::Made(record), 0) = (&rotated, policy.publish_ahead_seconds) {
        // If another key was created in the same second, this one signs from the next second on.
        while EpochSeconds::now() < record.activates_at {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let now = EpochSeconds::now();
    let (text, record, made) = match rotated {
        Rotated::Made(record) if purpose == KeyPurpose::LoginAttempts => {
            (format!("{purpose}: created {} ({}), which does not rotate", record.kid, record.alg), record, true)
        }
        Rotated::NotDue(record) if purpose == KeyPurpose::LoginAttempts => {
            (format!("{purpose}: {} is in use already", record.kid), record, false)
        }
        Rotated::NotDue(record) => (format!("{purpose}: {} signs already", record.kid), record, false),
        Rotated::MadeByAnother(record) => {
            (format!("{purpose}: {} was created concurrently, and signs", record.kid), record, false)
        }
        Rotated::Made(record) if record.activates_at <= now => (
            format!(
                "{purpose}: created {} ({}), which signs from now on; every function knows it within {READ_BY_ALL_SECONDS} s",
                record.kid, record.alg
            ),
            record,
            true,
        ),
        Rotated::Made(record) => (
            format!(
                "{purpose}: created {} ({}), which is published now and signs in {}; the old key verifies until its last token has expired",
                record.kid,
                record.alg,
                span(record.activates_at.seconds_since(now).unwrap_or_default())
            ),
            record,
            true,
        ),
    };
    let mut object = describe(purpose, &record, now);
    object["made"] = made.into();
    output.result(&text, &object);
    Ok(())
}

async fn list(table: &SigningKeysTable, output: Output) -> Result<(), KeysError> {
    let now = EpochSeconds::now();
    for purpose in KeyPurpose::ALL {
        let mut records = table.public_keys(purpose).await?;
        records.sort_by_key(|record| record.activates_at);
        let signs = records.iter().rfind(|record| record.is_active_at(now)).map(|record| record.kid.clone());
        for record in records {
            let state = if purpose == KeyPurpose::LoginAttempts {
                "signs nothing, counts the attempts at unknown names; does not rotate".to_owned()
            } else if signs.as_ref() == Some(&record.kid) {
                format!("signs, for at most {} more", span(record.retires_at.seconds_since(now).unwrap_or_default()))
            } else if now < record.activates_at {
                format!("is published, signs in {}", span(record.activates_at.seconds_since(now).unwrap_or_default()))
            } else if now < rotation::expires_at(purpose, record.retires_at) {
                "verifies".to_owned()
            } else {
                "has expired".to_owned()
            };
            let object = describe(purpose, &record, now);
            output.result(&format!("{purpose}  {}  {}  {state}", record.kid, record.alg), &object);
        }
    }
    Ok(())
}

async fn revoke(table: &SigningKeysTable, kid: &KeyId, at_once: bool, output: Output) -> Result<(), KeysError> {
    let (purpose, records) = find(table, kid).await?;
    let what = match purpose {
        KeyPurpose::AccessToken => "every access token that it signed is invalid",
        KeyPurpose::RefreshToken => "every refresh token that it signed is invalid, and so is its session",
        KeyPurpose::LoginAttempts => return Err(KeysError::SignsNothing { kid: kid.clone(), purpose }),
    };
    let now = EpochSeconds::now();
    let ready_at = match ready_at(&records, kid, now) {
        Ready::Never => return Err(KeysError::OnlyKey { kid: kid.clone(), purpose }),
        Ready::AfterARotation if !at_once => return Err(KeysError::Signs { kid: kid.clone(), purpose }),
        Ready::At(ready_at) if !at_once => ready_at,
        Ready::AfterARotation | Ready::At(_) => now,
    };
    wait_until(ready_at, kid, output).await?;
    table.delete(purpose, kid).await?;
    let text = format!(
        "{purpose}: {kid} is revoked; {what}, within {READ_BY_ALL_SECONDS} s, as soon as each function has read the keys again"
    );
    output.result(&text, &json!({ "kid": kid, "purpose": purpose.as_str(), "action": "retire", "changed": true }));
    Ok(())
}

/// When a key can be revoked because no function issues tokens with it.
#[derive(Debug, PartialEq, Eq)]
enum Ready {
    /// From this moment on.
    At(EpochSeconds),
    /// When a newer one signs.
    AfterARotation,
    /// No other one signs for long enough.
    Never,
}

/// A function signs with the newest key that it has read, and reads the keys again once in [`READ_BY_ALL_SECONDS`]; its
/// clock may be behind by the leeway.
fn ready_at(records: &[KeyRecord], kid: &KeyId, now: EpochSeconds) -> Ready {
    const KNOWN_AFTER_SECONDS: u64 = READ_BY_ALL_SECONDS + LEEWAY_SECONDS;
    let begun = |record: &&KeyRecord| record.activates_at <= now + KNOWN_AFTER_SECONDS && now < record.retires_at;
    let Some(own) = records.iter().find(|record| record.kid == *kid).filter(begun) else { return Ready::At(now) };
    let ready_after = |record: &KeyRecord| now.max(record.activates_at + KNOWN_AFTER_SECONDS);
    // A function that still has the revoked key in its cache must have another one that signs.
    let others = records.iter().filter(|record| {
        record.kid != *kid && record.is_active_at(now) && record.retires_at >= ready_after(record) + KNOWN_AFTER_SECONDS
    });
    let order = |record: &&KeyRecord| (record.activates_at, record.kid.clone());
    match others.max_by_key(order) {
        None if own.is_active_at(now) => Ready::Never,
        None => Ready::At(now),
        Some(signs) if order(&signs) > order(&own) => Ready::At(ready_after(signs)),
        Some(_) => Ready::AfterARotation,
    }
}

/// Waits, and prints the remaining time every ten seconds.
async fn wait_until(ready_at: EpochSeconds, kid: &KeyId, output: Output) -> Result<(), KeysError> {
    let wait = async {
        let mut said_at = None;
        while let Some(left) = ready_at.seconds_since(EpochSeconds::now()).filter(|left| *left > 0) {
            if said_at.is_none_or(|said_at| said_at >= left + 10) {
                said_at = Some(left);
                output.progress(&format!(
                    "{kid} will be revoked in {left} s, when every function has read the key that signs instead"
                ));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        () = wait => Ok(()),
        // Without a signal handler, the signal ends the command.
        Ok(()) = tokio::signal::ctrl_c() => Err(KeysError::Interrupted(kid.clone())),
    }
}

async fn export(table: &SigningKeysTable, wrapper: &KeyWrapper, kid: &KeyId, output: Output) -> Result<(), KeysError> {
    let keys = table.wrapped_keys(KeyPurpose::AccessToken).await?;
    let Some(key) = keys.iter().find(|key| key.record.kid == *kid) else {
        let (_, _) = find(table, kid).await?;
        return Err(KeysError::NotExportable(kid.clone()));
    };
    if key.record.alg != SigningAlgorithm::Hs256.name() {
        return Err(KeysError::NotExportable(kid.clone()));
    }
    let context = EncryptionContext { kid, purpose: KeyPurpose::AccessToken };
    let secret = wrapper.unwrap(context, &key.wrapped_private_key).await?;
    let encoded = URL_SAFE_NO_PAD.encode(secret.expose_secret());
    output.result(&encoded, &json!({ "kty": "oct", "kid": kid, "alg": "HS256", "k": encoded }));
    Ok(())
}

/// The purpose that a key is for, and all keys for it.
async fn find(table: &SigningKeysTable, kid: &KeyId) -> Result<(KeyPurpose, Vec<KeyRecord>), KeysError> {
    for purpose in KeyPurpose::ALL {
        let records = table.public_keys(purpose).await?;
        if records.iter().any(|record| record.kid == *kid) {
            return Ok((purpose, records));
        }
    }
    Err(KeysError::Unknown(kid.clone()))
}

fn describe(purpose: KeyPurpose, record: &KeyRecord, now: EpochSeconds) -> Value {
    json!({
        "purpose": purpose.as_str(),
        "kid": record.kid,
        "alg": record.alg,
        "activates_at": record.activates_at,
        "retires_at": record.retires_at,
        "is_active": record.is_active_at(now),
    })
}

fn purpose(text: &str) -> Result<KeyPurpose, String> {
    [KeyPurpose::AccessToken, KeyPurpose::RefreshToken]
        .into_iter()
        .find(|purpose| purpose.as_str() == text)
        .ok_or_else(|| "a purpose that rotates is access-token or refresh-token".to_owned())
}

/// A length of time for people.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_can_be_revoked_when_every_function_has_read_the_one_that_signs_instead() {
        let at = EpochSeconds::new;
        let key = |kid: &str, activates_at, retires_at| KeyRecord {
            kid: KeyId::new(kid),
            alg: "ES256".to_owned(),
            public_jwk: None,
            activates_at: at(activates_at),
            retires_at: at(retires_at),
        };
        let now = 10_000;
        let ready_at = |records: &[KeyRecord], kid: &str, now| ready_at(records, &KeyId::new(kid), at(now));
        let (old, new) = (key("old", 5_000, 50_000), key("new", 9_990, 50_000));
        let both = [old.clone(), new.clone()];
        assert_eq!(ready_at(&both, "old", now), Ready::At(at(9_990 + 70)));
        assert_eq!(ready_at(&both, "old", 10_060), Ready::At(at(10_060)), "known everywhere by now");
        assert_eq!(ready_at(&both, "new", now), Ready::AfterARotation);
        assert_eq!(ready_at(std::slice::from_ref(&old), "old", now), Ready::Never);
        // Neither a key that has retired nor one whose day is far away signs anything.
        for other in [key("other", 1_000, 10_000), key("other", 10_071, 50_000)] {
            assert_eq!(ready_at(&[old.clone(), other], "other", now), Ready::At(at(now)));
        }
        // Functions that have read it begin to sign with it before they read that it is gone.
        assert_eq!(ready_at(&[old.clone(), key("soon", 10_070, 50_000)], "soon", now), Ready::AfterARotation);
        assert_eq!(ready_at(&[key("soon", 10_070, 50_000)], "soon", now), Ready::At(at(now)), "there is nothing else");
        // A successor that stops to sign before all have read that the key is gone is none.
        let short = |retires_at| [old.clone(), key("short", 9_990, retires_at)];
        assert_eq!(ready_at(&short(10_129), "old", now), Ready::Never);
        assert_eq!(ready_at(&short(10_130), "old", now), Ready::At(at(10_060)));
        let third = [old.clone(), key("short", 9_990, 10_129), key("older", 4_000, 50_000)];
        assert_eq!(ready_at(&third, "old", now), Ready::AfterARotation);
        // Two of one second: the later id signs.
        let twins = [key("a", 9_000, 50_000), key("b", 9_000, 50_000)];
        assert_eq!(ready_at(&twins, "a", now), Ready::At(at(now)));
        assert_eq!(ready_at(&twins, "b", now), Ready::AfterARotation);
    }

    #[test]
    fn a_span_is_said_in_the_unit_that_fits() {
        for (seconds, text) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7199, "119 min"),
            (7200, "2 h"),
            (86_400, "24 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
