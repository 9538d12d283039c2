//! The verifier's specification: one test for each refusal, with its name, and both sides of every limit.

use std::sync::LazyLock;

use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;
use crate::keys::algorithm::SigningAlgorithm;
use crate::keys::generation::generate;
use crate::keys::sealing::{EncryptionContext, Sealer};
use crate::keys::signing::TokenSigner;
use crate::keys::{KeyKind, KeyPurpose, KeyRecord};

const NOW: EpochSeconds = 1_800_000_000;
const RETIRES_AT: EpochSeconds = NOW + 10_000;
const EXPECTED: Expected<'_> = Expected { issuer: "https://api.example.com", audience: "latchkey" };

/// A key that signs, and the ring that knows it.
struct Key {
    signer: TokenSigner,
    record: KeyRecord,
    ring: KeyRing,
}

fn new_key() -> Key {
    let sealer = Sealer::local(&SecretString::from(STANDARD.encode([1; 32]))).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let sealed =
            generate(KeyKind::AccessToken(SigningAlgorithm::Es256), NOW - 1000, RETIRES_AT, &sealer).await.unwrap();
        let context = EncryptionContext { kid: &sealed.record.kid, purpose: KeyPurpose::AccessToken };
        let opened = sealer.open(context, &sealed.sealed_private_key).await.unwrap();
        Key {
            signer: TokenSigner::new(sealed.record.kid.clone(), SigningAlgorithm::Es256, &opened),
            ring: KeyRing::new(std::slice::from_ref(&sealed.record)),
            record: sealed.record,
        }
    })
}

static KEY: LazyLock<Key> = LazyLock::new(new_key);

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "at+jwt", "kid": KEY.record.kid })
}

fn claims() -> Value {
    json!({
        "iss": "https://api.example.com",
        "sub": "ZNvqBjS3nUwm0TCRI0bKtg",
        "aud": "latchkey",
        "exp": NOW + 900,
        "iat": NOW,
        "nbf": NOW,
        "jti": "NQ2gNCk0sPjBmRNxE_ytRA",
        "client_id": "latchkey",
        "sid": "wzrVrBYV2EvgI9lvhtUvWA",
        "username": "alice",
        "roles": ["user"],
        "epoch": 0,
    })
}

/// `value` with one member replaced, or removed where `to` is `None`.
fn with(mut value: Value, member: &str, to: impl Into<Option<Value>>) -> Value {
    let object = value.as_object_mut().unwrap();
    match to.into() {
        Some(to) => object.insert(member.to_owned(), to),
        None => object.remove(member),
    };
    value
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs bytes that need not be JSON.
fn sign_raw(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), KEY.signer.key(), KEY.signer.algorithm().into()).unwrap();
    format!("{message}.{signature}")
}

fn sign(header: &Value, claims: &Value) -> String {
    sign_raw(header.to_string(), claims.to_string())
}

fn verify_at(token: &str, now: EpochSeconds) -> Result<AccessTokenClaims, Refusal> {
    verify(token, &KEY.ring, EXPECTED, now)
}

/// The refusal of a token with these claims, rightly signed.
fn refusal_of_claims(claims: &Value) -> Option<Refusal> {
    verify_at(&sign(&header(), claims), NOW).err()
}

/// The refusal of a token with this header, rightly signed.
fn refusal_of_header(header: &Value) -> Option<Refusal> {
    verify_at(&sign(header, &claims()), NOW).err()
}

fn refusal_of_token(token: &str) -> Option<Refusal> {
    verify_at(token, NOW).err()
}

#[test]
fn a_good_token_gives_its_claims() {
    let verified = verify_at(&sign(&header(), &claims()), NOW).unwrap();
    assert_eq!(serde_json::to_value(verified).unwrap(), claims());
}

#[test]
fn too_long() {
    assert_eq!(refusal_of_token(&"a".repeat(MAX_TOKEN_BYTES + 1)), Some(Refusal::TooLong));
    assert_eq!(refusal_of_token(&".".repeat(1_000_000)), Some(Refusal::TooLong));
    assert_eq!(refusal_of_token(&"a".repeat(MAX_TOKEN_BYTES)), Some(Refusal::NotThreeParts));
}

#[test]
fn forbidden_character() {
    let token = sign(&header(), &claims());
    for changed in [
        format!("{token}="),
        format!("{token}\n"),
        format!(" {token}"),
        format!("{token},{token}"),
        format!("{token}+"),
        format!("{token}/"),
        format!("{token}é"),
        format!("{token}\0"),
    ] {
        assert_eq!(refusal_of_token(&changed), Some(Refusal::ForbiddenCharacter), "{changed:?}");
    }
}

#[test]
fn not_three_parts() {
    let token = sign(&header(), &claims());
    let (two, _) = token.rsplit_once('.').unwrap();
    for changed in ["", "abc", two, &format!("{token}."), &format!("{token}.a"), &format!("{token}.a.b"), "...."] {
        assert_eq!(refusal_of_token(changed), Some(Refusal::NotThreeParts), "{changed:?}");
    }
}

#[test]
fn malformed_header() {
    for member in ["alg", "typ", "kid"] {
        assert_eq!(refusal_of_header(&with(header(), member, None)), Some(Refusal::MalformedHeader), "no {member}");
        for value in [json!(null), json!(1), json!(["ES256"]), json!({})] {
            let changed = with(header(), member, value);
            assert_eq!(refusal_of_header(&changed), Some(Refusal::MalformedHeader), "{changed}");
        }
    }
    assert_eq!(refusal_of_header(&with(header(), "cty", json!("JWT"))), Some(Refusal::MalformedHeader));
    let good = header().to_string();
    let inside = &good[1..good.len() - 1];
    for raw in [
        String::new(),
        "{}".to_owned(),
        "null".to_owned(),
        format!("\u{feff}{good}"),
        format!(" {good}"),
        format!("{good}x"),
        format!("{{{inside},\"alg\":\"none\"}}"),
        format!("{{\"alg\":\"none\",{inside}}}"),
        format!(r#"["ES256","at+jwt","{}"]"#, KEY.record.kid),
        format!("{{\"x\":{}", "[".repeat(2000)),
    ] {
        assert_eq!(refusal_of_token(&sign_raw(&raw, claims().to_string())), Some(Refusal::MalformedHeader), "{raw}");
    }
    assert_eq!(refusal_of_token(&sign_raw(b"{\"alg\":\"\xff\"}", b"{}")), Some(Refusal::MalformedHeader));
    assert_eq!(refusal_of_token(".."), Some(Refusal::MalformedHeader));
}

#[test]
fn malformed_header_for_stray_bits_of_base64url() {
    // One byte over a multiple of three: the last character has four bits that must be zero.
    let mut raw = header().to_string();
    while raw.len() % 3 != 1 {
        raw.insert(1, ' ');
    }
    let token = sign_raw(&raw, claims().to_string());
    assert_eq!(refusal_of_token(&token), None);
    let (first, rest) = token.split_once('.').unwrap();
    let last = first.chars().last().unwrap();
    let stray = char::from_u32(u32::from(last) + 1).unwrap();
    let changed = format!("{}{stray}.{rest}", &first[..first.len() - 1]);
    assert_eq!(refusal_of_token(&changed), Some(Refusal::MalformedHeader));
}

#[test]
fn forbidden_header_parameter() {
    for name in ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"] {
        for value in
            [json!(null), json!([]), json!(["exp"]), json!(["unknown"]), json!(false), json!("https://a"), json!({})]
        {
            let changed = with(header(), name, value);
            assert_eq!(refusal_of_header(&changed), Some(Refusal::ForbiddenHeaderParameter), "{changed}");
        }
    }
}

#[test]
fn wrong_type() {
    for typ in ["", "JWT", "jwt", "AT+JWT", "at+jwt ", "application/at+jwt", "rt+jwt", "logout+jwt"] {
        assert_eq!(refusal_of_header(&with(header(), "typ", json!(typ))), Some(Refusal::WrongType), "{typ}");
    }
}

#[test]
fn malformed_kid() {
    for kid in
        [String::new(), "../../dev/null".into(), "' OR 1=1 --".into(), "A".repeat(42), "A".repeat(44), "A".repeat(4000)]
    {
        assert_eq!(refusal_of_header(&with(header(), "kid", json!(kid))), Some(Refusal::MalformedKid), "{kid}");
    }
}

#[test]
fn unknown_kid() {
    assert_eq!(refusal_of_header(&with(header(), "kid", json!("A".repeat(43)))), Some(Refusal::UnknownKid));
    let token = sign(&header(), &claims());
    assert_eq!(verify(&token, &KeyRing::default(), EXPECTED, NOW), Err(Refusal::UnknownKid));
}

#[test]
fn retired_key() {
    let last = RETIRES_AT + MAX_ACCESS_TOKEN_LIFETIME_SECONDS - 1;
    let of = |iat: EpochSeconds| {
        let claims = with(with(with(claims(), "iat", json!(iat)), "nbf", json!(iat)), "exp", json!(iat + 900));
        sign(&header(), &claims)
    };
    assert!(verify_at(&of(last), last).is_ok());
    assert_eq!(verify_at(&of(last), last + 1), Err(Refusal::RetiredKey));
}

#[test]
fn wrong_algorithm() {
    for alg in ["none", "None", "nOnE", "", "es256", "ES384", "ES256K", "HS256", "RS256", "PS256", "EdDSA"] {
        assert_eq!(refusal_of_header(&with(header(), "alg", json!(alg))), Some(Refusal::WrongAlgorithm), "{alg}");
    }
}

#[test]
fn wrong_algorithm_for_hmac_with_the_public_key() {
    let jwk = KEY.record.public_jwk.clone().unwrap();
    let x = serde_json::from_str::<Value>(&jwk).unwrap()["x"].as_str().unwrap().to_owned();
    let message =
        format!("{}.{}", encode(with(header(), "alg", json!("HS256")).to_string()), encode(claims().to_string()));
    for secret in [jwk.into_bytes(), x.clone().into_bytes(), URL_SAFE_NO_PAD.decode(x).unwrap(), Vec::new()] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let mac = aws_lc_rs::hmac::sign(&key, message.as_bytes());
        assert_eq!(refusal_of_token(&format!("{message}.{}", encode(mac))), Some(Refusal::WrongAlgorithm));
    }
}

#[test]
fn wrong_signature() {
    let token = sign(&header(), &claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut flipped = bytes.clone();
    flipped[63] ^= 1;
    for signature in [
        String::new(),
        "AA".to_owned(),
        encode([0; 64]),
        encode([0xff; 64]),
        encode(&bytes[..63]),
        encode([&bytes[..], &[0]].concat()),
        encode(flipped),
        // DER instead of the fixed form (RFC 7518 §3.4).
        encode([&[0x30, 0x44, 0x02, 0x20], &bytes[..32], &[0x02, 0x20], &bytes[32..]].concat()),
        // One character more than whole bytes have.
        format!("{signature}A"),
    ] {
        let changed = format!("{message}.{signature}");
        assert_eq!(refusal_of_token(&changed), Some(Refusal::WrongSignature), "{signature}");
    }
}

#[test]
fn wrong_signature_for_changed_claims() {
    let token = sign(&header(), &claims());
    let parts: Vec<_> = token.split('.').collect();
    let forged = encode(with(claims(), "roles", json!(["admin"])).to_string());
    assert_eq!(refusal_of_token(&[parts[0], &forged, parts[2]].join(".")), Some(Refusal::WrongSignature));
}

#[test]
fn wrong_signature_by_another_key() {
    let other = new_key();
    let message = format!("{}.{}", encode(header().to_string()), encode(claims().to_string()));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), other.signer.key(), other.signer.algorithm().into()).unwrap();
    assert_eq!(refusal_of_token(&format!("{message}.{signature}")), Some(Refusal::WrongSignature));
}

#[test]
fn malformed_claims() {
    let names: Vec<String> = claims().as_object().unwrap().keys().cloned().collect();
    for name in &names {
        for value in [None, Some(json!(null)), Some(json!({})), Some(json!(true)), Some(json!([1])), Some(json!(1.5))] {
            let changed = with(claims(), name, value);
            assert_eq!(refusal_of_claims(&changed), Some(Refusal::MalformedClaims), "{changed}");
        }
    }
    for name in ["exp", "iat", "nbf", "epoch"] {
        for raw in
            ["\"1800000900\"", "-1", "1800000900.0", "1800000900.5", "1e30", "1.8000009e9", "18446744073709551616"]
        {
            let changed = with(claims(), name, json!("HERE")).to_string().replace("\"HERE\"", raw);
            assert_eq!(
                refusal_of_token(&sign_raw(header().to_string(), &changed)),
                Some(Refusal::MalformedClaims),
                "{changed}"
            );
        }
    }
    for name in ["iss", "aud", "sub"] {
        let value = claims()[name].clone();
        let changed = with(claims(), name, json!([value]));
        assert_eq!(refusal_of_claims(&changed), Some(Refusal::MalformedClaims), "{changed}");
    }
    assert_eq!(refusal_of_claims(&with(claims(), "scope", json!("all"))), Some(Refusal::MalformedClaims));
}

#[test]
fn malformed_claims_for_what_is_not_one_object() {
    let good = claims().to_string();
    let inside = &good[1..good.len() - 1];
    let positional: Vec<Value> =
        ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "sid", "username", "roles", "epoch"]
            .iter()
            .map(|name| claims()[*name].clone())
            .collect();
    for raw in [
        String::new(),
        "null".to_owned(),
        "1".to_owned(),
        Value::from(positional).to_string(),
        format!("{{{inside},\"sub\":\"someone else\"}}"),
        format!("{good}{good}"),
        format!("{good} x"),
        format!("\u{feff}{good}"),
    ] {
        assert_eq!(refusal_of_token(&sign_raw(header().to_string(), &raw)), Some(Refusal::MalformedClaims), "{raw}");
    }
}

#[test]
fn wrong_issuer() {
    for iss in [
        "",
        "https://api.example.co",
        "https://api.example.com/",
        "https://api.example.com.evil",
        "HTTPS://api.example.com",
    ] {
        assert_eq!(refusal_of_claims(&with(claims(), "iss", json!(iss))), Some(Refusal::WrongIssuer), "{iss}");
    }
}

#[test]
fn wrong_audience() {
    for aud in ["", "latch", "latchkey ", "Latchkey", "latchkey,other"] {
        assert_eq!(refusal_of_claims(&with(claims(), "aud", json!(aud))), Some(Refusal::WrongAudience), "{aud}");
    }
}

#[test]
fn expired() {
    let token = sign(&header(), &claims());
    assert!(verify_at(&token, NOW + 899).is_ok());
    assert_eq!(verify_at(&token, NOW + 900), Err(Refusal::Expired));
    assert_eq!(verify_at(&token, NOW + 901), Err(Refusal::Expired));
    assert_eq!(refusal_of_claims(&with(claims(), "exp", json!(0))), Some(Refusal::Expired));
}

#[test]
fn not_yet_valid() {
    let with_nbf = |nbf: EpochSeconds| refusal_of_claims(&with(claims(), "nbf", json!(nbf)));
    assert_eq!(with_nbf(NOW + LEEWAY_SECONDS), None);
    assert_eq!(with_nbf(NOW + LEEWAY_SECONDS + 1), Some(Refusal::NotYetValid));
    assert_eq!(with_nbf(u64::MAX), Some(Refusal::NotYetValid));
}

#[test]
fn issued_in_the_future() {
    let with_iat = |iat: EpochSeconds| refusal_of_claims(&with(claims(), "iat", json!(iat)));
    assert_eq!(with_iat(NOW + LEEWAY_SECONDS), None);
    assert_eq!(with_iat(NOW + LEEWAY_SECONDS + 1), Some(Refusal::IssuedInTheFuture));
    assert_eq!(with_iat(u64::MAX), Some(Refusal::IssuedInTheFuture));
}

#[test]
fn lifetime_out_of_policy() {
    let with_exp = |exp: EpochSeconds| refusal_of_claims(&with(claims(), "exp", json!(exp)));
    assert_eq!(with_exp(NOW + MAX_ACCESS_TOKEN_LIFETIME_SECONDS), None);
    assert_eq!(with_exp(NOW + MAX_ACCESS_TOKEN_LIFETIME_SECONDS + 1), Some(Refusal::LifetimeOutOfPolicy));
    assert_eq!(with_exp(u64::MAX), Some(Refusal::LifetimeOutOfPolicy));
    let backwards = with(with(claims(), "iat", json!(NOW + 5)), "exp", json!(NOW + 4));
    assert_eq!(refusal_of_claims(&backwards), Some(Refusal::LifetimeOutOfPolicy));
}

#[test]
fn five_minutes_of_clock_in_either_direction_neither_panic_nor_let_through() {
    let token = sign(&header(), &claims());
    assert_eq!(verify_at(&token, NOW - 300), Err(Refusal::NotYetValid));
    assert!(verify_at(&token, NOW + 300).is_ok());
    assert_eq!(verify_at(&token, 0), Err(Refusal::NotYetValid));
    assert_eq!(verify_at(&token, u64::MAX), Err(Refusal::RetiredKey));
}
