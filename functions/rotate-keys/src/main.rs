//! Creates the keys of access and refresh tokens: the first ones when the stack is deployed, as a custom resource of
//! CloudFormation, and the next ones on a schedule. It is the only function that may write keys.

mod custom_resource;
mod error;
mod handler;
mod retry;

use std::process::ExitCode;

use handler::RotateKeys;

fn main() -> ExitCode {
    shared::start::<RotateKeys>()
}
