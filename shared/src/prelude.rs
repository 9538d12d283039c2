//! What a small function imports: `use shared::prelude::*;`.

pub use std::process::ExitCode;

pub use crate::http::error::RequestError;
pub use crate::http::request::caller;
pub use crate::http::{Request, Response, Route, StatusCode, ready, response, serve};
