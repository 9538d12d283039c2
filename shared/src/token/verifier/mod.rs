//! The verifier: which access tokens count (RFC 8725, RFC 9068 §4).
//!
//! It is stricter than any JWT library, on purpose. `jsonwebtoken` checks the signature and nothing else, because as
//! released it accepts an unknown `crit`, any `typ`, an `exp` that is a float or equal to now, an `iss` array and an
//! empty HMAC secret. Everything is read into closed types; whatever they do not name makes a token invalid.
//!
//! The order is that of cost: what needs no cryptography comes first, and nothing here reads a store. Revocation comes
//! after it, in [`crate::authorization`].

mod refusal;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims};
use crate::clock::EpochSeconds;
use crate::config::MAX_ACCESS_TOKEN_LIFETIME_SECONDS;
use crate::keys::ring::KeyRing;
pub use refusal::{Check, Refusal};

/// Longest token, in bytes. It is cut off before anything is parsed.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// By how much the clocks of two of Latchkey's functions may differ, in seconds. It is allowed for where a token claims
/// to begin (`iat`, `nbf`), never where it ends.
pub const LEEWAY_SECONDS: EpochSeconds = 10;

/// Length of a `kid`: an RFC 7638 thumbprint with SHA-256, in base64url.
const KID_CHARACTERS: usize = 43;

/// The header, closed (RFC 7515 §4.1). The parameters that must not be there are named, for the refusal's sake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    /// Extensions that must be understood (RFC 7515 §4.1.11): none are.
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

/// `Some` for a member that is there, whatever its value, `null` included.
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
    /// This one, compared byte for byte: for everything that a token opens.
    Exactly(&'a str),
    /// Whichever this deployment has issued the token with. It has as many as it has host names, and the signature says
    /// that it is one of them. For questions about a token, which nothing is opened by.
    OfThisDeployment,
}

/// Verifies an access token at the time `now`.
///
/// # Errors
/// The first rule that the token breaks. An unknown `kid` is [`Refusal::UnknownKid`]: the caller may know a newer ring.
pub fn verify(
    token: &str,
    ring: &KeyRing,
    expected: Expected<'_>,
    now: EpochSeconds,
) -> Result<AccessTokenClaims, Refusal> {
    let claims = verify_signature(token, ring, now)?;
    check_claims(&claims, expected, now)?;
    Ok(claims)
}

/// The claims of a token that a key of `ring` has signed, whatever their values are. It is enough to revoke the token
/// (RFC 7009 §2.1), and for nothing else.
///
/// # Errors
/// The first rule that the token breaks, as of [`verify`].
pub fn verify_signature(token: &str, ring: &KeyRing, now: EpochSeconds) -> Result<AccessTokenClaims, Refusal> {
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
    // RFC 8725 §3.11: the type says that this is an access token and no other kind of JWT.
    if header.typ != ACCESS_TOKEN_TYPE {
        return Err(Refusal::WrongType);
    }
    if header.kid.len() != KID_CHARACTERS {
        return Err(Refusal::MalformedKid);
    }
    let key = ring.find(&header.kid).ok_or(Refusal::UnknownKid)?;
    if !key.verifies_at(now) {
        return Err(Refusal::RetiredKey);
    }
    // RFC 8725 §3.1: the key says which algorithm is used with it; the token may only agree.
    if header.alg != key.algorithm().name() {
        return Err(Refusal::WrongAlgorithm);
    }
    let signed = &token[..token.len() - signature.len() - 1];
    if !key.verifies(signed.as_bytes(), signature) {
        return Err(Refusal::WrongSignature);
    }

    closed_object(encoded_claims).ok_or(Refusal::MalformedClaims)
}

/// The rules on values of claims, once the signature is known to be right.
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
    // RFC 7519 §4.1.4: "on or after which" it must not be accepted, so `exp` equal to now is too late.
    if claims.exp <= now {
        return Err(Refusal::Expired);
    }
    let latest_begin = now.saturating_add(LEEWAY_SECONDS);
    if claims.nbf > latest_begin {
        return Err(Refusal::NotYetValid);
    }
    if claims.iat > latest_begin {
        return Err(Refusal::IssuedInTheFuture);
    }
    // A token that lasts longer than any that is issued could outlive its revocation.
    match claims.exp.checked_sub(claims.iat) {
        Some(lifetime) if lifetime <= MAX_ACCESS_TOKEN_LIFETIME_SECONDS => Ok(()),
        _ => Err(Refusal::LifetimeOutOfPolicy),
    }
}

/// Reads base64url (no padding, no stray bits) of one JSON object in UTF-8, nothing before or after it. Serde would
/// take a JSON array for a struct, member by position; the first byte rules it out.
fn closed_object<T: for<'de> Deserialize<'de>>(encoded: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    if json.first() != Some(&b'{') || json.last() != Some(&b'}') {
        return None;
    }
    serde_json::from_slice(&json).ok()
}
