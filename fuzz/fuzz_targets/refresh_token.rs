//! Any text as a refresh token, under one key: it verifies only if it is, byte for byte, the one that was issued.
#![no_main]

use std::sync::LazyLock;

use auth::id::{KeyId, SessionId};
use auth::keys::signing::RefreshTokenKey;
use auth::token::refresh::{self, RefreshToken, Unverified};
use libfuzzer_sys::fuzz_target;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

const SID: &str = "wzrVrBYV2EvgI9lvhtUvWA";
const GENERATION: u64 = 7;

static KEY: LazyLock<RefreshTokenKey> =
    LazyLock::new(|| RefreshTokenKey::new(KeyId::new("k"), &SecretSlice::from(vec![7; 32])));
static ISSUED: LazyLock<SecretString> = LazyLock::new(|| refresh::issue(&KEY, &SessionId::new(SID), GENERATION));

fuzz_target!(|text: &str| {
    let verified = Unverified::parse(text).and_then(|token| token.verify(&KEY));
    let issued = RefreshToken { sid: SessionId::new(SID), generation: GENERATION };
    let is_issued = text == ISSUED.expose_secret();
    assert_eq!(verified, is_issued.then_some(issued), "{text}");
});
