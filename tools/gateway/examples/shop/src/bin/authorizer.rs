//! Lets everybody in who knows the shop's password, and tells the function behind it who that is.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let password = std::env::var("PASSWORD").unwrap_or_else(|_| "open sesame".to_owned());
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
        let answer = authorize(&event.payload, &password);
        async { answer }
    }))
    .await
}

/// The error must be exactly this word: API Gateway makes a 401 of it, and a 500 of every other.
fn authorize(event: &Value, password: &str) -> Result<Value, Error> {
    let token = event["authorizationToken"].as_str().unwrap_or_default();
    if token.strip_prefix("Bearer ") != Some(password) {
        return Err("Unauthorized".into());
    }
    Ok(json!({
        "principalId": "customer",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": event["methodArn"] }],
        },
        "context": { "discount": 5 },
    }))
}
