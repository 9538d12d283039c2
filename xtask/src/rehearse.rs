//! `cargo xtask rehearse`: a deployment without AWS.
//!
//! What is deployed is built as it is deployed. Then `e2e/tests/rehearsal.rs` creates the template's stack in an AWS API
//! emulator and runs those very files against it; `e2e/tests/arm64.rs` runs those of the other processor under QEMU; and what
//! `sam build` makes is compared with them, byte by byte.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::install::{self, InstallError};
use crate::package::{self, Architecture, PackageError};
use crate::process::{self, ProcessError};
use crate::{progress, stack, workspace};

/// What `rehearse` is to do.
#[derive(Args, Debug)]
pub struct Options {
    /// Leave out what takes longest: the builds for arm64, of `package` and of SAM
    #[arg(long)]
    quick: bool,
}

/// The rehearsal failed.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// A tool.
    #[error("a tool is missing")]
    Install(#[from] InstallError),
    /// The packages.
    #[error("the functions could not be packaged")]
    Package(#[from] PackageError),
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The template.
    #[error("template.yaml cannot be used")]
    Template(#[from] sam_template::Error),
    /// A file.
    #[error("{0} cannot be read")]
    Read(PathBuf, #[source] io::Error),
    /// `sam build` makes something else.
    #[error("`sam build` makes another bootstrap of {} than `cargo xtask package`", .0.join(", "))]
    Different(Vec<String>),
}

/// Packages, rehearses the deployment, and holds SAM's build against the packages.
///
/// # Errors
/// Something cannot be built, or does not hold.
pub fn run(options: &Options) -> Result<(), RehearseError> {
    process::listen_to_signals()?;
    let host = package::package_all(Architecture::of_this_machine())?;
    let step = progress::step("building the gateway, the host of bootstraps, and latchkey");
    for arguments in [
        &["build", "--package", "gateway", "--package", "lambda-host"][..],
        &["build", "--release", "--package", "latchkey"],
    ] {
        let mut build = process::command("cargo");
        build.args(arguments).current_dir(workspace::root());
        process::run("cargo build", build)?;
    }
    step.done();
    rehearse("rehearsal", &host.directory)?;
    if options.quick {
        progress::warn("SKIPPED, because of --quick: arm64 under QEMU, and what `sam build` makes");
        return Ok(host.must_be_small()?);
    }
    let arm64 = match Architecture::of_this_machine() {
        Architecture::Arm64 => host,
        Architecture::X86 => package::package_all(Architecture::Arm64)?,
    };
    rehearse("arm64", &arm64.directory)?;
    same_as_sam(&arm64.directory)?;
    Ok(arm64.must_be_small()?)
}

/// Runs the tests of a file that `cargo xtask test` passes over, one after another: they unpack the same archives.
fn rehearse(test: &str, packages: &Path) -> Result<(), RehearseError> {
    let step = progress::step(&format!("rehearsing: e2e/tests/{test}.rs"));
    let mut tests = process::command("cargo");
    tests
        .args(["test", "--package", "e2e", "--test", test, "--", "--ignored", "--nocapture", "--test-threads", "1"])
        .env("LATCHKEY_PACKAGES", packages)
        .current_dir(workspace::root());
    process::run("cargo test", tests)?;
    step.done();
    Ok(())
}

/// Builds with SAM and compares the bootstraps.
fn same_as_sam(packages: &Path) -> Result<(), RehearseError> {
    let step = progress::step("sam build");
    let directory = workspace::root().join("target/sam");
    let mut sam = process::command(install::sam()?);
    let cargo_lambda = install::cargo_lambda()?;
    let path: OsString = package::path_with(cargo_lambda.parent())?;
    sam.args(["build", "--build-dir"])
        .arg(&directory)
        .env("PATH", path)
        .envs([("SAM_CLI_TELEMETRY", "0"), ("AWS_DEFAULT_REGION", "eu-west-1")])
        .current_dir(workspace::root());
    process::run("sam build", sam)?;
    step.done();
    let mut different = Vec::new();
    for function in stack::template("rehearse", &std::collections::BTreeMap::new())?.functions()? {
        let read = |path: PathBuf| fs::read(&path).map_err(|error| RehearseError::Read(path, error));
        let of_sam = read(directory.join(&function.logical_id).join("bootstrap"))?;
        let archive = packages.join(&function.binary).join("bootstrap.zip");
        let ours = bootstrap_of(&archive)?;
        progress::say(&format!("    {:20} {:9} bytes", function.logical_id, of_sam.len()));
        if of_sam != ours {
            different.push(function.logical_id);
        }
    }
    if different.is_empty() { Ok(()) } else { Err(RehearseError::Different(different)) }
}

/// The one file of an archive. Python, which is there, unpacks it.
fn bootstrap_of(archive: &Path) -> Result<Vec<u8>, RehearseError> {
    let file = unpack(archive)?;
    fs::read(&file).map_err(|error| RehearseError::Read(file, error))
}

/// Unpacks a function's archive beside itself, and gives the bootstrap.
///
/// # Errors
/// It is none.
pub fn unpack(archive: &Path) -> Result<PathBuf, RehearseError> {
    let directory = archive.parent().unwrap_or(Path::new("")).join("unpacked");
    let mut unzip = process::command("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(archive).arg(&directory);
    process::run_logged("unzip", unzip, &workspace::local().join("logs/unzip.log"))?;
    let bootstrap = directory.join("bootstrap");
    let failed = |error| RehearseError::Read(bootstrap.clone(), error);
    let mut permissions = fs::metadata(&bootstrap).map_err(failed)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&bootstrap, permissions).map_err(failed)?;
    Ok(bootstrap)
}
