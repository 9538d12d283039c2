//! What a function is told by its environment, read once at its start.
//!
//! One type per concern. An error names the variable and the form it takes. Every variable stands in
//! `template.yaml`; there is no other source of configuration.

use std::env;
use std::ops::RangeInclusive;
use std::str::FromStr;

use secrecy::SecretString;
use tracing::Level;

use crate::clock::EpochSeconds;
#[cfg(feature = "store")]
use crate::keys::KeyPurpose;

/// Every setting there is. A function is given those that it needs.
const SETTINGS: [&str; 15] = [
    "LATCHKEY_ACCESS_TOKEN_LIFETIME_SECONDS",
    "LATCHKEY_ALLOWED_ORIGINS",
    "LATCHKEY_AUDIENCE",
    "LATCHKEY_FREE_ATTEMPTS_PER_ADDRESS",
    "LATCHKEY_HS256",
    "LATCHKEY_ISSUER",
    "LATCHKEY_KEY_PURPOSES",
    "LATCHKEY_KMS_KEY_ID",
    "LATCHKEY_LOCAL_RESPONSE_HOST",
    "LATCHKEY_LOG_LEVEL",
    "LATCHKEY_MIN_PASSWORD_LENGTH",
    "LATCHKEY_REFRESH_GRACE_SECONDS",
    "LATCHKEY_REGISTRATION",
    "LATCHKEY_SEALING_KEY",
    "LATCHKEY_SIGNING_ALGORITHM",
];

/// Which of these variables look like settings and are none: a name that is misspelt would otherwise be no setting
/// without anybody noticing.
#[must_use]
pub fn unknown_settings(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let is_unknown = |name: &String| name.starts_with("LATCHKEY_") && !SETTINGS.contains(&name.as_str());
    let mut unknown: Vec<_> = names.into_iter().filter(is_unknown).collect();
    unknown.sort();
    unknown
}

/// Shortest lifetime of an access token that can be configured, in seconds.
pub const MIN_ACCESS_TOKEN_LIFETIME_SECONDS: EpochSeconds = 60;

/// Longest lifetime of an access token, in seconds: what can be configured, what the verifier accepts at the most,
/// how long a key verifies after its retirement, and how long a revocation is kept. One number, so that lowering
/// the configured lifetime cannot let a token outlive its revocation.
pub const MAX_ACCESS_TOKEN_LIFETIME_SECONDS: EpochSeconds = 3600;

/// A variable of the environment is missing or wrong.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not set, or empty.
    #[error("the environment variable {name} is not set; it holds {form}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What belongs into it.
        form: &'static str,
    },
    /// Set to something else than it takes. The value is not repeated: it may be a secret in the wrong place.
    #[error("the environment variable {name} is not {form}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What belongs into it.
        form: &'static str,
    },
    /// `LATCHKEY_KEY_PURPOSES` names another purpose than there are. No secret belongs there, so the name is repeated.
    #[error("the environment variable LATCHKEY_KEY_PURPOSES names `{0}`, which is no purpose of a key")]
    UnknownPurpose(String),
}

/// The value of a variable that must be set.
///
/// # Errors
/// It is unset, empty, or not UTF-8.
pub fn required(name: &'static str, form: &'static str) -> Result<String, ConfigError> {
    env::var(name).ok().filter(|value| !value.is_empty()).ok_or(ConfigError::Missing { name, form })
}

/// The name of a table.
///
/// # Errors
/// The variable is not set.
pub fn table_name(name: &'static str) -> Result<String, ConfigError> {
    required(name, "the name of a DynamoDB table")
}

/// What is logged where nothing says it.
pub const DEFAULT_LOG_LEVEL: Level = Level::INFO;

/// The least level that is logged, from `LATCHKEY_LOG_LEVEL`; unset or empty, it is [`DEFAULT_LOG_LEVEL`]. It is not
/// Lambda's own setting, at which the platform would drop metrics.
///
/// # Errors
/// It is none of the five.
pub fn log_level() -> Result<Level, ConfigError> {
    level(&env::var("LATCHKEY_LOG_LEVEL").unwrap_or_default())
}

fn level(name: &str) -> Result<Level, ConfigError> {
    Ok(match name {
        "" => DEFAULT_LOG_LEVEL,
        "TRACE" => Level::TRACE,
        "DEBUG" => Level::DEBUG,
        "INFO" => Level::INFO,
        "WARN" => Level::WARN,
        "ERROR" => Level::ERROR,
        _ => {
            let form = "one of TRACE, DEBUG, INFO, WARN, ERROR";
            return Err(ConfigError::Invalid { name: "LATCHKEY_LOG_LEVEL", form });
        }
    })
}

/// What seals private keys.
#[derive(Clone, Debug)]
pub enum SealingConfig {
    /// A key that is configured itself, for a machine without KMS: 32 bytes in base64.
    Local(SecretString),
    /// A KMS key, by its id, its ARN or an alias.
    Kms(String),
}

impl SealingConfig {
    /// Reads `LATCHKEY_SEALING_KEY`, which only local tooling sets, or else `LATCHKEY_KMS_KEY_ID`.
    ///
    /// # Errors
    /// Neither is set.
    pub fn from_env() -> Result<Self, ConfigError> {
        match env::var("LATCHKEY_SEALING_KEY").ok().filter(|key| !key.is_empty()) {
            Some(key) => Ok(Self::Local(SecretString::from(key))),
            None => required("LATCHKEY_KMS_KEY_ID", "the id or the ARN of a KMS key").map(Self::Kms),
        }
    }
}

/// Whose tokens these are and for whom.
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

/// The origins of web pages elsewhere that may call the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Every one: `*`, for development.
    Any,
    /// These, as browsers write them (RFC 6454 §6.2).
    Listed(Vec<String>),
}

/// Which pages may make requests that change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOrigins {
    /// Pages elsewhere.
    pub allowed: AllowedOrigins,
    /// The issuer's origin, where an issuer is configured: its pages are the API's own.
    pub issuer: Option<String>,
}

impl PageOrigins {
    /// Reads `LATCHKEY_ALLOWED_ORIGINS` and `LATCHKEY_ISSUER`. Either may be empty: then no page elsewhere may.
    #[must_use]
    pub fn from_env() -> Self {
        let variable = |name| env::var(name).unwrap_or_default();
        Self::new(&variable("LATCHKEY_ALLOWED_ORIGINS"), &variable("LATCHKEY_ISSUER"))
    }

    /// `allowed` are origins separated by commas, or `*`. Of the issuer's URL the origin matters.
    #[must_use]
    pub fn new(allowed: &str, issuer: &str) -> Self {
        let listed = allowed.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        Self {
            allowed: match allowed.trim() {
                "*" => AllowedOrigins::Any,
                _ => AllowedOrigins::Listed(listed.map(serialized_origin).collect()),
            },
            issuer: Some(issuer).filter(|issuer| !issuer.is_empty()).map(serialized_origin),
        }
    }
}

/// The origin of a URL as a browser writes it: in lower case, without a path and without the scheme's own port.
fn serialized_origin(url: &str) -> String {
    let url = url.to_ascii_lowercase();
    let end = url.find("://").and_then(|scheme| Some(scheme + 3 + url.get(scheme + 3..)?.find('/')?));
    let origin = &url[..end.unwrap_or(url.len())];
    let own_port = if origin.starts_with("https://") { ":443" } else { ":80" };
    origin.strip_suffix(own_port).unwrap_or(origin).to_owned()
}

/// How long an access token is to last, in seconds, from `LATCHKEY_ACCESS_TOKEN_LIFETIME_SECONDS`.
///
/// # Errors
/// It is missing, no number, or outside of 60 to 3600.
pub fn access_token_lifetime_seconds() -> Result<EpochSeconds, ConfigError> {
    number_in(
        "LATCHKEY_ACCESS_TOKEN_LIFETIME_SECONDS",
        MIN_ACCESS_TOKEN_LIFETIME_SECONDS..=MAX_ACCESS_TOKEN_LIFETIME_SECONDS,
        "a whole number of seconds from 60 to 3600",
    )
}

/// For how long a refresh token may be presented again, in seconds, from `LATCHKEY_REFRESH_GRACE_SECONDS`: long enough
/// for a client whose answer was lost and for a second tab, no longer.
///
/// # Errors
/// It is missing, no number, or more than 60.
pub fn refresh_grace_seconds() -> Result<EpochSeconds, ConfigError> {
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

/// Fewest code points of a new password, from `LATCHKEY_MIN_PASSWORD_LENGTH`.
///
/// # Errors
/// It is missing, no number, or outside of 8 to 64.
pub fn min_password_length() -> Result<usize, ConfigError> {
    number_in("LATCHKEY_MIN_PASSWORD_LENGTH", 8..=64, "a whole number from 8 to 64")
}

/// What new access-token keys are for, from `LATCHKEY_SIGNING_ALGORITHM`.
///
/// # Errors
/// It is missing or none of the four.
#[cfg(feature = "store")]
pub fn signing_algorithm() -> Result<crate::keys::algorithm::SigningAlgorithm, ConfigError> {
    const NAME: &str = "LATCHKEY_SIGNING_ALGORITHM";
    const FORM: &str = "one of ES256, RS256, EdDSA, HS256";
    required(NAME, FORM)?.parse().map_err(|_| ConfigError::Invalid { name: NAME, form: FORM })
}

/// What the stack needs keys for, from `LATCHKEY_KEY_PURPOSES`: names of purposes, separated by commas. Unset or empty,
/// they are those that every stack needs.
///
/// # Errors
/// It names something that is no purpose.
#[cfg(feature = "store")]
pub fn key_purposes() -> Result<Vec<KeyPurpose>, ConfigError> {
    purposes(&env::var("LATCHKEY_KEY_PURPOSES").unwrap_or_default())
}

#[cfg(feature = "store")]
fn purposes(names: &str) -> Result<Vec<KeyPurpose>, ConfigError> {
    if names.is_empty() {
        return Ok(vec![KeyPurpose::AccessToken, KeyPurpose::RefreshToken]);
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

/// Whether people may register themselves, from `LATCHKEY_REGISTRATION`.
///
/// # Errors
/// It is neither `enabled` nor `disabled`.
pub fn is_registration_enabled() -> Result<bool, ConfigError> {
    switch("LATCHKEY_REGISTRATION", ("enabled", "disabled"), "`enabled` or `disabled`")
}

fn switch(name: &'static str, (on, off): (&str, &str), form: &'static str) -> Result<bool, ConfigError> {
    match required(name, form)?.as_str() {
        value if value == on => Ok(true),
        value if value == off => Ok(false),
        _ => Err(ConfigError::Invalid { name, form }),
    }
}

fn number_in<T: FromStr + PartialOrd>(
    name: &'static str,
    range: RangeInclusive<T>,
    form: &'static str,
) -> Result<T, ConfigError> {
    required(name, form)?
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or(ConfigError::Invalid { name, form })
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
    fn origins_are_compared_as_browsers_write_them() {
        for (url, origin) in [
            ("https://App.Example.com", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("https://app.example.com:8443", "https://app.example.com:8443"),
            ("https://login.example.com/tenant/a", "https://login.example.com"),
            ("https://login.example.com:443/", "https://login.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://127.0.0.1:443", "http://127.0.0.1:443"),
            ("no url", "no url"),
        ] {
            assert_eq!(serialized_origin(url), origin, "{url}");
        }
        let listed =
            |origins: &[&str]| AllowedOrigins::Listed(origins.iter().map(|&origin| origin.to_owned()).collect());
        assert_eq!(PageOrigins::new("", ""), PageOrigins { allowed: listed(&[]), issuer: None });
        assert_eq!(PageOrigins::new("*", "").allowed, AllowedOrigins::Any);
        let two = PageOrigins::new("https://a.example, https://b.example,", "https://c.example/d");
        assert_eq!(two.allowed, listed(&["https://a.example", "https://b.example"]));
        assert_eq!(two.issuer.as_deref(), Some("https://c.example"));
    }

    #[test]
    fn a_variable_that_only_looks_like_a_setting_is_found() {
        let names = ["LATCHKEY_ISSUER", "LATCHKEY_ISUER", "LATCHKEY_", "latchkey_issuer", "USERS_TABLE_NAME", "PATH"];
        assert_eq!(unknown_settings(names.map(str::to_owned)), ["LATCHKEY_", "LATCHKEY_ISUER"]);
    }

    #[test]
    fn the_settings_are_those_of_the_template_and_the_local_ones() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
        let template = sam_template::Template::load(&path, sam_template::Parameters::new("latchkey")).unwrap();
        let mut names: Vec<_> = template
            .functions()
            .unwrap()
            .iter()
            .flat_map(|function| template.environment(&function.logical_id).unwrap().into_keys())
            .filter(|name| name.starts_with("LATCHKEY_"))
            .chain(["LATCHKEY_SEALING_KEY".to_owned(), "LATCHKEY_LOCAL_RESPONSE_HOST".to_owned()])
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names, SETTINGS);
    }

    #[cfg(feature = "store")]
    #[test]
    fn purposes_of_keys_are_names_separated_by_commas() {
        let both = vec![KeyPurpose::AccessToken, KeyPurpose::RefreshToken];
        assert_eq!(purposes(""), Ok(both.clone()));
        assert_eq!(purposes("access-token,refresh-token"), Ok(both));
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
                    "the environment variable LATCHKEY_KEY_PURPOSES names `{unknown}`, which is no purpose of a key"
                )
            );
        }
    }

    #[test]
    fn a_level_is_one_of_the_five_that_the_template_allows() {
        assert_eq!(level(""), Ok(Level::INFO));
        for of in [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR] {
            assert_eq!(level(of.as_str()), Ok(of));
        }
        for wrong in ["warn", "FATAL", "WARNING", "3", " INFO"] {
            assert_eq!(
                level(wrong).unwrap_err().to_string(),
                "the environment variable LATCHKEY_LOG_LEVEL is not one of TRACE, DEBUG, INFO, WARN, ERROR"
            );
        }
    }

    #[test]
    fn an_error_names_the_variable_and_its_form() {
        assert_eq!(
            table_name("NO_SUCH_TABLE_NAME").unwrap_err().to_string(),
            "the environment variable NO_SUCH_TABLE_NAME is not set; it holds the name of a DynamoDB table"
        );
    }
}
