//! `latchkey token inspect`: what is in a token, and what the verifier says of it.

use std::io::{IsTerminal as _, Read as _};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use shared::authorization;
use shared::clock::{self, EpochSeconds};
use shared::config::{self, ConfigError};
use shared::keys::ring::KeyRing;
use shared::keys::{KeyPurpose, KeyRecord};
use shared::store::StoreError;
use shared::store::denylist::DenylistTable;
use shared::store::signing_keys::SigningKeysTable;
use shared::token::claims::AccessTokenClaims;
use shared::token::verifier::{Check, Expected, ExpectedIssuer, Refusal, verify};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::terminal::{Output, visible};

/// Longest token that is looked at, in bytes, and longest key set.
const MAX_BYTES: u64 = 64 * 1024;
/// Time for a key set to be fetched.
const PATIENCE: Duration = Duration::from_secs(10);
/// Claims that are times.
const TIMES: [&str; 3] = ["exp", "iat", "nbf"];

#[derive(Args)]
pub(crate) struct TokenArguments {
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// Show what is in an access or a refresh token, and each check of the verifier
    ///
    /// Reading a token needs no network. Its signature is checked with the keys of --jwks, or of
    /// SIGNING_KEYS_TABLE_NAME if that is set; with DENYLIST_TABLE_NAME, whether it was revoked, too. The exit code is
    /// 1 if the token is not valid.
    Inspect {
        /// The token, also as `Bearer TOKEN`; left out or `-`, it is read from standard input, where neither the
        /// shell's history nor the list of processes shows it
        token: Option<String>,
        /// The address of a key set, such as `https://api.example.com/.well-known/jwks.json`
        #[arg(long, value_name = "URL")]
        jwks: Option<String>,
        /// The issuer that the token must have; left out, the token's own is taken
        #[arg(long, env = "LATCHKEY_ISSUER")]
        issuer: Option<String>,
        /// The audience that the token must have
        #[arg(long, env = "LATCHKEY_AUDIENCE", default_value = "latchkey")]
        audience: String,
    },
}

/// A command about a token failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token could not be read")]
    Read(#[from] std::io::Error),
    #[error("this is neither an access token (three parts) nor a refresh token (five)")]
    NoToken,
    #[error("the key set {0} could not be fetched")]
    Fetch(String, #[source] Box<ureq::Error>),
    #[error("{0} is no key set: it has no list `keys`")]
    NoKeySet(String),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("a table did not answer")]
    Store(#[from] StoreError),
    #[error("the token is not valid: {0}")]
    Refused(Refusal),
}

impl TokenError {
    /// The stable name, for scripts.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "unreadable",
            Self::NoToken => "no_token",
            Self::Fetch(..) | Self::NoKeySet(_) => "no_key_set",
            Self::Config(_) => "configuration",
            Self::Store(_) => "store_failed",
            Self::Refused(refusal) => refusal.reason(),
        }
    }
}

pub(crate) async fn run(arguments: TokenArguments) -> Result<(), TokenError> {
    let output = Output { json: arguments.json };
    let TokenCommand::Inspect { token, jwks, issuer, audience } = arguments.command;
    let token = if let Some(token) = token.filter(|token| token != "-") {
        output.warning(
            "token_argument",
            "a token that is given as an argument stands in the shell's history and in the list of processes; leave it out, and \
             paste it or pipe it in",
        );
        token
    } else if std::io::stdin().is_terminal() {
        rpassword::prompt_password("Token: ")?
    } else {
        let mut token = String::new();
        std::io::stdin().lock().take(MAX_BYTES).read_to_string(&mut token)?;
        token
    };
    let token = bare(&token);
    match token.split('.').count() {
        3 => access_token(token, jwks.as_deref(), issuer.filter(|issuer| !issuer.is_empty()), &audience, output).await,
        5 => {
            refresh_token(token, output);
            Ok(())
        }
        _ => Err(TokenError::NoToken),
    }
}

/// A token without what it is often copied with: white space, the scheme, the header's name.
fn bare(text: &str) -> &str {
    ["authorization:", "bearer "].iter().fold(text.trim(), |text, prefix| {
        let is_there = text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if is_there { text[prefix.len()..].trim_start() } else { text }
    })
}

/// Refresh tokens are opaque to clients; this is what they are made of.
fn refresh_token(token: &str, output: Output) {
    let parts: Vec<_> = token.split('.').collect();
    let text = format!(
        "a refresh token, whose MAC only the system can check\n  version     {}\n  kid         {}\n  sid         {}\n  generation  {}",
        visible(parts[0]),
        visible(parts[1]),
        visible(parts[2]),
        visible(parts[3])
    );
    let [version, kid, sid, generation] = [0, 1, 2, 3].map(|part| parts[part]);
    output.result(
        &text,
        &json!({ "kind": "refresh_token", "version": version, "kid": kid, "sid": sid, "generation": generation }),
    );
}

async fn access_token(
    token: &str,
    jwks: Option<&str>,
    issuer: Option<String>,
    audience: &str,
    output: Output,
) -> Result<(), TokenError> {
    let now = clock::now();
    let mut parts = token.split('.').map(part);
    let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let keys = keys(jwks).await?;
    let own_issuer = claims["iss"].as_str().unwrap_or_default().to_owned();
    let expected = Expected { issuer: ExpectedIssuer::Exactly(issuer.as_ref().unwrap_or(&own_issuer)), audience };
    let verdict = match &keys {
        Some(ring) => match verify(token, ring, expected, now) {
            Ok(claims) => denied(&claims, now).await?.map_or(Ok(()), Err),
            Err(refusal) => Err(refusal),
        },
        // Without keys the verifier comes as far as the key.
        None => verify(token, &KeyRing::default(), expected, now).map(|_| ()),
    };
    let checks: Vec<_> = Check::ALL.into_iter().map(|check| (check, state(check, verdict, keys.is_some()))).collect();

    let mut text = format!("header\n{}claims\n{}checks\n", members(&header, now), members(&claims, now));
    for (check, state) in &checks {
        let line = match state {
            State::Passed => format!("  ok        {check}\n"),
            State::Refused(refusal) => format!("  REFUSED   {check}: {refusal}\n"),
            State::NotReached => format!("  -         {check}\n"),
        };
        text.push_str(&line);
    }
    text.push_str(match (&keys, verdict) {
        (_, Ok(())) => "the token is valid",
        (None, Err(Refusal::UnknownKid)) => {
            "without keys nothing more can be said: give --jwks, or set SIGNING_KEYS_TABLE_NAME"
        }
        (_, Err(_)) => "the token is not valid",
    });
    let states: Vec<_> = checks
        .iter()
        .map(|(check, state)| json!({ "check": check.to_string(), "state": state.name(), "reason": state.reason() }))
        .collect();
    output.result(&text, &json!({ "kind": "access_token", "header": header, "claims": claims, "checks": states }));
    match (keys, verdict) {
        (_, Ok(())) | (None, Err(Refusal::UnknownKid)) => Ok(()),
        (_, Err(refusal)) => Err(TokenError::Refused(refusal)),
    }
}

/// What became of a check.
#[derive(Clone, Copy)]
enum State {
    Passed,
    Refused(Refusal),
    NotReached,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused(_) => "refused",
            Self::NotReached => "not_reached",
        }
    }

    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) => Some(refusal.reason()),
            Self::Passed | Self::NotReached => None,
        }
    }
}

/// The verifier makes its checks in order and stops at the first that a token does not pass.
fn state(check: Check, verdict: Result<(), Refusal>, has_keys: bool) -> State {
    match verdict {
        // Whether it was revoked is only known where there is a denylist to be asked.
        Ok(()) if check == Check::Revocation && std::env::var_os("DENYLIST_TABLE_NAME").is_none() => State::NotReached,
        Ok(()) => State::Passed,
        Err(refusal) if check < refusal.check() => State::Passed,
        Err(Refusal::UnknownKid) if !has_keys => State::NotReached,
        Err(refusal) if check == refusal.check() => State::Refused(refusal),
        Err(_) => State::NotReached,
    }
}

/// The keys to verify with, if some were named.
async fn keys(jwks: Option<&str>) -> Result<Option<Arc<KeyRing>>, TokenError> {
    if let Some(url) = jwks {
        return fetch(url).map(Some);
    }
    if std::env::var_os("SIGNING_KEYS_TABLE_NAME").is_none() {
        return Ok(None);
    }
    let table = SigningKeysTable::new(crate::user::client().await, config::table_name("SIGNING_KEYS_TABLE_NAME")?);
    Ok(Some(Arc::new(KeyRing::new(&table.public_keys(KeyPurpose::AccessToken).await?))))
}

fn fetch(url: &str) -> Result<Arc<KeyRing>, TokenError> {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::WebPki)
        .build();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().tls_config(tls).timeout_global(Some(PATIENCE)).build().into();
    let failed = |error| TokenError::Fetch(url.to_owned(), Box::new(error));
    let mut answer = agent.get(url).call().map_err(failed)?;
    let text = answer.body_mut().with_config().limit(MAX_BYTES).read_to_string().map_err(failed)?;
    let set: Value = serde_json::from_str(&text).map_err(|_| TokenError::NoKeySet(url.to_owned()))?;
    let jwks = set["keys"].as_array().ok_or_else(|| TokenError::NoKeySet(url.to_owned()))?;
    let text = |jwk: &Value, name: &str| jwk[name].as_str().unwrap_or_default().to_owned();
    let records: Vec<_> = jwks
        .iter()
        .map(|jwk| KeyRecord {
            kid: text(jwk, "kid"),
            alg: text(jwk, "alg"),
            public_jwk: Some(jwk.to_string()),
            // What is published verifies.
            activates_at: 0,
            retires_at: EpochSeconds::MAX,
        })
        .collect();
    Ok(Arc::new(KeyRing::new(&records)))
}

/// The revocation that covers a token, where there is a denylist to be asked.
async fn denied(claims: &AccessTokenClaims, now: EpochSeconds) -> Result<Option<Refusal>, TokenError> {
    if std::env::var_os("DENYLIST_TABLE_NAME").is_none() {
        return Ok(None);
    }
    let denylist = DenylistTable::new(crate::user::client().await, config::table_name("DENYLIST_TABLE_NAME")?);
    let revocations = denylist.revocations(&claims.sub, now).await?;
    Ok(authorization::refusal(&revocations, claims))
}

/// A part of a token as JSON; `null` where it is none.
fn part(encoded: &str) -> Value {
    let json = URL_SAFE_NO_PAD.decode(encoded).unwrap_or_default();
    serde_json::from_slice(&json).unwrap_or_default()
}

/// The members of a part, a line each, with times as people write them.
fn members(part: &Value, now: EpochSeconds) -> String {
    let Some(members) = part.as_object() else { return "  (no base64url of a JSON object)\n".to_owned() };
    let lines = members.iter().map(|(name, value)| {
        let time = value.as_u64().filter(|_| TIMES.contains(&name.as_str())).map(|time| time_text(time, now));
        let shown = value.as_str().map_or_else(|| value.to_string(), visible);
        format!("  {:10}  {shown}{}\n", visible(name), time.unwrap_or_default())
    });
    lines.collect()
}

/// A time for people: when, and how far away.
fn time_text(time: EpochSeconds, now: EpochSeconds) -> String {
    // Later than the year 9999 there is no such text.
    let when = if time < 253_402_300_800 {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time))
    } else {
        "in the far future".to_owned()
    };
    let distance = crate::keys::span(time.abs_diff(now));
    if time > now { format!("  ({when}, in {distance})") } else { format!("  ({when}, {distance} ago)") }
}
