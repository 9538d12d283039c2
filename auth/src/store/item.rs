//! Reads attributes of an item; the error names the one that is wrong.

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_dynamodb::types::AttributeValue;

use super::StoreError;
use crate::EpochSeconds;

/// An item of one kind of table.
pub(super) struct Item<'a> {
    pub(super) table: &'static str,
    pub(super) attributes: &'a HashMap<String, AttributeValue>,
}

impl<'a> Item<'a> {
    fn attribute<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&'a AttributeValue) -> Option<T>,
    ) -> Result<T, StoreError> {
        self.attributes.get(name).and_then(read).ok_or(StoreError::MalformedItem { table: self.table, attribute: name })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    pub(super) fn string(&self, name: &'static str) -> Result<String, StoreError> {
        self.attribute(name, |value| value.as_s().ok().cloned())
    }

    pub(super) fn number<T: FromStr>(&self, name: &'static str) -> Result<T, StoreError> {
        self.attribute(name, |value| value.as_n().ok()?.parse().ok())
    }

    pub(super) fn bytes(&self, name: &'static str) -> Result<Vec<u8>, StoreError> {
        self.attribute(name, |value| Some(value.as_b().ok()?.as_ref().to_vec()))
    }

    pub(super) fn strings(&self, name: &'static str) -> Result<Vec<String>, StoreError> {
        self.attribute(name, |value| value.as_l().ok()?.iter().map(|entry| entry.as_s().ok().cloned()).collect())
    }
}

pub(super) fn string(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// An attribute that is a time, as DynamoDB's time to live expects it.
pub(super) fn time(value: EpochSeconds) -> AttributeValue {
    number(value.get())
}

pub(super) fn strings<'a>(values: impl IntoIterator<Item = &'a str>) -> AttributeValue {
    AttributeValue::L(values.into_iter().map(string).collect())
}
