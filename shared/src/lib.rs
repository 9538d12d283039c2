//! What every Lambda function shares.
//!
//! A function implements [`Function`], or [`HttpFunction`](http::HttpFunction) behind an HTTP API, and its `main` is
//! one call of [`start`]. There is no AWS SDK here: a function that only answers for the caller that the authorizer
//! allowed needs nothing else.

pub mod caller;
pub mod config;
pub mod event_loop;
pub mod function;
pub mod http;
pub mod prelude;
pub mod telemetry;

pub use caller::Caller;
pub use function::{Function, StartError, start};
