//! `cargo xtask rehearse`: a deployment without AWS.
//!
//! `sam build` builds the deployment packages. `e2e/tests/rehearsal` deploys them with `sam deploy` to an emulator of
//! AWS, and runs them there, under QEMU if this machine has another processor. Updates, failures and deletion are
//! rehearsed with bootstraps for this machine's processor, which `cargo xtask test` uses too, and with those of the
//! previous release.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use sam_template::{Parameters, Template};

use local_stack::install::{self, InstallError};
use local_stack::package::{self, Architecture, PackageError};
use local_stack::process::{self, ProcessError};
use local_stack::{progress, workspace};

/// The commit of the previous release. A stack of it must be able to update to this release, and to go back.
const RELEASE_BEFORE: &str = "80298bf6d91056d4c60d24be3af539b2c7436a49";

/// Where Debian's `libc6-arm64-cross` and `libgcc-s1-arm64-cross` are.
const ARM64_LIBRARIES: &str = "/usr/aarch64-linux-gnu/lib";

/// What `rehearse` is to do.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Skip the longest part: `sam build`, and running its output
    #[arg(long)]
    quick: bool,
}

/// The rehearsal failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RehearseError {
    /// A tool.
    #[error("a tool is missing")]
    Install(#[from] InstallError),
    /// The packages.
    #[error("the functions could not be packaged")]
    Package(#[from] PackageError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The previous release is not in this checkout.
    #[error(
        "this checkout has no commit {RELEASE_BEFORE}, the previous release; fetch it with `git fetch --unshallow`"
    )]
    NoReleaseBefore(#[source] ProcessError),
    /// The deployment packages cannot be run here.
    #[error(
        "what is deployed is for arm64, and cannot be run here without qemu-aarch64 on PATH and the C library below {ARM64_LIBRARIES}; \
         Debian has both in qemu-user, libc6-arm64-cross and libgcc-s1-arm64-cross (or use --quick)"
    )]
    NoQemu,
    #[error("template.yaml cannot be used")]
    Template(#[from] sam_template::Error),
    #[error("{0} cannot be read or written")]
    File(PathBuf, #[source] io::Error),
}

/// Builds, deploys in an emulator, and rehearses.
///
/// # Errors
/// Something cannot be built, or does not hold.
pub(crate) fn run(options: &Options) -> Result<(), RehearseError> {
    process::listen_to_signals()?;
    if !options.quick && !can_run_what_is_deployed() {
        return Err(RehearseError::NoQemu);
    }
    let builds = workspace::root().join("target/rehearsal");
    let step = progress::step("building the functions and latchkey");
    here(&builds.join("here"))?;
    step.done();
    let step = progress::step("building the previous release");
    before(&builds.join("before"))?;
    step.done();
    if options.quick {
        progress::warn("SKIPPED, because of --quick: `sam build`, and running its output");
        return rehearse(&builds, &["--skip", "sam_deploy_makes"]);
    }
    // One compiles, the other mostly waits.
    std::thread::scope(|scope| {
        let built = scope.spawn(sam_build);
        let rehearsed = rehearse(&builds, &["--skip", "sam_deploy_makes"]);
        let built = built.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        rehearsed.and(built)
    })?;
    rehearse(&builds, &["sam_deploy_makes"])
}

/// Whether bootstraps for the deployed processor can be run: as they are, or by QEMU with the C library of that
/// processor.
fn can_run_what_is_deployed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_on_path = |program: &str| std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    let is_library = |name: &&str| Path::new(ARM64_LIBRARIES).join(name).exists();
    Architecture::of_this_machine() == Architecture::DEPLOYED
        || (is_on_path("qemu-aarch64") && ["libc.so.6", "libgcc_s.so.1"].iter().all(is_library))
}

/// Runs two tests at a time: one uses the CPU while the other waits.
fn rehearse(builds: &Path, more: &[&str]) -> Result<(), RehearseError> {
    let step = progress::step("rehearsing: e2e/tests/rehearsal");
    let mut tests = process::command("cargo");
    tests
        .args([
            "test",
            "--package",
            "e2e",
            "--test",
            "rehearsal",
            "--",
            "--ignored",
            "--nocapture",
            "--test-threads",
            "2",
        ])
        .args(more)
        .env("LATCHKEY_BUILDS", builds)
        .current_dir(workspace::root());
    process::run("cargo test", tests)?;
    step.done();
    Ok(())
}

/// `sam build`, as on the command line.
fn sam_build() -> Result<(), RehearseError> {
    let step = progress::step("sam build");
    let mut sam = process::command(install::sam()?);
    let cargo_lambda = install::cargo_lambda()?;
    sam.arg("build")
        .env("PATH", package::path_with(cargo_lambda.parent())?)
        .envs([("SAM_CLI_TELEMETRY", "0"), ("AWS_DEFAULT_REGION", "eu-west-1")])
        .current_dir(workspace::root());
    process::run_logged("sam build", sam, &workspace::local().join("logs/sam-build.log"))?;
    step.done();
    Ok(())
}

/// The output of `sam build` for this machine's processor, in a development build.
fn here(build: &Path) -> Result<(), RehearseError> {
    let target = workspace::root().join("target");
    let mut cargo = process::command("cargo");
    let template = workspace::template();
    let functions = functions(&template)?;
    cargo
        .args(["build", "--locked", "--package", "latchkey"])
        .args(packages(&functions))
        .current_dir(workspace::root());
    process::run("cargo build", cargo)?;
    lay_out(build, &read(&template)?, &functions, &target.join("debug"))
}

/// The previous release. Builds of dependencies are shared with this checkout.
fn before(build: &Path) -> Result<(), RehearseError> {
    let source = build.with_extension("source");
    let log = workspace::local().join("logs/release-before.log");
    empty(&source)?;
    let archive = build.with_extension("tar");
    let mut git = process::command("git");
    git.args(["archive", "--format=tar", "--output"]).arg(&archive).arg(RELEASE_BEFORE).current_dir(workspace::root());
    process::run_logged("git archive", git, &log).map_err(RehearseError::NoReleaseBefore)?;
    let mut tar = process::command("tar");
    tar.arg("-xf").arg(&archive).arg("-C").arg(&source);
    process::run_logged("tar", tar, &log)?;
    let template = source.join("template.yaml");
    let functions = functions(&template)?;
    let target = build.with_extension("target");
    let mut cargo = process::command("cargo");
    cargo
        .args(["build", "--locked", "--target-dir"])
        .arg(&target)
        .args(packages(&functions))
        .env("CARGO_BUILD_BUILD_DIR", workspace::root().join("target"))
        .current_dir(&source);
    process::run("cargo build", cargo)?;
    // SAM replaces the whole CORS configuration by a list that it cannot read: without this change, the template
    // creates no API.
    let template =
        read(&template)?.replace(r#"AllowOrigins: !Split [",", !Ref AllowedOrigins]"#, r#"AllowOrigins: ["*"]"#);
    lay_out(build, &template, &functions, &target.join("debug"))
}

/// The packages of functions, for Cargo.
fn packages(functions: &[String]) -> impl Iterator<Item = &str> {
    functions.iter().flat_map(|binary| ["--package", binary])
}

/// The binaries of a template's functions.
fn functions(template: &Path) -> Result<Vec<String>, sam_template::Error> {
    let template = Template::load(template, Parameters::new("rehearse"))?;
    Ok(template.functions()?.into_iter().map(|function| function.binary).collect())
}

/// Writes a template whose code is beside it, and the code, into a directory of its own.
fn lay_out(build: &Path, template: &str, functions: &[String], binaries: &Path) -> Result<(), RehearseError> {
    empty(build)?;
    for binary in functions {
        let directory = build.join(binary);
        empty(&directory)?;
        // Otherwise a hundred megabytes of debug information would be uploaded.
        let mut strip = process::command("strip");
        strip.arg("-o").arg(directory.join("bootstrap")).arg(binaries.join(binary));
        process::run_logged("strip", strip, &workspace::local().join("logs/strip.log"))?;
    }
    let file = build.join("template.yaml");
    fs::write(&file, template.replace("CodeUri: functions/", "CodeUri: ./"))
        .map_err(|error| RehearseError::File(file, error))
}

/// Creates an empty directory.
fn empty(directory: &Path) -> Result<(), RehearseError> {
    let failed = |error| RehearseError::File(directory.to_owned(), error);
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(failed)?;
    }
    fs::create_dir_all(directory).map_err(failed)
}

fn read(path: &Path) -> Result<String, RehearseError> {
    fs::read_to_string(path).map_err(|error| RehearseError::File(path.to_owned(), error))
}
