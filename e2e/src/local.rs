//! What only a stack on this machine has: the Lambda Invoke API, logs, and the operator's command on its tables.
//! `cargo xtask test` says where they are.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
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
    invoke_at(&variable("LATCHKEY_INVOKE_URL"), function, event)
}

/// The same, at another Lambda Invoke API.
///
/// # Panics
/// There is no answer.
#[must_use]
pub fn invoke_at(invoke_url: &str, function: &str, event: &str) -> (u16, Value) {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(40)))
        .build()
        .into();
    let url = format!("{invoke_url}/2015-03-31/functions/{function}/invocations");
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
    let file = local_stack::workspace::root().join("events").join(format!("{name}.json"));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Accepts one PUT, as the bucket behind CloudFormation's response URL. Returns the URL, and then head and body.
///
/// # Panics
/// There is no port, or what comes is no PUT of JSON.
#[must_use]
pub fn response_url(status: &'static str) -> (String, JoinHandle<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the test acts as CloudFormation");
    let url =
        format!("http://{}/answer?Signature=s3cr3t", listener.local_addr().expect("the test acts as CloudFormation"));
    let taker = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the test acts as CloudFormation");
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("the test acts as CloudFormation");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("the test acts as CloudFormation");
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the test acts as CloudFormation");
        write!(reader.get_mut(), "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
            .expect("the test acts as CloudFormation");
        (head, serde_json::from_slice(&body).expect("the test acts as CloudFormation"))
    });
    (url, taker)
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
    run_latchkey(&local_stack::workspace::binary("latchkey"), environment, arguments, input)
}

/// The same by another build of it.
///
/// # Panics
/// It cannot be run.
#[must_use]
pub fn run_latchkey(program: &Path, environment: &BTreeMap<String, String>, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("latchkey starts");
    if let Some(mut stdin) = child.stdin.take() {
        // A command without a prompt may have ended already.
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
