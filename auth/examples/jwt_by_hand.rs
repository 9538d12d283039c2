//! What a JWT is, in under a hundred lines: base64url, JSON, and a MAC over both.
//!
//! For readers who want to understand it. Latchkey uses none of this: it verifies with far stricter rules
//! (`verifier/`), and leaves the cryptography to AWS-LC. Run it: `cargo run -p auth --example jwt_by_hand`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a lesson prints, and stops where it is wrong")]

use sha2::{Digest as _, Sha256};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// base64url without padding (RFC 7515 §2): three bytes become four characters of six bits each.
fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0_u32, |bits, (i, byte)| bits | u32::from(*byte) << (16 - 8 * i));
        for i in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * i) & 63) as usize]));
        }
    }
    text
}

/// The inverse; `None` for any other character.
fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for character in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == character)?;
        bits = (bits << 6 | u32::try_from(value).ok()?) & 0xFFFF;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xFF).ok()?);
        }
    }
    Some(bytes)
}

/// HMAC-SHA-256 (RFC 2104): two nested hashes of the key, mixed with two constants.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

/// Header, claims and signature (RFC 7515 §7.1). Anyone can read the first two; the third needs the key.
fn encode(header: &str, claims: &str, key: &[u8]) -> String {
    let message = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    format!("{message}.{}", base64url(&hmac_sha256(key, message.as_bytes())))
}

/// The claims, if the signature is right and the token has not expired. The token does not choose the algorithm.
fn verify(token: &str, key: &[u8], now: u64) -> Result<serde_json::Value, &'static str> {
    let (message, signature) = token.rsplit_once('.').ok_or("it does not have three parts")?;
    let signature = from_base64url(signature).ok_or("the signature is not base64url")?;
    let expected = hmac_sha256(key, message.as_bytes());
    // Every byte is compared, so that the time does not reveal how many are correct.
    let difference = expected.iter().zip(&signature).fold(0, |difference, (a, b)| difference | (a ^ b));
    if signature.len() != expected.len() || difference != 0 {
        return Err("the signature is wrong");
    }
    let (_, claims) = message.split_once('.').ok_or("it does not have three parts")?;
    let claims = from_base64url(claims).ok_or("the claims are not base64url")?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).map_err(|_| "the claims are not JSON")?;
    // RFC 7519 §4.1.4: a token is expired at `exp` already.
    if claims["exp"].as_u64().ok_or("it has no expiry")? <= now { Err("it has expired") } else { Ok(claims) }
}

fn main() {
    // The example of RFC 7515, appendix A.1: its key, its header, its claims, and the resulting token.
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let key = from_base64url(key).unwrap();
    let header = "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}";
    let claims = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    let token = encode(header, claims, &key);
    assert_eq!(
        token,
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    println!("the token   {token}");

    let verified = verify(&token, &key, 1_300_819_379).unwrap();
    println!("its claims  {verified}");
    // A library accepts the token, and returns the same claims.
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    rules.validate_exp = false;
    let library = jsonwebtoken::DecodingKey::from_secret(&key);
    assert_eq!(jsonwebtoken::decode::<serde_json::Value>(&token, &library, &rules).unwrap().claims, verified);

    let root = base64url(claims.replace("joe", "eve").as_bytes());
    let tampered = format!("{}.{root}.{}", token.split('.').next().unwrap(), token.rsplit('.').next().unwrap());
    assert_eq!(verify(&tampered, &key, 0), Err("the signature is wrong"));
    assert_eq!(verify(&token, &key, 1_300_819_380), Err("it has expired"));
    println!("a tampered and an expired token are rejected");
}
