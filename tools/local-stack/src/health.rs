//! Whether every function answers, while `up` runs.
//!
//! The check sends an event for a route that the function does not have. It costs a line of the log, so there are only
//! two checks: before `up` reports that it is ready, and when the gateway has waited in vain for a response. A function
//! that does not answer is restarted. If that does not help, `cargo lambda watch` hangs, and `up` ends with an error.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::functions::FunctionsError;
use crate::process::{self, ProcessError};
use crate::progress;
use crate::stack::Stack;

/// How long a function may take to answer when it has to be started, and when it runs.
const START: Duration = Duration::from_mins(2);
const ANSWER: Duration = Duration::from_secs(5);
/// The gateway's log line when it has waited in vain.
const IN_VAIN: &str = "no answer in";

/// A function does not answer.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// Not even at its start.
    #[error("the function {name} does not answer: {reason}{tail}")]
    NotStarted {
        /// Which.
        name: String,
        /// What came instead.
        reason: String,
        /// The end of the functions' log.
        tail: String,
    },
    /// Not even after another start.
    #[error(
        "the function {name} does not answer, not even after another start: `cargo lambda watch` hangs, most likely; \
         `cargo xtask up` starts everything again"
    )]
    Hangs {
        /// Which.
        name: String,
    },
    /// It could not be started again.
    #[error("a function that does not answer could not be started again")]
    Restart(#[from] FunctionsError),
    /// A part ended, or this program was asked to stop.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// Waits until every function has answered.
///
/// # Errors
/// One does not.
pub fn all_answer(stack: &mut Stack) -> Result<(), HealthError> {
    let names = stack.function_names().to_vec();
    match silent(stack, &names, START)?.into_iter().next() {
        None => Ok(()),
        Some((name, reason)) => {
            let tail = process::tail(Some(stack.functions_log()));
            Err(HealthError::NotStarted { name, reason, tail })
        }
    }
}

/// Notices functions that do not answer any more.
#[derive(Debug)]
pub struct Health {
    log: PathBuf,
    /// How much of the gateway's log has been read.
    position: u64,
}

impl Health {
    /// From now on.
    #[must_use]
    pub fn from_now(stack: &Stack) -> Self {
        let log = stack.gateway_log().to_owned();
        let position = log.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        Self { log, position }
    }

    /// Checks whether the gateway has waited in vain, and restarts functions that do not answer.
    ///
    /// # Errors
    /// That did not help, a part ended, or this program was asked to stop.
    pub fn check(&mut self, stack: &mut Stack) -> Result<(), HealthError> {
        // An unreadable log is read next time.
        if !written_since(&self.log, &mut self.position).is_ok_and(|text| text.contains(IN_VAIN)) {
            return Ok(());
        }
        let started = stack.functions().started();
        let hanging: Vec<_> = silent(stack, &started, ANSWER)?.into_iter().map(|(name, _)| name).collect();
        for name in &hanging {
            progress::warn(&format!("{name} does not answer; restarting it"));
            stack.functions().kill(name)?;
        }
        if let Some((name, _)) = silent(stack, &hanging, START.min(ANSWER * 4))?.into_iter().next() {
            return Err(HealthError::Hangs { name });
        }
        for name in &hanging {
            progress::print(&format!("{name} answers again"));
        }
        // Waits in the meantime are already handled.
        let _ = written_since(&self.log, &mut self.position);
        Ok(())
    }
}

/// Which functions do not answer, and what they answered instead. All are called concurrently.
fn silent(stack: &mut Stack, names: &[String], timeout: Duration) -> Result<Vec<(String, String)>, HealthError> {
    let url = stack.invoke_url();
    let asked: Vec<(String, JoinHandle<Result<(), String>>)> = names
        .iter()
        .map(|name| {
            let (url, function) = (url.clone(), name.clone());
            (name.clone(), std::thread::spawn(move || ask(&url, &function, timeout)))
        })
        .collect();
    let mut silent = Vec::new();
    for (name, asking) in asked {
        // So that Ctrl-C and a crash are noticed meanwhile.
        while !asking.is_finished() {
            stack.must_run()?;
            process::pause(Duration::from_millis(20))?;
        }
        if let Err(reason) = asking.join().unwrap_or_else(|_| Err("asking it failed".to_owned())) {
            silent.push((name, reason));
        }
    }
    Ok(silent)
}

/// Asks a function, by an event that does nothing: of a route that it does not have, or for keys that are due, which
/// the schedule asks for every day.
fn ask(invoke_url: &str, function: &str, timeout: Duration) -> Result<(), String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(timeout))
        .proxy(None)
        .build()
        .into();
    let event = serde_json::json!({
        "version": "2.0",
        "routeKey": "GET /is-it-there",
        "rawPath": "/is-it-there",
        "rawQueryString": "",
        "headers": {},
        "requestContext": {
            "domainName": "localhost",
            "http": { "method": "GET", "path": "/is-it-there", "sourceIp": "127.0.0.1" },
            "routeKey": "GET /is-it-there",
            "timeEpoch": 0,
        },
        "isBase64Encoded": false,
    });
    let url = format!("{invoke_url}/2015-03-31/functions/{function}/invocations");
    let asked = Instant::now();
    let mut answer = agent.post(&url).send(event.to_string()).map_err(|error| error.to_string())?;
    let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
    // An error of the function is an answer too.
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("after {:.1} s came {}", asked.elapsed().as_secs_f64(), answer.status())),
    }
}

/// What was written to a file since `position`, which moves to its end.
fn written_since(file: &Path, position: &mut u64) -> io::Result<String> {
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(*position))?;
    let mut bytes = Vec::new();
    *position += file.read_to_end(&mut bytes)? as u64;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_in_a_log_is_read_once() {
        let file = std::env::temp_dir().join(format!("latchkey-xtask-health-{}.log", std::process::id()));
        std::fs::write(&file, "one\n").unwrap();
        let mut position = 0;
        assert_eq!(written_since(&file, &mut position).unwrap(), "one\n");
        assert_eq!(written_since(&file, &mut position).unwrap(), "");
        std::fs::write(&file, "one\ntwo\n").unwrap();
        assert_eq!(written_since(&file, &mut position).unwrap(), "two\n");
        std::fs::remove_file(&file).unwrap();
        assert!(written_since(&file, &mut position).is_err());
    }
}
