//! Says what an item costs, less the customer's discount.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move { Ok::<_, Error>(item(&event.payload)) }))
        .await
}

fn item(event: &Value) -> Value {
    let name = event["pathParameters"]["name"].as_str().unwrap_or_default();
    // A REST API passes context on as text.
    let discount = event["requestContext"]["authorizer"]["discount"].as_str().and_then(|text| text.parse().ok());
    let price = 100 - discount.unwrap_or(0_i64);
    let body = json!({ "name": name, "price": price }).to_string();
    json!({ "statusCode": 200, "headers": { "content-type": "application/json" }, "body": body })
}
