//! `cargo xtask up`: Latchkey on this machine, until Ctrl-C.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::dynamodb_local::Storage;
use crate::install::{InstallError, Tools};
use crate::lock::{Lock, LockError};
use crate::port::{self, PortError};
use crate::process::{self, ProcessError};
use crate::stack::{self, Stack, StackError};
use crate::{progress, workspace};

/// What `up` is to do.
#[derive(Args, Debug)]
pub struct Options {
    /// The port of the API
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Begin with empty tables and new keys
    #[arg(long)]
    fresh: bool,
}

/// `up` failed.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// It runs already.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A tool.
    #[error("a tool is missing")]
    Install(#[from] InstallError),
    /// The build, or the handling of signals.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A part ended by itself.
    #[error("everything was stopped, because a part ended; `cargo xtask up` starts it again")]
    PartEnded(#[source] ProcessError),
    /// The stack.
    #[error("Latchkey could not be started")]
    Stack(#[from] StackError),
    /// What was there before could not be removed.
    #[error("{0} could not be removed")]
    Remove(PathBuf, #[source] std::io::Error),
}

/// Starts everything, says where it is, and waits.
///
/// # Errors
/// Something does not start, a part ends, or this program was asked to stop.
pub fn run(options: &Options) -> Result<(), UpError> {
    let started = Instant::now();
    process::listen_to_signals()?;
    // Before anything is touched: the port and the data are what two of these would quarrel about.
    port::must_be_free(options.port)?;
    let directory = workspace::local().join("up");
    let _lock = Lock::take(&directory)?;
    if options.fresh && directory.exists() {
        fs::remove_dir_all(&directory).map_err(|error| UpError::Remove(directory.clone(), error))?;
    }
    let tools = Tools::find_or_install()?;
    build()?;
    let mut stack = Stack::start(
        &tools,
        &stack::Options {
            name: "latchkey".to_owned(),
            port: Some(options.port),
            storage: Storage::Disk(directory.join("dynamodb")),
            directory,
        },
    )?;
    announce(&stack, started.elapsed());
    loop {
        stack.must_run().map_err(UpError::PartEnded)?;
        if process::pause(Duration::from_millis(200)).is_err() {
            let step = progress::step("stopping");
            drop(stack);
            step.done();
            return Ok(());
        }
    }
}

/// Builds every binary at once, with the features that `cargo lambda watch` will ask for, so that it has nothing to build.
///
/// # Errors
/// The build fails.
pub fn build() -> Result<(), ProcessError> {
    let step = progress::step("building");
    let mut cargo = process::command("cargo");
    cargo.args(["build", "--workspace"]).current_dir(workspace::root());
    process::run("cargo build", cargo)?;
    step.done();
    Ok(())
}

fn announce(stack: &Stack, elapsed: Duration) {
    let url = stack.base_url();
    let seconds = elapsed.as_secs_f64();
    progress::say(&format!("\nready after {seconds:.1} s: {url}\n"));
    progress::warn("Demo users, for this machine only: alice / password (role user), admin / password (role admin)");
    progress::say(&format!(
        "
Try it:
  TOKEN=$(curl -s {url}/login -d '{{\"username\":\"alice\",\"password\":\"password\"}}' | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')
  curl -i {url}/protected-resource -H \"Authorization: Bearer $TOKEN\"
  curl -i -X POST {url}/logout -H \"Authorization: Bearer $TOKEN\"

Keys    {url}/.well-known/jwks.json
Logs    {}   functions
        {}   requests

Ctrl-C ends it.",
        stack.functions_log().display(),
        stack.gateway_log().display(),
    ));
}
