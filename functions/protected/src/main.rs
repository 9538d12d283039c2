//! The resource behind the authorizer: `GET /protected-resource`, `GET /me`, `GET /admin-only`.
//!
//! It reads no table and has no AWS permissions; it knows the caller only from the authorizer's context.

mod handler;

use shared::prelude::{ExitCode, serve};

fn main() -> ExitCode {
    serve(env!("CARGO_CRATE_NAME"), handler::ROUTES)
}
