//! Private keys under the seal of KMS, on a real KMS API.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use aws_sdk_kms::config::{Credentials, Region};
use aws_sdk_kms::types::KeySpec;
use secrecy::{ExposeSecret as _, SecretSlice};
use shared::keys::KeyPurpose;
use shared::keys::algorithm::SigningAlgorithm;
use shared::keys::generation::generate;
use shared::keys::sealing::{EncryptionContext, Sealer, SealingError};
use shared::keys::{KeyKind, signing::TokenSigner};
use shared::store::client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use xtask::moto::Moto;

const CONTEXT: EncryptionContext<'_> = EncryptionContext { kid: "one", purpose: KeyPurpose::AccessToken };

const FORM: &str = "application/x-www-form-urlencoded";

fn start(test: &str) -> Moto {
    Moto::start(&xtask::workspace::local().join("logs").join(format!("kms-{test}.log"))).unwrap()
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
async fn what_is_sealed_opens_in_its_context_with_its_key_only() {
    let kms = start("contexts");
    let client = client_of(&kms, "key", "secret").await;
    let (one, other) = (new_key(&client).await, new_key(&client).await);
    let sealer = Sealer::kms(client.clone(), one);
    let sealed = sealer.seal(CONTEXT, &private_key()).await.unwrap();
    assert!(!sealed.windows(7).any(|window| window == b"private"));
    assert_eq!(sealer.open(CONTEXT, &sealed).await.unwrap().expose_secret(), b"private");

    let refused = |error: SealingError| {
        assert!(matches!(error, SealingError::Open { .. }), "{error}");
        assert!(error.to_string().contains("does not open with this sealing key"), "{error}");
    };
    let other_kid = EncryptionContext { kid: "other", ..CONTEXT };
    refused(sealer.open(other_kid, &sealed).await.unwrap_err());
    let other_purpose = EncryptionContext { purpose: KeyPurpose::RefreshToken, ..CONTEXT };
    refused(sealer.open(other_purpose, &sealed).await.unwrap_err());
    // KMS says IncorrectKeyException, moto AccessDeniedException.
    let error = Sealer::kms(client, other).open(CONTEXT, &sealed).await.unwrap_err();
    assert!(matches!(error, SealingError::Open { .. } | SealingError::KmsDenied { .. }), "{error}");
    let mut changed = sealed.clone();
    *changed.last_mut().unwrap() ^= 1;
    refused(sealer.open(CONTEXT, &changed).await.unwrap_err());
    // The seal of a laptop is another.
    let local = Sealer::local(&"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned().into()).unwrap();
    refused(local.open(CONTEXT, &sealed).await.unwrap_err());
    refused(sealer.open(CONTEXT, &local.seal(CONTEXT, &private_key()).await.unwrap()).await.unwrap_err());
    refused(sealer.open(CONTEXT, &[]).await.unwrap_err());
}

#[tokio::test]
async fn keys_of_every_algorithm_are_sealed_opened_and_sign() {
    let kms = start("algorithms");
    let client = client_of(&kms, "key", "secret").await;
    let sealer = Sealer::kms(client.clone(), new_key(&client).await);
    for algorithm in SigningAlgorithm::ALL {
        let key = generate(KeyKind::AccessToken(algorithm), 100, 200, &sealer).await.unwrap();
        let context = EncryptionContext { kid: &key.record.kid, purpose: KeyPurpose::AccessToken };
        let opened = sealer.open(context, &key.sealed_private_key).await.unwrap();
        assert_eq!(TokenSigner::new(key.record.kid.clone(), algorithm, &opened).algorithm(), algorithm);
    }
}

#[tokio::test]
async fn a_kms_key_that_is_missing_is_named() {
    let kms = start("missing");
    let client = client_of(&kms, "key", "secret").await;
    let missing = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555";
    let error = Sealer::kms(client.clone(), missing.to_owned()).seal(CONTEXT, &private_key()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the KMS key {missing} is missing or disabled (NotFoundException); LATCHKEY_KMS_KEY_ID names it")
    );
}

#[tokio::test]
async fn a_call_that_is_denied_says_which_right_is_missing() {
    let kms = start("denied");
    let key = new_key(&client_of(&kms, "key", "secret").await).await;
    // A user without any right, and from then on every right is asked for.
    post(&kms, "/", FORM, "Action=CreateUser&UserName=nobody&Version=2010-05-08").await;
    let answer = post(&kms, "/", FORM, "Action=CreateAccessKey&UserName=nobody&Version=2010-05-08").await;
    let part = |name: &str| {
        let (_, rest) = answer.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{answer}"));
        rest.split('<').next().unwrap().to_owned()
    };
    let (access_key, secret_key) = (part("AccessKeyId"), part("SecretAccessKey"));
    post(&kms, "/moto-api/reset-auth", "text/plain", "0").await;
    let sealer = Sealer::kms(client_of(&kms, &access_key, &secret_key).await, key.clone());
    let error = sealer.seal(CONTEXT, &private_key()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("this role may not call kms:Encrypt with the key {key}"));
}

#[tokio::test]
async fn kms_that_does_not_answer_is_an_error_in_time() {
    let kms = start("gone");
    let client = client_of(&kms, "key", "secret").await;
    let sealer = Sealer::kms(client.clone(), new_key(&client).await);
    drop(kms);
    let started = std::time::Instant::now();
    let error = sealer.seal(CONTEXT, &private_key()).await.unwrap_err();
    assert!(matches!(error, SealingError::Kms { operation: "Encrypt", .. }), "{error}");
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
