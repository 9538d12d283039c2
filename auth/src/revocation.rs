//! Revocations: which access tokens of a user are revoked although they have not expired.
//!
//! **The order.** A request reads a bounded number of items of one user, the newest first, and they must be enough. A
//! writer reads the items first, and places the new one: an epoch item after all others, any other item not before the
//! latest epoch item. So the items before an epoch item in this order concern tokens of earlier epochs, which the epoch
//! item revokes anyway. That holds independently of the writers' clocks.
//!
//! **The bound.** After [`MAX_SINGLE`] revocations since the latest epoch item, the next one raises the user's epoch
//! ([`crate::accounts`]). A user who has more items than are read, with no epoch item among those, is denied.

use latchkey_verifier::AccessTokenClaims;

use crate::EpochSeconds;
use crate::id::SessionId;

/// Revocations of one token or session, since the latest epoch item, after which the next one raises the epoch.
pub const MAX_SINGLE: usize = 64;

/// What is revoked, among the tokens of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The token with this `jti`.
    Token(String),
    /// Every token of the session.
    Session(SessionId),
    /// Every token of an epoch before this one.
    Epoch(u64),
}

/// By what a token is revoked.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Revoked {
    /// The token itself was revoked, by its `jti`.
    #[error("the token was revoked")]
    Token,
    /// The token's session was ended, by its `sid`.
    #[error("the session was ended")]
    Session,
    /// All tokens of the user up to an epoch were revoked.
    #[error("the user's earlier tokens were revoked")]
    Epoch,
    /// More revocations of the user exist than are read: whether the token is among them is not known.
    #[error("the user has more revocations than are read")]
    TooMany,
}

impl Revoked {
    /// The name in logs and metrics. It is stable.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Token => "revoked_token",
            Self::Session => "revoked_session",
            Self::Epoch => "revoked_epoch",
            Self::TooMany => "too_many_revocations",
        }
    }
}

/// The revocations of one user that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    /// With the time until which each is kept, the latest first.
    found: Vec<(EpochSeconds, Revocation)>,
    /// Whether there are more, which are kept for less long.
    has_more: bool,
}

impl Revocations {
    /// What was read, the latest first, and whether there is more.
    #[must_use]
    pub fn new(found: Vec<(EpochSeconds, Revocation)>, has_more: bool) -> Self {
        Self { found, has_more }
    }

    /// What is revoked, the latest first.
    pub fn iter(&self) -> impl Iterator<Item = &Revocation> {
        self.found.iter().map(|(_, what)| what)
    }

    /// Whether a token with these claims is revoked, and by what.
    ///
    /// # Errors
    /// It is.
    pub fn check(&self, claims: &AccessTokenClaims) -> Result<(), Revoked> {
        let revoked = self.iter().find_map(|revocation| match revocation {
            Revocation::Token(jti) => (*jti == claims.jti).then_some(Revoked::Token),
            Revocation::Session(sid) => (sid.as_str() == claims.sid).then_some(Revoked::Session),
            Revocation::Epoch(min_epoch) => (claims.epoch < *min_epoch).then_some(Revoked::Epoch),
        });
        match revoked {
            Some(revoked) => Err(revoked),
            None if self.is_decisive() => Ok(()),
            None => Err(Revoked::TooMany),
        }
    }

    /// Whether the items that were read decide about every token. Unread items concern tokens that an epoch item
    /// revokes.
    #[must_use]
    pub fn is_decisive(&self) -> bool {
        !self.has_more || self.latest_epoch_item().is_some()
    }

    /// Whether the next revocation raises the epoch, instead of adding to these.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let single = self.iter().take_while(|what| !matches!(what, Revocation::Epoch(_)));
        single.count() > MAX_SINGLE
    }

    fn latest_epoch_item(&self) -> Option<EpochSeconds> {
        self.found.iter().find(|(_, what)| matches!(what, Revocation::Epoch(_))).map(|(expires_at, _)| *expires_at)
    }

    /// Until when to keep an item that is needed at least until `expires_at`: its place in the order may require
    /// longer.
    #[must_use]
    pub fn place(&self, what: &Revocation, expires_at: EpochSeconds) -> EpochSeconds {
        let not_before = match what {
            Revocation::Epoch(_) => self.found.first().map(|(latest, _)| *latest + 1),
            Revocation::Token(_) | Revocation::Session(_) => self.latest_epoch_item(),
        };
        expires_at.max(not_before.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocations(found: &[(u64, Revocation)], has_more: bool) -> Revocations {
        let found = found.iter().map(|(at, what)| (EpochSeconds::new(*at), what.clone())).collect();
        Revocations::new(found, has_more)
    }

    fn sessions(number: usize) -> Vec<(u64, Revocation)> {
        (0..number).map(|number| (1000, Revocation::Session(SessionId::new(number.to_string())))).collect()
    }

    #[test]
    fn an_epoch_item_is_placed_after_everything_and_others_not_before_the_latest_of_them() {
        let (token, epoch) = (Revocation::Token("j".into()), Revocation::Epoch(8));
        let place = |found: &Revocations, what, at| found.place(what, EpochSeconds::new(at)).get();
        let none = Revocations::default();
        assert_eq!((place(&none, &token, 500), place(&none, &epoch, 500)), (500, 500));
        let found = revocations(
            &[
                (900, Revocation::Session(SessionId::new("s"))),
                (700, Revocation::Epoch(7)),
                (600, Revocation::Epoch(6)),
            ],
            false,
        );
        assert_eq!((place(&found, &token, 500), place(&found, &token, 800)), (700, 800));
        assert_eq!(
            (place(&found, &epoch, 500), place(&found, &epoch, 900), place(&found, &epoch, 950)),
            (901, 901, 950)
        );
    }

    #[test]
    fn more_than_64_since_the_latest_epoch_item_are_full() {
        assert!(!revocations(&sessions(64), false).is_full());
        assert!(revocations(&sessions(65), false).is_full());
        let epoch = [(1000, Revocation::Epoch(1))];
        assert!(!revocations(&[&epoch, &sessions(100)[..]].concat(), true).is_full());
        assert!(!revocations(&[&sessions(64)[..], &epoch, &sessions(10)].concat(), true).is_full());
        assert!(revocations(&[&sessions(65)[..], &epoch].concat(), true).is_full());
    }

    #[test]
    fn what_was_not_read_is_decided_by_an_epoch_item_alone() {
        assert!(revocations(&[], false).is_decisive());
        assert!(revocations(&sessions(139), false).is_decisive());
        assert!(!revocations(&sessions(139), true).is_decisive());
        assert!(revocations(&[&sessions(100)[..], &[(900, Revocation::Epoch(1))]].concat(), true).is_decisive());
    }

    #[test]
    fn a_token_is_revoked_by_its_id_its_session_or_an_epoch_after_its_own() {
        let claims: AccessTokenClaims = serde_json::from_value(serde_json::json!({
            "iss": "https://login.example.com", "sub": "u", "aud": "latchkey", "exp": 900, "iat": 0, "nbf": 0, "jti": "j",
            "client_id": "latchkey", "sid": "s", "username": "alice", "roles": [], "epoch": 3,
        }))
        .unwrap();
        let session = |sid| Revocation::Session(SessionId::new(sid));
        for (what, expected) in [
            (Revocation::Token("j".into()), Err(Revoked::Token)),
            (Revocation::Token("s".into()), Ok(())),
            (session("s"), Err(Revoked::Session)),
            (session("j"), Ok(())),
            (Revocation::Epoch(4), Err(Revoked::Epoch)),
            (Revocation::Epoch(3), Ok(())),
            (Revocation::Epoch(2), Ok(())),
        ] {
            assert_eq!(revocations(&[(1000, what.clone())], false).check(&claims), expected, "{what:?}");
        }
        // Unread items may revoke it, unless an epoch item covers them.
        assert_eq!(revocations(&sessions(9), true).check(&claims), Err(Revoked::TooMany));
        assert_eq!(
            revocations(&[&sessions(9)[..], &[(900, Revocation::Epoch(3))]].concat(), true).check(&claims),
            Ok(())
        );
        let reasons = [Revoked::Token, Revoked::Session, Revoked::Epoch, Revoked::TooMany].map(Revoked::reason);
        assert_eq!(reasons, ["revoked_token", "revoked_session", "revoked_epoch", "too_many_revocations"]);
    }
}
