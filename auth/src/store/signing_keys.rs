//! The SigningKeys table: `purpose` and `kid` (key), `alg`, `public_jwk`, `sealed_private_key` (the wrapped key),
//! `activates_at`, `retires_at` (when the key stops signing), `expires_at`. Nothing in an item changes after it is
//! written.

use std::collections::HashMap;
use std::error::Error;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, Select, TransactWriteItem,
};

use super::StoreError;
use super::item::{Item, string, time};
use crate::EpochSeconds;
use crate::id::KeyId;
use crate::signing_key::{KeyPurpose, KeyRecord, WrappedKey};

const TABLE: &str = "SigningKeys";
/// The partition of the markers of first keys.
const FIRST_KEY: &str = "first-key";
/// For how long no other caller can write a first key, in seconds.
pub const FIRST_KEY_SECONDS: u64 = 60;

/// The result of writing a first key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstKey {
    Written,
    /// Another caller wrote one a moment ago; nothing was written.
    AnotherIsFirst,
}

/// The result of deleting a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    Deleted,
    /// There was none.
    Absent,
}

#[derive(Clone, Debug)]
pub struct SigningKeysTable {
    client: Client,
    name: String,
}

impl SigningKeysTable {
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// The public halves of all keys for a purpose. The attributes are named, because the policy of functions that only
    /// verify allows these and no others.
    ///
    /// # Errors
    /// The table did not answer completely.
    pub async fn public_keys(&self, purpose: KeyPurpose) -> Result<Vec<KeyRecord>, StoreError> {
        let query = self
            .query(purpose)
            .select(Select::SpecificAttributes)
            .projection_expression("kid, alg, public_jwk, activates_at, retires_at");
        all(query, record).await
    }

    /// All keys for a purpose, with their wrapped private keys.
    ///
    /// # Errors
    /// The table did not answer completely.
    pub async fn wrapped_keys(&self, purpose: KeyPurpose) -> Result<Vec<WrappedKey>, StoreError> {
        all(self.query(purpose), |item| {
            Ok(WrappedKey { record: record(item)?, wrapped_private_key: item.bytes("sealed_private_key")? })
        })
        .await
    }

    /// Writes a new key. `expires_at` is when it is no longer needed.
    ///
    /// # Errors
    /// The table did not answer, or there is a key with this id.
    pub async fn add(&self, purpose: KeyPurpose, key: &WrappedKey, expires_at: EpochSeconds) -> Result<(), StoreError> {
        let item = item(purpose, key, expires_at);
        let wrapped = item.get("sealed_private_key").cloned();
        let answer = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(kid)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                // The SDK repeats a write whose answer was lost: then the key found there is this one.
                Some(PutItemError::ConditionalCheckFailedException(failed))
                    if failed.item().and_then(|item| item.get("sealed_private_key")) == wrapped.as_ref() =>
                {
                    Ok(())
                }
                _ => Err(StoreError::call("writing a key", error)),
            },
        }
    }

    /// Writes a key that signs immediately. Of several callers within [`FIRST_KEY_SECONDS`], one succeeds. Otherwise a
    /// token could be signed by a key that a verifier has not read.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn add_first(
        &self,
        purpose: KeyPurpose,
        key: &WrappedKey,
        expires_at: EpochSeconds,
        now: EpochSeconds,
    ) -> Result<FirstKey, StoreError> {
        const OPERATION: &str = "writing the first key";
        let failed = |error| StoreError::call(OPERATION, error);
        let put = Put::builder().table_name(&self.name).set_item(Some(item(purpose, key, expires_at)));
        // A marker of the first writer and the time, in a partition of its own.
        let mark = Put::builder()
            .table_name(&self.name)
            .item("purpose", string(FIRST_KEY))
            .item("kid", string(purpose.as_str()))
            .item("written_at", time(now))
            .condition_expression("attribute_not_exists(kid) OR written_at <= :before")
            .expression_attribute_values(":before", time(now - FIRST_KEY_SECONDS));
        let answer = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(put.build().map_err(failed)?).build())
            .transact_items(TransactWriteItem::builder().put(mark.build().map_err(failed)?).build())
            .send()
            .await;
        match answer {
            Ok(_) => Ok(FirstKey::Written),
            Err(error) => match error.as_service_error() {
                // Another caller's marker exists, or is being written.
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
                    if cancelled.cancellation_reasons().iter().any(|reason| {
                        matches!(reason.code(), Some("ConditionalCheckFailed" | "TransactionConflict"))
                    }) =>
                {
                    Ok(FirstKey::AnotherIsFirst)
                }
                _ => Err(StoreError::call(OPERATION, error)),
            },
        }
    }

    /// Deletes a key, which revokes it. Every function forgets it within a minute.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn delete(&self, purpose: KeyPurpose, kid: &KeyId) -> Result<Deletion, StoreError> {
        let answer = self
            .client
            .delete_item()
            .table_name(&self.name)
            .key("purpose", string(purpose.as_str()))
            .key("kid", string(kid.as_str()))
            .return_values(ReturnValue::AllOld)
            .send()
            .await
            .map_err(|error| StoreError::call("deleting a key", error))?;
        Ok(if answer.attributes.is_some() { Deletion::Deleted } else { Deletion::Absent })
    }

    fn query(&self, purpose: KeyPurpose) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.name)
            .key_condition_expression("purpose = :purpose")
            .expression_attribute_values(":purpose", string(purpose.as_str()))
            .consistent_read(true)
    }
}

fn item(purpose: KeyPurpose, key: &WrappedKey, expires_at: EpochSeconds) -> HashMap<String, AttributeValue> {
    let record = &key.record;
    let mut item = HashMap::from([
        ("purpose".to_owned(), string(purpose.as_str())),
        ("kid".to_owned(), string(record.kid.as_str())),
        ("alg".to_owned(), string(&record.alg)),
        ("sealed_private_key".to_owned(), AttributeValue::B(Blob::new(key.wrapped_private_key.clone()))),
        ("activates_at".to_owned(), time(record.activates_at)),
        ("retires_at".to_owned(), time(record.retires_at)),
        ("expires_at".to_owned(), time(expires_at)),
    ]);
    item.extend(record.public_jwk.as_ref().map(|jwk| ("public_jwk".to_owned(), string(jwk))));
    item
}

/// All pages of a query, item by item.
async fn all<T>(
    query: QueryFluentBuilder,
    read: impl Fn(&Item<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut pages = query.into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| StoreError::call("reading the keys", error))?;
        for attributes in page.items() {
            match read(&Item { table: TABLE, attributes }) {
                Ok(key) => keys.push(key),
                // It must not make the other keys unusable.
                Err(error) => {
                    let error: &(dyn Error + 'static) = &error;
                    tracing::error!(
                        event = "load_keys",
                        outcome = "failed",
                        error,
                        "an item of the SigningKeys table was left out"
                    );
                }
            }
        }
    }
    Ok(keys)
}

fn record(item: &Item<'_>) -> Result<KeyRecord, StoreError> {
    Ok(KeyRecord {
        kid: KeyId::new(item.string("kid")?),
        alg: item.string("alg")?,
        public_jwk: item.has("public_jwk").then(|| item.string("public_jwk")).transpose()?,
        activates_at: item.number("activates_at")?,
        retires_at: item.number("retires_at")?,
    })
}
