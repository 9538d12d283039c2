//! When cached keys are read again, and for how long they may be used while that fails.

use std::error::Error;

use crate::EpochSeconds;
use crate::store::StoreError;

/// How old the cached keys may become before they are read again, in seconds.
pub const REREAD_AFTER_SECONDS: u64 = 60;

/// How old the cached keys may become while reading them fails, in seconds. After that the function denies: it can no
/// longer know whether a key was revoked.
pub const USABLE_FOR_SECONDS: u64 = 300;

/// How soon a failed reading is repeated while cached keys are used, in seconds.
pub const RETRY_AFTER_SECONDS: u64 = 10;

/// Shortest time between two readings for an unknown `kid`, in seconds.
pub const UNKNOWN_KID_REREAD_SECONDS: u64 = 10;

/// When the table was last read for an unknown `kid`, so that a stream of forged tokens does not become a stream of
/// reads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnknownKid {
    reread_at: Option<EpochSeconds>,
    failed: bool,
}

impl UnknownKid {
    /// Whether the table may be read for another one now. If not, the key did not exist when the table was last read.
    ///
    /// # Errors
    /// The last reading failed a moment ago: whether the key exists is not known.
    pub(super) fn may_reread(&mut self, now: EpochSeconds) -> Result<bool, StoreError> {
        if is_due(self.reread_at, UNKNOWN_KID_REREAD_SECONDS, now) {
            // Concurrent requests do not read it too.
            *self = Self { reread_at: Some(now), failed: false };
            return Ok(true);
        }
        if self.failed { Err(StoreError::failed_a_moment_ago("reading the keys")) } else { Ok(false) }
    }

    pub(super) fn was_reread(&mut self, now: EpochSeconds, succeeded: bool) {
        *self = Self { reread_at: Some(now), failed: !succeeded };
    }
}

/// A reading failed, and the cached keys are fresh enough to use.
pub(super) fn using_cached_keys(error: &StoreError) {
    let error: &(dyn Error + 'static) = error;
    tracing::error!(event = "load_keys", outcome = "failed", error, "the keys could not be read; using cached keys");
}

/// Whether `since` is at least `seconds` ago, or absent. True after a clock was set back.
pub(super) fn is_due(since: Option<EpochSeconds>, seconds: u64, now: EpochSeconds) -> bool {
    since.and_then(|since| now.seconds_since(since)).is_none_or(|elapsed| elapsed >= seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kid_is_looked_for_once_in_ten_seconds_and_a_failure_is_no_answer() {
        let mut unknown = UnknownKid::default();
        assert!(unknown.may_reread(EpochSeconds::new(100)).unwrap());
        unknown.was_reread(EpochSeconds::new(100), true);
        assert!(!unknown.may_reread(EpochSeconds::new(109)).unwrap());
        assert!(unknown.may_reread(EpochSeconds::new(110)).unwrap());
        unknown.was_reread(EpochSeconds::new(110), false);
        assert!(unknown.may_reread(EpochSeconds::new(119)).is_err(), "whether the key exists is not known");
        assert!(unknown.may_reread(EpochSeconds::new(120)).unwrap());
    }

    #[test]
    fn a_reading_is_due_at_its_interval_and_after_a_clock_set_back() {
        assert!(is_due(None, 60, EpochSeconds::new(0)));
        assert!(!is_due(Some(EpochSeconds::new(100)), 60, EpochSeconds::new(100)));
        assert!(!is_due(Some(EpochSeconds::new(100)), 60, EpochSeconds::new(159)));
        assert!(is_due(Some(EpochSeconds::new(100)), 60, EpochSeconds::new(160)));
        assert!(is_due(Some(EpochSeconds::new(100)), 60, EpochSeconds::new(99)));
    }
}
