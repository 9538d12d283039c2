//! The real gateway as a process, and what it writes.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The template the gateway of these tests serves.
pub(crate) fn template() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/template.yaml")
}

/// A running gateway; dropping it ends it.
pub(crate) struct Gateway {
    pub(crate) port: u16,
    child: Child,
    output: Lines,
    errors: Lines,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Gateway {
    /// Serves the test's template in front of the Invoke API at `invoke_port`.
    pub(crate) fn start(invoke_port: u16) -> Self {
        Self::start_with(invoke_port, &["--api", "Api"])
    }

    pub(crate) fn start_with(invoke_port: u16, arguments: &[&str]) -> Self {
        Self::start_template(invoke_port, &template(), arguments)
    }

    pub(crate) fn start_template(invoke_port: u16, template: &Path, arguments: &[&str]) -> Self {
        let mut child = command()
            .arg("--template")
            .arg(template)
            .args(["--stack-name", "test", "--port", "0", "--domain-name", "api.example.com"])
            .args(["--invoke-url", &format!("http://127.0.0.1:{invoke_port}")])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = collect(child.stdout.take().unwrap());
        let errors = collect(child.stderr.take().unwrap());
        let mut gateway = Self { port: 0, child, output, errors };
        let line = gateway.wait_for_output("http://127.0.0.1:");
        gateway.port = line.rsplit(':').next().unwrap().trim_end_matches(['"', '}']).parse().unwrap();
        gateway
    }

    /// The lines on standard output so far.
    pub(crate) fn output(&self) -> Vec<String> {
        self.output.lock().unwrap().clone()
    }

    /// The lines on standard error so far.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().clone()
    }

    /// The first line on standard output that contains `text`.
    pub(crate) fn wait_for_output(&self, text: &str) -> String {
        wait_for(&self.output, text)
    }

    /// The first line on standard error that contains `text`.
    pub(crate) fn wait_for_error(&self, text: &str) -> String {
        wait_for(&self.errors, text)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until the gateway has exited.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "the gateway has not ended");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The gateway's binary.
pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gateway"))
}

fn collect(stream: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let shared = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            shared.lock().unwrap().push(line);
        }
    });
    lines
}

fn wait_for(lines: &Lines, text: &str) -> String {
    let started = Instant::now();
    loop {
        let found = lines.lock().unwrap().iter().find(|line| line.contains(text)).cloned();
        if let Some(line) = found {
            return line;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "no {text:?} in {:?}", lines.lock().unwrap());
        thread::sleep(Duration::from_millis(10));
    }
}
