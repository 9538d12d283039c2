//! DynamoDB: one file for each table, concrete types over the SDK's client.
//!
//! Every call has a timeout well below the function's own, so that a hanging table becomes an error response.
//! Unreadable data is an error, never an empty result: callers deny on errors.

pub mod client;
pub mod denylist;
mod item;
pub mod login_attempts;
pub(crate) mod retry;
pub mod sessions;
pub mod signing_keys;
pub mod users;

use std::error::Error;

use aws_sdk_dynamodb::error::ErrorMetadata;

/// A DynamoDB call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer in time, or rejected the call.
    #[error("{operation} failed")]
    Call {
        operation: &'static str,
        /// The SDK's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// An item is not what this version of Latchkey writes.
    #[error("an item of the {table} table has no usable attribute {attribute}")]
    MalformedItem {
        /// The table's kind.
        table: &'static str,
        attribute: &'static str,
    },
}

impl StoreError {
    /// Wraps an error of the SDK.
    pub(crate) fn call(operation: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Call { operation, source: source.into() }
    }

    /// Whether DynamoDB refused the call because the role may not make it.
    #[must_use]
    pub fn is_access_denied(&self) -> bool {
        // The operations' errors have no variant for this code: it is in the metadata at the end of the chain.
        std::iter::successors(self.source(), |&error| error.source())
            .filter_map(|error| error.downcast_ref::<ErrorMetadata>())
            .any(|metadata| metadata.code() == Some("AccessDeniedException"))
    }

    /// It failed so recently that it is not called again.
    pub(crate) fn failed_a_moment_ago(operation: &'static str) -> Self {
        Self::call(operation, "it failed a moment ago and is not called again yet")
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::Client;
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::signing_keys::SigningKeysTable;
    use crate::signing_key::KeyPurpose;

    /// The error and its causes.
    fn chain(error: &dyn std::error::Error) -> String {
        error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
    }

    /// What reading the keys fails with where DynamoDB refuses every call with this code.
    async fn refused_with(code: &str) -> super::StoreError {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let body = format!(r#"{{"__type":"com.amazon.coral.service#{code}","Message":"the reason"}}"#);
        let answer = format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.0\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 8192]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .endpoint_url(endpoint)
            .build();
        let table = SigningKeysTable::new(Client::from_conf(config), "SigningKeys".to_owned());
        table.public_keys(KeyPurpose::AccessToken).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_call_that_the_role_may_not_make_is_told_from_others() {
        let denied = refused_with("AccessDeniedException").await;
        assert!(denied.is_access_denied(), "{denied:?}");
        assert!(chain(&denied).contains("the reason"), "{}", chain(&denied));
        let missing = refused_with("ResourceNotFoundException").await;
        assert!(!missing.is_access_denied(), "{missing:?}");
        assert!(!super::StoreError::failed_a_moment_ago("reading the keys").is_access_denied());
    }
}
