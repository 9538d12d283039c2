//! Verifies the access tokens that Latchkey issues, in any Rust service.
//!
//! Latchkey is a login service: its access tokens are signed JWTs (RFC 7519) of the profile RFC 9068. This crate
//! decides whether such a token is valid: the `Authorization` header ([`bearer`]), the form, the header, the key, the
//! signature and the claims ([`verify`]). It does no I/O. The caller fetches the key set and passes the time.
//!
//! ```
//! use latchkey_verifier::{EpochSeconds, Expected, ExpectedIssuer, KeySet, Refusal, verify};
//!
//! # let jwks = r#"{"keys":[]}"#;
//! # let token = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6IjAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIifQ.e30.AA";
//! // The body of GET https://api.example.com/.well-known/jwks.json
//! let keys = KeySet::from_jwks(jwks)?;
//! let expected = Expected { issuer: ExpectedIssuer::Exactly("https://api.example.com"), audience: "latchkey" };
//! match verify(token, &keys, expected, EpochSeconds::now()) {
//!     Ok(claims) => println!("{} has the roles {:?}", claims.username, claims.roles),
//!     Err(Refusal::UnknownKid) => println!("fetch the key set again, then try once more"),
//!     Err(refusal) => println!("401: {refusal}"),
//! }
//! # Ok::<(), latchkey_verifier::KeySetError>(())
//! ```
//!
//! # What it does not do
//!
//! A token that was revoked before it expires is valid for this crate: that is in Latchkey's denylist, which the Lambda
//! authorizer reads. A service that needs to know calls `POST /introspect` (RFC 7662).
//!
//! # Why it is strict
//!
//! JWT verifiers fail by accepting what they do not understand (RFC 8725). Header and claims are read into
//! closed types: a member that is missing, unknown, repeated or of another type makes the token invalid. Only the key
//! determines the algorithm. Each rule is one variant of [`Refusal`], with the RFC section that requires it.
//!
//! # Cryptography
//!
//! Signatures are verified by [`jsonwebtoken`](https://docs.rs/jsonwebtoken), on AWS-LC (feature `aws-lc-rs`, the
//! default) or in pure Rust (feature `rust-crypto`, with `default-features = false`).
#![deny(missing_docs)]

mod algorithm;
mod backend;
pub mod bearer;
mod claims;
mod key_set;
mod refusal;
mod time;
mod verify;

pub use algorithm::{SigningAlgorithm, UnknownAlgorithm};
pub use claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims};
pub use key_set::{KeyError, KeySet, KeySetError, MIN_HMAC_KEY_BYTES, ShortSecret, VerificationKey, check_hmac_key};
pub use refusal::{Check, Refusal};
pub use time::EpochSeconds;
pub use verify::{
    Expected, ExpectedIssuer, LEEWAY_SECONDS, MAX_ACCESS_TOKEN_LIFETIME_SECONDS, MAX_TOKEN_BYTES, verify,
    verify_signature,
};

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
