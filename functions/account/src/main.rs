//! `POST /register`, and a user's own sessions: `GET /sessions`, `DELETE /sessions/{sid}`.

mod handler;

use std::process::ExitCode;

use handler::Account;
use shared::http::Http;

fn main() -> ExitCode {
    shared::start::<Http<Account>>()
}
