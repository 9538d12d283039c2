//! Signatures, tokens, hashes and key sets, each beside what it is made of: `cargo bench -p bench`.
//!
//! `verify` compares three: Latchkey's verifier with all its rules, `jsonwebtoken`'s own `decode` of the same claims,
//! and the signature alone, by aws-lc-rs with a key that is parsed once. The tokens and keys are left for fast-jwt.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail")]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use auth::EpochSeconds;
use auth::id::{KeyId, SessionId, UserId};
use auth::keys::generation::generate;
use auth::keys::signing::{RefreshTokenKey, TokenSigner};
use auth::keys::verification::key_set;
use auth::keys::wrapping::{EncryptionContext, KeyWrapper};
use auth::password::Password;
use auth::password::hash::{self, Hasher, PasswordCheck};
use auth::roles::Role;
use auth::session::{Origin, Session};
use auth::signing_key::{KeyKind, KeyRecord};
use auth::token::issuer::Issuer;
use auth::token::refresh;
use auth::user::{Profile, UserStatus};
use auth::username::Username;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use criterion::{Criterion, criterion_group, criterion_main};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{DecodingKey, Validation};
use latchkey_verifier::{AccessTokenClaims, Expected, ExpectedIssuer, KeySet, SigningAlgorithm, verify};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "latchkey";
const ALGORITHMS: [SigningAlgorithm; 4] =
    [SigningAlgorithm::Hs256, SigningAlgorithm::Rs256, SigningAlgorithm::Es256, SigningAlgorithm::EdDsa];

/// Whether a signature is that of a message.
type Check = Box<dyn Fn(&[u8], &[u8]) -> bool>;

/// A key, and a token that it signed.
struct Case {
    algorithm: SigningAlgorithm,
    record: KeyRecord,
    secret: SecretSlice<u8>,
    signer: TokenSigner,
    token: String,
}

/// A user, and a session of that user.
fn subject() -> (Profile, Session) {
    let user = Profile {
        username: Username::from_stored("alice"),
        user_id: UserId::new("AAAAAAAAAAAAAAAAAAAAAA"),
        roles: vec![Role::from_stored("user")],
        status: UserStatus::Enabled,
        epoch: 0,
    };
    let sid = SessionId::new("BBBBBBBBBBBBBBBBBBBBBB");
    let session = Session::begin(sid, &user, &Origin::default(), EpochSeconds::now());
    (user, session)
}

fn issuer() -> Issuer {
    Issuer { audience: AUDIENCE.to_owned(), lifetime_seconds: 900 }
}

fn case(algorithm: SigningAlgorithm) -> Case {
    let wrapper = KeyWrapper::local(&SecretString::from(STANDARD.encode([7; 32]))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let now = EpochSeconds::now();
    let kind = KeyKind::AccessToken(algorithm);
    let (record, secret) = runtime.block_on(async {
        let key = generate(kind, now, now + 86_400, &wrapper).await.unwrap();
        let context = EncryptionContext { kid: &key.record.kid, purpose: kind.purpose() };
        let secret = wrapper.unwrap(context, &key.wrapped_private_key).await.unwrap();
        (key.record, secret)
    });
    let signer = TokenSigner::new(record.kid.clone(), algorithm, &secret);
    let (user, session) = subject();
    let token = issuer().issue(&signer, ISSUER, &user, &session, now, &SystemRandom::new()).unwrap();
    Case { algorithm, record, secret, signer, token: token.expose_secret().to_owned() }
}

impl Case {
    fn keys(&self) -> KeySet {
        let secrets = HashMap::from([(self.record.kid.clone(), self.secret.clone())]);
        key_set(std::slice::from_ref(&self.record), &secrets)
    }

    fn jwk(&self) -> Jwk {
        serde_json::from_str(self.record.public_jwk.as_ref().unwrap()).unwrap()
    }

    fn decoding_key(&self) -> DecodingKey {
        if self.algorithm.has_public_key() {
            DecodingKey::from_jwk(&self.jwk()).unwrap()
        } else {
            DecodingKey::from_secret(self.secret.expose_secret())
        }
    }

    /// What checks the signature and nothing else.
    fn raw(&self) -> Check {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        if !self.algorithm.has_public_key() {
            let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose_secret());
            return Box::new(move |message, tag| hmac::verify(&key, message, tag).is_ok());
        }
        let key = match self.jwk().algorithm {
            AlgorithmParameters::EllipticCurve(key) => {
                let point = [vec![4], decode(&key.x), decode(&key.y)].concat();
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap()
            }
            AlgorithmParameters::OctetKeyPair(key) => ParsedPublicKey::new(&ED25519, decode(&key.x)).unwrap(),
            AlgorithmParameters::RSA(_) => {
                let pair = RsaKeyPair::from_der(self.secret.expose_secret()).unwrap();
                ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref()).unwrap()
            }
            other => panic!("no signature of {other:?}"),
        };
        Box::new(move |message, signature| key.verify_sig(message, signature).is_ok())
    }
}

fn verification(criterion: &mut Criterion) {
    let mut cases = Vec::new();
    for algorithm in ALGORITHMS {
        let case = case(algorithm);
        let keys = case.keys();
        let expected = Expected { issuer: ExpectedIssuer::Exactly(ISSUER), audience: AUDIENCE };
        let key = case.decoding_key();
        let mut validation = Validation::new(algorithm.into());
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        let raw = case.raw();
        let (message, signature) = case.token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(
            verify(&case.token, &keys, expected, EpochSeconds::now()).is_ok() && raw(message.as_bytes(), &signature)
        );

        let mut group = criterion.benchmark_group(format!("verify {}", algorithm.name()));
        group.bench_function("latchkey", |bencher| {
            bencher.iter(|| verify(black_box(&case.token), &keys, expected, EpochSeconds::now()).unwrap());
        });
        group.bench_function("jsonwebtoken", |bencher| {
            bencher.iter(|| {
                jsonwebtoken::decode::<AccessTokenClaims>(black_box(&case.token), &key, &validation).unwrap().claims
            });
        });
        group.bench_function("aws-lc-rs", |bencher| {
            bencher.iter(|| assert!(raw(black_box(message.as_bytes()), &signature)));
        });
        group.finish();
        cases.push(
            json!({ "algorithm": algorithm.name(), "token": case.token, "now": EpochSeconds::now(), "key": pem(&case) }),
        );
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("cases.json"), Value::from(cases).to_string()).unwrap();
}

/// A key as fast-jwt takes it: a secret as text, a public key in PEM, which Node.js makes of the JWK.
fn pem(case: &Case) -> Value {
    match &case.record.public_jwk {
        Some(jwk) => json!({ "jwk": serde_json::from_str::<Value>(jwk).unwrap() }),
        None => json!({ "secret": STANDARD.encode(case.secret.expose_secret()) }),
    }
}

fn issuing(criterion: &mut Criterion) {
    let (issuer, random, now) = (issuer(), SystemRandom::new(), EpochSeconds::now());
    let (user, session) = subject();
    let mut group = criterion.benchmark_group("issue");
    for algorithm in ALGORITHMS {
        let case = case(algorithm);
        group.bench_function(algorithm.name(), |bencher| {
            bencher.iter(|| issuer.issue(&case.signer, ISSUER, &user, &session, now, &random).unwrap());
        });
    }
    group.finish();

    let key = RefreshTokenKey::new(KeyId::new("refresh"), &SecretSlice::from(vec![7; 32]));
    let token = refresh::issue(&key, &session.sid, 3);
    let mut group = criterion.benchmark_group("refresh token");
    group.bench_function("issue", |bencher| bencher.iter(|| refresh::issue(&key, black_box(&session.sid), 3)));
    group.bench_function("verify", |bencher| {
        bencher.iter(|| {
            refresh::Unverified::parse(black_box(token.expose_secret())).and_then(|token| token.verify(&key)).unwrap()
        });
    });
    group.finish();
}

fn hashing(criterion: &mut Criterion) {
    let (hasher, random) = (Hasher::new(), SystemRandom::new());
    let password = Password::new("correct horse battery staple".to_owned());
    let stored = hasher.hash(&password, &random).unwrap();
    let params = Params::new(hash::MEMORY_KIB, hash::ITERATIONS, hash::PARALLELISM, Some(32)).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut memory = vec![Block::new(); argon2.params().block_count()];
    let mut group = criterion.benchmark_group("Argon2id");
    group.sample_size(30).measurement_time(Duration::from_secs(4));
    group.bench_function("latchkey", |bencher| {
        bencher.iter(|| assert_eq!(hasher.verify(&password, &stored).unwrap(), PasswordCheck::Matches));
    });
    group.bench_function("latchkey, unknown user", |bencher| {
        bencher.iter(|| hasher.verify_dummy(&password).unwrap());
    });
    group.bench_function("argon2, memory kept", |bencher| {
        let mut output = [0; 32];
        bencher.iter(|| {
            argon2
                .hash_password_into_with_memory(b"correct horse battery staple", &[7; 16], &mut output, &mut memory)
                .unwrap();
        });
    });
    group.bench_function("argon2, as it comes", |bencher| {
        let mut output = [0; 32];
        bencher.iter(|| {
            argon2.hash_password_into(b"correct horse battery staple", &[7; 16], &mut output).unwrap();
        });
    });
    group.finish();
}

fn key_sets(criterion: &mut Criterion) {
    let records: Vec<KeyRecord> = (0..8).map(|_| case(SigningAlgorithm::Es256).record).collect();
    let secrets = HashMap::new();
    let keys = key_set(&records, &secrets);
    let kid = records[7].kid.as_str();
    let mut group = criterion.benchmark_group("key set of 8");
    group.bench_function("find", |bencher| bencher.iter(|| keys.find(black_box(kid)).unwrap().algorithm()));
    group.bench_function("make", |bencher| bencher.iter(|| key_set(black_box(&records), &secrets)));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots();
    targets = verification, issuing, hashing, key_sets
}
criterion_main!(benches);
