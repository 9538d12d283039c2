//! Event in, keys created.

use std::error::Error;

use api::config;
use api::environment::Environment;
use auth::EpochSeconds;
use auth::keys::rotation::{Rotated, RotationPolicy, rotate};
use auth::keys::wrapping::KeyWrapper;
use auth::signing_key::{KeyKind, KeyPurpose};
use auth::store::signing_keys::SigningKeysTable;
use lambda_runtime::{Diagnostic, LambdaEvent};
use latchkey_verifier::SigningAlgorithm;
use serde::Serialize;
use serde_json::value::RawValue;
use shared::config::ConfigError;
use shared::{Function, StartError};

use crate::custom_resource::{CloudFormationRequest, Outcome, RequestType};
use crate::error::RotateKeysError;
use crate::retry;

pub(crate) struct RotateKeys {
    table: SigningKeysTable,
    wrapper: KeyWrapper,
    /// What the stack needs keys for. It comes from the environment, because the schedule's event has no properties.
    /// The properties of `Custom::Keys` have the same list, so that CloudFormation calls the function when it changes.
    /// An invalid list does not prevent the start: CloudFormation would wait for a response without a reason.
    purposes: Result<Vec<KeyPurpose>, ConfigError>,
    algorithm: SigningAlgorithm,
    policy: RotationPolicy,
}

impl Function for RotateKeys {
    const NAME: &'static str = env!("CARGO_CRATE_NAME");
    const EVENT: &'static str = "rotate_keys";

    fn from_env() -> Result<Self, StartError> {
        let environment = Environment::of_lambda();
        Ok(Self {
            algorithm: config::signing_algorithm()?,
            table: environment.signing_keys()?,
            wrapper: environment.key_wrapper()?,
            purposes: config::key_purposes(),
            policy: RotationPolicy::default(),
        })
    }

    async fn handle(&self, event: LambdaEvent<Box<RawValue>>) -> Result<impl Serialize + use<>, Diagnostic> {
        self.create_keys(&event.payload).await
    }
}

impl RotateKeys {
    /// Makes the keys that are due. An event of CloudFormation is always answered at the address in it: a
    /// stack would wait an hour for a missing answer. Every other event is treated as the schedule's.
    async fn create_keys(&self, payload: &RawValue) -> Result<(), Diagnostic> {
        let Ok(request) = CloudFormationRequest::of(payload) else {
            tracing::error!(outcome = "failed", reason = "malformed_event");
            return Err(diagnostic("EventError", "the event is an incomplete request of CloudFormation"));
        };
        let Some(request) = request else {
            // The role is not new: a denial must raise the alarm.
            return self.rotate(EpochSeconds::now()).await.map_err(|error| {
                log_failure(&error);
                diagnostic("RotationError", &error.to_string())
            });
        };
        let outcome = match request.request_type {
            // The table is kept with its keys: other verifiers continue to work.
            RequestType::Delete => Outcome::Success,
            RequestType::Create | RequestType::Update => {
                let made = retry::while_denied(async || self.rotate(EpochSeconds::now()).await).await;
                made.inspect_err(log_failure).into()
            }
        };
        request.answer(&outcome).await.map_err(|error| {
            // Lambda tries again.
            let failure = diagnostic("AnswerError", &error.to_string());
            let error: &(dyn Error + 'static) = &error;
            tracing::error!(outcome = "failed", reason = "unanswered", error);
            failure
        })
    }

    async fn rotate(&self, now: EpochSeconds) -> Result<(), RotateKeysError> {
        for purpose in self.purposes.clone()? {
            let (kind, purpose) = (KeyKind::of(purpose, self.algorithm), purpose.as_str());
            match rotate(&self.table, &self.wrapper, kind, self.policy, now).await? {
                Rotated::NotDue(record) => {
                    tracing::info!(outcome = "not_due", purpose, kid = record.kid.as_str());
                }
                Rotated::Made(record) => {
                    let (kid, alg, activates_at) = (record.kid.as_str(), record.alg, record.activates_at.get());
                    tracing::info!(outcome = "made", purpose, kid, alg, activates_at);
                }
                Rotated::MadeByAnother(record) => {
                    tracing::info!(outcome = "made_by_another", purpose, kid = record.kid.as_str());
                }
            }
        }
        Ok(())
    }
}

fn log_failure(error: &RotateKeysError) {
    let error: &(dyn Error + 'static) = error;
    tracing::error!(outcome = "failed", error);
}

fn diagnostic(error_type: &str, error_message: &str) -> Diagnostic {
    Diagnostic { error_type: error_type.to_owned(), error_message: error_message.to_owned() }
}
