//! The denylist: which access tokens no longer count although they have not expired.
//!
//! Partition key `sub`; sort key `revocation`, `<expires_at, 10 digits>#<kind>#<value>`. `expires_at` is the latest moment a
//! token it covers can still verify, so one Query from now on returns what still matters, almost always nothing, for one
//! read unit, and never reads items that DynamoDB has not deleted yet.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Put};

use super::StoreError;
use super::item::{Item, number, string};
use crate::clock::EpochSeconds;

const TABLE: &str = "Denylist";

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

    /// `None` for what this version does not know. The caller must take that as an error: it denies something.
    fn from_sort_key(sort_key: &str) -> Option<Self> {
        let (_expires_at, what) = sort_key.split_once('#')?;
        match what.split_once('#')? {
            ("jti", jti) => Some(Self::Token(jti.to_owned())),
            ("sid", sid) => Some(Self::Session(sid.to_owned())),
            ("epoch", min_epoch) => min_epoch.parse().ok().map(Self::Epoch),
            _ => None,
        }
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

    /// Every revocation of a user's tokens that still matters at `now`, read consistently, all pages of it.
    ///
    /// # Errors
    /// The table did not give a whole answer, or an item cannot be understood. The caller denies.
    pub async fn revocations(&self, sub: &str, now: EpochSeconds) -> Result<Vec<Revocation>, StoreError> {
        let mut revocations = Vec::new();
        let mut next = None;
        // The SDK's paginator copies the question for every page, and this one is asked at every request.
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.name)
                .key_condition_expression("#sub = :sub AND revocation > :now")
                .expression_attribute_names("#sub", "sub")
                .expression_attribute_values(":sub", string(sub))
                .expression_attribute_values(":now", string(format!("{now:010}")))
                .consistent_read(true)
                .set_exclusive_start_key(next)
                .send()
                .await
                .map_err(|error| StoreError::call("reading the denylist", error))?;
            for attributes in page.items() {
                let sort_key = Item { table: TABLE, attributes }.string("revocation")?;
                revocations.push(
                    Revocation::from_sort_key(&sort_key)
                        .ok_or(StoreError::MalformedItem { table: TABLE, attribute: "revocation" })?,
                );
            }
            next = page.last_evaluated_key;
            if next.is_none() {
                return Ok(revocations);
            }
        }
    }

    /// Denies, until `expires_at`.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn deny(&self, sub: &str, what: &Revocation, expires_at: EpochSeconds) -> Result<(), StoreError> {
        self.client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item(sub, what, expires_at)))
            .send()
            .await
            .map_err(|error| StoreError::call("writing to the denylist", error))?;
        Ok(())
    }

    /// The same as a part of a transaction.
    pub(super) fn put(&self, sub: &str, what: &Revocation, expires_at: EpochSeconds) -> Result<Put, StoreError> {
        Put::builder()
            .table_name(&self.name)
            .set_item(Some(item(sub, what, expires_at)))
            .build()
            .map_err(|error| StoreError::call("writing to the denylist", error))
    }
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

    #[test]
    fn a_sort_key_says_what_it_denies_and_sorts_by_expiry() {
        for what in [Revocation::Token("j#1".into()), Revocation::Session("s".into()), Revocation::Epoch(7)] {
            assert_eq!(Revocation::from_sort_key(&what.sort_key(1_800_000_000)), Some(what.clone()));
            assert!(what.sort_key(999) < what.sort_key(1_800_000_000));
        }
    }

    #[test]
    fn what_is_not_understood_is_not_passed_over() {
        for sort_key in ["", "1800000000", "1800000000#sid", "1800000000#aud#x", "1800000000#epoch#many"] {
            assert_eq!(Revocation::from_sort_key(sort_key), None, "{sort_key}");
        }
    }
}
