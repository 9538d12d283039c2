//! The loop in which a function takes an event and answers it, until Lambda ends the environment.
//!
//! The loop is `lambda_runtime`'s. It sets the variable `_X_AMZN_TRACE_ID` for every event, and the C library keeps
//! every value that a variable ever had, because somebody may still hold a pointer to it (`setenv(3)`): some 120 bytes
//! an event, and a tree of them to search. A function that is busy for hours would run out of memory during a request.
//! So a process that has answered many events replaces itself with a new process of the same program, between two
//! events. Lambda sees the same process id ask for the next event, which waits for a start: some milliseconds of CPU.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lambda_runtime::tower::util::MapResponseLayer;
use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;

/// Events that one process answers: by then it has grown by little more than a megabyte.
pub const EVENTS_OF_A_PROCESS: u64 = 10_000;

/// Takes events and answers them.
///
/// # Errors
/// The Runtime API does not answer.
pub async fn run<H, F, R, E>(handler: H) -> Result<(), lambda_runtime::Error>
where
    H: Fn(LambdaEvent<Box<RawValue>>) -> F,
    F: Future<Output = Result<R, E>>,
    R: Serialize,
    E: Into<Diagnostic> + fmt::Debug,
{
    let answered = Arc::new(AtomicU64::new(0));
    // Called when an answer has been taken.
    let count = MapResponseLayer::new(move |()| {
        if (answered.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(EVENTS_OF_A_PROCESS) {
            let Err(error) = renew();
            let error: &(dyn Error + 'static) = &error;
            tracing::error!(event = "renew", outcome = "failed", error, "the process continues as it is");
        }
    });
    Runtime::new(service_fn(handler)).layer(count).run().await
}

/// Replaces this process with a new one of the same program, with the same arguments and variables. All sockets are
/// closed by it, because they are opened close-on-exec.
fn renew() -> Result<Infallible, io::Error> {
    Err(Command::new(env::current_exe()?).args(env::args_os().skip(1)).exec())
}
