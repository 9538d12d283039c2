//! Devices from which a user has logged in.
//!
//! A successful login hands out a [`DeviceToken`], and the next login from there presents it. It authenticates nobody:
//! it says whose attempts these are, so that attempts from elsewhere cannot use up the owner's. Several users of one
//! browser may share one. Whoever steals it has five attempts more at each account that it is known to.

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, de};

use crate::random::{self, Random, RandomError};

/// What a client presents as `device_token`: 128 random bits in base64url. It cannot print.
#[derive(Clone, Debug)]
pub struct DeviceToken(SecretString);

impl DeviceToken {
    /// A token for a new device.
    ///
    /// # Errors
    /// The generator failed.
    pub fn random(random: &Random) -> Result<Self, RandomError> {
        Ok(Self(SecretString::from(random::identifier(random)?)))
    }

    /// A token as a client sends it; `None` if a login cannot have returned it.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        (bytes.len() == 16).then(|| Self(SecretString::from(token)))
    }

    /// For the response.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl<'de> Deserialize<'de> for DeviceToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let token = SecretString::deserialize(deserializer)?;
        Self::parse(token.expose_secret()).ok_or_else(|| de::Error::custom("no device token"))
    }
}

/// What stands for a device in an account's counter: the epoch of the password that was used there, and a hash. It
/// differs between accounts, and ends with the password.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceId(String);

impl DeviceId {
    /// The device of `token` in the counter `counter`, since the password of `password_epoch`. A hash without a key or
    /// salt suffices for 128 random bits.
    #[must_use]
    pub fn new(counter: &str, password_epoch: u64, token: &DeviceToken) -> Self {
        let mut hash = Context::new(&SHA256);
        // The token has a fixed length, so the parts cannot be divided in another way.
        for part in [token.expose(), counter] {
            hash.update(part.as_bytes());
        }
        Self(format!("{password_epoch}.{}", URL_SAFE_NO_PAD.encode(hash.finish())))
    }

    /// The epoch of the password that was used there.
    #[must_use]
    pub fn password_epoch(&self) -> Option<u64> {
        self.0.split_once('.')?.0.parse().ok()
    }

    pub(crate) fn from_stored(id: &str) -> Self {
        Self(id.to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    #[test]
    fn a_token_is_what_a_login_can_have_returned() {
        let token = DeviceToken::random(&SystemRandom::new()).unwrap();
        assert_eq!(token.expose().len(), 22, "128 bits in base64url");
        assert_eq!(DeviceToken::parse(token.expose()).unwrap().expose(), token.expose());
        for other in [
            "",
            "pHg-9_W5v3ZwEtF6p_ow",
            "pHg-9_W5v3ZwEtF6p_owOB",
            "pHg-9_W5v3ZwEtF6p_owOA==",
            "pHg-9_W5v3ZwEtF6p_owOAA",
            "pHg/9+W5v3ZwEtF6p/owOA",
        ] {
            assert!(DeviceToken::parse(other).is_none(), "{other}");
        }
        assert!(!format!("{token:?}").contains(token.expose()));
    }

    #[test]
    fn a_device_differs_between_accounts_and_passwords() {
        let token = DeviceToken::parse("pHg-9_W5v3ZwEtF6p_owOA").unwrap();
        let other = DeviceToken::parse("pHg-9_W5v3ZwEtF6p_owOQ").unwrap();
        let id = DeviceId::new("user#a", 1, &token);
        assert_eq!(id, DeviceId::new("user#a", 1, &token));
        for different in [
            DeviceId::new("user#b", 1, &token),
            DeviceId::new("user#a", 2, &token),
            DeviceId::new("user#a", 1, &other),
            DeviceId::new("user#a1", 0, &token),
        ] {
            assert_ne!(id, different);
        }
        assert_eq!(DeviceId::from_stored(id.as_str()), id);
        assert_eq!(id.password_epoch(), Some(1));
        assert_eq!(DeviceId::from_stored("something else").password_epoch(), None);
        assert!(!id.as_str().contains(token.expose()));
    }
}
