//! `cargo xtask check`: what must hold besides the tests. Every check runs, whatever the others say.

use std::process::Command;

use crate::install::{self, InstallError};
use crate::process::{self, ProcessError, command};
use crate::{progress, workspace};

/// Not everything is in order.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// These are not.
    #[error("not in order: {}", .0.join(", "))]
    Failed(Vec<&'static str>),
    /// A tool.
    #[error("a tool is missing")]
    Install(#[from] InstallError),
    /// This program was asked to stop.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// What one check found.
#[derive(Debug, thiserror::Error)]
enum Finding {
    /// What the command said, or that it could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A function that must not reach AWS could.
    #[error("the package `protected` depends on {0}")]
    SdkInProtected(String),
}

/// Runs every check.
///
/// # Errors
/// One of them finds something, or cannot be run.
pub fn run() -> Result<(), CheckError> {
    let (deny, shear, sam) = (install::cargo_deny()?, install::cargo_shear()?, install::sam()?);
    let mut failed = Vec::new();
    let mut check = |name: &'static str, result: Result<(), Finding>, step: progress::Step| match result {
        Ok(()) => {
            step.done();
            Ok(())
        }
        Err(Finding::Process(ProcessError::Interrupted)) => Err(ProcessError::Interrupted),
        Err(error) => {
            progress::failure(&error);
            step.failed();
            failed.push(name);
            Ok(())
        }
    };

    let mut documentation = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    let mut licences = at_root(command(&deny));
    licences.args(["--workspace", "check", "licenses", "bans", "sources"]);
    let mut dependencies = at_root(command(&shear));
    dependencies.arg("shear");
    let mut lint = sam_command(&sam);
    lint.args(["validate", "--lint"]);
    let mut validate = sam_command(&sam);
    validate.arg("validate");
    for (name, command) in [
        ("format", cargo(&["fmt", "--all", "--check"])),
        ("lints", cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])),
        ("documentation", documentation),
        ("licences, bans and sources of dependencies", licences),
        ("unused dependencies", dependencies),
        ("template, linted", lint),
        ("template, as SAM reads it", validate),
    ] {
        let step = progress::step(name);
        check(name, process::run(name, command).map_err(Finding::from), step)?;
    }

    let name = "no AWS SDK in `protected`";
    let step = progress::step(name);
    check(name, no_sdk_in_protected(), step)?;

    let step = progress::step("known vulnerabilities of dependencies");
    if advisory_database(&deny).is_ok() {
        let name = "known vulnerabilities of dependencies";
        let mut advisories = at_root(command(&deny));
        advisories.args(["--workspace", "--offline", "check", "advisories"]);
        check(name, process::run(name, advisories).map_err(Finding::from), step)?;
    } else if process::interrupted() {
        return Err(ProcessError::Interrupted.into());
    } else {
        progress::warn("    SKIPPED: the RustSec advisory database could not be fetched. This needs a network.");
    }

    if failed.is_empty() { Ok(()) } else { Err(CheckError::Failed(failed)) }
}

fn at_root(mut command: Command) -> Command {
    command.current_dir(workspace::root());
    command
}

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = at_root(command("cargo"));
    cargo.args(arguments);
    cargo
}

fn sam_command(sam: &std::path::Path) -> Command {
    let mut sam = at_root(command(sam));
    // The plain validator wants a region, though it asks nobody; and nothing is to be reported to anybody.
    sam.env("AWS_DEFAULT_REGION", "eu-west-1").env("SAM_CLI_TELEMETRY", "0");
    sam
}

/// The promise that `protected` links no AWS SDK, held against its dependency tree.
fn no_sdk_in_protected() -> Result<(), Finding> {
    let log = workspace::local().join("logs/protected-dependencies.log");
    let tree = cargo(&["tree", "--package", "protected", "--edges", "normal", "--prefix", "none"]);
    process::run_logged("cargo tree", tree, &log)?;
    let tree = std::fs::read_to_string(&log).map_err(|error| ProcessError::Log(log.clone(), error))?;
    match tree.lines().find(|line| line.starts_with("aws-sdk") || line.starts_with("aws-config")) {
        None => Ok(()),
        Some(dependency) => Err(Finding::SdkInProtected(dependency.to_owned())),
    }
}

fn advisory_database(deny: &std::path::Path) -> Result<(), ProcessError> {
    let mut fetch = at_root(command(deny));
    fetch.args(["--workspace", "fetch", "db"]);
    process::run_logged("cargo deny fetch", fetch, &workspace::local().join("logs/advisory-database.log"))
}
