//! `cargo xtask test`: all tests, on real parts started for them.

use std::ffi::OsString;

use crate::install::{InstallError, Tools};
use crate::process::{self, ProcessError, command};
use crate::stack::{self, Stack, StackError};
use crate::up;
use crate::{progress, workspace};

/// The tests did not pass, or could not be run.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// A tool.
    #[error("a tool is missing")]
    Install(#[from] InstallError),
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The stack.
    #[error("the stack for the tests could not be started")]
    Stack(#[from] StackError),
}

/// Builds, starts a stack of its own on free ports, runs `cargo test` with `arguments`, and ends the stack.
///
/// # Errors
/// A test fails, or the tests cannot be run.
pub fn run(arguments: &[OsString]) -> Result<(), TestError> {
    let tools = Tools::find_or_install()?;
    up::build()?;
    let step = progress::step("building the tests");
    let mut build = command("cargo");
    build.args(["test", "--workspace", "--no-run"]).current_dir(workspace::root());
    process::run("cargo test --no-run", build)?;
    step.done();

    let stack = Stack::start(&tools, &stack::Options::for_test("e2e"))?;
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
        .env("LATCHKEY_GATEWAY_LOG", stack.gateway_log());
    let result = process::run("cargo test", tests);
    match &result {
        Ok(()) => step.done(),
        Err(_) => step.failed(),
    }
    Ok(result?)
}
