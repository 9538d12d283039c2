//! The settings of `auth`, read from the environment.

use std::env;

use auth::keys::wrapping::WrappingKey;
use auth::signing_key::KeyPurpose;
use latchkey_verifier::{MAX_ACCESS_TOKEN_LIFETIME_SECONDS, SigningAlgorithm};
use secrecy::SecretString;
use shared::config::{ConfigError, number_in, required, switch};

/// Shortest lifetime of an access token that can be configured, in seconds.
const MIN_ACCESS_TOKEN_LIFETIME_SECONDS: u64 = 60;

/// The key that wraps private keys: `LATCHKEY_SEALING_KEY`, which only local tooling sets, or else
/// `LATCHKEY_KMS_KEY_ID`.
///
/// # Errors
/// Neither variable is set.
pub fn wrapping_key() -> Result<WrappingKey, ConfigError> {
    match env::var("LATCHKEY_SEALING_KEY").ok().filter(|key| !key.is_empty()) {
        Some(key) => Ok(WrappingKey::Local(SecretString::from(key))),
        None => required("LATCHKEY_KMS_KEY_ID", "the id or the ARN of a KMS key").map(WrappingKey::Kms),
    }
}

/// Who issues the tokens, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenParties {
    /// `iss`, where it is configured.
    issuer: Option<String>,
    /// `aud`.
    pub audience: String,
}

impl TokenParties {
    /// Reads `LATCHKEY_ISSUER` (may be empty) and `LATCHKEY_AUDIENCE`.
    ///
    /// # Errors
    /// The audience is missing, or the issuer is no URL.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::new(
            env::var("LATCHKEY_ISSUER").unwrap_or_default(),
            required("LATCHKEY_AUDIENCE", "the audience of the tokens")?,
        )
    }

    /// An empty `issuer` means that the request's domain name gives it.
    ///
    /// # Errors
    /// The issuer is no `https` URL (RFC 9068 §2.2 with RFC 8414 §2).
    pub fn new(issuer: String, audience: String) -> Result<Self, ConfigError> {
        if !issuer.is_empty() && (!issuer.starts_with("https://") || issuer.contains(['?', '#', ' '])) {
            return Err(ConfigError::Invalid {
                name: "LATCHKEY_ISSUER",
                form: "an https URL without query or fragment, or empty",
            });
        }
        Ok(Self { issuer: Some(issuer).filter(|issuer| !issuer.is_empty()), audience })
    }

    /// `iss` for a request that came in by `domain_name`: `requestContext.domainName`, which API Gateway sets, never
    /// the Host header. `None` where neither is known.
    #[must_use]
    pub fn issuer(&self, domain_name: Option<&str>) -> Option<String> {
        self.issuer
            .clone()
            .or_else(|| domain_name.filter(|name| !name.is_empty()).map(|name| format!("https://{name}")))
    }
}

/// The lifetime of access tokens, in seconds, from `LATCHKEY_ACCESS_TOKEN_LIFETIME_SECONDS`.
///
/// # Errors
/// It is missing, no number, or outside of 60 to 3600.
pub fn access_token_lifetime_seconds() -> Result<u64, ConfigError> {
    number_in(
        "LATCHKEY_ACCESS_TOKEN_LIFETIME_SECONDS",
        MIN_ACCESS_TOKEN_LIFETIME_SECONDS..=MAX_ACCESS_TOKEN_LIFETIME_SECONDS,
        "a whole number of seconds from 60 to 3600",
    )
}

/// For how long a refresh token may be sent again, in seconds, from `LATCHKEY_REFRESH_GRACE_SECONDS`: long enough
/// for a lost response or a second tab.
///
/// # Errors
/// It is missing, no number, or more than 60.
pub fn refresh_grace_seconds() -> Result<u64, ConfigError> {
    number_in("LATCHKEY_REFRESH_GRACE_SECONDS", 0..=60, "a whole number of seconds from 0 to 60")
}

/// Failed logins, registrations and failed refreshes, each of them, from a source address within an hour before it has
/// to wait, from `LATCHKEY_FREE_ATTEMPTS_PER_ADDRESS`. Many people may share an address.
///
/// # Errors
/// It is missing, no number, or outside of 1 to 1 000 000.
pub fn free_attempts_per_address() -> Result<u64, ConfigError> {
    number_in("LATCHKEY_FREE_ATTEMPTS_PER_ADDRESS", 1..=1_000_000, "a whole number from 1 to 1000000")
}

/// Minimum length of a new password in code points, from `LATCHKEY_MIN_PASSWORD_LENGTH`.
///
/// # Errors
/// It is missing, no number, or outside of 8 to 64.
pub fn min_password_length() -> Result<usize, ConfigError> {
    number_in("LATCHKEY_MIN_PASSWORD_LENGTH", 8..=64, "a whole number from 8 to 64")
}

/// The algorithm of new access-token keys, from `LATCHKEY_SIGNING_ALGORITHM`.
///
/// # Errors
/// It is missing or none of the four.
pub fn signing_algorithm() -> Result<SigningAlgorithm, ConfigError> {
    const NAME: &str = "LATCHKEY_SIGNING_ALGORITHM";
    const FORM: &str = "one of ES256, RS256, EdDSA, HS256";
    required(NAME, FORM)?.parse().map_err(|_| ConfigError::Invalid { name: NAME, form: FORM })
}

/// The purposes that the stack needs keys for, from `LATCHKEY_KEY_PURPOSES`: names, separated by commas. Unset or
/// empty, they are those that every stack needs.
///
/// # Errors
/// It names an unknown purpose.
pub fn key_purposes() -> Result<Vec<KeyPurpose>, ConfigError> {
    purposes(&env::var("LATCHKEY_KEY_PURPOSES").unwrap_or_default())
}

fn purposes(names: &str) -> Result<Vec<KeyPurpose>, ConfigError> {
    if names.is_empty() {
        return Ok(KeyPurpose::ALL.to_vec());
    }
    let purpose = |name: &str| KeyPurpose::named(name).ok_or_else(|| ConfigError::UnknownPurpose(name.to_owned()));
    names.split(',').map(purpose).collect()
}

/// Whether access tokens of HS256 are accepted, from `LATCHKEY_HS256`. A function that accepts them is given the
/// secrets.
///
/// # Errors
/// It is neither `accepted` nor `refused`.
pub fn accepts_hs256() -> Result<bool, ConfigError> {
    switch("LATCHKEY_HS256", ("accepted", "refused"), "`accepted` or `refused`")
}

/// Whether registration is enabled, from `LATCHKEY_REGISTRATION`.
///
/// # Errors
/// It is neither `enabled` nor `disabled`.
pub fn is_registration_enabled() -> Result<bool, ConfigError> {
    switch("LATCHKEY_REGISTRATION", ("enabled", "disabled"), "`enabled` or `disabled`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_issuer_is_the_domain_name_of_the_request() {
        let parties = TokenParties::new(String::new(), "latchkey".into()).unwrap();
        assert_eq!(parties.issuer(Some("api.example.com")).as_deref(), Some("https://api.example.com"));
        assert_eq!(parties.issuer(Some("")), None);
        assert_eq!(parties.issuer(None), None);
    }

    #[test]
    fn a_configured_issuer_wins_over_the_domain_name() {
        let parties = TokenParties::new("https://login.example.com".into(), "latchkey".into()).unwrap();
        assert_eq!(parties.issuer(Some("other")).as_deref(), Some("https://login.example.com"));
    }

    #[test]
    fn an_issuer_is_an_https_url_without_query_or_fragment() {
        for issuer in ["http://example.com", "example.com", "https://a?b", "https://a#b", "https://a b"] {
            assert!(TokenParties::new(issuer.into(), "latchkey".into()).is_err(), "{issuer}");
        }
    }

    #[test]
    fn purposes_of_keys_are_names_separated_by_commas() {
        assert_eq!(purposes(""), Ok(KeyPurpose::ALL.to_vec()));
        assert_eq!(purposes("access-token,refresh-token,login-attempts"), Ok(KeyPurpose::ALL.to_vec()));
        assert_eq!(purposes("refresh-token"), Ok(vec![KeyPurpose::RefreshToken]));
        for (names, unknown) in [
            ("access-token,session", "session"),
            ("access-token, refresh-token", " refresh-token"),
            ("refresh-token,", ""),
            ("first-key", "first-key"),
        ] {
            let error = purposes(names).unwrap_err();
            assert_eq!(error, ConfigError::UnknownPurpose(unknown.to_owned()), "{names}");
            assert_eq!(
                error.to_string(),
                format!(
                    "the environment variable LATCHKEY_KEY_PURPOSES names `{unknown}`, which is not a purpose of keys"
                )
            );
        }
    }
}
