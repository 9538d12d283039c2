//! Tables on DynamoDB Local, as the template defines them.
//!
//! A `CreateTable` request is almost what the template says, so it is sent as it is: JSON over HTTP, without an SDK, which
//! would have to be compiled before anything is seen.

use sam_template::Template;
use serde_json::{Value, json};
use ureq::Agent;

/// A table could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The template.
    #[error("the tables of the template cannot be read")]
    Template(#[from] sam_template::Error),
    /// DynamoDB Local cannot be reached.
    #[error("{endpoint} did not answer {operation}")]
    Http {
        /// Where it should be.
        endpoint: String,
        /// What was asked.
        operation: &'static str,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// It refused.
    #[error("{operation} of {table} was refused: {answer}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// For which table.
        table: String,
        /// Its answer.
        answer: Value,
    },
}

/// Makes every table of the template that is not there yet, with its time to live. Tables are named by the template's
/// stack name, so tests that want tables of their own choose a stack name of their own.
///
/// # Errors
/// A table could not be made.
pub fn create(endpoint: &str, template: &Template) -> Result<(), TablesError> {
    for table in template.tables()? {
        let (status, answer) = call(endpoint, "CreateTable", &table.create_table)?;
        let exists = answer["__type"].as_str().is_some_and(|kind| kind.ends_with("ResourceInUseException"));
        if status == 200 {
            if let Some(attribute) = &table.ttl_attribute {
                let request = json!({
                    "TableName": table.name,
                    "TimeToLiveSpecification": { "AttributeName": attribute, "Enabled": true },
                });
                let (status, answer) = call(endpoint, "UpdateTimeToLive", &request)?;
                if status != 200 {
                    return Err(TablesError::Refused { operation: "UpdateTimeToLive", table: table.name, answer });
                }
            }
        } else if !exists {
            return Err(TablesError::Refused { operation: "CreateTable", table: table.name, answer });
        }
    }
    Ok(())
}

/// Whether DynamoDB Local answers.
#[must_use]
pub fn answers(endpoint: &str) -> bool {
    call(endpoint, "ListTables", &json!({})).is_ok_and(|(status, _)| status == 200)
}

/// Sends a request of the DynamoDB API. DynamoDB Local wants a signature but does not check it.
///
/// # Errors
/// There is no answer, or it is not JSON.
pub fn call(endpoint: &str, operation: &'static str, request: &Value) -> Result<(u16, Value), TablesError> {
    let failed = |error| TablesError::Http { endpoint: endpoint.to_owned(), operation, source: Box::new(error) };
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(std::time::Duration::from_secs(10)))
        .build()
        .into();
    let mut response = agent
        .post(endpoint)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=local/20260101/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=none",
        )
        .send(request.to_string())
        .map_err(failed)?;
    let body = response.body_mut().read_to_string().map_err(failed)?;
    Ok((response.status().as_u16(), serde_json::from_str(&body).unwrap_or(Value::String(body))))
}
