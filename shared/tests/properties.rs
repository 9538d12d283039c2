//! What anybody can send, in random shapes: nothing of it panics, and nothing counts but what was issued.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::HashMap;
use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use shared::http::bearer;
use shared::keys::algorithm::SigningAlgorithm;
use shared::keys::generation::generate;
use shared::keys::ring::KeyRing;
use shared::keys::sealing::{EncryptionContext, Sealer};
use shared::keys::signing::{RefreshTokenKey, TokenSigner};
use shared::keys::{KeyKind, KeyPurpose};
use shared::password::hash::Hasher;
use shared::token::issuer::{Issuer, Subject};
use shared::token::refresh::{self, Unverified};
use shared::token::verifier::{Expected, verify};
use shared::username::Username;

const NOW: u64 = 1_800_000_000;
const EXPECTED: Expected<'_> = Expected { issuer: "https://api.example.com", audience: "latchkey" };

/// A ring, and a token that counts under it.
static ISSUED: LazyLock<(KeyRing, String)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let sealing_key = base64::engine::general_purpose::STANDARD.encode([1; 32]);
        let sealer = Sealer::local(&SecretString::from(sealing_key)).unwrap();
        let kind = KeyKind::AccessToken(SigningAlgorithm::Es256);
        let key = generate(kind, NOW - 10, NOW + 1000, &sealer).await.unwrap();
        let context = EncryptionContext { kid: &key.record.kid, purpose: KeyPurpose::AccessToken };
        let opened = sealer.open(context, &key.sealed_private_key).await.unwrap();
        let signer = TokenSigner::new(key.record.kid.clone(), SigningAlgorithm::Es256, &opened);
        let subject = Subject { sub: "sub", username: "alice", roles: &[], epoch: 0, sid: "sid" };
        let issuer = Issuer { audience: EXPECTED.audience.to_owned(), lifetime_seconds: 900 };
        let token = issuer.issue(&signer, EXPECTED.issuer, subject, NOW, &SystemRandom::new()).unwrap();
        (KeyRing::new(&[key.record]), token.expose_secret().to_owned())
    })
});

fn refresh_token_key() -> RefreshTokenKey {
    RefreshTokenKey::new("k".to_owned(), &SecretSlice::from(vec![7; 32]))
}

/// What the authorizer makes of a header's value.
fn counts(value: &str) -> bool {
    let headers = HashMap::from([("authorization".to_owned(), value.to_owned())]);
    bearer::token(&headers, &HashMap::new()).is_ok_and(|token| verify(token, &ISSUED.0, EXPECTED, NOW).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_header_counts_but_the_one_with_the_token(value in ".*", scheme in "(?i)bearer ") {
        prop_assert!(!counts(&value));
        let value = format!("{scheme}{value}");
        prop_assert!(!counts(&value));
    }

    #[test]
    fn a_token_counts_in_one_spelling(position in any::<prop::sample::Index>(), replacement in any::<char>()) {
        let token = &ISSUED.1;
        let bearer = format!("Bearer {token}");
        prop_assert!(counts(&bearer));
        let position = position.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(position..=position, &replacement.to_string());
        let spoilt = format!("Bearer {changed}");
        prop_assert!(changed == *token || !counts(&spoilt), "{}", changed);
        let cut = format!("Bearer {}", &token[..position]);
        prop_assert!(!counts(&cut));
    }

    #[test]
    fn a_header_and_claims_of_any_shape_do_not_count(header in "\\PC{0,80}", claims in "\\PC{0,80}", members in "[a-z0-9\":,{}\\[\\]]{0,80}") {
        let signature = ISSUED.1.rsplit('.').next().unwrap();
        for (header, claims) in [(&header, &claims), (&members, &claims), (&header, &members)] {
            let token = format!("Bearer {}.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims), signature);
            prop_assert!(!counts(&token));
        }
    }

    #[test]
    fn no_refresh_token_verifies_but_one_that_was_issued(text in ".*", sid in "[A-Za-z0-9_-]{1,22}", generation in any::<u64>(), mac in "[A-Za-z0-9_-]{0,44}") {
        let key = refresh_token_key();
        let verified = |text: &str| Unverified::parse(text).and_then(|token| token.verify(&key));
        prop_assert_eq!(verified(&text), None);
        let guessed = format!("1.k.{sid}.{generation}.{mac}");
        prop_assert_eq!(verified(&guessed), None);
        let issued = refresh::issue(&key, &sid, generation);
        let token = verified(issued.expose_secret()).unwrap();
        prop_assert_eq!((token.sid, token.generation), (sid, generation));
    }

    #[test]
    fn no_text_that_is_stored_as_a_hash_makes_it_panic(text in ".*", phc in "\\$(argon2id|argon2i|scrypt|pbkdf2-sha256|pbkdf2-sha512|2[aby])\\$[a-z0-9=,$+/.]{0,80}") {
        for stored in [&text, &phc] {
            let _ = Hasher::check_importable(stored);
            prop_assert!(Hasher::new().needs_rehash(stored));
        }
    }

    #[test]
    fn a_name_is_refused_or_its_own_canonical_spelling(text in ".*", letters in "\\PC{1,64}") {
        for typed in [text, letters] {
            if let Ok(name) = Username::parse(&typed) {
                prop_assert_eq!(Username::parse(name.as_str()).unwrap(), name);
            }
        }
    }
}
