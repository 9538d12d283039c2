//! `cargo xtask bench`: builds the deployment packages and their peers, and measures them in one run.
//!
//! Peers are built as their communities recommend: Rust with `cargo lambda build --release`, Node.js bundled and
//! minified by esbuild, with its client outside of the handler and its connection kept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use local_stack::install::{self, InstallError};
use local_stack::package::{self, Architecture, PackageError};
use local_stack::process::{self, ProcessError, command};
use local_stack::{progress, workspace};

/// The names of the bench's parts.
const PARTS: [&str; 5] = ["cold", "warm", "hashing", "primitives", "load"];

/// What `bench` is to do.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Fewer iterations and a short load: an impression within five minutes, after the build
    #[arg(long)]
    quick: bool,
    /// Only these parts, separated by commas: cold starts, warm calls of authorizers, warm logins (hashing),
    /// signatures, keys and tokens (primitives), the whole path under load
    #[arg(long, value_name = "PARTS", value_parser = PARTS, value_delimiter = ',')]
    only: Vec<String>,
}

/// A figure could not be measured, or misses its target.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A tool.
    #[error("a tool is missing")]
    Install(#[from] InstallError),
    /// The packages.
    #[error("the functions could not be packaged")]
    Package(#[from] PackageError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file.
    #[error("{0} cannot be read or written")]
    Io(PathBuf, #[source] io::Error),
}

/// Builds, measures, and writes below `target/bench`.
///
/// # Errors
/// Something cannot be built, or a target is missed.
pub(crate) fn run(options: &Options) -> Result<(), BenchError> {
    process::listen_to_signals()?;
    progress::print(
        "Building the deployed functions, their peers and the bench. The first build takes 15 to 25 minutes.",
    );
    let packages = package::package(Architecture::of_this_machine(), package::BENCHED)?.directory;
    let deployed = package::package(Architecture::DEPLOYED, package::WEIGHED)?.directory;
    for (directory, binaries) in [(&packages, &package::BENCHED[..]), (&deployed, &package::WEIGHED)] {
        for binary in binaries {
            let directory = directory.join(binary);
            package::unpack(&directory.join("bootstrap.zip"), &directory.join("unpacked"))?;
        }
    }
    let peers = workspace::root().join("target/bench/peers");
    for peer in ["empty", "tutorial"] {
        rust_peer(peer, &peers)?;
    }
    node_peer(&peers.join("node"))?;

    let step = progress::step("building the bench");
    let mut build = command("cargo");
    build.args(["build", "--release"]).current_dir(workspace::root());
    build.args(["--package", "bench", "--package", "latchkey", "--package", "gateway", "--package", "lambda-host"]);
    process::run("cargo build", build)?;
    step.done();

    if options.only.is_empty() || options.only.iter().any(|part| part == "primitives") {
        let step = progress::step("signatures, tokens, hashes and key sets, by criterion");
        // Results of an earlier run are not part of this one.
        let found = workspace::root().join("target/criterion");
        if found.exists() {
            fs::remove_dir_all(&found).map_err(|error| BenchError::Io(found, error))?;
        }
        let mut criterion = command("cargo");
        criterion.args(["bench", "--package", "bench", "--bench", "primitives", "--"]).current_dir(workspace::root());
        criterion.args(options.quick.then_some("--quick"));
        process::run_logged("cargo bench", criterion, &workspace::local().join("logs/criterion.log"))?;
        step.done();
    }

    let mut bench = command(workspace::root().join("target/release/bench"));
    bench.arg("--packages").arg(&packages).arg("--deployed").arg(&deployed).arg("--peers").arg(&peers);
    bench.arg("--output").arg(workspace::root().join("target/bench"));
    bench.args(options.quick.then_some("--quick"));
    for part in &options.only {
        bench.arg("--only").arg(part);
    }
    Ok(process::run("the bench", bench)?)
}

/// Builds a peer of Rust into `peers`, under its own name.
fn rust_peer(name: &str, peers: &Path) -> Result<(), BenchError> {
    let step = progress::step(&format!("building the peer {name}"));
    let cargo_lambda = install::cargo_lambda()?;
    let directory = workspace::root().join("bench/peers").join(name);
    let built = workspace::root().join("target/bench/built");
    let mut build = command(&cargo_lambda);
    build
        .args(["lambda", "build", "--release", "--locked", Architecture::of_this_machine().flag(), "--lambda-dir"])
        .arg(&built)
        .env("CARGO_TARGET_DIR", workspace::root().join("target/bench").join(name))
        .env("PATH", package::path_with(cargo_lambda.parent())?)
        // Latchkey sets this in `.cargo/config.toml`, which is above the peers, too. A tutorial does not.
        .env("AWS_LC_SYS_NO_JITTER_ENTROPY", "0")
        .current_dir(&directory);
    process::run("cargo lambda build", build)?;
    let failed = |error| BenchError::Io(peers.to_owned(), error);
    fs::create_dir_all(peers).map_err(failed)?;
    fs::copy(built.join(name).join("bootstrap"), peers.join(name)).map_err(failed)?;
    step.done();
    Ok(())
}

/// Bundles the peers of Node.js into a directory.
fn node_peer(directory: &Path) -> Result<(), BenchError> {
    let installed = install::node_peer()?;
    let step = progress::step("bundling the peers of Node.js");
    let failed = |error| BenchError::Io(directory.to_owned(), error);
    if directory.exists() {
        fs::remove_dir_all(directory).map_err(failed)?;
    }
    fs::create_dir_all(directory).map_err(failed)?;
    let modules = installed.join("node_modules");
    std::os::unix::fs::symlink(&modules, directory.join("node_modules")).map_err(failed)?;
    let sources = workspace::root().join("bench/peers/node");
    for script in ["authorizer", "login", "verify"] {
        let mut esbuild = command(modules.join(".bin/esbuild"));
        esbuild
            .arg(sources.join(format!("{script}.js")))
            .args(["--bundle", "--minify", "--platform=node", "--target=node20", "--log-level=warning"])
            // A native module stays what it is.
            .arg("--external:@node-rs/argon2")
            .arg(format!("--outfile={}", directory.join(format!("{script}.js")).display()))
            .env("NODE_PATH", &modules)
            .current_dir(directory);
        process::run("esbuild", esbuild)?;
    }
    step.done();
    Ok(())
}
