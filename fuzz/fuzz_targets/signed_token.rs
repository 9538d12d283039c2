//! What comes behind the signature, which no fuzzer finds: header and claims of any shape, rightly signed. A token that
//! counts has exactly the members that are meant, whatever another reader of JSON makes of it.
#![no_main]

use std::collections::HashMap;
use std::sync::LazyLock;

use aws_lc_rs::hmac;
use latchkey_fuzz::{EXPECTED, NOW, encode};
use libfuzzer_sys::fuzz_target;
use secrecy::SecretSlice;
use serde_json::{Value, json};
use shared::config::MAX_ACCESS_TOKEN_LIFETIME_SECONDS;
use shared::keys::KeyRecord;
use shared::keys::ring::KeyRing;
use shared::token::verifier::{LEEWAY_SECONDS, verify};

const KID: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const SECRET: [u8; 32] = [7; 32];

// HS256: a signature is cheap, so that time goes into what is signed.
static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    let record = KeyRecord {
        kid: KID.to_owned(),
        alg: "HS256".to_owned(),
        public_jwk: None,
        activates_at: 0,
        retires_at: NOW + 1_000_000,
    };
    let secrets = HashMap::from([(KID.to_owned(), SecretSlice::from(SECRET.to_vec()))]);
    let ring = KeyRing::with_secrets(&[record], &secrets);
    assert!(ring.find(KID).is_some());
    ring
});
static KEY: LazyLock<hmac::Key> = LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, &SECRET));

fn good_header() -> Value {
    json!({ "alg": "HS256", "typ": "at+jwt", "kid": KID })
}

// The first line is the header, or a good one if it is empty; the rest are the claims.
fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, claims) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let good = good_header().to_string();
    let header = if header.is_empty() { good.as_bytes() } else { header };
    let message = format!("{}.{}", encode(header), encode(claims));
    let token = format!("{message}.{}", encode(hmac::sign(&KEY, message.as_bytes())));
    let Ok(read) = verify(&token, &RING, EXPECTED, NOW) else {
        return;
    };
    assert_eq!(serde_json::from_slice::<Value>(header).expect("JSON"), good_header());
    let same = serde_json::to_value(&read).expect("claims are JSON");
    assert_eq!(serde_json::from_slice::<Value>(claims).expect("JSON"), same);
    assert_eq!((read.iss.as_str(), read.aud.as_str()), (EXPECTED.issuer, EXPECTED.audience));
    assert!(NOW < read.exp && read.exp - read.iat <= MAX_ACCESS_TOKEN_LIFETIME_SECONDS);
    assert!(read.iat <= NOW + LEEWAY_SECONDS && read.nbf <= NOW + LEEWAY_SECONDS);
});
