//! AWS on this machine: ministack, with what `xtask/aws/emulator.py` adds to it. Everything in it, including KMS keys,
//! is lost when the process ends.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::install::{self, InstallError};
use crate::port::{self, PortError};
use crate::process::{ProcessError, Supervised, command};
use crate::workspace;

/// How long its Python may take to start.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// The region of everything in it.
pub const REGION: &str = "eu-west-1";
/// The access key of the account's root user, who may do everything, and its secret.
pub const ROOT: (&str, &str) = ("test", "test");

/// The emulator could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// The tool.
    #[error("the emulator of AWS is missing")]
    Install(#[from] InstallError),
    #[error("the emulator of AWS has no port")]
    Port(#[from] PortError),
    #[error("the emulator of AWS does not run")]
    Process(#[from] ProcessError),
}

/// A running emulator.
#[derive(Debug)]
pub struct Emulator {
    port: u16,
    api_port: u16,
    directory: PathBuf,
    _process: Supervised,
}

impl Emulator {
    /// Starts it on free ports and waits until it answers. What it keeps is below `directory`; `variables` are those
    /// that
    /// `xtask/aws/emulator.py` names.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(directory: &Path, variables: &[(&str, &str)]) -> Result<Self, EmulatorError> {
        let (port, api_port) = (port::free()?, port::free()?);
        let mut emulator = command(install::aws_python()?);
        emulator
            .arg(workspace::root().join("xtask/aws/emulator.py"))
            .args([port.to_string(), api_port.to_string()])
            .arg(directory)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(variables.iter().copied());
        let mut process = Supervised::start("the emulator of AWS", emulator, &directory.join("emulator.log"))?;
        process.wait_until(START_TIMEOUT, || port::is_answered(api_port))?;
        Ok(Self { port, api_port, directory: directory.to_owned(), _process: process })
    }

    /// What the endpoint of any AWS service is to be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The base URL of the API that was deployed last.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    /// The variables of an AWS client in it, as the account's root user.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 6] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ROOT.0.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", ROOT.1.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Every decision of IAM about a call that a role made, a JSON object a line.
    #[must_use]
    pub fn calls(&self) -> PathBuf {
        self.directory.join("calls.jsonl")
    }

    /// Every line that a function wrote.
    #[must_use]
    pub fn functions_log(&self) -> PathBuf {
        self.directory.join("functions.log")
    }
}
