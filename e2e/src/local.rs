//! What only a stack on this machine has: the Lambda Invoke API, logs, and the operator's command on its tables.
//! `cargo xtask test` says where they are.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

/// A variable that `cargo xtask test` sets.
///
/// # Panics
/// It is not set.
#[must_use]
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`"))
}

/// Invokes a function, as `cargo lambda invoke` does: status and payload.
///
/// # Panics
/// There is no answer.
#[must_use]
pub fn invoke(function: &str, event: &str) -> (u16, Value) {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(40)))
        .build()
        .into();
    let url = format!("{}/2015-03-31/functions/{function}/invocations", variable("LATCHKEY_INVOKE_URL"));
    let mut answer = agent.post(&url).send(event).unwrap_or_else(|error| panic!("{url}: {error}"));
    let text = answer.body_mut().read_to_string().expect("the answer is text");
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// A sample event, as text.
///
/// # Panics
/// There is none.
#[must_use]
pub fn sample_event(name: &str) -> String {
    let file = xtask::workspace::root().join("events").join(format!("{name}.json"));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Runs `latchkey` on the stack's tables, with a line of standard input.
///
/// # Panics
/// It cannot be run.
#[must_use]
pub fn latchkey(arguments: &[&str], input: &str) -> Output {
    latchkey_in(&BTreeMap::new(), arguments, input)
}

/// The same on the tables that `environment` names.
///
/// # Panics
/// It cannot be run.
#[must_use]
pub fn latchkey_in(environment: &BTreeMap<String, String>, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(xtask::workspace::binary("latchkey"))
        .args(arguments)
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("latchkey starts");
    if let Some(mut stdin) = child.stdin.take() {
        // A command that asks for nothing may have ended already.
        let _ = writeln!(stdin, "{input}");
    }
    child.wait_with_output().expect("latchkey ends")
}

/// Adds a user of this run's own: `prefix` and the process's id. Gives the name.
///
/// # Panics
/// The user cannot be added.
#[must_use]
pub fn add_user(prefix: &str, password: &str, roles: &[&str]) -> String {
    let name = format!("{prefix}-{}", std::process::id());
    let mut arguments = vec!["user", "add", &name];
    arguments.extend(roles.iter().flat_map(|role| ["--role", role]));
    let added = latchkey(&arguments, password);
    assert!(added.status.success(), "{added:?}");
    name
}

/// Every line of the logs of functions and gateway so far.
///
/// # Panics
/// A log cannot be read.
#[must_use]
pub fn log_lines() -> Vec<String> {
    ["LATCHKEY_FUNCTIONS_LOG", "LATCHKEY_GATEWAY_LOG"]
        .into_iter()
        .flat_map(|name| {
            let file = PathBuf::from(variable(name));
            let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}
