//! One more function behind the authorizer. docs/PROTECTING.md says how it is deployed.

use http::StatusCode;
use serde_json::json;
use shared::http::error::{ApiError, ErrorBody};
use shared::http::{request::caller, response, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let orders = async |request: lambda_http::Request| {
        let caller = caller(&request)?;
        if !caller.has_role("sales") {
            return Err(ApiError::InsufficientScope("sales"));
        }
        response::json(StatusCode::OK, &json!({ "seller": caller.sub, "orders": [] }))
    };
    shared::telemetry::run(env!("CARGO_CRATE_NAME"), || serve::run("list_orders", ErrorBody::Plain, None, orders)).await
}
