//! Points in time, as JWTs have them.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time: whole seconds since 1970-01-01T00:00:00Z, leap seconds ignored (`NumericDate`, RFC 7519 §2).
///
/// A length of time is a plain number of seconds. Adding and subtracting one saturates, so that a time that a token
/// claims can neither overflow nor panic.
///
/// ```
/// use latchkey_verifier::EpochSeconds;
///
/// let issued_at = EpochSeconds::new(1_800_000_000);
/// let expires_at = issued_at + 900;
/// assert_eq!(expires_at.seconds_since(issued_at), Some(900));
/// assert_eq!(issued_at.seconds_since(expires_at), None);
/// assert_eq!(EpochSeconds::MAX + 1, EpochSeconds::MAX);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EpochSeconds(u64);

impl EpochSeconds {
    /// A time that no clock reaches.
    pub const MAX: Self = Self(u64::MAX);

    /// The time that is `seconds` after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    /// The time of the system's clock. A clock before 1970 reads as 0, at which no token is valid.
    ///
    /// Read it once for each request and pass it on, so that a request sees one time and a test can choose it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time of a request")]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The seconds that have passed since an `earlier` time; `None` if that is later.
    #[must_use]
    pub const fn seconds_since(self, earlier: Self) -> Option<u64> {
        self.0.checked_sub(earlier.0)
    }
}

impl Add<u64> for EpochSeconds {
    type Output = Self;

    fn add(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

impl AddAssign<u64> for EpochSeconds {
    fn add_assign(&mut self, seconds: u64) {
        *self = *self + seconds;
    }
}

impl Sub<u64> for EpochSeconds {
    type Output = Self;

    fn sub(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }
}

impl From<SystemTime> for EpochSeconds {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs()))
    }
}

impl FromStr for EpochSeconds {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for EpochSeconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(EpochSeconds::MAX + 1, EpochSeconds::MAX);
        assert_eq!(EpochSeconds::new(1) - 2, EpochSeconds::new(0));
        assert_eq!(EpochSeconds::new(5) + 2, EpochSeconds::new(7));
        assert_eq!(EpochSeconds::new(5) - 2, EpochSeconds::new(3));
        let mut later = EpochSeconds::new(5);
        later += 2;
        assert_eq!(later.get(), 7);
        assert_eq!(EpochSeconds::new(5).seconds_since(EpochSeconds::new(5)), Some(0));
        assert_eq!(EpochSeconds::new(5).seconds_since(EpochSeconds::new(6)), None);
    }

    #[test]
    fn a_clock_before_1970_reads_as_0() {
        assert_eq!(EpochSeconds::from(UNIX_EPOCH - Duration::from_secs(1)), EpochSeconds::new(0));
        assert_eq!(EpochSeconds::from(UNIX_EPOCH + Duration::from_millis(1999)), EpochSeconds::new(1));
        assert!(EpochSeconds::now() > EpochSeconds::new(1_700_000_000));
    }

    #[test]
    fn a_time_is_written_and_read_as_a_whole_number() {
        assert_eq!(format!("{:010}", EpochSeconds::new(7)), "0000000007");
        assert_eq!("1800000000".parse(), Ok(EpochSeconds::new(1_800_000_000)));
        assert!("-1".parse::<EpochSeconds>().is_err());
        assert_eq!(serde_json::to_string(&EpochSeconds::new(7)).unwrap(), "7");
        assert!(serde_json::from_str::<EpochSeconds>("7.0").is_err());
    }
}
