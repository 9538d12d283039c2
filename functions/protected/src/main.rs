//! The resource behind the authorizer: `GET /protected-resource`, `GET /me`, `GET /admin-only`.
//!
//! It reads no store and has no AWS permission; what it knows of the caller is the authorizer's context.

mod handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    shared::telemetry::init(env!("CARGO_CRATE_NAME"));
    shared::http::serve::run("read_resource", async |request| handler::handle(&request)).await
}
