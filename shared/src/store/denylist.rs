//! The denylist: which access tokens are revoked although they have not expired.
//!
//! Partition key `sub`; sort key `revocation`, `<expires_at, 10 digits>#<kind>#<value>`. `expires_at` is the latest
//! moment a token it covers can still verify, so one Query from now on returns what still matters, almost always
//! nothing, for one read unit, and never reads items that DynamoDB has not deleted yet.
//!
//! **The order.** What a request may read of one user is bounded, so the newest items are read first, and they must be
//! enough. Whoever writes an item has read what is there, and places the new one: an epoch item after everything, every
//! other item not before the latest epoch item (at the same time, `epoch` sorts before `jti` and `sid`). So what comes
//! before an epoch item in this order is about tokens of earlier epochs, which the epoch item revokes by itself. That
//! holds whatever the clocks of the writers say.
//!
//! **The bound.** With more than [`MAX_SINGLE`] revocations since the latest epoch item the next one raises the user's
//! epoch ([`crate::account`]). A user for whom more are found than are read, and no epoch item among them, is refused.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put};

use super::StoreError;
use super::item::{Item, number, string};
use crate::clock::EpochSeconds;

const TABLE: &str = "Denylist";

/// Revocations of one token or session, since the latest epoch item, after which the next one raises the epoch.
pub const MAX_SINGLE: usize = 64;
/// Strongly consistent read units that a reading costs at the most.
const READ_UNITS: usize = 3;
/// What a strongly consistent read unit reads, in bytes.
const READ_UNIT_BYTES: usize = 4096;
/// What DynamoDB counts for an item, in bytes, beside the value of `sub`: the names of the three attributes, the sort
/// key with an identifier of 22 characters, and a number of ten digits.
const ITEM_BYTES_BESIDE_SUB: usize = "subrevocationexpires_at".len() + "1800000000#jti#".len() + 22 + 6;

/// What is denied, among the tokens of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The token with this `jti`.
    Token(String),
    /// Every token of the session with this `sid`.
    Session(String),
    /// Every token of an epoch before this one.
    Epoch(u64),
}

impl Revocation {
    fn sort_key(&self, expires_at: EpochSeconds) -> String {
        match self {
            Self::Token(jti) => format!("{expires_at:010}#jti#{jti}"),
            Self::Session(sid) => format!("{expires_at:010}#sid#{sid}"),
            Self::Epoch(min_epoch) => format!("{expires_at:010}#epoch#{min_epoch}"),
        }
    }

    /// Until when it is kept, and what it revokes. `None` for what this version does not know. The caller must take
    /// that as an error: it denies something.
    fn from_sort_key(sort_key: &str) -> Option<(EpochSeconds, Self)> {
        let (expires_at, what) = sort_key.split_once('#')?;
        let what = match what.split_once('#')? {
            ("jti", jti) => Self::Token(jti.to_owned()),
            ("sid", sid) => Self::Session(sid.to_owned()),
            ("epoch", min_epoch) => Self::Epoch(min_epoch.parse().ok()?),
            _ => return None,
        };
        Some((expires_at.parse().ok()?, what))
    }
}

/// What was found on the denylist for one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    /// With the time until which each is kept; the latest first.
    found: Vec<(EpochSeconds, Revocation)>,
    /// Whether there are more, which are kept for less long.
    has_more: bool,
}

impl Revocations {
    /// What is revoked, the latest first.
    pub fn iter(&self) -> impl Iterator<Item = &Revocation> {
        self.found.iter().map(|(_, what)| what)
    }

    /// Whether what was found decides about every token. What was not read is about tokens that an epoch item revokes.
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

    /// Until when an item is kept that is to be kept until `expires_at` at least: as long as its place in the order
    /// needs.
    fn place(&self, what: &Revocation, expires_at: EpochSeconds) -> EpochSeconds {
        let not_before = match what {
            Revocation::Epoch(_) => self.found.first().map(|(latest, _)| latest.saturating_add(1)),
            Revocation::Token(_) | Revocation::Session(_) => self.latest_epoch_item(),
        };
        expires_at.max(not_before.unwrap_or_default())
    }
}

/// The table of revocations.
#[derive(Clone, Debug)]
pub struct DenylistTable {
    client: Client,
    name: String,
}

impl DenylistTable {
    /// The table with this name.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// The revocations of a user's tokens that still matter at `now`, read consistently, for at most three read units.
    ///
    /// # Errors
    /// The table did not answer, or an item cannot be understood. The caller denies.
    pub async fn revocations(&self, sub: &str, now: EpochSeconds) -> Result<Revocations, StoreError> {
        let page = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("#sub = :sub AND revocation > :now")
            .expression_attribute_names("#sub", "sub")
            .expression_attribute_values(":sub", string(sub))
            .expression_attribute_values(":now", string(format!("{now:010}")))
            .scan_index_forward(false)
            .limit(most_items(sub))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::call("reading the denylist", error))?;
        let mut found = Vec::new();
        for attributes in page.items() {
            let sort_key = Item { table: TABLE, attributes }.string("revocation")?;
            found.push(
                Revocation::from_sort_key(&sort_key)
                    .ok_or(StoreError::MalformedItem { table: TABLE, attribute: "revocation" })?,
            );
        }
        Ok(Revocations { found, has_more: page.last_evaluated_key.is_some() })
    }

    /// Adds a revocation to those that were `found`, and keeps it until `expires_at` at least.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn deny(
        &self,
        sub: &str,
        what: &Revocation,
        expires_at: EpochSeconds,
        found: &Revocations,
    ) -> Result<(), StoreError> {
        self.client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item(sub, what, found.place(what, expires_at))))
            .send()
            .await
            .map_err(|error| StoreError::call("writing to the denylist", error))?;
        Ok(())
    }

    /// The same as a part of a transaction.
    pub(super) fn put(
        &self,
        sub: &str,
        what: &Revocation,
        expires_at: EpochSeconds,
        found: &Revocations,
    ) -> Result<Put, StoreError> {
        Put::builder()
            .table_name(&self.name)
            .set_item(Some(item(sub, what, found.place(what, expires_at))))
            .build()
            .map_err(|error| StoreError::call("writing to the denylist", error))
    }
}

/// As many items as [`READ_UNITS`] read.
fn most_items(sub: &str) -> i32 {
    let items = READ_UNITS * READ_UNIT_BYTES / (ITEM_BYTES_BESIDE_SUB + sub.len());
    i32::try_from(items.max(1)).unwrap_or(1)
}

fn item(sub: &str, what: &Revocation, expires_at: EpochSeconds) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("sub".to_owned(), string(sub)),
        ("revocation".to_owned(), string(what.sort_key(expires_at))),
        ("expires_at".to_owned(), number(expires_at)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUB: &str = "0123456789012345678901";

    fn revocations(found: &[(EpochSeconds, Revocation)], has_more: bool) -> Revocations {
        Revocations { found: found.to_vec(), has_more }
    }

    fn sessions(number: usize) -> Vec<(EpochSeconds, Revocation)> {
        (0..number).map(|number| (1000, Revocation::Session(number.to_string()))).collect()
    }

    #[test]
    fn a_sort_key_says_what_it_denies_and_sorts_by_expiry() {
        for what in [Revocation::Token("j#1".into()), Revocation::Session("s".into()), Revocation::Epoch(7)] {
            assert_eq!(Revocation::from_sort_key(&what.sort_key(1_800_000_000)), Some((1_800_000_000, what.clone())));
            assert!(what.sort_key(999) < what.sort_key(1_800_000_000));
        }
    }

    #[test]
    fn what_is_not_understood_is_not_passed_over() {
        for sort_key in ["", "1800000000", "1800000000#sid", "1800000000#aud#x", "1800000000#epoch#many", "soon#sid#s"]
        {
            assert_eq!(Revocation::from_sort_key(sort_key), None, "{sort_key}");
        }
    }

    #[test]
    fn as_many_items_are_read_as_three_units_hold_however_long_the_sub_is() {
        let size = |sub: &str| {
            let what = Revocation::Token(SUB.to_owned());
            let item = item(sub, &what, 1_800_000_000);
            // A number of ten digits is stored in six bytes; names and strings as they are.
            let bytes = |(name, value): (&String, &AttributeValue)| name.len() + value.as_s().map_or(6, String::len);
            item.iter().map(bytes).sum::<usize>()
        };
        for sub in [SUB, "s", "00000000-0000-4000-8000-000000000000", &"x".repeat(2048)] {
            let items = usize::try_from(most_items(sub)).unwrap();
            assert!(items * size(sub) <= 3 * 4096, "{sub}");
            assert!((items + 1) * size(sub) > 3 * 4096, "{sub}");
        }
        assert_eq!(most_items(&"x".repeat(20_000)), 1);
    }

    #[test]
    fn an_epoch_item_is_placed_after_everything_and_others_not_before_the_latest_of_them() {
        let (token, epoch) = (Revocation::Token("j".into()), Revocation::Epoch(8));
        let none = Revocations::default();
        assert_eq!((none.place(&token, 500), none.place(&epoch, 500)), (500, 500));
        let found = revocations(
            &[(900, Revocation::Session("s".into())), (700, Revocation::Epoch(7)), (600, Revocation::Epoch(6))],
            false,
        );
        assert_eq!((found.place(&token, 500), found.place(&token, 800)), (700, 800));
        assert_eq!((found.place(&epoch, 500), found.place(&epoch, 900), found.place(&epoch, 950)), (901, 901, 950));
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
}
