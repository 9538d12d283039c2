//! Builds the deployment packages and checks their sizes.
//!
//! Each function is built by itself with cargo-lambda, as `sam build` does it, so the bytes are the same. Lambda
//! fetches and unpacks the archive at every cold start, so each has a budget.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::install::{self, InstallError};
use crate::process::{self, ProcessError};
use crate::{progress, stack, workspace};

/// A processor that Lambda offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// Graviton.
    Arm64,
    /// Intel and AMD.
    #[value(name = "x86_64")]
    X86,
}

impl Architecture {
    /// Of `template.yaml`.
    pub const DEPLOYED: Self = Self::Arm64;

    /// Of this machine.
    #[must_use]
    pub fn of_this_machine() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::X86 }
    }

    /// As cargo-lambda calls it.
    #[must_use]
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Arm64 => "--arm64",
            Self::X86 => "--x86-64",
        }
    }

    const fn directory(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86 => "x86_64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.directory())
    }
}

/// The functions could not be packaged.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A tool.
    #[error("a tool is missing")]
    Install(#[from] InstallError),
    /// A build.
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("the functions of the template cannot be read")]
    Template(#[from] sam_template::Error),
    /// Where Zig is.
    #[error("the directory of cargo-lambda cannot be on PATH")]
    Path(#[source] env::JoinPathsError),
    /// There is no archive where it should be.
    #[error("{0} cannot be read")]
    Archive(PathBuf, #[source] io::Error),
    /// Some are too large.
    #[error("over their budget: {}", .0.join(", "))]
    TooLarge(Vec<String>),
}

/// Most bytes of a function's archive: slightly more than its size, so that growth is noticed (docs/PERFORMANCE.md).
/// Without an AWS SDK a function is small; login and account contain zxcvbn's dictionaries. The code of arm64 is
/// smaller.
#[must_use]
pub fn budget_bytes(arch: Architecture, binary: &str) -> u64 {
    let (small, authorizer, large, other) = match arch {
        Architecture::Arm64 => (950_000, 3_000_000, 4_900_000, 3_600_000),
        Architecture::X86 => (1_000_000, 3_300_000, 5_100_000, 3_900_000),
    };
    match binary {
        "page" | "protected" => small,
        "authorizer" => authorizer,
        "login" | "account" => large,
        _ => other,
    }
}

/// What was built.
pub struct Packages {
    /// It has a `bootstrap.zip` in a directory named by each function's binary.
    pub directory: PathBuf,
    too_large: Vec<String>,
}

impl Packages {
    /// Checks that none is over its budget.
    ///
    /// # Errors
    /// One is.
    pub fn must_be_small(self) -> Result<(), PackageError> {
        if self.too_large.is_empty() { Ok(()) } else { Err(PackageError::TooLarge(self.too_large)) }
    }
}

/// Builds every function of the template, and prints the sizes.
///
/// # Errors
/// One cannot be built.
pub fn package_all(arch: Architecture) -> Result<Packages, PackageError> {
    let template = stack::template("package", &std::collections::BTreeMap::new())?;
    let mut binaries: Vec<_> = template.functions()?.into_iter().map(|function| function.binary).collect();
    binaries.sort();
    package(arch, binaries)
}

/// The functions that the bench runs, built for this machine's processor.
pub const BENCHED: [&str; 4] = ["authorizer", "login", "protected", "token"];
/// The functions whose archives have a target in the bench, built for the template's processor.
pub const WEIGHED: [&str; 2] = ["authorizer", "protected"];

/// Builds these functions, and prints the sizes.
///
/// # Errors
/// One cannot be built.
pub fn package(
    arch: Architecture,
    binaries: impl IntoIterator<Item = impl Into<String>>,
) -> Result<Packages, PackageError> {
    let cargo_lambda = install::cargo_lambda()?;
    let directory = workspace::root().join("target/package").join(arch.directory());
    let mut lines = Vec::new();
    let mut too_large = Vec::new();
    for binary in binaries.into_iter().map(Into::into) {
        let step = progress::step(&format!("building {binary} for {}", arch.directory()));
        let mut build = process::command(&cargo_lambda);
        build.env("PATH", path_with(cargo_lambda.parent())?);
        build
            .args(["lambda", "build", "--release", arch.flag(), "--output-format", "zip"])
            .args(["--package", &binary, "--bin", &binary, "--lambda-dir"])
            .arg(&directory)
            .current_dir(workspace::root());
        process::run("cargo lambda build", build)?;
        step.done();
        let archive = directory.join(&binary).join("bootstrap.zip");
        let size = fs::metadata(&archive).map_err(|error| PackageError::Archive(archive, error))?.len();
        let budget = budget_bytes(arch, &binary);
        let is_over = size > budget;
        lines.push(line(&binary, size, budget));
        if is_over {
            too_large.push(binary);
        }
    }
    progress::print(&format!("\n{}\n\nbelow {}", lines.join("\n"), directory.display()));
    Ok(Packages { directory, too_large })
}

/// Unpacks the archive of a function into a directory, with Python, and returns the bootstrap.
///
/// # Errors
/// It cannot be unpacked.
pub fn unpack(archive: &Path, directory: &Path) -> Result<PathBuf, PackageError> {
    let mut unzip = process::command("python3");
    unzip.args(["-m", "zipfile", "-e"]).arg(archive).arg(directory);
    process::run_logged("unzip", unzip, &workspace::local().join("logs/unzip.log"))?;
    let bootstrap = directory.join("bootstrap");
    // It does not keep permissions.
    fs::set_permissions(&bootstrap, fs::Permissions::from_mode(0o755))
        .map_err(|error| PackageError::Archive(bootstrap.clone(), error))?;
    Ok(bootstrap)
}

/// PATH with cargo-lambda's own directory: where it is a Python package, so is the Zig that it links with, and it asks
/// the `python` on PATH for it.
///
/// # Errors
/// The directory cannot be on PATH.
pub fn path_with(directory: Option<&Path>) -> Result<OsString, PackageError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = directory.map(Path::to_owned).into_iter().filter(|path| path.is_absolute());
    env::join_paths(directories.chain(env::split_paths(&path))).map_err(PackageError::Path)
}

fn line(binary: &str, size: u64, budget: u64) -> String {
    // In kilobytes, so that no number is too large for a float to hold.
    let megabytes = |bytes: u64| f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1000.0;
    let over = if size > budget { "   over" } else { "" };
    format!("{binary:14} {:6.2} MB of {:5.2} MB{over}", megabytes(size), megabytes(budget))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_says_whether_a_function_is_too_large() {
        assert_eq!(line("protected", 912_345, 1_000_000), "protected        0.91 MB of  1.00 MB");
        assert_eq!(line("authorizer", 3_000_001, 3_000_000), "authorizer       3.00 MB of  3.00 MB   over");
    }
}
