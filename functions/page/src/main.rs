//! The page on which people sign in: `GET /`, and its files at `GET /page/{file}`.
//!
//! It reads no table and has no AWS permissions. Its responses are the same for everybody: the files of `web/`, which
//! are compiled in.

mod files;
mod handler;

use shared::prelude::{ExitCode, serve};

fn main() -> ExitCode {
    serve(env!("CARGO_CRATE_NAME"), handler::ROUTES)
}
