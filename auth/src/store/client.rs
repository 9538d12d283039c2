//! The AWS clients of a function.
//!
//! One TLS stack (rustls on AWS-LC), credentials and region from Lambda's environment, a timeout for
//! everything. `AWS_ENDPOINT_URL_DYNAMODB` points it elsewhere; that is the SDK's own variable.
//!
//! A function's configuration is built here and not by the SDK's loader, which looks for profiles, roles to assume and
//! instance metadata. Lambda has none of these, and the code that looks for them is a tenth of a function's size.

use std::env;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::SharedCredentialsProvider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

/// Time to open a connection: a handshake within a region takes milliseconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for one attempt, connecting included. DynamoDB answers in single milliseconds.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time for a call with all its attempts. The first failed call ends a request, so this is the cost of a table
/// that does not answer; if every call is slow, the function's own timeout applies.
pub const OPERATION_TIMEOUT: Duration = Duration::from_millis(2500);
/// Attempts at a call, the first included.
const ATTEMPTS: u32 = 3;

/// The root certificates of Amazon Trust Services, which issue the certificates of every AWS endpoint
/// (<https://www.amazontrust.com/repository/>). Reading the machine's hundred and more takes a millisecond of every
/// cold start.
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon_roots.pem");

/// Configuration of the operator's command: what the SDK finds on the operator's machine, with the same
/// timeouts.
#[must_use]
pub fn config_loader() -> ConfigLoader {
    let http_client = aws_smithy_http_client::Builder::new().tls_provider(tls()).build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client)
        .timeout_config(timeouts())
        .retry_config(retries())
}

/// The configuration of a Lambda function: region and credentials are in its environment, and nowhere else.
#[must_use]
pub fn lambda_config() -> SdkConfig {
    let region = env::var("AWS_REGION").ok().filter(|region| !region.is_empty());
    let http_client = aws_smithy_http_client::Builder::new().tls_provider(tls());
    // Without a context, the machine's roots are read.
    let names_roots = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| env::var_os(name).is_some());
    let amazon_roots = has_amazon_roots(region.as_deref(), names_roots).then(amazon_roots);
    let http_client = match amazon_roots.flatten() {
        Some(context) => http_client.tls_context(context).build_https(),
        None => http_client.build_https(),
    };
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client)
        .timeout_config(timeouts())
        .retry_config(retries())
        // It detects stalled bodies. Here each attempt has a timeout and bodies are small, and it would cost every
        // call.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .region(region.map(Region::new))
        .service_config(Environment)
        .build()
}

/// The DynamoDB client of a Lambda function. It connects at its first call.
#[must_use]
pub fn from_lambda_environment() -> Client {
    Client::new(&lambda_config())
}

fn tls() -> Provider {
    Provider::Rustls(CryptoMode::AwsLc)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(Duration::from_millis(50))
}

/// Whether an endpoint has its certificate from Amazon's roots: in the partition `aws`. If another file of root
/// certificates is named, it is used.
fn has_amazon_roots(region: Option<&str>, names_roots: bool) -> bool {
    let other_partitions = ["cn-", "us-gov-", "us-iso", "eu-iso", "eusc-"];
    !names_roots && region.is_some_and(|region| !other_partitions.iter().any(|prefix| region.starts_with(prefix)))
}

fn amazon_roots() -> Option<TlsContext> {
    TlsContext::builder().with_trust_store(TrustStore::empty().with_pem_certificate(AMAZON_ROOTS)).build().ok()
}

/// Settings of one service from the environment, as the SDK's loader takes them: `AWS_ENDPOINT_URL_DYNAMODB` before
/// `AWS_ENDPOINT_URL` (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>).
#[derive(Debug)]
struct Environment;

impl LoadServiceConfig for Environment {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().replace(' ', "_").to_uppercase();
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        set(&format!("{}_{service}", key.env())).or_else(|| set(key.env()))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// The fingerprints that <https://www.amazontrust.com/repository/> publishes.
    const FINGERPRINTS: [&str; 5] = [
        "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
        "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
        "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
        "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
        "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
    ];

    #[test]
    fn the_roots_are_those_of_amazon() {
        let text = std::str::from_utf8(AMAZON_ROOTS).unwrap();
        let fingerprints: Vec<String> = text
            .split("-----BEGIN CERTIFICATE-----")
            .skip(1)
            .map(|block| {
                let encoded: String = block.split("-----END").next().unwrap().split_whitespace().collect();
                let hash = digest(&SHA256, &STANDARD.decode(encoded).unwrap());
                hash.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
            })
            .collect();
        assert_eq!(fingerprints, FINGERPRINTS);
        assert!(amazon_roots().is_some());
    }

    #[test]
    fn amazon_s_roots_are_for_its_own_partition_and_step_back_for_a_file_of_roots() {
        assert!(has_amazon_roots(Some("eu-west-1"), false));
        assert!(!has_amazon_roots(Some("eu-west-1"), true));
        for region in ["cn-north-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"] {
            assert!(!has_amazon_roots(Some(region), false), "{region}");
        }
        assert!(!has_amazon_roots(None, false));
    }
}
