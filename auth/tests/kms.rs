//! Private keys wrapped by KMS, on a real KMS API.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use auth::EpochSeconds;
use auth::id::KeyId;
use auth::keys::generation::generate;
use auth::keys::signing::TokenSigner;
use auth::keys::wrapping::{EncryptionContext, KeyWrapper, WrappingError};
use auth::signing_key::{KeyKind, KeyPurpose};
use auth::store::client;
use aws_sdk_kms::config::{Credentials, Region};
use aws_sdk_kms::types::KeySpec;
use latchkey_verifier::SigningAlgorithm;
use local_stack::moto::Moto;
use secrecy::{ExposeSecret as _, SecretSlice};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn kid() -> KeyId {
    KeyId::new("one")
}

/// The context of tests.
fn context(kid: &KeyId) -> EncryptionContext<'_> {
    EncryptionContext { kid, purpose: KeyPurpose::AccessToken }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn start(test: &str) -> Moto {
    Moto::start(&local_stack::workspace::local().join("logs").join(format!("kms-{test}.log"))).unwrap()
}

async fn client_of(kms: &Moto, access_key: &str, secret_key: &str) -> aws_sdk_kms::Client {
    let config = client::config_loader()
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .endpoint_url(kms.endpoint())
        .load()
        .await;
    aws_sdk_kms::Client::new(&config)
}

async fn new_key(client: &aws_sdk_kms::Client) -> String {
    let answer = client.create_key().key_spec(KeySpec::SymmetricDefault).send().await.unwrap();
    answer.key_metadata.unwrap().arn.unwrap()
}

fn private_key() -> SecretSlice<u8> {
    SecretSlice::from(b"private".to_vec())
}

#[tokio::test]
async fn what_is_wrapped_can_be_unwrapped_in_its_context_with_its_key_only() {
    let kms = start("contexts");
    let client = client_of(&kms, "key", "secret").await;
    let (one, other) = (new_key(&client).await, new_key(&client).await);
    let wrapper = KeyWrapper::kms(client.clone(), one);
    let wrapped = wrapper.wrap(context(&kid()), &private_key()).await.unwrap();
    assert!(!wrapped.windows(7).any(|window| window == b"private"));
    assert_eq!(wrapper.unwrap(context(&kid()), &wrapped).await.unwrap().expose_secret(), b"private");

    let refused = |error: WrappingError| {
        assert!(matches!(error, WrappingError::Unwrap { .. }), "{error}");
        assert!(error.to_string().contains("cannot be unwrapped with this wrapping key"), "{error}");
    };
    let (kid, other_kid) = (kid(), KeyId::new("other"));
    let other_kid = EncryptionContext { kid: &other_kid, ..context(&kid) };
    refused(wrapper.unwrap(other_kid, &wrapped).await.unwrap_err());
    let other_purpose = EncryptionContext { purpose: KeyPurpose::RefreshToken, ..context(&kid) };
    refused(wrapper.unwrap(other_purpose, &wrapped).await.unwrap_err());
    // KMS says IncorrectKeyException, moto AccessDeniedException.
    let error = KeyWrapper::kms(client, other).unwrap(context(&kid), &wrapped).await.unwrap_err();
    assert!(matches!(error, WrappingError::Unwrap { .. } | WrappingError::KmsDenied { .. }), "{error}");
    let mut changed = wrapped.clone();
    *changed.last_mut().unwrap() ^= 1;
    refused(wrapper.unwrap(context(&kid), &changed).await.unwrap_err());
    // A laptop has another wrapping key.
    let local = KeyWrapper::local(&"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned().into()).unwrap();
    refused(local.unwrap(context(&kid), &wrapped).await.unwrap_err());
    refused(
        wrapper.unwrap(context(&kid), &local.wrap(context(&kid), &private_key()).await.unwrap()).await.unwrap_err(),
    );
    refused(wrapper.unwrap(context(&kid), &[]).await.unwrap_err());
}

#[tokio::test]
async fn keys_of_every_algorithm_are_wrapped_unwrapped_and_sign() {
    let kms = start("algorithms");
    let client = client_of(&kms, "key", "secret").await;
    let wrapper = KeyWrapper::kms(client.clone(), new_key(&client).await);
    for algorithm in SigningAlgorithm::ALL {
        let key = generate(KeyKind::AccessToken(algorithm), EpochSeconds::new(100), EpochSeconds::new(200), &wrapper)
            .await
            .unwrap();
        let context = EncryptionContext { kid: &key.record.kid, purpose: KeyPurpose::AccessToken };
        let unwrapped = wrapper.unwrap(context, &key.wrapped_private_key).await.unwrap();
        assert_eq!(TokenSigner::new(key.record.kid.clone(), algorithm, &unwrapped).algorithm(), algorithm);
    }
}

#[tokio::test]
async fn a_kms_key_that_is_missing_is_named() {
    let kms = start("missing");
    let client = client_of(&kms, "key", "secret").await;
    let missing = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555";
    let error =
        KeyWrapper::kms(client.clone(), missing.to_owned()).wrap(context(&kid()), &private_key()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the KMS key {missing} is missing or disabled (NotFoundException); LATCHKEY_KMS_KEY_ID names it")
    );
}

#[tokio::test]
async fn a_denied_call_names_the_missing_permission() {
    let kms = start("denied");
    let key = new_key(&client_of(&kms, "key", "secret").await).await;
    // A user without permissions; from now on permissions are enforced.
    post(&kms, "/", FORM, "Action=CreateUser&UserName=nobody&Version=2010-05-08").await;
    let answer = post(&kms, "/", FORM, "Action=CreateAccessKey&UserName=nobody&Version=2010-05-08").await;
    let part = |name: &str| {
        let (_, rest) = answer.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{answer}"));
        rest.split('<').next().unwrap().to_owned()
    };
    let (access_key, secret_key) = (part("AccessKeyId"), part("SecretAccessKey"));
    post(&kms, "/moto-api/reset-auth", "text/plain", "0").await;
    let wrapper = KeyWrapper::kms(client_of(&kms, &access_key, &secret_key).await, key.clone());
    let error = wrapper.wrap(context(&kid()), &private_key()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("this role may not call kms:Encrypt with the key {key}"));
}

#[tokio::test]
async fn kms_that_does_not_answer_is_an_error_in_time() {
    let kms = start("gone");
    let client = client_of(&kms, "key", "secret").await;
    let wrapper = KeyWrapper::kms(client.clone(), new_key(&client).await);
    drop(kms);
    let started = std::time::Instant::now();
    let error = wrapper.wrap(context(&kid()), &private_key()).await.unwrap_err();
    assert!(matches!(error, WrappingError::Kms { operation: "Encrypt", .. }), "{error}");
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}

/// A request to another part of moto.
async fn post(kms: &Moto, path: &str, content_type: &str, body: &str) -> String {
    let endpoint = kms.endpoint();
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let scope = "20260101/us-east-1/iam/aws4_request";
    let request = format!(
        "POST {path} HTTP/1.0\r\nhost: iam.amazonaws.com\r\ncontent-type: {content_type}\r\n\
         authorization: AWS4-HMAC-SHA256 Credential=key/{scope}, SignedHeaders=host, Signature=0\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
