//! The page on which people sign in: `GET /`, and its files at `GET /page/{file}`.
//!
//! It reads no store and has no AWS permission. Everything it answers is the same for everybody and lies in `web/`,
//! from where it is compiled in.

mod files;
mod handler;

use shared::prelude::{ExitCode, serve};

fn main() -> ExitCode {
    serve(env!("CARGO_CRATE_NAME"), handler::ROUTES)
}
