//! The Denylist table: which access tokens are revoked although they have not expired ([`crate::revocation`]).
//!
//! Partition key `sub`; sort key `revocation`, `<expires_at, 10 digits>#<kind>#<value>`. `expires_at` is the latest
//! moment at which a token that it covers can still verify. So one Query from now on returns the items that still
//! matter, almost always none, for one read unit, and never reads expired items that DynamoDB has not deleted yet. At
//! the same time, `epoch` sorts before `jti` and `sid`.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put};

use super::StoreError;
use super::item::{Item, string, time};
use crate::EpochSeconds;
use crate::id::{SessionId, UserId};
use crate::revocation::{Revocation, Revocations};

const TABLE: &str = "Denylist";

/// Most strongly consistent read units of one query.
const READ_UNITS: usize = 3;
/// Size of a strongly consistent read unit, in bytes.
const READ_UNIT_BYTES: usize = 4096;
/// The billed size of an item, in bytes, without the value of `sub`: the names of the three attributes, the sort
/// key with an identifier of 22 characters, and a number of ten digits.
const ITEM_BYTES_BESIDE_SUB: usize = "subrevocationexpires_at".len() + "1800000000#jti#".len() + 22 + 6;

fn sort_key(what: &Revocation, expires_at: EpochSeconds) -> String {
    match what {
        Revocation::Token(jti) => format!("{expires_at:010}#jti#{jti}"),
        Revocation::Session(sid) => format!("{expires_at:010}#sid#{sid}"),
        Revocation::Epoch(min_epoch) => format!("{expires_at:010}#epoch#{min_epoch}"),
    }
}

/// Until when an item is kept, and what it revokes. `None` for a kind that this version does not know. The caller
/// must treat that as an error: it revokes something.
fn from_sort_key(sort_key: &str) -> Option<(EpochSeconds, Revocation)> {
    let (expires_at, what) = sort_key.split_once('#')?;
    let what = match what.split_once('#')? {
        ("jti", jti) => Revocation::Token(jti.to_owned()),
        ("sid", sid) => Revocation::Session(SessionId::new(sid)),
        ("epoch", min_epoch) => Revocation::Epoch(min_epoch.parse().ok()?),
        _ => return None,
    };
    Some((expires_at.parse().ok()?, what))
}

/// The table of revocations.
#[derive(Clone, Debug)]
pub struct DenylistTable {
    client: Client,
    name: String,
}

impl DenylistTable {
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// The revocations of a user's tokens that still matter at `now`, read consistently, for at most three read units.
    ///
    /// # Errors
    /// The table did not answer, or an item is malformed. The caller denies.
    pub async fn revocations(&self, sub: &UserId, now: EpochSeconds) -> Result<Revocations, StoreError> {
        let page = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("#sub = :sub AND revocation > :now")
            .expression_attribute_names("#sub", "sub")
            .expression_attribute_values(":sub", string(sub.as_str()))
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
                from_sort_key(&sort_key).ok_or(StoreError::MalformedItem { table: TABLE, attribute: "revocation" })?,
            );
        }
        Ok(Revocations::new(found, page.last_evaluated_key.is_some()))
    }

    /// Adds a revocation to those that were `found`, and keeps it until `expires_at` at least.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn deny(
        &self,
        sub: &UserId,
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
        sub: &UserId,
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
fn most_items(sub: &UserId) -> i32 {
    let items = READ_UNITS * READ_UNIT_BYTES / (ITEM_BYTES_BESIDE_SUB + sub.as_str().len());
    i32::try_from(items.max(1)).unwrap_or(1)
}

fn item(sub: &UserId, what: &Revocation, expires_at: EpochSeconds) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("sub".to_owned(), string(sub.as_str())),
        ("revocation".to_owned(), string(sort_key(what, expires_at))),
        ("expires_at".to_owned(), time(expires_at)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUB: &str = "0123456789012345678901";
    const NOW: EpochSeconds = EpochSeconds::new(1_800_000_000);

    #[test]
    fn a_sort_key_says_what_it_denies_and_sorts_by_expiry() {
        for what in [Revocation::Token("j#1".into()), Revocation::Session(SessionId::new("s")), Revocation::Epoch(7)] {
            assert_eq!(from_sort_key(&sort_key(&what, NOW)), Some((NOW, what.clone())));
            assert!(sort_key(&what, EpochSeconds::new(999)) < sort_key(&what, NOW));
        }
    }

    #[test]
    fn what_is_not_understood_is_not_passed_over() {
        for sort_key in ["", "1800000000", "1800000000#sid", "1800000000#aud#x", "1800000000#epoch#many", "soon#sid#s"]
        {
            assert_eq!(from_sort_key(sort_key), None, "{sort_key}");
        }
    }

    #[test]
    fn as_many_items_are_read_as_three_units_hold_however_long_the_sub_is() {
        let size = |sub: &str| {
            let what = Revocation::Token(SUB.to_owned());
            let item = item(&UserId::new(sub), &what, NOW);
            // A number of ten digits is stored in six bytes; names and strings as they are.
            let bytes = |(name, value): (&String, &AttributeValue)| name.len() + value.as_s().map_or(6, String::len);
            item.iter().map(bytes).sum::<usize>()
        };
        for sub in [SUB, "s", "00000000-0000-4000-8000-000000000000", &"x".repeat(2048)] {
            let items = usize::try_from(most_items(&UserId::new(sub))).unwrap();
            assert!(items * size(sub) <= 3 * 4096, "{sub}");
            assert!((items + 1) * size(sub) > 3 * 4096, "{sub}");
        }
        assert_eq!(most_items(&UserId::new("x".repeat(20_000))), 1);
    }
}
