//! The resource behind the authorizer: `GET /protected-resource`, `GET /me`, `GET /admin-only`.
//!
//! It reads no store and has no AWS permission; what it knows of the caller is the authorizer's context.

mod handler;

use shared::prelude::{ExitCode, serve};

fn main() -> ExitCode {
    serve(env!("CARGO_CRATE_NAME"), handler::ROUTES)
}
