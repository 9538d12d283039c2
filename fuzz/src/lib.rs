//! What the targets have in common: a set of one known key, and what must hold for whatever is sent.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey_verifier::{EpochSeconds, Expected, ExpectedIssuer, KeySet, VerificationKey, bearer, verify};

/// The time of every run.
pub const NOW: EpochSeconds = EpochSeconds::new(1_800_000_000);

/// Issuer and audience of every run.
pub const EXPECTED: Expected<'static> = Expected { issuer: ExpectedIssuer::Exactly("https://api.example.com"), audience: "latchkey" };

/// The thumbprint of the key of RFC 7515, appendix A.3. Its private half is published there, so a seed can be signed by
/// it.
pub const KID: &str = "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U";

const JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","use":"sig","alg":"ES256","kid":"oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"}"#;

/// A set of that one public key.
pub static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let keys: KeySet = [VerificationKey::from_jwk(JWK).expect("the key of the RFC")].into_iter().collect();
    // A key that cannot be used is left out, and then every token is rejected for that reason alone.
    assert!(keys.find(KID).is_some());
    keys
});

/// As a part of a token.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the authorizer makes of the value of an `Authorization` header, with a key set under which nothing is valid: no
/// seed has a token that has not expired.
///
/// # Panics
/// It is valid.
pub fn header_must_be_rejected(value: &str) {
    let headers = [("authorization".into(), value.into())];
    if let Ok(token) = bearer::token(&headers, &[]) {
        token_must_be_rejected(token);
    }
}

/// As [`header_must_be_rejected`], for a token.
///
/// # Panics
/// It is valid.
pub fn token_must_be_rejected(token: &str) {
    assert!(verify(token, &KEYS, EXPECTED, NOW).is_err(), "it is valid: {token}");
}
