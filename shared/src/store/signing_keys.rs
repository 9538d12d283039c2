//! SigningKeys: `purpose` and `kid` (key), `alg`, `public_jwk`, `sealed_private_key`, `activates_at`, `retires_at`,
//! `expires_at`. Nothing in an item changes after it is written.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, Select};

use super::StoreError;
use super::item::{Item, number, string};
use crate::clock::EpochSeconds;
use crate::keys::{KeyPurpose, KeyRecord, SealedKey};

const TABLE: &str = "SigningKeys";

/// The table of keys.
#[derive(Clone, Debug)]
pub struct SigningKeysTable {
    client: Client,
    name: String,
}

impl SigningKeysTable {
    /// The table with this name.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// The public halves of all keys for a purpose. The attributes are named, because the policy of functions that only
    /// verify allows these and no others.
    ///
    /// # Errors
    /// The table did not give a whole answer.
    pub async fn public_keys(&self, purpose: KeyPurpose) -> Result<Vec<KeyRecord>, StoreError> {
        let query = self
            .query(purpose)
            .select(Select::SpecificAttributes)
            .projection_expression("kid, alg, public_jwk, activates_at, retires_at");
        all(query, record).await
    }

    /// All keys for a purpose, with their sealed private halves.
    ///
    /// # Errors
    /// The table did not give a whole answer.
    pub async fn sealed_keys(&self, purpose: KeyPurpose) -> Result<Vec<SealedKey>, StoreError> {
        all(self.query(purpose), |item| {
            Ok(SealedKey { record: record(item)?, sealed_private_key: item.bytes("sealed_private_key")? })
        })
        .await
    }

    /// Writes a new key. `expires_at` is when nothing can need it any more.
    ///
    /// # Errors
    /// The table did not answer, or there is a key with this id.
    pub async fn add(&self, purpose: KeyPurpose, key: &SealedKey, expires_at: EpochSeconds) -> Result<(), StoreError> {
        let record = &key.record;
        let sealed = AttributeValue::B(Blob::new(key.sealed_private_key.clone()));
        let mut item = HashMap::from([
            ("purpose".to_owned(), string(purpose.as_str())),
            ("kid".to_owned(), string(&record.kid)),
            ("alg".to_owned(), string(&record.alg)),
            ("sealed_private_key".to_owned(), sealed.clone()),
            ("activates_at".to_owned(), number(record.activates_at)),
            ("retires_at".to_owned(), number(record.retires_at)),
            ("expires_at".to_owned(), number(expires_at)),
        ]);
        item.extend(record.public_jwk.as_ref().map(|jwk| ("public_jwk".to_owned(), string(jwk))));
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
                    if failed.item().and_then(|item| item.get("sealed_private_key")) == Some(&sealed) =>
                {
                    Ok(())
                }
                _ => Err(StoreError::call("writing a key", error)),
            },
        }
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
                // It must not take the other keys with it.
                Err(error) => tracing::error!(
                    event = "load_keys",
                    outcome = "failed",
                    error = crate::telemetry::chain(&error),
                    "an item of the SigningKeys table was left out"
                ),
            }
        }
    }
    Ok(keys)
}

fn record(item: &Item<'_>) -> Result<KeyRecord, StoreError> {
    Ok(KeyRecord {
        kid: item.string("kid")?,
        alg: item.string("alg")?,
        public_jwk: item.has("public_jwk").then(|| item.string("public_jwk")).transpose()?,
        activates_at: item.number("activates_at")?,
        retires_at: item.number("retires_at")?,
    })
}
