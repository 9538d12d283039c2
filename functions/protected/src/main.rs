//! The resource behind the authorizer: `GET /protected-resource`, `GET /me`, `GET /admin-only`.
//!
//! It reads no store and has no AWS permission; what it knows of the caller is the authorizer's context.

mod handler;

use std::process::ExitCode;

use shared::http::error::ErrorBody;
use shared::telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    telemetry::run(env!("CARGO_CRATE_NAME"), || {
        shared::http::serve::run("read_resource", ErrorBody::Plain, None, async |request| handler::handle(&request))
    })
    .await
}
