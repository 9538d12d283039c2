//! `POST /logout`: ends the caller's session, or with `?everywhere=true` all of them, and denies the access tokens.

mod handler;

use std::process::ExitCode;

use handler::Logout;
use shared::http::Http;

fn main() -> ExitCode {
    shared::start::<Http<Logout>>()
}
