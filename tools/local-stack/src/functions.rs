//! The functions, run by `cargo lambda watch`, each with exactly the environment that the template gives it.
//!
//! `cargo lambda watch` has one environment for all functions, so it is given none of the template's variables. It
//! starts a function with `cargo run`, and Cargo starts the binary through a runner: `cargo xtask run-function`, which
//! adds them.
//!
//! The Invoke API accepts invocations from anybody who finds it, including web pages (`tools/gateway`, `front.rs`). So
//! if the loopback network has more than one address, as on Linux, `cargo lambda watch` listens at one of sixteen
//! million, chosen at each start; people invoke functions at the gateway's invoke port.
//!
//! `cargo lambda watch` does not restart a function that has ended: its callers wait in vain. So the runner restarts it
//! on request, which loads a new binary, and otherwise ends with it. It writes the function's process id to a file, by
//! which the end is noticed.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use sam_template::Template;

use crate::install::Tools;
use crate::port::{self, PortError};
use crate::process::{self, ProcessError, Supervised, command};
use crate::workspace;

/// The variable that names a KMS key, and the one that contains a local wrapping key.
const KMS_KEY_ID: &str = "LATCHKEY_KMS_KEY_ID";
pub const SEALING_KEY: &str = "LATCHKEY_SEALING_KEY";
/// The extension of the file with the id of a function's process.
const PID: &str = "pid";
/// The extension of the file that requests the restart of a function.
const RESTART: &str = "restart";
/// How long `cargo lambda watch` may take to listen.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// The functions could not be started.
#[derive(Debug, thiserror::Error)]
pub enum FunctionsError {
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
    /// The runner cannot be found.
    #[error("the directory {0} cannot be on PATH")]
    Path(PathBuf, #[source] env::JoinPathsError),
    /// No random address.
    #[error("/dev/urandom cannot be read")]
    Random(#[source] io::Error),
    #[error("`cargo lambda watch` has no port")]
    Port(#[from] PortError),
    #[error("`cargo lambda watch` does not run")]
    Process(#[from] ProcessError),
}

/// The running functions.
#[derive(Debug)]
pub struct Functions {
    address: SocketAddr,
    process: Supervised,
    /// The files of `run-function`.
    environments: PathBuf,
}

impl Functions {
    /// Starts `cargo lambda watch`; it starts a function when the function is first called. Every function is given
    /// `variables` besides its own.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        tools: &Tools,
        template: &Template,
        dynamodb_endpoint: &str,
        sealing_key: &str,
        variables: &BTreeMap<String, String>,
        directory: &Path,
    ) -> Result<Self, FunctionsError> {
        let environments = directory.join("environments");
        // Files of an earlier run are about other processes.
        if environments.exists() {
            fs::remove_dir_all(&environments)
                .map_err(|error| FunctionsError::Environment(environments.clone(), error))?;
        }
        write_environments(template, sealing_key, &environments)?;
        let runner_program = workspace::binary("xtask");
        let address = SocketAddr::new(loopback_address()?, port::free()?);
        let mut watch = command(&tools.cargo_lambda);
        // No --timeout: it would also end an idle function that waits for its next event. The gateway enforces
        // timeouts.
        watch
            .args(["lambda", "watch", "--invoke-address", &address.ip().to_string()])
            .args(["--invoke-port", &address.port().to_string()])
            .args(["--disable-cors", "--ignore-changes"])
            .current_dir(workspace::root())
            .envs(aws_environment(dynamodb_endpoint))
            .envs(variables)
            .env("PATH", path_with(runner_program.parent().unwrap_or(Path::new("")))?)
            .env(runner_variable()?, runner(&environments));
        let mut process = Supervised::start("cargo lambda watch", watch, &directory.join("functions.log"))?;
        process.wait_until(START_TIMEOUT, || TcpStream::connect(address).is_ok())?;
        Ok(Self { address, process, environments })
    }

    /// Where the Lambda Invoke API answers.
    #[must_use]
    pub fn invoke_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The log of all functions.
    #[must_use]
    pub fn log(&self) -> &Path {
        self.process.log().unwrap_or(Path::new(""))
    }

    /// Checks that it still runs, and every function that was started.
    ///
    /// # Errors
    /// One ended.
    pub fn must_run(&mut self) -> Result<(), ProcessError> {
        self.process.must_run()?;
        for name in self.started() {
            // Checked first: the runner writes the new id before it deletes the request.
            let restarts = self.environments.join(format!("{name}.{RESTART}")).exists();
            if !restarts && self.pid(&name).is_some_and(|pid| !process::exists(pid)) {
                return Err(ProcessError::Ended {
                    name: format!("the function {name}"),
                    tail: process::tail(self.process.log()),
                });
            }
        }
        Ok(())
    }

    /// The functions that have been started, which each is at its first request.
    #[must_use]
    pub fn started(&self) -> Vec<String> {
        let files = fs::read_dir(&self.environments).into_iter().flatten().flatten().map(|entry| entry.path());
        let of_functions = files.filter(|file| file.extension().is_some_and(|extension| extension == PID));
        let mut names: Vec<_> =
            of_functions.filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned())).collect();
        names.sort();
        names
    }

    /// Ends a running function and restarts it from the current binary. A request in progress is lost, as in a
    /// crash.
    ///
    /// # Errors
    /// The request for the restart cannot be written.
    pub fn restart(&self, name: &str) -> Result<(), FunctionsError> {
        self.wish_for_another(name)?.into_iter().for_each(process::end);
        Ok(())
    }

    /// The same for a function that does not react to SIGTERM.
    ///
    /// # Errors
    /// The request for the restart cannot be written.
    pub fn kill(&self, name: &str) -> Result<(), FunctionsError> {
        self.wish_for_another(name)?.into_iter().for_each(process::kill);
        Ok(())
    }

    /// Writes the request for a restart, and returns the id of the process to end.
    fn wish_for_another(&self, name: &str) -> Result<Option<i32>, FunctionsError> {
        let pid = self.pid(name);
        if pid.is_some() {
            let wish = self.environments.join(format!("{name}.{RESTART}"));
            fs::write(&wish, "").map_err(|error| FunctionsError::Environment(wish, error))?;
        }
        Ok(pid)
    }

    /// Writes the environments of a changed template, restarts the functions whose environment changed, and returns
    /// their names.
    ///
    /// # Errors
    /// An environment cannot be read from the template or written.
    pub fn reconfigure(&self, template: &Template, sealing_key: &str) -> Result<Vec<String>, FunctionsError> {
        let changed = write_environments(template, sealing_key, &self.environments)?;
        let started = self.started();
        let restarted: Vec<_> = changed.into_iter().filter(|name| started.contains(name)).collect();
        restarted.iter().try_for_each(|name| self.restart(name))?;
        Ok(restarted)
    }

    fn pid(&self, name: &str) -> Option<i32> {
        fs::read_to_string(self.environments.join(format!("{name}.{PID}"))).ok()?.parse().ok()
    }
}

/// An address of this machine that cannot be guessed, where the whole network 127.0.0.0/8 is this machine's.
fn loopback_address() -> Result<IpAddr, FunctionsError> {
    if !cfg!(target_os = "linux") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let mut bytes = [0; 3];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(FunctionsError::Random)?;
    let [a, b, c] = bytes;
    // Neither the network's own address nor that of all in it.
    Ok(Ipv4Addr::new(127, a, b, c.clamp(1, 254)).into())
}

/// What every function and the operator's command need to find DynamoDB Local. The key is a placeholder; DynamoDB Local
/// wants one.
#[must_use]
pub fn aws_environment(dynamodb_endpoint: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_endpoint.to_owned()),
    ])
}

/// Runs a function's binary with the function's environment until it ends without a request for a restart, and returns
/// its exit status.
///
/// # Errors
/// The environment cannot be read, or the binary not be started.
pub fn run(environments: &Path, binary: &Path, arguments: &[OsString]) -> Result<ExitStatus, FunctionsError> {
    let name = binary.file_name().unwrap_or_default().to_string_lossy();
    let file = environments.join(format!("{name}.json"));
    let wish = environments.join(format!("{name}.{RESTART}"));
    loop {
        // At each start: the template may have changed.
        let text = fs::read_to_string(&file).map_err(|error| FunctionsError::Environment(file.clone(), error))?;
        let variables: BTreeMap<String, String> =
            serde_json::from_str(&text).map_err(|error| FunctionsError::Malformed(file.clone(), error))?;
        let failed = |error| FunctionsError::Exec(binary.to_owned(), error);
        let mut function = Command::new(binary).args(arguments).envs(&variables).spawn().map_err(failed)?;
        // Renamed into place, so that no reader sees half a number.
        let (new, pid) = (environments.join(format!("{name}.new")), environments.join(format!("{name}.{PID}")));
        fs::write(&new, function.id().to_string())
            .and_then(|()| fs::rename(&new, &pid))
            .map_err(|error| FunctionsError::Environment(pid, error))?;
        // There is none at the first start.
        let _ = fs::remove_file(&wish);
        let status = function.wait().map_err(failed)?;
        if !wish.exists() {
            return Ok(status);
        }
    }
}

/// One file for each function, readable by this user alone: one of the variables is a key. Returns the names of the
/// functions whose file is new or has changed.
///
/// There is no KMS on this machine. Functions that have a KMS key in the template, and only those, get `sealing_key`
/// instead, so that the same functions can unwrap private keys as in AWS.
fn write_environments(template: &Template, sealing_key: &str, directory: &Path) -> Result<Vec<String>, FunctionsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| FunctionsError::Environment(path, error)
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let mut changed = Vec::new();
    for function in template.functions()? {
        let mut variables = template.environment(&function.logical_id)?;
        if variables.remove(KMS_KEY_ID).is_some_and(|id| !id.is_empty()) {
            variables.insert(SEALING_KEY.to_owned(), sealing_key.to_owned());
        }
        let file = directory.join(format!("{}.json", function.binary));
        let text = serde_json::json!(variables).to_string();
        if fs::read_to_string(&file).is_ok_and(|before| before == text) {
            continue;
        }
        let mut options = fs::OpenOptions::new();
        let mut output =
            options.write(true).create(true).truncate(true).mode(0o600).open(&file).map_err(failed(&file))?;
        output.write_all(text.as_bytes()).map_err(failed(&file))?;
        changed.push(function.binary);
    }
    Ok(changed)
}

/// Cargo's variable for a runner, for this machine's target.
fn runner_variable() -> Result<String, FunctionsError> {
    let output = command("rustc").arg("-vV").output().map_err(|_| FunctionsError::Host)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).ok_or(FunctionsError::Host)?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_")))
}

/// The runner: a program and its first arguments, separated by spaces. Cargo supports no quoting here, and the path of
/// a checkout may have spaces. So the program is found on PATH, and the directory is named as seen from the checkout.
fn runner(environments: &Path) -> OsString {
    let mut runner = OsString::from("xtask run-function ");
    runner.push(environments.strip_prefix(workspace::root()).unwrap_or(environments));
    runner
}

/// PATH with one more directory, before all others.
fn path_with(directory: &Path) -> Result<OsString, FunctionsError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = [directory.to_owned()].into_iter().chain(env::split_paths(&path));
    env::join_paths(directories).map_err(|error| FunctionsError::Path(directory.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(test: &str) -> PathBuf {
        let directory = env::temp_dir().join(format!("latchkey xtask {} {test}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn the_runner_gives_the_function_its_environment_and_leaves_its_id() {
        let directory = directory("runner");
        fs::write(directory.join("sh.json"), r#"{"GREETING":"hello, world"}"#).unwrap();
        let mut runner = Command::new(workspace::binary("xtask"));
        runner.arg("run-function").arg(&directory).args(["/bin/sh", "-c", "echo \"$GREETING $$ $1\"", "sh", "--flag"]);
        let output = runner.output().unwrap();
        let pid = fs::read_to_string(directory.join("sh.pid")).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("hello, world {pid} --flag\n"), "{output:?}");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_function_is_started_again_when_asked_for_with_the_environment_of_that_moment() {
        let directory = directory("restart");
        let set = |value| fs::write(directory.join("sh.json"), format!(r#"{{"SETTING":"{value}"}}"#)).unwrap();
        set(1);
        let mut runner = command(workspace::binary("xtask"));
        runner.arg("run-function").arg(&directory).args(["/bin/sh", "-c", "echo started $SETTING; exec sleep 300"]);
        let log = directory.join("functions.log");
        let process = Supervised::start("watch", runner, &log).unwrap();
        let mut functions =
            Functions { address: (Ipv4Addr::LOCALHOST, 0).into(), process, environments: directory.clone() };
        for starts in 1..=2 {
            let logged = || fs::read_to_string(&log).unwrap_or_default().matches("started").count();
            // The id is written right after the start.
            let has_id = || directory.join("sh.pid").exists();
            functions.process.wait_until(START_TIMEOUT, || logged() == starts && has_id()).unwrap();
            functions.must_run().unwrap();
            assert_eq!(functions.started(), ["sh"]);
            assert!(fs::read_to_string(&log).unwrap().ends_with(&format!("started {starts}\n")));
            if starts == 1 {
                set(2);
                functions.restart("sh").unwrap();
            }
        }
        process::end(functions.pid("sh").unwrap());
        let ended =
            (0..100).any(|_| process::pause(Duration::from_millis(50)).is_err() || functions.must_run().is_err());
        assert!(ended);
        drop(functions);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn the_end_of_a_function_is_noticed() {
        let directory = directory("end");
        let mut sleep = command("sleep");
        sleep.arg("300");
        let process = Supervised::start("watch", sleep, &directory.join("functions.log")).unwrap();
        let mut functions =
            Functions { address: (Ipv4Addr::LOCALHOST, 0).into(), process, environments: directory.clone() };
        functions.must_run().unwrap();

        let mut function = command("sleep").arg("300").spawn().unwrap();
        fs::write(directory.join("login.pid"), function.id().to_string()).unwrap();
        functions.must_run().unwrap();
        function.kill().unwrap();
        function.wait().unwrap();
        let error = functions.must_run().unwrap_err().to_string();
        assert!(error.starts_with("the function login ended; the end of "), "{error}");
        drop(functions);
        fs::remove_dir_all(directory).unwrap();
    }
}
