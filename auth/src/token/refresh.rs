//! Refresh tokens: `1.<kid>.<sid>.<generation>.<MAC>`, opaque to clients.
//!
//! The MAC is HMAC-SHA-256 over the text before it, with a wrapped key. So garbage is rejected without a read, and
//! the session's item needs no token and no hash of one, only the current generation. The token of a generation is
//! always the same, so a repeated request gets the same successor.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use crate::id::SessionId;
use crate::keys::signing::RefreshTokenKey;

/// First part of every refresh token. Another layout would get another number.
pub const VERSION: &str = "1";

/// Longest token, in bytes: two ids of 22 characters, 20 digits, a MAC of 43 characters, the version and four dots,
/// rounded up.
const MAX_BYTES: usize = 128;

/// The refresh token of one generation of a session.
#[must_use]
pub fn issue(key: &RefreshTokenKey, sid: &SessionId, generation: u64) -> SecretString {
    let message = format!("{VERSION}.{}.{sid}.{generation}", key.kid());
    let mac = hmac::sign(key.key(), message.as_bytes());
    SecretString::from(format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac)))
}

/// The content of a refresh token whose MAC was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshToken {
    pub sid: SessionId,
    pub generation: u64,
}

/// A text in the form of a refresh token. Only its `kid` may be looked at before [`Unverified::verify`].
pub struct Unverified<'a> {
    kid: &'a str,
    sid: &'a str,
    generation: u64,
    message: &'a str,
    mac: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// `None` if it cannot be a refresh token.
    #[must_use]
    pub fn parse(token: &'a str) -> Option<Self> {
        if token.len() > MAX_BYTES {
            return None;
        }
        let (message, mac) = token.rsplit_once('.')?;
        let mut parts = message.split('.');
        let (Some(VERSION), Some(kid), Some(sid), Some(generation), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        Some(Self { kid, sid, generation: generation.parse().ok()?, message, mac })
    }

    /// The id of the key that the token claims to be made with.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.kid
    }

    /// The token, if the MAC is this key's. The comparison takes the same time for every wrong MAC.
    #[must_use]
    pub fn verify(&self, key: &RefreshTokenKey) -> Option<RefreshToken> {
        if self.kid != key.kid().as_str() {
            return None;
        }
        hmac::verify(key.key(), self.message.as_bytes(), &self.mac).ok()?;
        Some(RefreshToken { sid: SessionId::new(self.sid), generation: self.generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyId;
    use secrecy::{ExposeSecret as _, SecretSlice};

    fn key(kid: &str, byte: u8) -> RefreshTokenKey {
        RefreshTokenKey::new(KeyId::new(kid), &SecretSlice::from(vec![byte; 32]))
    }

    fn verified(token: &str, key: &RefreshTokenKey) -> Option<RefreshToken> {
        Unverified::parse(token)?.verify(key)
    }

    #[test]
    fn an_issued_token_verifies_and_says_session_and_generation() {
        let token = issue(&key("k", 1), &SessionId::new("s"), 7);
        let expected = RefreshToken { sid: SessionId::new("s"), generation: 7 };
        assert_eq!(verified(token.expose_secret(), &key("k", 1)), Some(expected));
    }

    #[test]
    fn the_token_of_a_generation_is_always_the_same() {
        assert_eq!(
            issue(&key("k", 1), &SessionId::new("s"), 7).expose_secret(),
            issue(&key("k", 1), &SessionId::new("s"), 7).expose_secret()
        );
    }

    #[test]
    fn another_key_does_not_verify_it() {
        let token = issue(&key("k", 1), &SessionId::new("s"), 7);
        assert_eq!(verified(token.expose_secret(), &key("k", 2)), None);
        assert_eq!(verified(token.expose_secret(), &key("other", 1)), None);
    }

    #[test]
    fn a_change_of_any_character_does_not_verify() {
        let key = key("0123456789012345678901", 1);
        let token = issue(&key, &SessionId::new("abcdefghijklmnopqrstuv"), 12);
        let token = token.expose_secret();
        for position in 0..token.len() {
            for replacement in ["A", "B", "0", "9", ".", "=", "+", " "] {
                let mut changed = token.to_owned();
                changed.replace_range(position..=position, replacement);
                assert!(changed == token || verified(&changed, &key).is_none(), "{changed}");
            }
            assert_eq!(verified(&token[..position], &key), None);
        }
        // Another spelling of the same number, and of the same MAC.
        assert_eq!(verified(&token.replace(".12.", ".012."), &key), None);
        assert_eq!(verified(&token.replace(".12.", ".+12."), &key), None);
        assert_eq!(verified(&format!("{token}="), &key), None);
        assert_eq!(verified(&format!("{token} "), &key), None);
        assert_eq!(verified(&format!(" {token}"), &key), None);
    }

    #[test]
    fn what_cannot_be_a_token_is_not_parsed() {
        for text in ["", ".", "....", "1.k.s.7", "1.k.s.7.!", "2.k.s.7.AAAA", "1.k.s.-7.AAAA", "1.k.s.x.AAAA", "a.b.c"]
        {
            assert!(Unverified::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_longest_text_that_is_parsed_has_128_bytes() {
        let of_length = |length: usize| format!("1.kid.{}.7.AAAA", "s".repeat(length - "1.kid..7.AAAA".len()));
        assert_eq!(Unverified::parse(&of_length(128)).map(|token| token.kid().to_owned()).as_deref(), Some("kid"));
        assert!(Unverified::parse(&of_length(129)).is_none());
    }
}
