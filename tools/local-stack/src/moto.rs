//! KMS on this machine: moto's server, for tests of wrapping. Its ciphertexts are authenticated and bound to key and
//! context, like those of AWS, and unlike those of the emulator for deployments. Its data is in memory.

use std::path::Path;
use std::time::Duration;

use crate::install::{self, InstallError};
use crate::port::{self, PortError};
use crate::process::{ProcessError, Supervised, command};

/// How long its Python may take to start.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// moto could not be started.
#[derive(Debug, thiserror::Error)]
pub enum MotoError {
    /// The tool.
    #[error("moto is missing")]
    Install(#[from] InstallError),
    #[error("moto has no port")]
    Port(#[from] PortError),
    #[error("moto does not run")]
    Process(#[from] ProcessError),
}

/// A running server.
#[derive(Debug)]
pub struct Moto {
    port: u16,
    _process: Supervised,
}

impl Moto {
    /// Starts it on a free port and waits until it answers.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(log: &Path) -> Result<Self, MotoError> {
        let port = port::free()?;
        let mut moto = command(install::moto_server()?);
        moto.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let mut process = Supervised::start("moto", moto, log)?;
        process.wait_until(START_TIMEOUT, || port::is_answered(port))?;
        Ok(Self { port, _process: process })
    }

    /// What the endpoint of KMS is to be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}
