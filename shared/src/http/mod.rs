//! HTTP: what is read of a request, and what responses and errors look like.

pub mod body;
pub mod error;
pub mod form;
mod function;
pub mod origin;
pub mod problem;
pub mod request;
pub mod response;

pub use function::{Http, HttpFunction, Outcome, Route, dispatch, ready, serve};
pub use http::StatusCode;
pub use lambda_http::{Body, Request, RequestExt};
pub use response::Response;
