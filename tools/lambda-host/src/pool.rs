//! The execution environments of a function: as many as there are requests at once, up to a limit, each with one event
//! at a time. The most recently used one is used next, so that few stay warm.

use std::sync::{Mutex, PoisonError};

use hyper::body::Bytes;
use lambda_host::{Answer, Environment, EnvironmentError, Function};
use tokio::sync::Semaphore;

/// The environments of one function.
#[derive(Debug)]
pub(crate) struct Pool {
    function: Function,
    idle: Mutex<Vec<Environment>>,
    free: Semaphore,
}

impl Pool {
    /// At most `limit` at a time.
    pub(crate) fn new(function: Function, limit: usize) -> Self {
        Self { function, idle: Mutex::default(), free: Semaphore::new(limit) }
    }

    /// Invokes the function in an environment that is idle, or in a new one. More than the limit wait.
    pub(crate) async fn invoke(&self, payload: Bytes) -> Result<Answer, EnvironmentError> {
        // The semaphore is never closed, so waiting does not fail.
        let _permit = self.free.acquire().await;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut environment = match idle {
            Some(environment) => environment,
            None => Environment::start(&self.function).await?,
        };
        let answer = environment.invoke(payload).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(environment);
        Ok(answer)
    }
}
