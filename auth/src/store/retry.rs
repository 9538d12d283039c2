//! Retries after a lost conditional write or a transaction conflict.
//!
//! DynamoDB rejects a write while a transaction on its item is under way, and a conditional write whose condition
//! somebody else's write broke. An immediate retry meets the same writers again. So each attempt waits longer than the
//! one before, with jitter, and none begins later than a call may take.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use super::StoreError;
use super::client::OPERATION_TIMEOUT;

/// The attempts at one operation.
pub(crate) struct Attempts {
    operation: &'static str,
    ends_at: Instant,
    pauses: ExponentialBackoff,
}

impl Attempts {
    /// Begins with the first one now.
    pub(crate) fn at(operation: &'static str) -> Self {
        Self { operation, ends_at: Instant::now() + OPERATION_TIMEOUT, pauses: pauses() }
    }

    /// Others were in the way: waits until the next attempt.
    ///
    /// # Errors
    /// They have been for as long as a call may take. Then it is not known what was done.
    pub(crate) async fn pause(&mut self) -> Result<(), StoreError> {
        let next_at = self.pauses.next().map(|pause| Instant::now() + pause).filter(|next_at| *next_at < self.ends_at);
        match next_at {
            Some(next_at) => {
                tokio::time::sleep_until(next_at).await;
                Ok(())
            }
            None => Err(StoreError::call(self.operation, "others write to the same item again and again")),
        }
    }
}

/// Pauses without end: 20 ms, doubled up to 200 ms, each with a random part of up to as much again.
pub(crate) fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(20))
        .with_max_delay(Duration::from_millis(200))
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_longest_and_no_two_callers_pause_alike() {
        let first: Vec<_> = pauses().take(8).collect();
        for (pause, least) in first.iter().zip([20, 40, 80, 160, 200, 200, 200, 200]) {
            let least = Duration::from_millis(least);
            assert!((least..=2 * least).contains(pause), "{first:?}");
        }
        assert_ne!(first, pauses().take(8).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_later_than_a_call_may_take() {
        let started = Instant::now();
        let mut attempts = Attempts::at("a test");
        let mut made = 1;
        let error = loop {
            match attempts.pause().await {
                Ok(()) => made += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "a test failed");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(source, "others write to the same item again and again");
        let longest_pause = Duration::from_millis(400);
        assert!(started.elapsed() < OPERATION_TIMEOUT && OPERATION_TIMEOUT < started.elapsed() + longest_pause);
        assert!((8..=18).contains(&made), "{made}");
    }
}
