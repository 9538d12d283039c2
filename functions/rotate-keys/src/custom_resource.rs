//! The protocol of custom resources: CloudFormation sends a request and waits until an answer is put to the address in
//! it. <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html>

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use shared::telemetry;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// The physical id of the resource. It never changes: CloudFormation would delete the resource with the previous id.
const PHYSICAL_RESOURCE_ID: &str = "latchkey-keys";
/// Longest reason that is sent, in characters; an answer may have 4096 bytes.
const MAX_REASON_CHARACTERS: usize = 500;
/// The variable that names a host on this machine in place of CloudFormation. Only local tooling sets it.
const LOCAL_RESPONSE_HOST: &str = "LATCHKEY_LOCAL_RESPONSE_HOST";
/// Timeout of the response.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What CloudFormation does with the resource.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum RequestType {
    Create,
    Update,
    Delete,
}

/// A request of CloudFormation.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CloudFormationRequest {
    pub(crate) request_type: RequestType,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
}

/// Whether an event is a request at all.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kind {
    request_type: Option<serde::de::IgnoredAny>,
}

/// The response to CloudFormation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    /// And why.
    Failed(String),
}

impl<E: Error + 'static> From<Result<(), E>> for Outcome {
    fn from(result: Result<(), E>) -> Self {
        result.map_or_else(|error| Self::Failed(telemetry::chain(&error)), |()| Self::Success)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    status: &'static str,
    reason: String,
    physical_resource_id: &'a str,
    stack_id: &'a str,
    request_id: &'a str,
    logical_resource_id: &'a str,
}

/// The answer did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("the response URL is not one of AWS, which are https URLs below amazonaws.com; nothing was sent")]
    Address,
    #[error("the answer could not be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("CloudFormation did not take the answer")]
    Http(#[source] Box<ureq::Error>),
    #[error("the answer was not sent to its end")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl CloudFormationRequest {
    /// The request in an event; `None` for any other event, such as the schedule's.
    pub(crate) fn of(payload: &RawValue) -> Result<Option<Self>, serde_json::Error> {
        match serde_json::from_str(payload.get()) {
            Ok(Kind { request_type: Some(_) }) => serde_json::from_str(payload.get()).map(Some),
            Ok(Kind { request_type: None }) | Err(_) => Ok(None),
        }
    }

    /// Sends the response to CloudFormation.
    pub(crate) async fn answer(self, outcome: &Outcome) -> Result<(), AnswerError> {
        let body = self.body(outcome)?;
        // The address is a secret: its holder can answer. No error repeats it.
        let url = self.response_url;
        if !is_of_aws(&url) && !is_local(&url, env::var(LOCAL_RESPONSE_HOST).ok().as_deref()) {
            return Err(AnswerError::Address);
        }
        tokio::task::spawn_blocking(move || put(&url, &body)).await?
    }

    fn body(&self, outcome: &Outcome) -> Result<String, serde_json::Error> {
        let (status, reason) = match outcome {
            Outcome::Success => ("SUCCESS", String::new()),
            Outcome::Failed(reason) => ("FAILED", reason.chars().take(MAX_REASON_CHARACTERS).collect()),
        };
        serde_json::to_string(&Answer {
            status,
            reason,
            physical_resource_id: self.physical_resource_id.as_deref().unwrap_or(PHYSICAL_RESOURCE_ID),
            stack_id: &self.stack_id,
            request_id: &self.request_id,
            logical_resource_id: &self.logical_resource_id,
        })
    }
}

/// Whether an address is one that CloudFormation gives: a presigned URL of Amazon S3, in any region and partition.
/// A caller of the function controls the event, and could otherwise make it send requests to any address that
/// it can reach.
fn is_of_aws(url: &str) -> bool {
    let Some(host) = host(url, "https://") else { return false };
    // Partitions have domains of their own
    // (https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/).
    ["amazonaws.com", "amazonaws.com.cn", "amazonaws.eu"].iter().any(|domain| {
        host.strip_suffix(domain).and_then(|name| name.strip_suffix('.')).is_some_and(|name| !name.is_empty())
    })
}

/// Whether an address is on the one host that the environment of a laptop or of a rehearsal names for it.
fn is_local(url: &str, local_host: Option<&str>) -> bool {
    let host = host(url, "http://").map(|host| host.split_once(':').map_or(host, |(host, _port)| host));
    host.is_some() && host == local_host.filter(|host| !host.is_empty())
}

/// Host and port of a URL of this scheme, if there is nothing unusual about them.
fn host<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let authority = url.strip_prefix(scheme)?.split(['/', '?', '#']).next()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    (!authority.is_empty() && authority.bytes().all(is_plain)).then_some(authority)
}

fn put(url: &str, body: &str) -> Result<(), AnswerError> {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::WebPki)
        .build();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().tls_config(tls).timeout_global(Some(TIMEOUT)).max_redirects(0).build().into();
    // The address is signed for an empty content type.
    let answer = agent.put(url).header("content-type", "").send(body);
    answer.map(|_| ()).map_err(|error| AnswerError::Http(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json, value::to_raw_value};

    fn request(changes: &Value) -> Value {
        let mut request = json!({
            "RequestType": "Create",
            "ServiceToken": "arn:aws:lambda:eu-west-1:123456789012:function:rotate-keys",
            "ResponseURL": "https://cloudformation-custom-resource-response-euwest1.s3.eu-west-1.amazonaws.com/x?Signature=y",
            "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/latchkey/1",
            "RequestId": "2d1c8f2e",
            "LogicalResourceId": "Keys",
            "ResourceType": "Custom::Keys",
            "ResourceProperties": { "SigningAlgorithm": "ES256" },
        });
        for (name, value) in changes.as_object().unwrap() {
            request[name] = value.clone();
        }
        request
    }

    fn of(event: &Value) -> Result<Option<CloudFormationRequest>, serde_json::Error> {
        CloudFormationRequest::of(&to_raw_value(event).unwrap())
    }

    #[test]
    fn requests_of_cloudformation_are_told_from_other_events() {
        for (name, expected) in
            [("Create", RequestType::Create), ("Update", RequestType::Update), ("Delete", RequestType::Delete)]
        {
            let read = of(&request(&json!({ "RequestType": name }))).unwrap().unwrap();
            assert_eq!(read.request_type, expected);
        }
        for event in
            [json!({}), json!(null), json!([]), json!({ "source": "aws.events", "detail-type": "Scheduled Event" })]
        {
            assert!(of(&event).unwrap().is_none(), "{event}");
        }
        for broken in [json!({ "RequestType": "Other" }), json!({ "ResponseURL": 1 }), json!({ "StackId": null })] {
            assert!(of(&request(&broken)).is_err(), "{broken}");
        }
    }

    #[test]
    fn an_answer_is_sent_to_aws_alone() {
        for url in [
            "https://cloudformation-custom-resource-response-euwest1.s3.eu-west-1.amazonaws.com/x?Signature=y",
            "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/arn%3Aaws?AWSAccessKeyId=z",
            "https://cloudformation-custom-resource-response-cnnorth1.s3.cn-north-1.amazonaws.com.cn/x",
        ] {
            assert!(is_of_aws(url), "{url}");
        }
        for url in [
            "http://cloudformation-custom-resource-response-euwest1.s3.eu-west-1.amazonaws.com/x",
            "https://evil.example/x",
            "https://evil.example/.s3.amazonaws.com",
            "https://amazonaws.com.evil.example/x",
            "https://evilamazonaws.com/x",
            "https://.amazonaws.com/x",
            "https://s3.amazonaws.com@evil.example/x",
            "https://evil.example\\.s3.amazonaws.com/x",
            "https://evil.example#.s3.amazonaws.com",
            "https://evil.example?.s3.amazonaws.com",
            "https://s3.amazonaws.com:8443/x",
            "https://127.0.0.1/x",
            "https://169.254.169.254/latest/meta-data",
            "HTTPS://s3.amazonaws.com/x",
            " https://s3.amazonaws.com/x",
            "file:///etc/passwd",
            "https://",
            "",
        ] {
            assert!(!is_of_aws(url), "{url}");
        }
    }

    #[test]
    fn an_answer_is_sent_to_the_local_host_that_is_set_alone() {
        for url in ["http://127.0.0.1:4566/answer", "http://127.0.0.1/answer"] {
            assert!(is_local(url, Some("127.0.0.1")), "{url}");
            for unset in [None, Some(""), Some("localhost")] {
                assert!(!is_local(url, unset), "{url} {unset:?}");
            }
        }
        for url in [
            "http://127.0.0.1.evil.example/x",
            "http://127.0.0.1@evil.example/x",
            "https://127.0.0.1/x",
            "http:///x",
            "",
        ] {
            assert!(!is_local(url, Some("127.0.0.1")), "{url}");
            assert!(!is_local(url, None), "{url}");
        }
    }

    #[test]
    fn the_answer_names_what_it_answers() {
        let created = of(&request(&json!({}))).unwrap().unwrap();
        let body: Value = serde_json::from_str(&created.body(&Outcome::Success).unwrap()).unwrap();
        assert_eq!(
            body,
            json!({
                "Status": "SUCCESS", "Reason": "", "PhysicalResourceId": "latchkey-keys",
                "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/latchkey/1",
                "RequestId": "2d1c8f2e", "LogicalResourceId": "Keys",
            })
        );
        let updated = of(&request(&json!({ "PhysicalResourceId": "as it was" }))).unwrap().unwrap();
        let body: Value = serde_json::from_str(&updated.body(&Outcome::Failed("x".repeat(10_000))).unwrap()).unwrap();
        assert_eq!((&body["Status"], &body["PhysicalResourceId"]), (&json!("FAILED"), &json!("as it was")));
        assert_eq!(body["Reason"].as_str().unwrap().len(), MAX_REASON_CHARACTERS);
    }
}
