//! An authorizer as tutorials write it: a secret in the environment, HS256, a denylist in DynamoDB, everything by
//! default.

use aws_sdk_dynamodb::types::AttributeValue;
use jsonwebtoken::{DecodingKey, Validation, decode};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Claims {
    sub: String,
    jti: String,
}

async fn handler(client: &aws_sdk_dynamodb::Client, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let denied = json!({ "isAuthorized": false });
    let secret = std::env::var("JWT_SECRET")?;
    let table = std::env::var("DENYLIST_TABLE_NAME")?;
    let header = event.payload["headers"]["authorization"].as_str().unwrap_or_default();
    let Some(token) = header.strip_prefix("Bearer ") else { return Ok(denied) };
    let key = DecodingKey::from_secret(secret.as_bytes());
    let Ok(token) = decode::<Claims>(token, &key, &Validation::default()) else { return Ok(denied) };
    let revoked =
        client.get_item().table_name(table).key("jti", AttributeValue::S(token.claims.jti.clone())).send().await?;
    if revoked.item().is_some() {
        return Ok(denied);
    }
    Ok(json!({ "isAuthorized": true, "context": { "sub": token.claims.sub } }))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_from_env().await;
    let client = aws_sdk_dynamodb::Client::new(&config);
    let client = &client;
    run(service_fn(move |event| handler(client, event))).await
}
