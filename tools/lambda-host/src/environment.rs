//! An execution environment: one process of a function, from its start to its end. It has one event at a time, as in
//! Lambda.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::Share;
use crate::limit::Limit;
use crate::process::{ProcessError, Usage};
use crate::runtime_api::{Event, Message, RuntimeApi};

/// How long Lambda lets a function initialise
/// (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>).
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// A function to run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The bootstrap, or what runs it.
    pub program: PathBuf,
    /// Arguments of the program.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Its whole environment, without the variables that Lambda adds.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Its memory size in MB, which [`Environment::limit`] also uses.
    pub memory_megabytes: u32,
    /// Its timeout for an event, in seconds.
    pub timeout_seconds: u64,
}

/// Why an execution environment failed.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// No port.
    #[error("the Runtime API of {0} cannot listen")]
    Listen(String, #[source] io::Error),
    /// No process.
    #[error("{0} cannot be started")]
    Start(PathBuf, #[source] io::Error),
    /// The process ended.
    #[error("the process of {function} ended with {status}")]
    Ended {
        function: String,
        /// How.
        status: ExitStatus,
    },
    /// Its exit status is unknown.
    #[error("the process of {0} cannot be waited for")]
    Wait(String, #[source] io::Error),
    /// The Runtime API ended before the process.
    #[error("the Runtime API of {0} has ended")]
    Gone(String),
    /// It took too long.
    #[error("{function} did not answer within {seconds} s")]
    Timeout {
        function: String,
        /// How long it had.
        seconds: u64,
    },
    /// It reported an initialisation error.
    #[error("{function} cannot be initialised: {message}")]
    Init {
        function: String,
        /// What it said.
        message: String,
    },
    /// The operating system.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// What a function answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is the function's error, `{"errorType", "errorMessage"}`.
    pub is_error: bool,
    pub payload: Bytes,
    /// From sending the event to the response.
    pub took: Duration,
}

/// A running process of a function. It is killed when this is dropped.
#[derive(Debug)]
pub struct Environment {
    function: Function,
    api: RuntimeApi,
    child: Child,
    pid: i32,
    started: Instant,
    // Dropped before the child: a stopped process would not end.
    limit: Option<Limit>,
    answered: u64,
    /// Whether it waits for an event.
    is_ready: bool,
}

impl Environment {
    /// Starts the process. Its output is this process's standard error.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(function: &Function) -> Result<Self, EnvironmentError> {
        Self::start_with(function, Stdio::inherit).await
    }

    /// The same, and discards the output of the process.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start_silently(function: &Function) -> Result<Self, EnvironmentError> {
        Self::start_with(function, Stdio::null).await
    }

    async fn start_with(function: &Function, output: impl Fn() -> Stdio) -> Result<Self, EnvironmentError> {
        let api = RuntimeApi::listen(&function.name)
            .await
            .map_err(|error| EnvironmentError::Listen(function.name.clone(), error))?;
        let mut command = Command::new(&function.program);
        command
            .args(&function.arguments)
            .env_clear()
            // What Lambda sets itself.
            .env("AWS_LAMBDA_RUNTIME_API", api.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", &function.name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_megabytes.to_string())
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", function.name))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "local")
            .env("_HANDLER", "bootstrap")
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(&function.variables)
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .kill_on_drop(true);
        let failed = |error| EnvironmentError::Start(function.program.clone(), error);
        let started = Instant::now();
        let child = command.spawn().map_err(failed)?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.ok_or_else(|| failed(io::Error::other("it ended at once")))?;
        let function = function.clone();
        Ok(Self { function, api, child, pid, started, limit: None, answered: 0, is_ready: false })
    }

    /// Waits until the process has asked for its first event. Gives the time from its start.
    ///
    /// # Errors
    /// It ended, said that it cannot, or took too long.
    pub async fn initialised(&mut self) -> Result<Duration, EnvironmentError> {
        loop {
            match self.receive(INIT_TIMEOUT).await? {
                Message::Ready(at) => {
                    self.is_ready = true;
                    return Ok(at - self.started);
                }
                Message::Answer { .. } => {}
                Message::InitError(body) => {
                    let message = String::from_utf8_lossy(&body).into_owned();
                    return Err(EnvironmentError::Init { function: self.function.name.clone(), message });
                }
            }
        }
    }

    /// From now on the process has the CPU share of its memory size. Before that, Lambda provides a whole CPU.
    pub fn limit(&mut self) {
        self.limit = Share::of_memory(self.function.memory_megabytes).map(|share| Limit::hold(self.pid, share));
    }

    /// Sends an event, waits for the response, and until the process is ready for the next event.
    ///
    /// # Errors
    /// It ended or took too long, and cannot be used any more.
    pub async fn invoke(&mut self, payload: Bytes) -> Result<Answer, EnvironmentError> {
        if !self.is_ready {
            self.initialised().await?;
        }
        let timeout = Duration::from_secs(self.function.timeout_seconds);
        let number = self.answered;
        self.answered += 1;
        self.is_ready = false;
        let begun = Instant::now();
        // It is received as long as the server is there, which this holds.
        let _ = self.api.events.send(Event { payload, timeout });
        let mut answer = None;
        loop {
            let message = match (self.receive(timeout).await, &answer) {
                // It answered, and ended before it asked for more: the answer is valid, as in Lambda.
                (Err(EnvironmentError::Ended { .. }), Some(answer)) => return Ok(Answer::clone(answer)),
                (message, _) => message?,
            };
            match message {
                Message::Answer { number: of, is_error, body, at } if of == number => {
                    answer = Some(Answer { is_error, payload: body, took: at - begun });
                }
                Message::Ready(_) => {
                    self.is_ready = true;
                    // Without a response, it asks for the same event again: Lambda would wait, too.
                    if let Some(answer) = answer {
                        return Ok(answer);
                    }
                }
                Message::Answer { .. } | Message::InitError(_) => {}
            }
        }
    }

    /// The time and memory that the process has used so far.
    ///
    /// # Errors
    /// It has ended.
    pub fn usage(&self) -> Result<Usage, EnvironmentError> {
        Ok(Usage::of(self.pid)?)
    }

    /// Kills the process and waits for its end, so that the machine is idle afterwards.
    ///
    /// # Errors
    /// Its exit status is unknown.
    pub async fn end(mut self) -> Result<(), EnvironmentError> {
        drop(self.limit.take());
        self.child.kill().await.map_err(|error| EnvironmentError::Wait(self.function.name.clone(), error))
    }

    async fn receive(&mut self, timeout: Duration) -> Result<Message, EnvironmentError> {
        let function = &self.function.name;
        tokio::select! {
            // A message from before its end is still received.
            biased;
            message = self.api.messages.recv() => match message {
                Some(message) => Ok(message),
                None => Err(EnvironmentError::Gone(function.clone())),
            },
            status = self.child.wait() => match status {
                Ok(status) => Err(EnvironmentError::Ended { function: function.clone(), status }),
                Err(error) => Err(EnvironmentError::Wait(function.clone(), error)),
            },
            () = tokio::time::sleep(timeout) => {
                Err(EnvironmentError::Timeout { function: function.clone(), seconds: timeout.as_secs() })
            }
        }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // A stopped process is continued, so that it can be killed.
        drop(self.limit.take());
    }
}
