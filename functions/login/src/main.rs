//! `POST /login`: a username and a password for an access and a refresh token. `POST /password`: another password, and
//! new tokens for it. One function for both: they need the same permissions, and no other function has them.

mod handler;

use std::process::ExitCode;

use handler::LoginFunction;
use shared::http::Http;

fn main() -> ExitCode {
    shared::start::<Http<LoginFunction>>()
}
