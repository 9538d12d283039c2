//! Event in, keys made.

use lambda_runtime::Diagnostic;
use serde_json::value::RawValue;
use shared::clock::{self, EpochSeconds};
use shared::config::ConfigError;
use shared::keys::algorithm::SigningAlgorithm;
use shared::keys::rotation::{Rotated, RotationError, RotationPolicy, rotate};
use shared::keys::sealing::Sealer;
use shared::keys::{KeyKind, KeyPurpose};
use shared::store::signing_keys::SigningKeysTable;
use shared::telemetry;

use crate::custom_resource::{CloudFormationRequest, Outcome, RequestType};
use crate::retry;

/// What rotating needs.
pub(crate) struct RotateKeys {
    pub(crate) table: SigningKeysTable,
    pub(crate) sealer: Sealer,
    /// What the stack needs keys for. The environment says it, because the schedule's event has no properties. Those of
    /// `Custom::Keys` have the same list so that CloudFormation asks for the keys when it changes. A list that cannot be
    /// used is no reason not to start: CloudFormation would wait for an answer without being told why.
    pub(crate) purposes: Result<Vec<KeyPurpose>, ConfigError>,
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) policy: RotationPolicy,
}

/// Not all keys that are due were made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    /// What to make keys for is not known.
    #[error(transparent)]
    Purposes(#[from] ConfigError),
    /// A key could not be made.
    #[error(transparent)]
    Rotation(#[from] RotationError),
}

impl MakeError {
    /// Whether the role may not make a call that making keys needs.
    pub(crate) fn is_access_denied(&self) -> bool {
        matches!(self, Self::Rotation(error) if error.is_access_denied())
    }
}

impl RotateKeys {
    /// Makes the keys that are due. An event of CloudFormation is answered at the address it gives, whatever happened:
    /// a stack would wait an hour for an answer that does not come. Every other event is taken as the schedule's.
    pub(crate) async fn handle(&self, payload: &RawValue) -> Result<(), Diagnostic> {
        let Ok(request) = CloudFormationRequest::of(payload) else {
            tracing::error!(outcome = "failed", reason = "malformed_event");
            return Err(diagnostic("EventError", "the event is a request of CloudFormation that is not whole"));
        };
        let Some(request) = request else {
            // The role is known by now: a denial is for the alarm.
            return self.rotate(clock::now()).await.map_err(|error| {
                log_failure(&error);
                diagnostic("RotationError", &error.to_string())
            });
        };
        let outcome = match request.request_type {
            // The table stays with the keys in it: what verifies by them elsewhere goes on.
            RequestType::Delete => Outcome::Success,
            RequestType::Create | RequestType::Update => {
                let made = retry::while_denied(async || self.rotate(clock::now()).await).await;
                made.inspect_err(log_failure).into()
            }
        };
        request.answer(&outcome).await.map_err(|error| {
            let chain = telemetry::chain(&error);
            tracing::error!(outcome = "failed", reason = "unanswered", error = chain);
            // Lambda tries again.
            diagnostic("AnswerError", &error.to_string())
        })
    }

    async fn rotate(&self, now: EpochSeconds) -> Result<(), MakeError> {
        for purpose in self.purposes.clone()? {
            let (kind, purpose) = (KeyKind::of(purpose, self.algorithm), purpose.as_str());
            match rotate(&self.table, &self.sealer, kind, self.policy, now).await? {
                Rotated::NotDue(record) => {
                    tracing::info!(outcome = "not_due", purpose, kid = record.kid);
                }
                Rotated::Made(record) => {
                    let (kid, alg, activates_at) = (record.kid, record.alg, record.activates_at);
                    tracing::info!(outcome = "made", purpose, kid, alg, activates_at);
                }
                Rotated::MadeByAnother(record) => {
                    tracing::info!(outcome = "made_by_another", purpose, kid = record.kid);
                }
            }
        }
        Ok(())
    }
}

fn log_failure(error: &MakeError) {
    tracing::error!(outcome = "failed", error = telemetry::chain(error));
}

fn diagnostic(error_type: &str, error_message: &str) -> Diagnostic {
    Diagnostic { error_type: error_type.to_owned(), error_message: error_message.to_owned() }
}
