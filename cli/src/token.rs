//! `latchkey token inspect`: the content of a token, and the result of each check of the verifier.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Read as _};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use auth::EpochSeconds;
use auth::id::UserId;
use auth::keys::verification::key_set;
use auth::revocation::Revoked;
use auth::signing_key::KeyPurpose;
use auth::store::StoreError;
use auth::store::denylist::DenylistTable;
use auth::store::signing_keys::SigningKeysTable;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use latchkey_verifier::{AccessTokenClaims, Check, Expected, ExpectedIssuer, KeySet, Refusal, verify};
use serde_json::{Value, json};
use shared::config::{ConfigError, table_name};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use crate::terminal::{Output, visible};

/// Longest token that is read, in bytes, and longest key set.
const MAX_BYTES: u64 = 64 * 1024;
/// Timeout for fetching a key set.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
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
    /// Show the content of an access or a refresh token, and the result of each check
    ///
    /// Reading a token needs no network. Its signature is checked with the keys of --jwks, or of
    /// SIGNING_KEYS_TABLE_NAME if that is set; with DENYLIST_TABLE_NAME, its revocation is checked too. The exit code
    /// is 1 if the token is not valid.
    Inspect {
        /// The token, also as `Bearer TOKEN`. If it is omitted or `-`, it is read from standard input, and
        /// appears neither in the shell's history nor in the list of processes
        token: Option<String>,
        /// The address of a key set, such as `https://api.example.com/.well-known/jwks.json`
        #[arg(long, value_name = "URL")]
        jwks: Option<String>,
        /// The issuer that the token must have; by default the token's own
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
    #[error("{0} is not a key set: it has no list `keys`")]
    NoKeySet(String),
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("a table did not answer")]
    Store(#[from] StoreError),
    #[error("the token is not valid: {0}")]
    NotValid(Rejection),
}

impl TokenError {
    /// The stable name, for scripts.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "unreadable",
            Self::NoToken => "no_token",
            Self::Fetch(..) | Self::NoKeySet(_) => "no_key_set",
            Self::Config(_) => "configuration",
            Self::Store(_) => "store_failed",
            Self::NotValid(rejection) => rejection.reason(),
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

/// A token without what is often copied along: white space, the scheme, the header's name.
fn bare(text: &str) -> &str {
    ["authorization:", "bearer "].iter().fold(text.trim(), |text, prefix| {
        let is_there = text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if is_there { text[prefix.len()..].trim_start() } else { text }
    })
}

/// Refresh tokens are opaque to clients; this shows their parts.
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
    let now = EpochSeconds::now();
    let mut parts = token.split('.').map(part);
    let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let keys = keys(jwks).await?;
    let own_issuer = claims["iss"].as_str().unwrap_or_default().to_owned();
    let expected = Expected { issuer: ExpectedIssuer::Exactly(issuer.as_ref().unwrap_or(&own_issuer)), audience };
    let result = match &keys {
        Some(keys) => match verify(token, keys, expected, now) {
            Ok(claims) => check_denylist(&claims, now).await?.map_err(Rejection::Revoked),
            Err(refusal) => Err(Rejection::Refused(refusal)),
        },
        // Without keys the verifier comes as far as the key.
        None => verify(token, &KeySet::default(), expected, now).map(|_| ()).map_err(Rejection::Refused),
    };
    let checks = checks(result, keys.is_some());

    let mut text = format!("header\n{}claims\n{}checks\n", members(&header, now), members(&claims, now));
    for (check, state) in &checks {
        let line = match state {
            State::Passed => format!("  ok        {check}\n"),
            State::Refused(rejection) => format!("  REFUSED   {check}: {rejection}\n"),
            State::NotReached => format!("  -         {check}\n"),
        };
        text.push_str(&line);
    }
    text.push_str(match (&keys, result) {
        (_, Ok(())) => "the token is valid",
        (None, Err(Rejection::Refused(Refusal::UnknownKid))) => {
            "the signature cannot be checked without keys: give --jwks, or set SIGNING_KEYS_TABLE_NAME"
        }
        (_, Err(_)) => "the token is not valid",
    });
    let states: Vec<_> = checks
        .iter()
        .map(|(check, state)| json!({ "check": check, "state": state.name(), "reason": state.reason() }))
        .collect();
    output.result(&text, &json!({ "kind": "access_token", "header": header, "claims": claims, "checks": states }));
    match (keys, result) {
        (_, Ok(())) | (None, Err(Rejection::Refused(Refusal::UnknownKid))) => Ok(()),
        (_, Err(rejection)) => Err(TokenError::NotValid(rejection)),
    }
}

/// Why a token is not valid.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Rejection {
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    Revoked(Revoked),
}

impl Rejection {
    fn reason(self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::Revoked(revoked) => revoked.reason(),
        }
    }
}

/// The result of a check.
#[derive(Clone, Copy)]
enum State {
    Passed,
    Refused(Rejection),
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
            Self::Refused(rejection) => Some(rejection.reason()),
            Self::Passed | Self::NotReached => None,
        }
    }
}

/// Every check by its name: those of the verifier, in order, which stops at the first that fails, and then the
/// denylist.
fn checks(result: Result<(), Rejection>, has_keys: bool) -> Vec<(String, State)> {
    let of_verifier = |check| match result {
        Ok(()) | Err(Rejection::Revoked(_)) => State::Passed,
        Err(Rejection::Refused(refusal)) if check < refusal.check() => State::Passed,
        Err(Rejection::Refused(Refusal::UnknownKid)) if !has_keys => State::NotReached,
        Err(Rejection::Refused(refusal)) if check == refusal.check() => State::Refused(Rejection::Refused(refusal)),
        Err(Rejection::Refused(_)) => State::NotReached,
    };
    let revocation = match result {
        Ok(()) if has_denylist() => State::Passed,
        Err(rejection @ Rejection::Revoked(_)) => State::Refused(rejection),
        Ok(()) | Err(Rejection::Refused(_)) => State::NotReached,
    };
    let checks = Check::ALL.iter().map(|&check| (check.to_string(), of_verifier(check)));
    checks.chain([("revocation".to_owned(), revocation)]).collect()
}

/// Revocation can only be checked with a denylist.
fn has_denylist() -> bool {
    std::env::var_os("DENYLIST_TABLE_NAME").is_some()
}

/// The keys to verify with, if any are configured.
async fn keys(jwks: Option<&str>) -> Result<Option<Arc<KeySet>>, TokenError> {
    if let Some(url) = jwks {
        return fetch(url).map(Some);
    }
    if std::env::var_os("SIGNING_KEYS_TABLE_NAME").is_none() {
        return Ok(None);
    }
    let table = SigningKeysTable::new(crate::user::client().await, table_name("SIGNING_KEYS_TABLE_NAME")?);
    let records = table.public_keys(KeyPurpose::AccessToken).await?;
    Ok(Some(Arc::new(key_set(&records, &HashMap::new()))))
}

fn fetch(url: &str) -> Result<Arc<KeySet>, TokenError> {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::WebPki)
        .build();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().tls_config(tls).timeout_global(Some(FETCH_TIMEOUT)).build().into();
    let failed = |error| TokenError::Fetch(url.to_owned(), Box::new(error));
    let mut answer = agent.get(url).call().map_err(failed)?;
    let text = answer.body_mut().with_config().limit(MAX_BYTES).read_to_string().map_err(failed)?;
    KeySet::from_jwks(&text).map(Arc::new).map_err(|_| TokenError::NoKeySet(url.to_owned()))
}

/// Whether a token is revoked, where there is a denylist.
async fn check_denylist(claims: &AccessTokenClaims, now: EpochSeconds) -> Result<Result<(), Revoked>, TokenError> {
    if !has_denylist() {
        return Ok(Ok(()));
    }
    let denylist = DenylistTable::new(crate::user::client().await, table_name("DENYLIST_TABLE_NAME")?);
    Ok(denylist.revocations(&UserId::new(&claims.sub), now).await?.check(claims))
}

/// A part of a token as JSON; `null` if it is not JSON.
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
fn time_text(time: u64, now: EpochSeconds) -> String {
    // Later than the year 9999 there is no such text.
    let when = if time < 253_402_300_800 {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(time))
    } else {
        "in the far future".to_owned()
    };
    let distance = crate::keys::span(time.abs_diff(now.get()));
    if time > now.get() { format!("  ({when}, in {distance})") } else { format!("  ({when}, {distance} ago)") }
}
