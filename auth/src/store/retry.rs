//! Retries after a lost conditional write or a transaction conflict.
//!
//! DynamoDB rejects a write while a transaction on its item is in progress, and a conditional write whose condition no
//! longer holds. An immediate retry would conflict with the same writers. So each attempt waits longer than the
//! previous one, with jitter, and none begins after the timeout of a call.

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

    /// Waits until the next attempt, after a conflict.
    ///
    /// # Errors
    /// There were conflicts until the timeout of a call. Then the outcome is unknown.
    pub(crate) async fn pause(&mut self) -> Result<(), StoreError> {
        let next_at = self.pauses.next().map(|pause| Instant::now() + pause).filter(|next_at| *next_at < self.ends_at);
        match next_at {
            Some(next_at) => {
                tokio::time::sleep_until(next_at).await;
                Ok(())
            }
            None => Err(StoreError::call(self.operation, "other writers changed the same item at every attempt")),
        }
    }
}

/// Endless pauses: 20 ms, doubled up to 200 ms, each plus a random part of up to the same length.
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
        assert_eq!(source, "other writers changed the same item at every attempt");
        // Tokio's timer rounds up to a millisecond.
        let (longest_pause, timer) = (Duration::from_millis(400), Duration::from_millis(1));
        let took = started.elapsed();
        assert!(took < OPERATION_TIMEOUT + timer, "{took:?}");
        assert!(OPERATION_TIMEOUT <= took + longest_pause, "{took:?}");
        assert!((8..=18).contains(&made), "{made}");
    }
}
