//! What functions ask of AWS, written down: a proxy for each function between it and the endpoints of DynamoDB and KMS.
//!
//! One line of JSON for each action that IAM would be asked about: a transaction or a batch is several. What is written is
//! what conditions of policies speak of; of an item's values that is the partition key alone.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;

/// One action on one resource.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Call {
    /// Who asks.
    function: String,
    /// As a policy names it: `dynamodb:GetItem`.
    action: String,
    /// The table, or the key.
    resource: String,
    /// The index of the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<String>,
    /// What a condition of a policy can ask about, under the name that it has there.
    conditions: BTreeMap<String, BTreeSet<String>>,
}

/// Where calls are written.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: Mutex<File>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Recorder {
    pub(crate) fn new(file: File) -> Self {
        Self { file: Mutex::new(file), client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// A proxy for what `function` asks of the service at `upstream`. Gives its own URL.
    pub(crate) async fn listen(self: &Arc<Self>, function: &str, upstream: &str) -> io::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (recorder, function, upstream) = (Arc::clone(self), Arc::<str>::from(function), Arc::<str>::from(upstream));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (recorder, function, upstream) =
                    (Arc::clone(&recorder), Arc::clone(&function), Arc::clone(&upstream));
                let service = service_fn(move |request| {
                    let (recorder, function, upstream) =
                        (Arc::clone(&recorder), Arc::clone(&function), Arc::clone(&upstream));
                    async move { Ok::<_, Infallible>(recorder.pass(&function, &upstream, request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(url)
    }

    async fn pass(&self, function: &str, upstream: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let gone = |what: &str| {
            eprintln!("lambda-host: {upstream} {what}");
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        };
        let (mut parts, body) = request.into_parts();
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return gone("was sent half a request");
        };
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        for call in calls(function, target, &serde_json::from_slice(&body).unwrap_or_default()) {
            self.write(&call);
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let Ok(uri) = format!("{}{path}", upstream.trim_end_matches('/')).parse::<Uri>() else {
            return gone("is no URL");
        };
        parts.uri = uri;
        parts.headers.remove(CONNECTION);
        let Ok(response) = self.client.request(Request::from_parts(parts, Full::from(body))).await else {
            return gone("did not answer");
        };
        let (mut parts, body) = response.into_parts();
        let Ok(body) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
            return gone("answered half");
        };
        for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            parts.headers.remove(name);
        }
        Response::from_parts(parts, Full::from(body))
    }

    fn write(&self, call: &Call) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let line = serde_json::to_string(call).unwrap_or_default();
        if let Err(error) = writeln!(file, "{line}") {
            eprintln!("lambda-host: a call cannot be recorded: {error}");
        }
    }
}

/// The actions of a request, as IAM counts them
/// (<https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html>): a member of a transaction is
/// the action of its own kind.
fn calls(function: &str, target: &str, body: &Value) -> Vec<Call> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (service, operation) = target.split_once('.').unwrap_or_default();
    let call = |action: String, resource: String, details: &Value| Call {
        function: function.to_owned(),
        action,
        resource,
        index: details["IndexName"].as_str().map(str::to_owned),
        conditions: conditions(details),
    };
    if service == "TrentService" {
        return vec![call(format!("kms:{operation}"), text(&body["KeyId"]), body)];
    }
    if service != "DynamoDB_20120810" {
        // No policy of this project names it.
        return vec![call(format!("{service}:{operation}"), String::new(), body)];
    }
    match operation {
        "TransactWriteItems" => (body["TransactItems"].as_array().into_iter().flatten())
            .flat_map(|member| member.as_object().into_iter().flatten())
            .map(|(kind, details)| {
                let kind =
                    if kind == "ConditionCheck" { "ConditionCheckItem".to_owned() } else { format!("{kind}Item") };
                call(format!("dynamodb:{kind}"), text(&details["TableName"]), details)
            })
            .collect(),
        "TransactGetItems" => (body["TransactItems"].as_array().into_iter().flatten())
            .map(|member| call("dynamodb:GetItem".to_owned(), text(&member["Get"]["TableName"]), &member["Get"]))
            .collect(),
        "BatchGetItem" | "BatchWriteItem" => (body["RequestItems"].as_object().into_iter().flatten())
            .map(|(table, details)| call(format!("dynamodb:{operation}"), table.clone(), details))
            .collect(),
        _ => vec![call(format!("dynamodb:{operation}"), text(&body["TableName"]), body)],
    }
}

/// The condition keys of a request
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/specifying-conditions.html>).
fn conditions(request: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let names = &request["ExpressionAttributeNames"];
    let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
    let named = |name: &str| names[name].as_str().unwrap_or(name).to_owned();
    let mut conditions = BTreeMap::new();
    // Every attribute that is named, also in a condition on keys.
    let key_condition = text("KeyConditionExpression");
    let attributes: BTreeSet<String> = [&text("ProjectionExpression"), &key_condition, &text("FilterExpression")]
        .into_iter()
        .flat_map(|expression| expression.split(|letter: char| !(letter.is_alphanumeric() || "_#:".contains(letter))))
        .filter(|word| !word.is_empty() && !word.starts_with(':') && !["AND", "BETWEEN"].contains(word))
        .map(named)
        .collect();
    if !text("ProjectionExpression").is_empty() {
        conditions.insert("dynamodb:Attributes".to_owned(), attributes);
    }
    if let Some(select) = request["Select"].as_str() {
        conditions.insert("dynamodb:Select".to_owned(), BTreeSet::from([select.to_owned()]));
    }
    // The condition on the partition key stands first.
    let partition = key_condition.split(" AND ").next().and_then(|condition| condition.split_once(" = "));
    if let Some(value) = partition.and_then(|(_, value)| request["ExpressionAttributeValues"][value]["S"].as_str()) {
        conditions.insert("dynamodb:LeadingKeys".to_owned(), BTreeSet::from([value.to_owned()]));
    }
    for (name, value) in request["EncryptionContext"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default().to_owned();
        conditions.insert(format!("kms:EncryptionContext:{name}"), BTreeSet::from([value]));
    }
    conditions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(target: &str, body: &Value) -> Vec<String> {
        calls("login", target, body)
            .into_iter()
            .map(|call| {
                let index = call.index.map(|index| format!("/{index}")).unwrap_or_default();
                format!("{} {}{index} {}", call.action, call.resource, json!(call.conditions))
            })
            .collect()
    }

    #[test]
    fn a_request_is_the_actions_that_iam_asks_about() {
        let put = json!({ "TableName": "users", "Item": { "pk": { "S": "secret" } } });
        assert_eq!(lines("DynamoDB_20120810.PutItem", &put), ["dynamodb:PutItem users {}"]);
        let transaction = json!({ "TransactItems": [
            { "Put": { "TableName": "a" } }, { "ConditionCheck": { "TableName": "b" } }, { "Delete": { "TableName": "c" } },
        ] });
        assert_eq!(
            lines("DynamoDB_20120810.TransactWriteItems", &transaction),
            ["dynamodb:PutItem a {}", "dynamodb:ConditionCheckItem b {}", "dynamodb:DeleteItem c {}"]
        );
        let batch = json!({ "RequestItems": { "sessions": { "Keys": [] } } });
        assert_eq!(lines("DynamoDB_20120810.BatchGetItem", &batch), ["dynamodb:BatchGetItem sessions {}"]);
    }

    #[test]
    fn a_request_tells_what_conditions_ask_about() {
        let query = json!({
            "TableName": "keys", "IndexName": "BySub", "Select": "SPECIFIC_ATTRIBUTES",
            "KeyConditionExpression": "#p = :p AND kid > :k", "ProjectionExpression": "#a, public_jwk",
            "ExpressionAttributeNames": { "#a": "alg", "#p": "purpose" },
            "ExpressionAttributeValues": { ":p": { "S": "access-token" }, ":k": { "S": "secret" } },
        });
        assert_eq!(
            lines("DynamoDB_20120810.Query", &query),
            ["dynamodb:Query keys/BySub {\"dynamodb:Attributes\":[\"alg\",\"kid\",\"public_jwk\",\"purpose\"],\
              \"dynamodb:LeadingKeys\":[\"access-token\"],\"dynamodb:Select\":[\"SPECIFIC_ATTRIBUTES\"]}"]
        );
        let decrypt = json!({ "KeyId": "alias/key", "CiphertextBlob": "secret", "EncryptionContext": { "purpose": "access-token" } });
        assert_eq!(
            lines("TrentService.Decrypt", &decrypt),
            [r#"kms:Decrypt alias/key {"kms:EncryptionContext:purpose":["access-token"]}"#]
        );
    }
}
