//! The page on which people sign in: `GET /`, and its files at `GET /page/{file}`.
//!
//! It reads no store and has no AWS permission. Everything it answers is the same for everybody and lies in `web/`,
//! from where it is compiled in.

mod files;
mod handler;

use std::process::ExitCode;

use shared::http::error::ErrorBody;
use shared::telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::run(env!("CARGO_CRATE_NAME"), || {
        shared::http::serve::run("read_page", ErrorBody::Plain, None, async |request| handler::handle(&request))
    })
    .await
}
