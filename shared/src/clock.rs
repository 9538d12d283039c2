//! The one place where the time is read.
//!
//! Handlers read it once a request and pass it on, so that one request sees one time and a test can
//! choose it. `clippy.toml` refuses `SystemTime::now` elsewhere.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z, leap seconds ignored: `NumericDate` of RFC 7519 §2, and what
/// DynamoDB's time to live expects.
pub type EpochSeconds = u64;

/// The same in milliseconds, for what is measured.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now_milliseconds() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// The time now. A clock before 1970 reads as 0, at which every key is inactive and no token valid.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> EpochSeconds {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
