//! Identifiers, each of a type of its own, so that the compiler rejects one in place of another.
//!
//! An id from a table or from a verified token is used unchanged. Only a session's id also comes from a client, in a
//! path: [`SessionId::parse`].

use std::fmt;

use serde::Serialize;

use crate::random::{self, Random, RandomError};

macro_rules! id {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// An id that was stored or verified.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub fn into_inner(self) -> String {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }
    };
}

id! {
    /// A user's immutable random id: `sub` of every token (RFC 7519 §4.1.2).
    UserId
}
id! {
    /// A session's id, `sid`: 128 random bits.
    SessionId
}
id! {
    /// The id of a client, `client_id` (RFC 6749 §2.2).
    ClientId
}
id! {
    /// The id of a key, `kid`: the RFC 7638 thumbprint of a public key, or random bits where there is none.
    KeyId
}

impl UserId {
    /// An id for a new user.
    ///
    /// # Errors
    /// The generator failed.
    pub fn random(random: &Random) -> Result<Self, RandomError> {
        random::identifier(random).map(Self)
    }
}

impl SessionId {
    /// Longest id that is looked up, in bytes. DynamoDB rejects keys of more than 2048.
    const MAX_BYTES: usize = 64;

    /// An id for a new session.
    ///
    /// # Errors
    /// The generator failed.
    pub fn random(random: &Random) -> Result<Self, RandomError> {
        random::identifier(random).map(Self)
    }

    /// An id that a client sent; `None` if it cannot be the id of a session.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (1..=Self::MAX_BYTES).contains(&text.len()).then(|| Self(text.to_owned()))
    }
}

impl ClientId {
    /// Latchkey's own login, which is the only client.
    #[must_use]
    pub fn first_party() -> Self {
        Self("latchkey".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_session_has_1_to_64_bytes() {
        assert_eq!(SessionId::parse(""), None);
        assert_eq!(SessionId::parse("s"), Some(SessionId::new("s")));
        assert!(SessionId::parse(&"s".repeat(64)).is_some());
        assert_eq!(SessionId::parse(&"s".repeat(65)), None);
    }
}
