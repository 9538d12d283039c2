//! `cargo xtask test`: all tests, on real parts started for them.

use std::ffi::OsString;
use std::process::ExitCode;

use local_stack::install::{self, InstallError, Tools};
use local_stack::lock::{Lock, LockError};
use local_stack::process::{self, ProcessError, command};
use local_stack::stack::{self, Stack, StackError};
use local_stack::{progress, workspace};

/// The tests did not pass, or could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    /// Tests run already.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A tool.
    #[error("a tool is missing")]
    Install(#[from] InstallError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("the stack for the tests could not be started")]
    Stack(#[from] StackError),
}

/// Builds, starts a stack of its own on free ports, runs `cargo test` with `arguments`, and ends the stack. The exit
/// code is that of `cargo test`.
///
/// # Errors
/// The tests cannot be run.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitCode, TestError> {
    process::listen_to_signals()?;
    let _lock = Lock::take(&workspace::local().join("test"))?;
    let tools = Tools::find_or_install()?;
    let oauth_client = install::oauth_client()?;
    stack::build()?;
    let step = progress::step("building the tests");
    let mut build = command("cargo");
    build.args(["test", "--workspace", "--no-run"]).current_dir(workspace::root());
    process::run("cargo test --no-run", build)?;
    step.done();

    let mut stack = Stack::start(&tools, &stack::Options::for_test("e2e"))?;
    let step = progress::step("testing");
    let mut tests = command("cargo");
    tests
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(arguments)
        .current_dir(workspace::root())
        // DynamoDB Local for tests of stores, and all that `latchkey` needs to work on the stack.
        .envs(stack.command_environment())
        .env("LATCHKEY_BASE_URL", stack.base_url())
        .env("LATCHKEY_INVOKE_URL", stack.invoke_url())
        .env("LATCHKEY_FUNCTIONS_LOG", stack.functions_log())
        .env("LATCHKEY_GATEWAY_LOG", stack.gateway_log())
        .env("LATCHKEY_OAUTH_CLIENT", oauth_client);
    match process::run("cargo test", tests) {
        Ok(()) => {
            step.done();
            Ok(ExitCode::SUCCESS)
        }
        Err(ProcessError::Failed { status, .. }) => {
            step.failed();
            // A part of the stack may have ended, which a test cannot know.
            if let Err(error) = stack.must_run() {
                progress::failure(&error);
            }
            Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
        }
        Err(error) => Err(error.into()),
    }
}
