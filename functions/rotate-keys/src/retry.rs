//! Retries while a new role's permissions have not reached every service.
//!
//! IAM is eventually consistent: for some seconds after CloudFormation made the role, services may refuse calls that it
//! allows. A custom resource that fails for this reason rolls back the whole stack.

use std::time::Duration;

use shared::telemetry;
use tokio::time::{Instant, sleep_until};

use crate::error::RotateKeysError;

/// For how long denied calls are tried again. What is left of the function's 60 s is for the last attempt and the
/// answer to CloudFormation.
const TIMEOUT: Duration = Duration::from_secs(40);
/// The first pause; each further one is twice as long. Without jitter: a stack has one such caller.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Retries until a call is not denied, or the time is over. Any other error ends it immediately.
pub(crate) async fn while_denied(
    mut attempt: impl AsyncFnMut() -> Result<(), RotateKeysError>,
) -> Result<(), RotateKeysError> {
    let end = Instant::now() + TIMEOUT;
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match attempt().await {
            Err(error) if error.is_access_denied() && Instant::now() < end => error,
            result => return result,
        };
        tracing::warn!(outcome = "denied", error = telemetry::chain(&error), "retrying");
        sleep_until(end.min(Instant::now() + pause)).await;
        pause *= 2;
    }
}

#[cfg(test)]
mod tests {
    use auth::keys::generation::GenerationError;
    use auth::keys::rotation::RotationError;
    use auth::keys::wrapping::WrappingError;
    use auth::store::StoreError;
    use aws_sdk_dynamodb::error::ErrorMetadata;
    use shared::config::ConfigError;

    use super::*;
    use crate::custom_resource::Outcome;

    fn refused_by_dynamodb(code: &str) -> RotateKeysError {
        let source = ErrorMetadata::builder().code(code).message("the reason").build();
        RotationError::from(StoreError::Call { operation: "reading the keys", source: source.into() }).into()
    }

    fn denied_by_kms() -> RotateKeysError {
        let denied = WrappingError::KmsDenied { key_id: "the-key".to_owned(), operation: "Encrypt" };
        RotationError::from(GenerationError::from(denied)).into()
    }

    /// What CloudFormation is told when attempts fail so, one after the other, and the last of these for ever if
    /// `repeats`; how many attempts there were, and how many seconds they took.
    async fn outcome(errors: Vec<fn() -> RotateKeysError>, repeats: bool) -> (Outcome, usize, u64) {
        let (started, mut attempts) = (Instant::now(), 0);
        let result = while_denied(async || {
            let error = errors.get(attempts).or(errors.last().filter(|_| repeats));
            attempts += 1;
            error.map_or(Ok(()), |error| Err(error()))
        })
        .await;
        (result.into(), attempts, started.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_made_when_a_denial_has_passed() {
        let denied_by_dynamodb = || refused_by_dynamodb("AccessDeniedException");
        assert_eq!(outcome(vec![], false).await, (Outcome::Success, 1, 0));
        assert_eq!(outcome(vec![denied_by_dynamodb, denied_by_kms], false).await, (Outcome::Success, 3, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_that_stays_is_the_reason_of_the_failure_after_40_seconds() {
        let reason = "no key could be created: the new key could not be wrapped: \
                      this role may not call kms:Encrypt with the key the-key";
        let expected = (Outcome::Failed(reason.to_owned()), 7, 40);
        assert_eq!(outcome(vec![denied_by_kms], true).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn another_error_is_not_tried_again() {
        let missing = || refused_by_dynamodb("ResourceNotFoundException");
        let malformed =
            || RotationError::from(StoreError::MalformedItem { table: "SigningKeys", attribute: "alg" }).into();
        let unanswered = || {
            let unanswered = WrappingError::Kms { operation: "Encrypt", source: "no answer".into() };
            RotationError::from(GenerationError::from(unanswered)).into()
        };
        let unknown = || ConfigError::UnknownPurpose("session".to_owned()).into();
        for (error, part_of_reason) in [
            (missing as fn() -> RotateKeysError, "reading the keys failed"),
            (malformed, "alg"),
            (unanswered, "KMS did not answer Encrypt"),
            (unknown, "names `session`"),
        ] {
            let (outcome, attempts, seconds) = outcome(vec![error], true).await;
            assert!(matches!(&outcome, Outcome::Failed(reason) if reason.contains(part_of_reason)), "{outcome:?}");
            assert_eq!((attempts, seconds), (1, 0), "{outcome:?}");
        }
    }
}
