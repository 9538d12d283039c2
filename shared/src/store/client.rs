//! The DynamoDB client of a function.
//!
//! One TLS stack (rustls on AWS-LC), credentials and region from the environment as Lambda gives them, limits of time on
//! everything. `AWS_ENDPOINT_URL_DYNAMODB` points it elsewhere; that is the SDK's own variable, and nothing here knows of it.

use std::time::Duration;

use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

/// Time to open a connection: a handshake within a region takes milliseconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for one attempt, connecting included. DynamoDB answers in single milliseconds.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for a call with all its attempts. The first call that fails ends a request, so a table that does not answer costs this
/// much; a request in which every call is slow is bounded by the function's own limit.
pub const OPERATION_TIMEOUT: Duration = Duration::from_millis(2500);
/// Attempts at a call, the first included.
const ATTEMPTS: u32 = 3;

/// Configuration of the SDK with the limits that hold everywhere. The operator's command adds its own credentials.
#[must_use]
pub fn config_loader() -> ConfigLoader {
    let http_client =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    aws_config::defaults(BehaviorVersion::latest()).http_client(http_client).timeout_config(timeouts).retry_config(
        RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(Duration::from_millis(50)),
    )
}

/// The configuration of a Lambda function: region and credentials are in its environment, and nowhere else.
pub async fn lambda_config() -> SdkConfig {
    config_loader()
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .region(EnvironmentVariableRegionProvider::new())
        .load()
        .await
}

/// The client of a Lambda function. It connects at its first call.
pub async fn from_lambda_environment() -> Client {
    Client::new(&lambda_config().await)
}
