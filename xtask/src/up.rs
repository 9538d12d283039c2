//! `cargo xtask up`: Latchkey on this machine, until Ctrl-C.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;

use crate::reload::Reload;
use local_stack::dynamodb_local::Storage;
use local_stack::health::{self, Health, HealthError};
use local_stack::install::{InstallError, Tools};
use local_stack::lock::{Lock, LockError};
use local_stack::port::{self, PortError};
use local_stack::process::{self, ProcessError};
use local_stack::stack::{self, Stack, StackError};
use local_stack::{progress, workspace};

/// The default port of `cargo lambda invoke`.
const INVOKE_PORT: u16 = 9000;

/// What `up` is to do.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The port of the API
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Start with empty tables and new keys
    #[arg(long)]
    fresh: bool,
    /// Open the page in a browser
    #[arg(long)]
    open: bool,
}

/// `up` failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpError {
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
    /// A part ended.
    #[error("everything was stopped, because a part ended; `cargo xtask up` starts it again")]
    PartEnded(#[source] ProcessError),
    #[error("Latchkey could not be started")]
    Stack(#[from] StackError),
    /// A function does not answer.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// The environment for the operator's command.
    #[error("{0} could not be written")]
    Environment(PathBuf, #[source] io::Error),
    /// The previous data could not be removed.
    #[error("{0} could not be removed")]
    Remove(PathBuf, #[source] io::Error),
}

/// Starts everything, prints the addresses, and waits.
///
/// # Errors
/// Something does not start, a part ends, or this program was asked to stop.
pub(crate) fn run(options: &Options) -> Result<(), UpError> {
    let started = Instant::now();
    process::listen_to_signals()?;
    // Before anything is changed: two instances would conflict over the port and the data.
    port::must_be_free(options.port)?;
    let directory = workspace::local().join("up");
    let _lock = Lock::take(&directory)?;
    if options.fresh && directory.exists() {
        fs::remove_dir_all(&directory).map_err(|error| UpError::Remove(directory.clone(), error))?;
    }
    let tools = Tools::find_or_install()?;
    stack::build()?;
    let mut stack = Stack::start(
        &tools,
        &stack::Options {
            name: "latchkey".to_owned(),
            port: Some(options.port),
            invoke_port: Some(INVOKE_PORT),
            storage: Storage::Disk(directory.join("dynamodb")),
            directory: directory.clone(),
            parameters: stack::development_parameters(),
            variables: BTreeMap::new(),
        },
    )?;
    let step = progress::step("asking every function");
    health::all_answer(&mut stack)?;
    step.done();
    let environment = directory.join("latchkey.env");
    write_environment(&stack, &environment).map_err(|error| UpError::Environment(environment.clone(), error))?;
    announce(&stack, &tools, &environment, started.elapsed());
    if options.open
        && let Err(error) = open::that_detached(stack.base_url())
    {
        progress::warn(&format!("No browser could be started ({error}): open {} yourself.", stack.base_url()));
    }
    let (mut reload, mut health) = (Reload::from_now(), Health::from_now(&stack));
    loop {
        stack.must_run().map_err(UpError::PartEnded)?;
        match health.check(&mut stack) {
            Ok(()) | Err(HealthError::Process(ProcessError::Interrupted)) => {}
            Err(HealthError::Process(error)) => return Err(UpError::PartEnded(error)),
            Err(error) => return Err(error.into()),
        }
        if process::pause(Duration::from_millis(200)).and_then(|()| reload.apply_changes(&mut stack)).is_err() {
            let step = progress::step("stopping");
            drop(stack);
            step.done();
            return Ok(());
        }
    }
}

/// What the operator's command needs to work on this stack, for a shell to read: by this user alone, because one of the
/// variables is a key.
fn write_environment(stack: &Stack, file: &Path) -> io::Result<()> {
    let mut output = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    for (name, value) in stack.command_environment() {
        writeln!(output, "export {name}='{value}'")?;
    }
    Ok(())
}

fn announce(stack: &Stack, tools: &Tools, environment: &Path, elapsed: Duration) {
    let url = stack.base_url();
    let seconds = elapsed.as_secs_f64();
    let in_checkout = |path: &Path| path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string();
    let cargo_lambda = in_checkout(&tools.cargo_lambda);
    progress::print(&format!("\nready after {seconds:.1} s: {url}\n"));
    progress::warn("Demo users, for this machine only: alice / password (role user), admin / password (role admin)");
    progress::print(&format!(
        "
Try it:
  TOKEN=$(curl -s {url}/login -d '{{\"username\":\"alice\",\"password\":\"password\"}}' | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')
  curl -i {url}/protected-resource -H \"Authorization: Bearer $TOKEN\"
  curl -i -X POST {url}/logout -H \"Authorization: Bearer $TOKEN\"

Page    {url}/
Keys    {url}/.well-known/jwks.json
Users   . {} && {} user add NAME
Events  {cargo_lambda} lambda invoke login --data-file events/login-ok.json --invoke-address 127.0.0.1 --invoke-port {}
Logs    {}  (functions)
        {}  (requests)

A change of a function's source or of template.yaml takes effect while this runs. Ctrl-C stops it.",
        in_checkout(environment),
        in_checkout(&workspace::binary("latchkey")),
        stack.invoke_port().unwrap_or(INVOKE_PORT),
        in_checkout(stack.functions_log()),
        in_checkout(stack.gateway_log()),
    ));
}
