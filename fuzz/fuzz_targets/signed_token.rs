//! What comes behind the signature, which no fuzzer finds: header and claims of any shape, correctly signed. A token
//! that is valid has exactly the members that are meant, whatever another reader of JSON makes of it.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use latchkey_fuzz::{EXPECTED, NOW, encode};
use latchkey_verifier::{
    ExpectedIssuer, KeySet, LEEWAY_SECONDS, MAX_ACCESS_TOKEN_LIFETIME_SECONDS, VerificationKey, verify,
};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const KID: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const SECRET: [u8; 32] = [7; 32];

// HS256: a signature is cheap, so that time goes into what is signed.
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    [VerificationKey::from_secret(KID.to_owned(), &SECRET).expect("32 bytes")].into_iter().collect()
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
    let Ok(read) = verify(&token, &KEYS, EXPECTED, NOW) else {
        return;
    };
    assert_eq!(serde_json::from_slice::<Value>(header).expect("JSON"), good_header());
    let same = serde_json::to_value(&read).expect("claims are JSON");
    assert_eq!(serde_json::from_slice::<Value>(claims).expect("JSON"), same);
    assert!(matches!(EXPECTED.issuer, ExpectedIssuer::Exactly(issuer) if issuer == read.iss));
    assert_eq!(read.aud, EXPECTED.audience);
    let lifetime = read.exp.seconds_since(read.iat).expect("exp is not before iat");
    assert!(NOW < read.exp && lifetime <= MAX_ACCESS_TOKEN_LIFETIME_SECONDS);
    assert!(read.iat <= NOW + LEEWAY_SECONDS && read.nbf <= NOW + LEEWAY_SECONDS);
});
