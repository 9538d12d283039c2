//! The rules for a token (RFC 8725, RFC 9068 §4).
//!
//! They are stricter than those of any JWT library, on purpose. `jsonwebtoken` verifies the signature and nothing else,
//! because as released it accepts an unknown `crit`, any `typ`, an `exp` that is a float or equal to now, an `iss`
//! array and an empty HMAC secret.
//!
//! The order is that of cost: what needs no cryptography comes first.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use crate::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims};
use crate::key_set::KeySet;
use crate::refusal::Refusal;
use crate::time::EpochSeconds;

/// Longest token, in bytes. A longer one is rejected before anything is parsed.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// By how much the clock of the issuer may be ahead of the clock of the verifier, in seconds. The leeway applies to the
/// beginning of a token (`iat`, `nbf`), never to its end.
pub const LEEWAY_SECONDS: u64 = 10;

/// Longest lifetime of an access token, in seconds: the most that a deployment can configure and the most that the
/// verifier accepts. A key stays in the key set, and a revocation in the denylist, for that long. It is one number, so
/// that a shorter configured lifetime cannot let an older token outlive its revocation.
pub const MAX_ACCESS_TOKEN_LIFETIME_SECONDS: u64 = 3600;

/// Length of a `kid`: an RFC 7638 thumbprint with SHA-256, in base64url.
const KID_CHARACTERS: usize = 43;

/// The header, closed (RFC 7515 §4.1). Parameters that are never accepted are listed, so that they get a refusal of
/// their own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    /// Extensions that must be understood (RFC 7515 §4.1.11). None is.
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
    /// Keys and addresses of keys of the sender's choice (§4.1.2 to §4.1.8): never used (RFC 8725 §3.10).
    #[serde(default, deserialize_with = "present")]
    jku: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    jwk: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    x5u: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    x5c: Option<IgnoredAny>,
    /// Unencoded payload (RFC 7797).
    #[serde(default, deserialize_with = "present")]
    b64: Option<IgnoredAny>,
    /// Compression and encryption (RFC 7516): an access token is neither.
    #[serde(default, deserialize_with = "present")]
    zip: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "present")]
    enc: Option<IgnoredAny>,
}

impl Header {
    fn has_forbidden_parameter(&self) -> bool {
        [self.crit, self.jku, self.jwk, self.x5u, self.x5c, self.b64, self.zip, self.enc].iter().any(Option::is_some)
    }
}

/// `Some` for a member that is present, even if its value is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IgnoredAny>, D::Error> {
    IgnoredAny::deserialize(deserializer).map(Some)
}

/// The issuer and the audience that a token must have.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// `iss`.
    pub issuer: ExpectedIssuer<'a>,
    /// `aud`, compared byte for byte.
    pub audience: &'a str,
}

/// The `iss` that a token must have.
#[derive(Clone, Copy, Debug)]
pub enum ExpectedIssuer<'a> {
    /// This one, compared byte for byte. For everything that a token gives access to.
    Exactly(&'a str),
    /// Any that this deployment issues. It has one for each of its host names, and the signature proves that it is one
    /// of them. For questions about a token (introspection, revocation), which give access to nothing.
    OfThisDeployment,
}

/// Verifies an access token at the time `now`, and returns its claims.
///
/// # Errors
/// The first rule that the token breaks. After [`Refusal::UnknownKid`] the caller may fetch the key set again, once.
pub fn verify(
    token: &str,
    keys: &KeySet,
    expected: Expected<'_>,
    now: EpochSeconds,
) -> Result<AccessTokenClaims, Refusal> {
    let claims = verify_signature(token, keys, now)?;
    check_claims(&claims, expected, now)?;
    Ok(claims)
}

/// Verifies that a key of the set has signed a token, and returns its claims, without checking their values. That is
/// sufficient to revoke the token (RFC 7009 §2.1), and for nothing else.
///
/// # Errors
/// The first rule that the token breaks, of those that [`verify`] applies up to the signature.
pub fn verify_signature(token: &str, keys: &KeySet, now: EpochSeconds) -> Result<AccessTokenClaims, Refusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refusal::TooLong);
    }
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')) {
        return Err(Refusal::ForbiddenCharacter);
    }
    // RFC 7515 §7.1, compact serialization: three parts. RFC 7516's encrypted tokens have five.
    let mut parts = token.split('.');
    let (Some(encoded_header), Some(encoded_claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::NotThreeParts);
    };

    let header: Header = closed_object(encoded_header).ok_or(Refusal::MalformedHeader)?;
    if header.has_forbidden_parameter() {
        return Err(Refusal::ForbiddenHeaderParameter);
    }
    // RFC 8725 §3.11: the type must be that of an access token.
    if header.typ != ACCESS_TOKEN_TYPE {
        return Err(Refusal::WrongType);
    }
    if header.kid.len() != KID_CHARACTERS {
        return Err(Refusal::MalformedKid);
    }
    let key = keys.find(&header.kid).ok_or(Refusal::UnknownKid)?;
    if !key.verifies_at(now) {
        return Err(Refusal::RetiredKey);
    }
    // RFC 8725 §3.1: the key determines its algorithm; the token must name the same.
    if header.alg != key.algorithm().name() {
        return Err(Refusal::WrongAlgorithm);
    }
    let signed = &token[..token.len() - signature.len() - 1];
    if !key.verifies(signed.as_bytes(), signature) {
        return Err(Refusal::WrongSignature);
    }

    closed_object(encoded_claims).ok_or(Refusal::MalformedClaims)
}

/// The rules for the values of claims, once the signature is verified.
fn check_claims(claims: &AccessTokenClaims, expected: Expected<'_>, now: EpochSeconds) -> Result<(), Refusal> {
    // RFC 7519 §4.1.1 and §4.1.3; RFC 8725 §3.8 and §3.9.
    if let ExpectedIssuer::Exactly(issuer) = expected.issuer
        && claims.iss != issuer
    {
        return Err(Refusal::WrongIssuer);
    }
    if claims.aud != expected.audience {
        return Err(Refusal::WrongAudience);
    }
    // RFC 7519 §4.1.4: a token must not be accepted "on or after" `exp`, so `exp` equal to now has expired.
    if claims.exp <= now {
        return Err(Refusal::Expired);
    }
    let latest_begin = now + LEEWAY_SECONDS;
    if claims.nbf > latest_begin {
        return Err(Refusal::NotYetValid);
    }
    if claims.iat > latest_begin {
        return Err(Refusal::IssuedInTheFuture);
    }
    // A token that lasts longer than any that is issued could outlive its revocation.
    match claims.exp.seconds_since(claims.iat) {
        Some(lifetime) if lifetime <= MAX_ACCESS_TOKEN_LIFETIME_SECONDS => Ok(()),
        _ => Err(Refusal::LifetimeOutOfPolicy),
    }
}

/// Reads base64url (no padding, no stray bits) of one JSON object in UTF-8, with nothing before or after it. Serde
/// would accept a JSON array for a struct, member by position; the first byte rules it out.
fn closed_object<T: for<'de> Deserialize<'de>>(encoded: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    if json.first() != Some(&b'{') || json.last() != Some(&b'}') {
        return None;
    }
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests;
