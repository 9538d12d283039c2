//! Tables on DynamoDB Local, as the template defines them.
//!
//! A `CreateTable` request is almost the template's resource, so it is sent as JSON over HTTP, without an SDK that
//! would have to be compiled first.

use sam_template::{Table, Template};
use serde_json::{Value, json};
use ureq::Agent;

/// A table could not be created.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
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
    #[error("{operation} of {table} was refused: {answer}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// For which table.
        table: String,
        answer: Value,
    },
    /// A table of this name exists, with other keys.
    #[error("the table {0} differs from the template; start with empty tables: `cargo xtask up --fresh`")]
    Other(String),
}

/// Makes every table of the template that is not there yet, with its time to live. Tables are named by the template's
/// stack name, so tests that want tables of their own choose a stack name of their own.
///
/// # Errors
/// A table could not be made, or one of that name is there and is another.
pub fn create(endpoint: &str, template: &Template) -> Result<(), TablesError> {
    for table in template.tables()? {
        let (status, answer) = call(endpoint, "CreateTable", &table.create_table)?;
        if status != 200 {
            if !answer["__type"].as_str().is_some_and(|kind| kind.ends_with("ResourceInUseException")) {
                return Err(TablesError::Refused { operation: "CreateTable", table: table.name, answer });
            }
            must_be_the_same(endpoint, &table)?;
        }
        if let Some(attribute) = &table.ttl_attribute {
            set_time_to_live(endpoint, &table.name, attribute)?;
        }
    }
    Ok(())
}

/// Makes sure that the table that is there has the keys and attributes that the template gives it.
fn must_be_the_same(endpoint: &str, table: &Table) -> Result<(), TablesError> {
    let found = expect(endpoint, "DescribeTable", &table.name, &json!({ "TableName": table.name }))?;
    let same = ["KeySchema", "AttributeDefinitions"]
        .iter()
        .all(|part| in_order(&found["Table"][part]) == in_order(&table.create_table[part]));
    if same { Ok(()) } else { Err(TablesError::Other(table.name.clone())) }
}

/// The members of a list, in an order that does not depend on who wrote it.
fn in_order(list: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let members = list.as_array().into_iter().flatten();
    let mut members: Vec<_> = members
        .map(|member| (text(&member["AttributeName"]), text(&member["KeyType"]) + &text(&member["AttributeType"])))
        .collect();
    members.sort();
    members
}

/// Sets the time to live if it is not set: a table may exist without it, if its creation was interrupted.
fn set_time_to_live(endpoint: &str, table: &str, attribute: &str) -> Result<(), TablesError> {
    let found = expect(endpoint, "DescribeTimeToLive", table, &json!({ "TableName": table }))?;
    if found["TimeToLiveDescription"]["TimeToLiveStatus"] != "ENABLED" {
        let specification = json!({ "AttributeName": attribute, "Enabled": true });
        let request = json!({ "TableName": table, "TimeToLiveSpecification": specification });
        expect(endpoint, "UpdateTimeToLive", table, &request)?;
    }
    Ok(())
}

/// Sends a request about a table that must succeed.
fn expect(endpoint: &str, operation: &'static str, table: &str, request: &Value) -> Result<Value, TablesError> {
    match call(endpoint, operation, request)? {
        (200, answer) => Ok(answer),
        (_, answer) => Err(TablesError::Refused { operation, table: table.to_owned(), answer }),
    }
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
        // This machine is not behind a proxy.
        .proxy(None)
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

#[cfg(test)]
mod tests {
    use std::fs;

    use sam_template::Parameters;

    use super::*;
    use crate::workspace;

    fn endpoint() -> String {
        std::env::var("AWS_ENDPOINT_URL_DYNAMODB")
            .expect("AWS_ENDPOINT_URL_DYNAMODB is not set: run `cargo xtask test`, which starts DynamoDB Local")
    }

    /// A stack of this test alone.
    fn stack(test: &str) -> Parameters {
        Parameters::new(format!("xtask-{test}-{}", std::process::id()))
    }

    fn time_to_live(endpoint: &str, table: &str) -> Value {
        let answer = expect(endpoint, "DescribeTimeToLive", table, &json!({ "TableName": table })).unwrap();
        answer["TimeToLiveDescription"].clone()
    }

    #[test]
    fn all_tables_of_the_template_are_created_once_with_their_time_to_live() {
        let endpoint = endpoint();
        let template = Template::load(&workspace::template(), stack("made")).unwrap();
        create(&endpoint, &template).unwrap();
        create(&endpoint, &template).unwrap();
        let tables = template.tables().unwrap();
        assert!(!tables.is_empty());
        for table in tables {
            must_be_the_same(&endpoint, &table).unwrap();
            let found = time_to_live(&endpoint, &table.name);
            let expected = table.ttl_attribute.map_or_else(
                || json!({ "TimeToLiveStatus": "DISABLED" }),
                |attribute| json!({ "AttributeName": attribute, "TimeToLiveStatus": "ENABLED" }),
            );
            assert_eq!(found, expected, "{}", table.name);
        }
    }

    #[test]
    fn a_table_whose_making_was_interrupted_gets_its_time_to_live() {
        let endpoint = endpoint();
        let template = Template::load(&workspace::template(), stack("interrupted")).unwrap();
        let table = template.tables().unwrap().into_iter().find(|table| table.ttl_attribute.is_some()).unwrap();
        expect(&endpoint, "CreateTable", &table.name, &table.create_table).unwrap();
        assert_eq!(time_to_live(&endpoint, &table.name)["TimeToLiveStatus"], "DISABLED");
        create(&endpoint, &template).unwrap();
        assert_eq!(time_to_live(&endpoint, &table.name)["TimeToLiveStatus"], "ENABLED");
    }

    #[test]
    fn a_table_with_other_keys_is_not_taken_for_the_templates() {
        let endpoint = endpoint();
        let file = std::env::temp_dir().join(format!("latchkey-xtask-{}-template.yaml", std::process::id()));
        let template = |key: &str| {
            let source = format!(
                "Resources:
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{{ AttributeName: {key}, AttributeType: S }}]
      KeySchema: [{{ AttributeName: {key}, KeyType: HASH }}]
"
            );
            fs::write(&file, source).unwrap();
            Template::load(&file, stack("other")).unwrap()
        };
        create(&endpoint, &template("name")).unwrap();
        let error = create(&endpoint, &template("id")).unwrap_err();
        assert!(matches!(error, TablesError::Other(_)), "{error}");
        fs::remove_file(file).unwrap();
    }

    #[test]
    fn who_does_not_answer_is_named() {
        let endpoint = format!("http://127.0.0.1:{}", crate::port::free().unwrap());
        assert!(!answers(&endpoint));
        let error = call(&endpoint, "ListTables", &json!({})).unwrap_err();
        assert_eq!(error.to_string(), format!("{endpoint} did not answer ListTables"));
    }
}
