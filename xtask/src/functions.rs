//! The functions, run by `cargo lambda watch`, each with exactly the environment that the template gives it.
//!
//! `cargo lambda watch` has one environment for all functions, so it is given none of the template's variables. It starts a
//! function with `cargo run`, and Cargo starts the binary through a runner: `cargo xtask exec-function`, which adds them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sam_template::Template;

use crate::install::Tools;
use crate::port::{self, PortError};
use crate::process::{ProcessError, Supervised, command};
use crate::workspace;

/// How long `cargo lambda watch` may take to listen.
const PATIENCE: Duration = Duration::from_mins(1);

/// The functions could not be started.
#[derive(Debug, thiserror::Error)]
pub enum FunctionsError {
    /// The template.
    #[error("the functions of the template cannot be read")]
    Template(#[from] sam_template::Error),
    /// The environment of a function.
    #[error("the environment {0} of a function cannot be read or written")]
    Environment(PathBuf, #[source] io::Error),
    /// The environment is no object of strings.
    #[error("the environment {0} of a function is malformed")]
    Malformed(PathBuf, #[source] serde_json::Error),
    /// A binary could not be started.
    #[error("{0} could not be started")]
    Exec(PathBuf, #[source] io::Error),
    /// This toolchain does not say what it builds for.
    #[error("`rustc -vV` does not say what it builds for")]
    Host,
    /// No port.
    #[error("`cargo lambda watch` has no port")]
    Port(#[from] PortError),
    /// The process.
    #[error("`cargo lambda watch` does not run")]
    Process(#[from] ProcessError),
}

/// The running functions.
#[derive(Debug)]
pub struct Functions {
    port: u16,
    process: Supervised,
}

impl Functions {
    /// Starts `cargo lambda watch`; it starts a function when the function is first called.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        tools: &Tools,
        template: &Template,
        dynamodb_endpoint: &str,
        directory: &Path,
    ) -> Result<Self, FunctionsError> {
        let environments = directory.join("environments");
        write_environments(template, &environments)?;
        let port = port::free()?;
        let mut watch = command(&tools.cargo_lambda);
        // No --timeout: it would also end the wait of an idle function for its next event, and the function with it. The
        // gateway has the limits of time.
        watch
            .args(["lambda", "watch", "--invoke-address", "127.0.0.1", "--invoke-port", &port.to_string()])
            .args(["--disable-cors", "--ignore-changes"])
            .current_dir(workspace::root())
            .envs(aws_environment(dynamodb_endpoint))
            .env(runner_variable()?, runner(&environments));
        let mut process = Supervised::start("cargo lambda watch", watch, &directory.join("functions.log"))?;
        process.wait_until(PATIENCE, || port::is_answered(port))?;
        Ok(Self { port, process })
    }

    /// Where the Lambda Invoke API answers.
    #[must_use]
    pub fn invoke_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The log of all functions.
    #[must_use]
    pub fn log(&self) -> &Path {
        self.process.log().unwrap_or(Path::new(""))
    }

    /// Makes sure that it still runs.
    ///
    /// # Errors
    /// It ended.
    pub fn must_run(&mut self) -> Result<(), ProcessError> {
        self.process.must_run()
    }
}

/// What every function and the operator's command need to find DynamoDB Local. The key is none; DynamoDB Local wants one.
#[must_use]
pub fn aws_environment(dynamodb_endpoint: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_endpoint.to_owned()),
    ])
}

/// Becomes a function's binary, with the function's environment.
///
/// # Errors
/// The environment cannot be read, or the binary not be started. On success this does not return.
pub fn exec(environments: &Path, binary: &Path, arguments: &[OsString]) -> Result<(), FunctionsError> {
    let name = binary.file_name().unwrap_or_default().to_string_lossy();
    let file = environments.join(format!("{name}.json"));
    let text = fs::read_to_string(&file).map_err(|error| FunctionsError::Environment(file.clone(), error))?;
    let variables: BTreeMap<String, String> =
        serde_json::from_str(&text).map_err(|error| FunctionsError::Malformed(file, error))?;
    let error = Command::new(binary).args(arguments).envs(variables).exec();
    Err(FunctionsError::Exec(binary.to_owned(), error))
}

/// One file for each function, readable by this user alone: one of the variables is a key.
fn write_environments(template: &Template, directory: &Path) -> Result<(), FunctionsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| FunctionsError::Environment(path, error)
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    for function in template.functions()? {
        let variables = template.environment(&function.logical_id)?;
        let file = directory.join(format!("{}.json", function.binary));
        let text = serde_json::json!(variables).to_string();
        let mut options = fs::OpenOptions::new();
        let mut output =
            options.write(true).create(true).truncate(true).mode(0o600).open(&file).map_err(failed(&file))?;
        output.write_all(text.as_bytes()).map_err(failed(&file))?;
    }
    Ok(())
}

/// The variable by which Cargo is told a runner, for what this machine builds for.
fn runner_variable() -> Result<String, FunctionsError> {
    let output = command("rustc").arg("-vV").output().map_err(|_| FunctionsError::Host)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).ok_or(FunctionsError::Host)?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_")))
}

/// The runner: a program and its first arguments, parted by spaces. Cargo knows no quoting here.
fn runner(environments: &Path) -> OsString {
    let mut runner = workspace::binary("xtask").into_os_string();
    runner.push(" exec-function ");
    runner.push(environments);
    runner
}
