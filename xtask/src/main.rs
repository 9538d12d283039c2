//! `cargo xtask`: the commands.

mod bench;
mod check;
mod package;
mod rehearse;
mod reload;
mod test;
mod translation;
mod up;
mod watched;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use local_stack::{functions, process, progress};

/// Run, test and check Latchkey on this machine.
///
/// Missing tools are installed into `.local/`: cargo-lambda and the SAM CLI (Python virtual environments), DynamoDB
/// Local, and Java if there is none. That needs Python 3 and npm, and a network only the first time.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted; `test` has that of `cargo test`.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything and wait until a login has succeeded; Ctrl-C stops it
    Up(up::Options),
    /// Run all tests, on a DynamoDB Local, functions and a gateway of their own
    Test {
        /// Arguments for `cargo test`, after `--`
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Format, lints, documentation, licences, unused dependencies, the template as AWS gets it
    Check(check::Options),
    /// Build the deployment packages, and print their sizes and budgets
    Package(package::Options),
    /// Measure the deployed functions and their peers
    Bench(bench::Options),
    /// Deploy the stack to an emulator of AWS and test it there
    Rehearse(rehearse::Options),
    /// Run a function's binary with the environment that the template gives it
    #[command(hide = true)]
    RunFunction {
        /// Where the environments are
        environments: PathBuf,
        /// The binary
        binary: PathBuf,
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(_) if process::interrupted() => ExitCode::from(130),
        Err(error) => {
            progress::failure(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Up(options) => up::run(&options)?,
        Command::Test { arguments } => return Ok(test::run(&arguments)?),
        Command::Check(options) => check::run(&options)?,
        Command::Package(options) => package::run(&options)?,
        Command::Bench(options) => bench::run(&options)?,
        Command::Rehearse(options) => rehearse::run(&options)?,
        Command::RunFunction { environments, binary, arguments } => {
            let status = functions::run(&environments, &binary, &arguments)?;
            return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
    Ok(ExitCode::SUCCESS)
}
