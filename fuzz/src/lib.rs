//! What the targets have in common: a ring with a known key, and what must hold for whatever is sent.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::http::bearer;
use shared::keys::KeyRecord;
use shared::keys::ring::KeyRing;
use shared::token::verifier::{Expected, ExpectedIssuer, verify};

/// The time of every run, in epoch seconds.
pub const NOW: u64 = 1_800_000_000;

/// Issuer and audience of every run.
pub const EXPECTED: Expected<'static> = Expected { issuer: ExpectedIssuer::Exactly("https://api.example.com"), audience: "latchkey" };

/// The thumbprint of the key of RFC 7515, appendix A.3. Its private half is published there, so a seed can be signed by
/// it.
pub const KID: &str = "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U";

const JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","use":"sig","alg":"ES256","kid":"oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"}"#;

/// A ring of that one public key, within its time.
pub static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    let record = KeyRecord {
        kid: KID.to_owned(),
        alg: "ES256".to_owned(),
        public_jwk: Some(JWK.to_owned()),
        activates_at: 0,
        retires_at: NOW + 1_000_000,
    };
    let ring = KeyRing::new(&[record]);
    // A key that cannot be used is left out, and then every token is refused for that reason alone.
    assert!(ring.find(KID).is_some());
    ring
});

/// As a part of a token.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the authorizer makes of the value of an `Authorization` header, with the ring in which nothing counts: no seed
/// has a token that is still within its time.
///
/// # Panics
/// It counts.
pub fn header_must_be_refused(value: &str) {
    let headers = [("authorization".into(), value.into())];
    if let Ok(token) = bearer::token(&headers, &[]) {
        token_must_be_refused(token);
    }
}

/// As [`header_must_be_refused`], for a token.
///
/// # Panics
/// It counts.
pub fn token_must_be_refused(token: &str) {
    assert!(verify(token, &RING, EXPECTED, NOW).is_err(), "it counts: {token}");
}
