//! How every function starts: settings, log, warm-up, and then the event loop.

use std::error::Error;
use std::future;
use std::process::ExitCode;

use lambda_runtime::{Diagnostic, LambdaEvent};
use serde::Serialize;
use serde_json::value::RawValue;
use tracing::Instrument as _;

use crate::{event_loop, telemetry};

/// Why a function cannot start.
pub type StartError = Box<dyn Error + Send + Sync>;

/// A Lambda function. [`start`] runs it.
pub trait Function: Sized {
    /// The name of the function's crate, whose lines are logged: `env!("CARGO_CRATE_NAME")`.
    const NAME: &'static str;
    /// The event in the log.
    const EVENT: &'static str;

    /// The function as the environment configures it.
    ///
    /// # Errors
    /// A setting is missing or wrong.
    fn from_env() -> Result<Self, StartError>;

    /// Opens connections in the init phase, which has a full CPU.
    ///
    /// # Errors
    /// The store did not answer. The first event tries again.
    fn warm_up(&self) -> impl Future<Output = Result<(), StartError>> {
        future::ready(Ok(()))
    }

    /// Answers an event.
    ///
    /// # Errors
    /// The invocation failed.
    fn handle(
        &self,
        event: LambdaEvent<Box<RawValue>>,
    ) -> impl Future<Output = Result<impl Serialize + use<Self>, Diagnostic>>;
}

/// Runs a function until Lambda ends the environment. It only returns if the function cannot start or the Runtime API
/// does not answer; the log has the reason, once.
#[must_use]
pub fn start<F: Function>() -> ExitCode {
    let handle = async |function: &F, event| function.handle(event).await;
    launch(F::NAME, F::EVENT, F::from_env, async |function: &F| function.warm_up().await, &handle)
}

/// Starts the log and a runtime, makes a function, and runs it.
pub(crate) fn launch<F, R: Serialize>(
    name: &'static str,
    event: &'static str,
    from_env: impl FnOnce() -> Result<F, StartError>,
    warm_up: impl AsyncFnOnce(&F) -> Result<(), StartError>,
    handle: &impl AsyncFn(&F, LambdaEvent<Box<RawValue>>) -> Result<R, Diagnostic>,
) -> ExitCode {
    // A function has one CPU at most, so one thread serves.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let run = async || {
        let function = from_env()?;
        if let Err(error) = warm_up(&function).await {
            let error: &(dyn Error + 'static) = error.as_ref();
            tracing::error!(event = "warm_up", outcome = "failed", error, "the store did not answer at start");
        }
        event_loop::run(|lambda_event: LambdaEvent<Box<RawValue>>| {
            let span = telemetry::request_span(event, &lambda_event.context.request_id);
            handle(&function, lambda_event).instrument(span)
        })
        .await
    };
    let result = match (telemetry::init(name), runtime) {
        (Ok(()), Ok(runtime)) => runtime.block_on(run()),
        (Err(error), _) => Err(error.into()),
        (_, Err(error)) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: &(dyn Error + 'static) = error.as_ref();
            tracing::error!(event = "start", outcome = "failed", error, "the function cannot run");
            ExitCode::FAILURE
        }
    }
}
