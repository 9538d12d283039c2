//! The gateway, as a child.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::port;
use crate::process::{ProcessError, Supervised, command};
use crate::workspace;

/// How long it may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    port: u16,
    process: Supervised,
}

impl Gateway {
    /// Starts it, with these values for parameters of the template, and waits until it listens. At `invoke_port`, if
    /// one is given, it passes on what people invoke.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        stack_name: &str,
        parameters: &BTreeMap<String, String>,
        invoke_url: &str,
        port: u16,
        invoke_port: Option<u16>,
        directory: &Path,
    ) -> Result<Self, ProcessError> {
        let mut gateway = command(workspace::binary("gateway"));
        gateway.arg("--template").arg(workspace::template()).args([
            "--stack-name",
            stack_name,
            "--invoke-url",
            invoke_url,
            "--port",
            &port.to_string(),
        ]);
        if let Some(port) = invoke_port {
            gateway.args(["--invoke-port", &port.to_string()]);
        }
        for (name, value) in parameters {
            gateway.arg("--parameter").arg(format!("{name}={value}"));
        }
        let mut process = Supervised::start("the gateway", gateway, &directory.join("gateway.log"))?;
        process.wait_until(START_TIMEOUT, || port::is_answered(port))?;
        Ok(Self { port, process })
    }

    /// The base URL of the API.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The log of requests.
    #[must_use]
    pub fn log(&self) -> &Path {
        self.process.log().unwrap_or(Path::new(""))
    }

    /// Checks that it still runs.
    ///
    /// # Errors
    /// It ended.
    pub fn must_run(&mut self) -> Result<(), ProcessError> {
        self.process.must_run()
    }
}
