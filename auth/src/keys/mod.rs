//! Keys: which one signs, which ones verify, how private ones are wrapped, and when new ones are made.
//!
//! A key is one item that never changes ([`crate::signing_key`]). So a rotation is one new item, concurrent rotations
//! are harmless, and deleting an item revokes the key.

pub mod active;
mod freshness;
pub mod generation;
pub mod login_attempts;
pub mod rotation;
pub mod signing;
pub mod verification;
pub mod wrapping;

pub use freshness::{REREAD_AFTER_SECONDS, RETRY_AFTER_SECONDS, UNKNOWN_KID_REREAD_SECONDS, USABLE_FOR_SECONDS};
