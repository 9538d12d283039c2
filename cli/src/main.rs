//! `latchkey`: the operator's command. It works on the tables that the environment names, in AWS or at
//! `AWS_ENDPOINT_URL_DYNAMODB`, with the caller's own AWS credentials.

mod demo;
mod keys;
mod terminal;
mod token;
mod user;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Manage the users and keys of a Latchkey deployment.
///
/// Tables are named by environment variables: USERS_TABLE_NAME, DENYLIST_TABLE_NAME, LOGIN_ATTEMPTS_TABLE_NAME and
/// SIGNING_KEYS_TABLE_NAME, which are outputs of the stack. LATCHKEY_MIN_PASSWORD_LENGTH is the minimum length of a new
/// password (default 15). Region and credentials are found as by the AWS CLI; AWS_ENDPOINT_URL_DYNAMODB selects another
/// DynamoDB.
///
/// Exit codes: 0 success, 1 failure, 2 wrong usage.
#[derive(Parser)]
#[command(name = "latchkey", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Users: add, show, list, set-password, set-roles, enable, disable, revoke, unlock, import
    User(user::UserArguments),
    /// Keys that sign tokens: init, list, rotate, revoke, export
    Keys(keys::KeysArguments),
    /// Tokens: inspect
    Token(token::TokenArguments),
    /// Add alice and admin with the password `password`, on this machine's DynamoDB only
    #[command(hide = true)]
    DemoUsers,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && env::args_os().any(|argument| argument == "--json") => {
            terminal::Output { json: true }
                .failure("usage", error.to_string().trim_start_matches("error: ").trim_end());
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    match arguments.command {
        Command::User(arguments) => {
            let output = terminal::Output { json: arguments.json };
            ended(user::run(arguments).await, user::UserError::code, output)
        }
        Command::Keys(arguments) => {
            let output = terminal::Output { json: arguments.json };
            ended(keys::run(arguments).await, keys::KeysError::code, output)
        }
        Command::Token(arguments) => {
            let output = terminal::Output { json: arguments.json };
            ended(token::run(arguments).await, token::TokenError::code, output)
        }
        Command::DemoUsers => ended(demo::run().await, |_| "failed", terminal::Output { json: false }),
    }
}

/// Prints the error, if there is one, and returns the exit code.
fn ended<E: Error + 'static>(
    result: Result<(), E>,
    code: impl FnOnce(&E) -> &'static str,
    output: terminal::Output,
) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.failure(code(&error), &shared::telemetry::chain(&error));
            ExitCode::FAILURE
        }
    }
}
