//! The settings of a function in its environment, read once at its start.
//!
//! An error names the variable and the form of its value. `template.yaml` sets every variable; there is no other source
//! of configuration. Settings of `auth` are read by the crate `api`.

use std::env;
use std::ops::RangeInclusive;
use std::str::FromStr;

use tracing::Level;

/// Every setting. A function has those that it needs.
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

/// The names that look like settings but are not: a misspelt name would otherwise go unnoticed.
#[must_use]
pub fn unknown_settings(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let is_unknown = |name: &String| name.starts_with("LATCHKEY_") && !SETTINGS.contains(&name.as_str());
    let mut unknown: Vec<_> = names.into_iter().filter(is_unknown).collect();
    unknown.sort();
    unknown
}

/// An environment variable is missing or invalid. `form` describes valid values.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Not set, or empty.
    #[error("the environment variable {name} is not set; it holds {form}")]
    Missing { name: &'static str, form: &'static str },
    /// Set to something else. The value is not repeated: it may be a secret in the wrong place.
    #[error("the environment variable {name} is not {form}")]
    Invalid { name: &'static str, form: &'static str },
    /// `LATCHKEY_KEY_PURPOSES` names an unknown purpose. No secret belongs there, so the name is repeated.
    #[error("the environment variable LATCHKEY_KEY_PURPOSES names `{0}`, which is not a purpose of keys")]
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

/// The default of [`log_level`].
pub const DEFAULT_LOG_LEVEL: Level = Level::INFO;

/// The least level that is logged, from `LATCHKEY_LOG_LEVEL`; unset or empty, it is [`DEFAULT_LOG_LEVEL`]. It is not
/// Lambda's own setting, with which the platform would drop metrics.
///
/// # Errors
/// It is not one of the five.
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

/// The origins of other web pages that may call the API.
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
    /// Pages of other origins.
    pub allowed: AllowedOrigins,
    /// The issuer's origin, where an issuer is configured: its pages are the API's own.
    pub issuer: Option<String>,
}

impl PageOrigins {
    /// Reads `LATCHKEY_ALLOWED_ORIGINS` and `LATCHKEY_ISSUER`. Either may be empty: then no other page may.
    #[must_use]
    pub fn from_env() -> Self {
        let variable = |name| env::var(name).unwrap_or_default();
        Self::new(&variable("LATCHKEY_ALLOWED_ORIGINS"), &variable("LATCHKEY_ISSUER"))
    }

    /// `allowed` are origins separated by commas, or `*`. Only the origin of the issuer's URL is used.
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

/// A setting with two values. `true` for `on`.
///
/// # Errors
/// It is missing or another.
pub fn switch(name: &'static str, (on, off): (&str, &str), form: &'static str) -> Result<bool, ConfigError> {
    match required(name, form)?.as_str() {
        value if value == on => Ok(true),
        value if value == off => Ok(false),
        _ => Err(ConfigError::Invalid { name, form }),
    }
}

/// A number within a range.
///
/// # Errors
/// It is missing, no number, or outside of the range.
pub fn number_in<T: FromStr + PartialOrd>(
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
