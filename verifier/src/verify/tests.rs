//! The verifier's specification: one test for each refusal, with its name, and both sides of every limit.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::*;
use crate::key_set::VerificationKey;

const NOW: EpochSeconds = EpochSeconds::new(1_800_000_000);
const KEY_EXPIRES_AT: EpochSeconds = EpochSeconds::new(1_800_010_000 + MAX_ACCESS_TOKEN_LIFETIME_SECONDS);
const ISSUER: &str = "https://api.example.com";
const EXPECTED: Expected<'_> = Expected { issuer: ExpectedIssuer::Exactly(ISSUER), audience: "latchkey" };

/// A key that signs, and the key set that holds its public half.
struct Key {
    kid: String,
    signing: EncodingKey,
    jwk: Value,
    keys: KeySet,
}

fn new_key() -> Key {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let signing = EncodingKey::from_ec_der(pkcs8.as_ref());
    let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::ES256).unwrap();
    let kid = jwk.thumbprint(ThumbprintHash::SHA256).unwrap();
    jwk.common.key_id = Some(kid.clone());
    let jwk = serde_json::to_value(jwk).unwrap();
    let keys = key_set(&jwk);
    Key { kid, signing, jwk, keys }
}

fn key_set(jwk: &Value) -> KeySet {
    [VerificationKey::from_jwk(&jwk.to_string()).unwrap().expiring_at(KEY_EXPIRES_AT)].into_iter().collect()
}

static KEY: LazyLock<Key> = LazyLock::new(new_key);

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "at+jwt", "kid": KEY.kid })
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
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &KEY.signing, Algorithm::ES256).unwrap();
    format!("{message}.{signature}")
}

fn sign(header: &Value, claims: &Value) -> String {
    sign_raw(header.to_string(), claims.to_string())
}

fn verify_at(token: &str, now: EpochSeconds) -> Result<AccessTokenClaims, Refusal> {
    verify(token, &KEY.keys, EXPECTED, now)
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
        format!(r#"["ES256","at+jwt","{}"]"#, KEY.kid),
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
    assert_eq!(verify(&token, &KeySet::default(), EXPECTED, NOW), Err(Refusal::UnknownKid));
}

#[test]
fn retired_key() {
    let last = KEY_EXPIRES_AT - 1;
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
    let jwk = KEY.jwk.to_string();
    let x = KEY.jwk["x"].as_str().unwrap().to_owned();
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
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &other.signing, Algorithm::ES256).unwrap();
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
    assert_eq!(with_nbf(EpochSeconds::MAX), Some(Refusal::NotYetValid));
}

#[test]
fn issued_in_the_future() {
    let with_iat = |iat: EpochSeconds| refusal_of_claims(&with(claims(), "iat", json!(iat)));
    assert_eq!(with_iat(NOW + LEEWAY_SECONDS), None);
    assert_eq!(with_iat(NOW + LEEWAY_SECONDS + 1), Some(Refusal::IssuedInTheFuture));
    assert_eq!(with_iat(EpochSeconds::MAX), Some(Refusal::IssuedInTheFuture));
}

#[test]
fn lifetime_out_of_policy() {
    let with_exp = |exp: EpochSeconds| refusal_of_claims(&with(claims(), "exp", json!(exp)));
    assert_eq!(with_exp(NOW + MAX_ACCESS_TOKEN_LIFETIME_SECONDS), None);
    assert_eq!(with_exp(NOW + MAX_ACCESS_TOKEN_LIFETIME_SECONDS + 1), Some(Refusal::LifetimeOutOfPolicy));
    assert_eq!(with_exp(EpochSeconds::MAX), Some(Refusal::LifetimeOutOfPolicy));
    let backwards = with(with(claims(), "iat", json!(NOW + 5)), "exp", json!(NOW + 4));
    assert_eq!(refusal_of_claims(&backwards), Some(Refusal::LifetimeOutOfPolicy));
}

#[test]
fn five_minutes_of_clock_in_either_direction_neither_panic_nor_let_through() {
    let token = sign(&header(), &claims());
    assert_eq!(verify_at(&token, NOW - 300), Err(Refusal::NotYetValid));
    assert!(verify_at(&token, NOW + 300).is_ok());
    assert_eq!(verify_at(&token, EpochSeconds::new(0)), Err(Refusal::NotYetValid));
    assert_eq!(verify_at(&token, EpochSeconds::MAX), Err(Refusal::RetiredKey));
}

// From here on each test is an attack, named after it. What is refused above is not repeated.

/// `header.claims` and nothing yet behind it.
fn message(header: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims().to_string()))
}

fn refusal_of_raw_header(header: &str) -> Option<Refusal> {
    refusal_of_token(&sign_raw(header, claims().to_string()))
}

fn refusal_of_raw_claims(claims: impl AsRef<[u8]>) -> Option<Refusal> {
    refusal_of_token(&sign_raw(header().to_string(), claims))
}

/// The public key as bytes: `4 || x || y`.
fn public_point(jwk: &Value) -> Vec<u8> {
    let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    [&[4][..], &number("x"), &number("y")].concat()
}

fn mac(secret: &[u8], message: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    encode(aws_lc_rs::hmac::sign(&key, message.as_bytes()))
}

#[test]
fn attack_alg_none_without_a_signature() {
    for alg in ["none", "None", "nOnE", "NONE", "none ", "es256", "Es256", "\u{0}none"] {
        let changed = with(header(), "alg", json!(alg));
        assert_eq!(refusal_of_token(&format!("{}.", message(&changed))), Some(Refusal::WrongAlgorithm), "{alg}");
    }
    assert_eq!(refusal_of_token(&format!("{}.", message(&header()))), Some(Refusal::WrongSignature));
    let bare = encode(json!({ "alg": "none" }).to_string());
    assert_eq!(refusal_of_token(&format!("{bare}.{}.", encode("{}"))), Some(Refusal::MalformedHeader));
}

#[test]
fn attack_a_header_member_twice() {
    let good = header().to_string();
    for member in [r#""alg":"none""#, r#""alg":"ES256""#, r#""\u0061lg":"ES256""#, r#""typ":"at+jwt""#, r#""kid":"""#] {
        for raw in [good.replacen('{', &format!("{{{member},"), 1), good.replace('}', &format!(",{member}}}"))] {
            assert_eq!(refusal_of_raw_header(&raw), Some(Refusal::MalformedHeader), "{raw}");
        }
    }
    let twice = good.replace('}', r#","crit":null,"crit":null}"#);
    assert_eq!(refusal_of_raw_header(&twice), Some(Refusal::MalformedHeader));
}

#[test]
fn attack_hs256_under_the_public_key_as_pem_der_or_ssh() {
    let point = public_point(&KEY.jwk);
    // SubjectPublicKeyInfo of P-256 (RFC 5480 §2).
    let mut der = vec![0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    der.extend([6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 3, 0x42, 0]);
    der.extend(&point);
    let base64 = STANDARD.encode(&der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----", &base64[..64], &base64[64..]);
    let blob = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let ssh = STANDARD.encode([blob(b"ecdsa-sha2-nistp256"), blob(b"nistp256"), blob(&point)].concat());
    let message = message(&with(header(), "alg", json!("HS256")));
    for secret in [
        pem.clone().into_bytes(),
        format!("{pem}\n").into_bytes(),
        pem.replace('\n', "\r\n").into_bytes(),
        der,
        base64.into_bytes(),
        point[1..].to_vec(),
        point,
        format!("ecdsa-sha2-nistp256 {ssh}").into_bytes(),
        format!("ecdsa-sha2-nistp256 {ssh} latchkey\n").into_bytes(),
        KEY.kid.clone().into_bytes(),
    ] {
        let token = format!("{message}.{}", mac(&secret, &message));
        assert_eq!(refusal_of_token(&token), Some(Refusal::WrongAlgorithm), "{secret:?}");
        // And where the header does not say so.
        let message = self::message(&header());
        let token = format!("{message}.{}", mac(&secret, &message));
        assert_eq!(refusal_of_token(&token), Some(Refusal::WrongSignature), "{secret:?}");
    }
}

#[test]
fn attack_the_algorithm_of_another_key_of_the_set() {
    let secret = vec![9; 32];
    let shared_kid = "H".repeat(KID_CHARACTERS);
    let shared = VerificationKey::from_secret(shared_kid.clone(), &secret).unwrap();
    let public = VerificationKey::from_jwk(&KEY.jwk.to_string()).unwrap();
    let keys: KeySet = [public, shared].into_iter().collect();
    let of = |alg: &str, kid: &str| json!({ "alg": alg, "typ": "at+jwt", "kid": kid });
    let by_secret = |header: &Value| {
        let message = message(header);
        let token = format!("{message}.{}", mac(&secret, &message));
        verify(&token, &keys, EXPECTED, NOW).err()
    };
    let by_private_key = |header: &Value| verify(&sign(header, &claims()), &keys, EXPECTED, NOW).err();
    assert_eq!(by_secret(&of("HS256", &shared_kid)), None);
    assert_eq!(by_secret(&of("ES256", &shared_kid)), Some(Refusal::WrongAlgorithm));
    assert_eq!(by_secret(&of("HS256", &KEY.kid)), Some(Refusal::WrongAlgorithm));
    assert_eq!(by_secret(&of("ES256", &KEY.kid)), Some(Refusal::WrongSignature));
    assert_eq!(by_private_key(&of("ES256", &KEY.kid)), None);
    assert_eq!(by_private_key(&of("HS256", &KEY.kid)), Some(Refusal::WrongAlgorithm));
    assert_eq!(by_private_key(&of("ES256", &shared_kid)), Some(Refusal::WrongAlgorithm));
    assert_eq!(by_private_key(&of("HS256", &shared_kid)), Some(Refusal::WrongSignature));
}

/// The order of P-256 (FIPS 186-5).
const ORDER: &str = "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE";

/// `a - b` of two numbers of 32 bytes, where `a` is not less.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut digits: Vec<u8> = (0..32)
        .rev()
        .map(|i| {
            let digit = i16::from(a[i]) - i16::from(b[i]) - borrow;
            borrow = i16::from(digit < 0);
            u8::try_from(digit.rem_euclid(256)).unwrap()
        })
        .collect();
    digits.reverse();
    digits
}

#[test]
fn attack_psychic_signatures() {
    let order = URL_SAFE_NO_PAD.decode(ORDER).unwrap();
    let (zero, mut one) = (vec![0; 32], vec![0; 32]);
    one[31] = 1;
    let prime = URL_SAFE_NO_PAD.decode("_____wAAAAEAAAAAAAAAAAAAAAD_______________8").unwrap();
    let most = difference(&order, &one);
    let numbers = [&zero, &one, &order, &most, &prime];
    let message = message(&header());
    for (r, s) in numbers.iter().flat_map(|r| numbers.iter().map(move |s| (r, s))) {
        let token = format!("{message}.{}", encode([&r[..], &s[..]].concat()));
        assert_eq!(refusal_of_token(&token), Some(Refusal::WrongSignature), "{token}");
    }
}

#[test]
fn attack_signatures_that_are_null_or_of_another_form() {
    let message = message(&header());
    for signature in [
        "null".to_owned(),
        "undefined".to_owned(),
        encode("null"),
        encode([0x30, 6, 2, 1, 0, 2, 1, 0]),
        encode([0; 63]),
        encode([0; 65]),
        encode([0; 96]),
        encode([0; 256]),
        "A".repeat(4000),
    ] {
        let token = format!("{message}.{signature}");
        assert_eq!(refusal_of_token(&token), Some(Refusal::WrongSignature), "{signature}");
    }
}

#[test]
fn attack_another_spelling_of_a_signature() {
    let token = sign(&header(), &claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    // 64 bytes are 86 characters, and of the last one only two bits count: 15 others would decode to the same bytes.
    let last = signature.chars().last().unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        let changed = format!("{message}.{}{other}", &signature[..85]);
        let expected = (other != last).then_some(Refusal::WrongSignature);
        assert_eq!(refusal_of_token(&changed), expected, "{other} for {last}");
    }
    for suffix in ["A", "AA", "AAA", "AAAA"] {
        assert_eq!(refusal_of_token(&format!("{token}{suffix}")), Some(Refusal::WrongSignature));
    }
    // Padding, the other alphabet, and line ends have no place in a token at all.
    for changed in [
        format!("{token}=="),
        format!("{message}.{}", STANDARD.encode([0xfb; 64])),
        format!("{message}.{}\n{}", &signature[..40], &signature[40..]),
        token.replacen('.', "=.", 1),
        token.replacen('.', "\r\n.", 1),
    ] {
        assert_eq!(refusal_of_token(&changed), Some(Refusal::ForbiddenCharacter), "{changed}");
    }
    // (r, n - s) fits wherever (r, s) does. It gives the same claims, so that what revokes the one revokes the other:
    // the denylist holds `jti`, `sid` and epoch, never a token's bytes.
    let malleated = [&bytes[..32], &difference(&URL_SAFE_NO_PAD.decode(ORDER).unwrap(), &bytes[32..])].concat();
    let other = format!("{message}.{}", encode(malleated));
    assert_ne!(other, token);
    assert_eq!(verify_at(&other, NOW), verify_at(&token, NOW));
}

#[test]
fn attack_a_key_or_its_address_in_the_header() {
    let attacker = new_key();
    let sign = |header: &Value| {
        let message = message(header);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &attacker.signing, Algorithm::ES256);
        refusal_of_token(&format!("{message}.{}", signature.unwrap()))
    };
    let of_attacker = with(header(), "kid", json!(attacker.kid));
    assert_eq!(sign(&header()), Some(Refusal::WrongSignature));
    assert_eq!(sign(&of_attacker), Some(Refusal::UnknownKid));
    for header in [header(), of_attacker] {
        for (name, value) in [
            ("jwk", attacker.jwk.clone()),
            ("jku", json!("https://attacker.example/jwks.json")),
            ("jku", json!("https://api.example.com@attacker.example/.well-known/jwks.json")),
            ("x5u", json!("https://attacker.example/certificate.pem")),
            ("x5c", json!(["MIIB"])),
        ] {
            assert_eq!(sign(&with(header.clone(), name, value)), Some(Refusal::ForbiddenHeaderParameter), "{name}");
        }
        for name in ["x5t", "x5t#S256", "JWK", "url", "nonce"] {
            assert_eq!(sign(&with(header.clone(), name, json!("a"))), Some(Refusal::MalformedHeader), "{name}");
        }
    }
}

#[test]
fn attack_kid_as_a_path_as_sql_as_a_number_or_of_64_kb() {
    let refusal = |kid: Value| refusal_of_header(&with(header(), "kid", kid));
    for kid in ["../../dev/null", "/dev/null", "' OR 1=1 --", "x' UNION SELECT 'k' --", "|cat /etc/passwd", "\u{0}"] {
        assert_eq!(refusal(json!(kid)), Some(Refusal::MalformedKid), "{kid}");
        // As long as a real one.
        let padded = format!("{kid}{}", "A".repeat(KID_CHARACTERS - kid.len()));
        assert_eq!(refusal(json!(padded)), Some(Refusal::UnknownKid), "{padded}");
    }
    assert_eq!(refusal(json!("A".repeat(64 * 1024))), Some(Refusal::TooLong));
    for kid in [json!(0), json!(-1), json!(1e30), json!(true), json!({ "S": KEY.kid })] {
        assert_eq!(refusal(kid.clone()), Some(Refusal::MalformedHeader), "{kid}");
    }
    // Ours, nearly.
    let ours = &KEY.kid;
    for kid in [format!("{ours} "), format!("{ours}\0"), format!("access-token/{ours}"), ours[..42].to_owned()] {
        assert_eq!(refusal(json!(kid)), Some(Refusal::MalformedKid), "{kid}");
    }
    for kid in [ours.to_lowercase(), ours.to_uppercase()] {
        assert_eq!(refusal(json!(kid)), Some(Refusal::UnknownKid), "{kid}");
    }
}

#[test]
fn attack_an_encrypted_token() {
    let refusal = |header: Value, parts: &str| refusal_of_token(&format!("{}{parts}", encode(header.to_string())));
    let key_wrapped = json!({ "alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2_147_483_647, "p2s": "AAAA" });
    let zipped = json!({ "alg": "dir", "enc": "A256GCM", "zip": "DEF" });
    for header in [key_wrapped, zipped, with(header(), "enc", json!("A128GCM"))] {
        assert_eq!(refusal(header, ".AAAA.AAAA.AAAA.AAAA"), Some(Refusal::NotThreeParts));
    }
    // Sign and encrypt confused: an encryption's header on three parts, signed as it should be.
    for (name, value, expected) in [
        ("enc", json!("A128GCM"), Refusal::ForbiddenHeaderParameter),
        ("zip", json!("DEF"), Refusal::ForbiddenHeaderParameter),
        ("p2c", json!(2_147_483_647), Refusal::MalformedHeader),
        ("epk", json!({}), Refusal::MalformedHeader),
        ("cty", json!("JWT"), Refusal::MalformedHeader),
        ("alg", json!("dir"), Refusal::WrongAlgorithm),
        ("alg", json!("RSA-OAEP"), Refusal::WrongAlgorithm),
    ] {
        assert_eq!(refusal_of_header(&with(header(), name, value)), Some(expected), "{name}");
    }
}

#[test]
fn attack_a_token_of_dots() {
    for dots in [1, 3, 4, 1000, MAX_TOKEN_BYTES] {
        assert_eq!(refusal_of_token(&".".repeat(dots)), Some(Refusal::NotThreeParts), "{dots}");
    }
    assert_eq!(refusal_of_token(&".".repeat(1 << 20)), Some(Refusal::TooLong));
}

#[test]
fn attack_deep_json() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let good = header().to_string();
    let in_header =
        |member: &str, value: &str| refusal_of_raw_header(&good.replacen('{', &format!("{{\"{member}\":{value},"), 1));
    assert_eq!(in_header("crit", &nested(100_000)), Some(Refusal::TooLong));
    for value in [nested(2400), objects(800)] {
        assert_eq!(in_header("crit", &value), Some(Refusal::ForbiddenHeaderParameter), "skipped, not descended into");
        assert_eq!(in_header("x", &value), Some(Refusal::MalformedHeader));
        assert_eq!(in_header("alg", &value), Some(Refusal::MalformedHeader));
        assert_eq!(refusal_of_raw_header(&value), Some(Refusal::MalformedHeader));
        let good = claims().to_string();
        for claims in [
            value.clone(),
            good.replace(r#"["user"]"#, &value),
            good.replace(r#"["user"]"#, &format!("[{value}]")),
            good.replacen('{', &format!("{{\"x\":{value},"), 1),
        ] {
            assert_eq!(refusal_of_raw_claims(&claims), Some(Refusal::MalformedClaims));
        }
    }
}

#[test]
fn attack_an_unencoded_payload() {
    // RFC 7797 §4: the payload as it is, under the signature too.
    let header = with(with(header(), "b64", json!(false)), "crit", json!(["b64"]));
    for (payload, expected) in [
        (claims().to_string(), Refusal::ForbiddenCharacter),
        ("payload".to_owned(), Refusal::ForbiddenHeaderParameter),
        ("$.02".to_owned(), Refusal::ForbiddenCharacter),
        (String::new(), Refusal::ForbiddenHeaderParameter),
    ] {
        let message = format!("{}.{payload}", encode(header.to_string()));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &KEY.signing, Algorithm::ES256);
        assert_eq!(refusal_of_token(&format!("{message}.{}", signature.unwrap())), Some(expected), "{payload}");
    }
}

#[test]
fn attack_a_claim_twice() {
    let good = claims();
    let text = good.to_string();
    for (name, value) in good.as_object().unwrap() {
        for other in [value.clone(), json!(null), json!("x"), json!(NOW + 900)] {
            for raw in [
                text.replacen('{', &format!("{{\"{name}\":{other},"), 1),
                text.replace('}', &format!(",\"{name}\":{other}}}")),
                // The same name, spelt with an escape.
                text.replace('}', &format!(",\"\\u{:04x}{}\":{other}}}", u32::from(name.as_bytes()[0]), &name[1..])),
            ] {
                assert_eq!(refusal_of_raw_claims(&raw), Some(Refusal::MalformedClaims), "{raw}");
            }
        }
    }
}

#[test]
fn attack_unknown_claims() {
    for name in ["scope", "cnf", "act", "admin", "Exp", "exp ", "__proto__", "", "auth_time"] {
        for value in [json!(null), json!(true), json!("admin")] {
            assert_eq!(refusal_of_claims(&with(claims(), name, value)), Some(Refusal::MalformedClaims), "{name}");
        }
    }
}

#[test]
fn attack_times_in_odd_spellings() {
    for name in ["exp", "iat", "nbf"] {
        for raw in [
            "-0",
            "0.0",
            "1800000000e0",
            "18e8",
            "1E400",
            "01800000000",
            "+1800000000",
            "0x6b49d200",
            "NaN",
            "Infinity",
            "\"\"",
            "\"never\"",
            "true",
            "[1800000000]",
            "340282366920938463463374607431768211456",
        ] {
            let changed = with(claims(), name, json!("HERE")).to_string().replace("\"HERE\"", raw);
            assert_eq!(refusal_of_raw_claims(&changed), Some(Refusal::MalformedClaims), "{changed}");
        }
    }
}

#[test]
fn attack_times_at_the_ends_of_their_range() {
    const ZERO: EpochSeconds = EpochSeconds::new(0);
    let refusal = |exp: EpochSeconds, iat: EpochSeconds, nbf: EpochSeconds| {
        refusal_of_claims(&with(with(with(claims(), "exp", json!(exp)), "iat", json!(iat)), "nbf", json!(nbf)))
    };
    assert_eq!(refusal(NOW, NOW, NOW), Some(Refusal::Expired), "exp is now");
    assert_eq!(refusal(NOW + 1, NOW, NOW), None);
    assert_eq!(refusal(EpochSeconds::MAX, NOW, NOW), Some(Refusal::LifetimeOutOfPolicy));
    assert_eq!(refusal(EpochSeconds::MAX, EpochSeconds::MAX - 1, NOW), Some(Refusal::IssuedInTheFuture));
    assert_eq!(refusal(EpochSeconds::MAX, EpochSeconds::MAX, EpochSeconds::MAX), Some(Refusal::NotYetValid));
    assert_eq!(refusal(EpochSeconds::MAX, ZERO, ZERO), Some(Refusal::LifetimeOutOfPolicy));
    assert_eq!(refusal(NOW + 1, ZERO, ZERO), Some(Refusal::LifetimeOutOfPolicy));
    assert_eq!(refusal(ZERO, ZERO, ZERO), Some(Refusal::Expired));
}

#[test]
fn attack_audiences_and_issuers_that_hold_ours() {
    let refusal = |name: &str, value: Value| refusal_of_claims(&with(claims(), name, value));
    for (name, ours) in [("aud", EXPECTED.audience), ("iss", ISSUER)] {
        for value in [
            json!(123),
            json!(null),
            json!({}),
            json!({ "0": ours }),
            json!([]),
            json!([ours]),
            json!([ours, "other"]),
            json!([[ours]]),
            json!(false),
        ] {
            assert_eq!(refusal(name, value.clone()), Some(Refusal::MalformedClaims), "{name} {value}");
        }
        assert_eq!(refusal_of_claims(&with(claims(), name, None)), Some(Refusal::MalformedClaims));
        let expected = if name == "aud" { Refusal::WrongAudience } else { Refusal::WrongIssuer };
        for value in [
            format!("{ours} "),
            format!(" {ours}"),
            format!("{ours}\0"),
            format!("{ours}\0.attacker.example"),
            format!("{ours}.attacker.example"),
            format!("{ours}@attacker.example"),
            ours[..ours.len() - 1].to_owned(),
            ours.to_uppercase(),
            // Looks the same: a Cyrillic letter.
            ours.replace('a', "\u{430}"),
            "*".to_owned(),
        ] {
            assert_eq!(refusal(name, json!(value)), Some(expected), "{name} {value:?}");
        }
    }
}

#[test]
fn attack_claims_that_are_not_one_object_of_utf_8() {
    let good = claims().to_string();
    let utf_16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let with_name = |name: &[u8]| {
        let (before, after) = good.split_once("alice").unwrap();
        [before.as_bytes(), name, after.as_bytes()].concat()
    };
    for raw in [
        format!("[{good}]").into_bytes(),
        format!("[{good},{good}]").into_bytes(),
        format!("\u{feff}{good}").into_bytes(),
        format!("{good}\u{feff}").into_bytes(),
        format!(" {good}").into_bytes(),
        format!("{good}\n").into_bytes(),
        format!("{good}\0").into_bytes(),
        format!("{good}{{}}").into_bytes(),
        format!("{good},{{}}").into_bytes(),
        format!("{good}}}").into_bytes(),
        good.replace('}', ",}").into_bytes(),
        good.replace('}', "/**/}").into_bytes(),
        good.replace('"', "'").into_bytes(),
        utf_16,
        with_name(b"\xff"),
        with_name(b"\xc0\xaf"),
        with_name(b"\xed\xa0\x80"),
        with_name(b"\xf4\x90\x80\x80"),
        with_name(b"\\ud800"),
        with_name(b"\\udc00\\ud800"),
        with_name(b"\n"),
        with_name(b"\0"),
        good.as_bytes()[..good.len() - 1].to_vec(),
    ] {
        assert_eq!(refusal_of_raw_claims(&raw), Some(Refusal::MalformedClaims), "{}", raw.escape_ascii());
    }
    assert_eq!(refusal_of_raw_claims(with_name(b"\\ud83d\\ude00")), None, "a whole pair of surrogates is a character");
}

#[test]
fn attack_claims_with_stray_bits_of_base64url() {
    let mut raw = claims().to_string();
    while raw.len() % 3 != 1 {
        raw.insert(1, ' ');
    }
    let of = |encoded: &str| {
        let message = format!("{}.{encoded}", encode(header().to_string()));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &KEY.signing, Algorithm::ES256);
        format!("{message}.{}", signature.unwrap())
    };
    let encoded = encode(&raw);
    let good = of(&encoded);
    assert_eq!(refusal_of_token(&good), None);
    let last = encoded.chars().last().unwrap();
    let stray = format!("{}{}", &encoded[..encoded.len() - 1], char::from_u32(u32::from(last) + 1).unwrap());
    assert_eq!(refusal_of_token(&good.replace(&encoded, &stray)), Some(Refusal::WrongSignature));
    assert_eq!(refusal_of_token(&of(&stray)), Some(Refusal::MalformedClaims), "even if it is signed so");
    assert_eq!(refusal_of_token(&of(&format!("{encoded}A"))), Some(Refusal::MalformedClaims));
    assert_eq!(refusal_of_token(&of(&encoded[..encoded.len() - 1])), Some(Refusal::MalformedClaims));
}

#[test]
fn attack_another_kind_of_jwt_under_the_same_key() {
    // Another kind of JWT under the very same key, ID tokens above all (RFC 8725 §3.11).
    for typ in ["JWT", "JWS", "id+jwt", "secevent+jwt", "dpop+jwt", "at+jwt; x", "at+JWT"] {
        assert_eq!(refusal_of_header(&with(header(), "typ", json!(typ))), Some(Refusal::WrongType), "{typ}");
    }
}

#[test]
fn attack_an_authorization_that_is_not_exactly_one() {
    use crate::bearer::{self, Pair};

    fn pairs<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<Pair<'a>> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    let token = sign(&header(), &claims());
    let refusal = |headers: &[(&str, &str)], query: &[(&str, &str)]| {
        bearer::token(&pairs(headers), &pairs(query)).and_then(|token| verify_at(token, NOW)).err()
    };
    let of = |value: &str| refusal(&[("authorization", value)], &[]);
    let good = format!("Bearer {token}");
    assert_eq!(refusal(&[("AUTHORIZATION", &good)], &[]), None);
    assert_eq!(of(&format!("bearer {token}")), None);
    for (value, expected) in [
        (String::new(), Refusal::NotBearer),
        (token.clone(), Refusal::NotBearer),
        (format!("Bearer{token}"), Refusal::NotBearer),
        (format!("Bearer  {token}"), Refusal::NotBearer),
        (format!("Bearer\t{token}"), Refusal::NotBearer),
        (format!("Bearer\u{a0}{token}"), Refusal::NotBearer),
        (format!(" {good}"), Refusal::NotBearer),
        (format!("Basic {token}"), Refusal::NotBearer),
        (format!("Bearer: {token}"), Refusal::NotBearer),
        (format!("Bearer \t{token}"), Refusal::ForbiddenCharacter),
        (format!("{good} "), Refusal::ForbiddenCharacter),
        (format!("{good} {token}"), Refusal::ForbiddenCharacter),
        (format!("{good}\r\nx: y"), Refusal::ForbiddenCharacter),
        (format!("Bearer \"{token}\""), Refusal::ForbiddenCharacter),
        (format!("{good},"), Refusal::SeveralAuthorizations),
        (format!("{good},{good}"), Refusal::SeveralAuthorizations),
        (format!("{good}, {good}"), Refusal::SeveralAuthorizations),
        (format!("{good},Basic YTpi"), Refusal::SeveralAuthorizations),
        (format!("Basic YTpi,{good}"), Refusal::NotBearer),
    ] {
        assert_eq!(of(&value), Some(expected), "{value:?}");
    }
    let twice = [("authorization", good.as_str()), ("Authorization", &good)];
    assert_eq!(refusal(&twice, &[]), Some(Refusal::SeveralAuthorizations));
    assert_eq!(refusal(&twice[..1], &[("access_token", &token)]), Some(Refusal::SeveralAuthorizations));
    assert_eq!(refusal(&twice[..1], &[("access_token", "")]), Some(Refusal::SeveralAuthorizations));
    assert_eq!(refusal(&[], &[("access_token", &token)]), Some(Refusal::NoAuthorization));
    for name in ["x-authorization", "authorization ", "proxy-authorization", "authorisation"] {
        assert_eq!(refusal(&[(name, &good)], &[]), Some(Refusal::NoAuthorization), "{name}");
    }
}
