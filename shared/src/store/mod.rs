//! DynamoDB: one file a table, concrete types over the SDK's client.
//!
//! Every call has a limit of time well under the function's own, so that a store that hangs becomes an answer. What cannot
//! be read is an error, never an empty result: callers deny on errors.

pub mod client;
pub mod denylist;
mod item;
pub mod login_attempts;
pub mod sessions;
pub mod signing_keys;
pub mod users;

use std::error::Error;

/// DynamoDB did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer in time, or refused the call.
    #[error("{operation} failed")]
    Call {
        /// What was asked of it.
        operation: &'static str,
        /// Why it failed, as the SDK says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// An item is not what this version of Latchkey writes.
    #[error("an item of the {table} table has no usable attribute {attribute}")]
    MalformedItem {
        /// The table's kind.
        table: &'static str,
        /// The attribute.
        attribute: &'static str,
    },
}

impl StoreError {
    /// Wraps an error of the SDK.
    pub(crate) fn call(operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Call { operation, source: source.into() }
    }

    /// It failed so short a time ago that it is not asked again.
    pub(crate) fn failed_a_moment_ago(operation: &'static str) -> Self {
        Self::call(operation, "it failed a moment ago and is not asked again yet")
    }
}
