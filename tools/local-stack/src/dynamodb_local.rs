//! DynamoDB Local, as a child.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::install::Tools;
use crate::port::{self, PortError};
use crate::process::{ProcessError, Supervised, command};
use crate::tables;

/// How long its Java may take to start.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// Where the data is kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// Gone with the process.
    Memory,
    /// In a directory.
    Disk(PathBuf),
}

/// DynamoDB Local could not be started.
#[derive(Debug, thiserror::Error)]
pub enum DynamoDbLocalError {
    #[error("DynamoDB Local has no port")]
    Port(#[from] PortError),
    #[error("DynamoDB Local does not run")]
    Process(#[from] ProcessError),
    #[error("the directory {0} for the data cannot be made")]
    Directory(PathBuf, #[source] std::io::Error),
}

/// A running DynamoDB Local.
#[derive(Debug)]
pub struct DynamoDbLocal {
    tools: Tools,
    storage: Storage,
    port: u16,
    log: PathBuf,
    process: Supervised,
}

impl DynamoDbLocal {
    /// Starts it on a free port and waits until it answers.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(tools: &Tools, storage: Storage, log: PathBuf) -> Result<Self, DynamoDbLocalError> {
        let port = port::free()?;
        let process = spawn(tools, &storage, port, &log)?;
        Ok(Self { tools: tools.clone(), storage, port, log, process })
    }

    /// What `AWS_ENDPOINT_URL_DYNAMODB` is to be.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Checks that it still runs.
    ///
    /// # Errors
    /// It ended.
    pub fn must_run(&mut self) -> Result<(), ProcessError> {
        self.process.must_run()
    }

    /// Pauses it: connections stay open and get no response.
    pub fn freeze(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Kills it, like a crash.
    pub fn kill(&mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.stop();
    }

    /// Restarts it on the same port, with its data on disk.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<(), DynamoDbLocalError> {
        self.process.stop();
        self.process = spawn(&self.tools, &self.storage, self.port, &self.log)?;
        Ok(())
    }
}

fn spawn(tools: &Tools, storage: &Storage, port: u16, log: &std::path::Path) -> Result<Supervised, DynamoDbLocalError> {
    let mut java = command(&tools.java);
    java.arg(format!("-Djava.library.path={}", tools.dynamodb_local.join("DynamoDBLocal_lib").display()))
        // Java's second compiler takes a whole CPU for the first minutes, from the functions that are tested or
        // measured.
        .arg("-XX:TieredStopAtLevel=1")
        .arg("-jar")
        .arg(tools.dynamodb_local.join("DynamoDBLocal.jar"))
        // One set of tables for all keys and regions, and no telemetry.
        .args(["-sharedDb", "-disableTelemetry", "-port", &port.to_string()])
        // By default it lets the scripts of every web page read and write the tables. No page has this origin.
        .args(["-cors", "https://nobody.invalid"]);
    match storage {
        Storage::Memory => java.arg("-inMemory"),
        Storage::Disk(directory) => {
            fs::create_dir_all(directory).map_err(|error| DynamoDbLocalError::Directory(directory.clone(), error))?;
            java.arg("-dbPath").arg(directory)
        }
    };
    // It writes a file to its working directory.
    if let Some(directory) = log.parent() {
        fs::create_dir_all(directory).map_err(|error| DynamoDbLocalError::Directory(directory.to_owned(), error))?;
        java.current_dir(directory);
    }
    let mut process = Supervised::start("DynamoDB Local", java, log)?;
    let endpoint = format!("http://127.0.0.1:{port}");
    process.wait_until(START_TIMEOUT, || tables::answers(&endpoint))?;
    Ok(process)
}
