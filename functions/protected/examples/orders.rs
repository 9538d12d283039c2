//! One more function behind the authorizer. docs/PROTECTING.md says how it is deployed.

use serde_json::json;
use shared::prelude::*;

fn list(request: &Request) -> Result<Response, RequestError> {
    let caller = caller(request)?;
    caller.require_role("sales")?;
    Ok(response::json(StatusCode::OK, &json!({ "seller": caller.sub, "orders": [] }))?)
}

const ROUTES: &[Route<()>] = &[Route::new("GET /orders", "list_orders", |(), request| ready(list(request)))];

fn main() -> ExitCode {
    serve(env!("CARGO_CRATE_NAME"), ROUTES)
}
