//! Passwords: a type that cannot print one, what a new one must be, the hashing of them, and what a hash may cost.

pub mod error;
pub mod hash;
pub mod limits;
pub mod policy;
mod stored;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// A password as typed, byte for byte (ASVS 5.0, 6.2.8): not trimmed, not normalised. It cannot be printed, and its
/// memory is wiped when it is dropped.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Password(SecretString);

impl Password {
    /// Wraps a password that was read.
    #[must_use]
    pub fn new(password: String) -> Self {
        Self(SecretString::from(password))
    }

    /// The bytes, for hashing and for nothing else.
    fn as_bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }

    /// Length in Unicode code points, as NIST SP 800-63B-4 counts.
    #[must_use]
    pub fn code_points(&self) -> usize {
        self.0.expose_secret().chars().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_print() {
        let password: Password = serde_json::from_str(r#""correct horse""#).unwrap();
        assert!(!format!("{password:?}").contains("horse"));
    }
}
