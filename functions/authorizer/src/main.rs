//! The Lambda authorizer, for every kind of API that API Gateway has: decides for every protected route whether the
//! access token is valid and not revoked.

mod event;
mod handler;

use std::process::ExitCode;

use handler::Authorizer;

fn main() -> ExitCode {
    shared::start::<Authorizer>()
}
