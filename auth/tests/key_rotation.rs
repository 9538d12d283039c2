//! Creating and rotating keys, on a real DynamoDB.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::HashSet;
use std::sync::Arc;

use auth::id::KeyId;
use auth::keys::rotation::{Rotated, RotationError, RotationPolicy, rotate};
use auth::keys::wrapping::EncryptionContext;
use auth::signing_key::{KeyKind, KeyPurpose, KeyRecord, WrappedKey};
use auth::store::signing_keys::Deletion;
use latchkey_verifier::SigningAlgorithm;
use secrecy::SecretSlice;
use test_support::fixture::{Fixture, Held, NOW, wrapper};
use test_support::proxy::{Fate, Proxy};
use test_support::tables::Tables;

const ES256: KeyKind = KeyKind::AccessToken(SigningAlgorithm::Es256);
const KINDS: [KeyKind; 2] = [ES256, KeyKind::RefreshToken];

/// Keys that follow each other quickly.
const QUICK: RotationPolicy =
    RotationPolicy { publish_ahead_seconds: 70, rotate_after_seconds: 100, sign_for_seconds: 300 };

fn kid(held: &Held) -> String {
    jsonwebtoken::decode_header(&held.access).unwrap().kid.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_100_that_make_the_first_key_at_once_one_does_and_all_use_it() {
    let tables = Arc::new(Tables::create("first-key-herd"));
    let starts: Vec<_> = (0..100)
        .map(|_| {
            let tables = Arc::clone(&tables);
            tokio::spawn(async move {
                for kind in KINDS {
                    let rotated =
                        rotate(&tables.signing_keys(), &wrapper(), kind, RotationPolicy::default(), NOW).await.unwrap();
                    assert!(!matches!(rotated, Rotated::Made(record) if record.activates_at > NOW), "no successor yet");
                }
                // A function that starts now, issues and verifies.
                let endpoint = std::env::var("AWS_ENDPOINT_URL_DYNAMODB").unwrap();
                let fixture = Fixture::on(tables.through(&endpoint));
                fixture.tokens().ready(NOW).await.unwrap();
                fixture.authorizer().warm_up(NOW).await.unwrap();
                fixture
            })
        })
        .collect();
    let mut fixtures = Vec::new();
    for start in starts {
        fixtures.push(start.await.unwrap());
    }
    for kind in KINDS {
        assert_eq!(tables.signing_keys().public_keys(kind.purpose()).await.unwrap().len(), 1, "{kind:?}");
    }
    let user = fixtures[0].add_user("alice").await;
    let mut kids = HashSet::new();
    for (number, fixture) in fixtures.iter().enumerate() {
        let held = fixture.begin(&user, NOW).await.unwrap();
        kids.insert(kid(&held));
        // No token is rejected anywhere.
        let other = &fixtures[(number + 37) % fixtures.len()];
        assert_eq!(other.rejection(&held.access, NOW).await, None);
        assert!(other.refresh(&held.refresh, NOW).await.is_ok());
    }
    assert_eq!(kids.len(), 1);
}

#[tokio::test]
async fn a_successor_is_known_everywhere_before_it_signs_and_no_token_is_ever_refused() {
    let tables = Tables::create("key-rotation");
    for kind in KINDS {
        rotate(&tables.signing_keys(), &wrapper(), kind, QUICK, NOW).await.unwrap();
    }
    let endpoint = std::env::var("AWS_ENDPOINT_URL_DYNAMODB").unwrap();
    // One function signs, others verify: a busy one, and one that is called now and then.
    let (signer, busy, idle) = (
        Fixture::on(tables.through(&endpoint)),
        Fixture::on(tables.through(&endpoint)),
        Fixture::on(tables.through(&endpoint)),
    );
    let user = signer.add_user("alice").await;
    let mut held = signer.begin(&user, NOW).await.unwrap();
    let mut kids = HashSet::new();
    for second in (0..1000).step_by(10) {
        let now = NOW + second;
        if second % 50 == 0 {
            for kind in KINDS {
                rotate(&tables.signing_keys(), &wrapper(), kind, QUICK, now).await.unwrap();
            }
        }
        held = signer.refresh(&held.refresh, now).await.unwrap();
        kids.insert(kid(&held));
        assert_eq!(busy.rejection(&held.access, now).await, None, "after {second} s");
        if second % 290 == 0 {
            assert_eq!(idle.rejection(&held.access, now).await, None, "after {second} s");
            let started = Fixture::on(tables.through(&endpoint));
            assert_eq!(started.rejection(&held.access, now).await, None, "after {second} s");
        }
    }
    assert!(kids.len() >= 6, "{} keys signed", kids.len());
}

#[tokio::test]
async fn another_algorithm_takes_over_without_a_refusal() {
    let tables = Tables::create("key-algorithms");
    rotate(&tables.signing_keys(), &wrapper(), KeyKind::RefreshToken, RotationPolicy::default(), NOW).await.unwrap();
    let endpoint = std::env::var("AWS_ENDPOINT_URL_DYNAMODB").unwrap();
    let mut now = NOW;
    let mut fixture = None;
    let mut held: Option<Held> = None;
    for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::Rs256, SigningAlgorithm::EdDsa] {
        let kind = KeyKind::AccessToken(algorithm);
        rotate(&tables.signing_keys(), &wrapper(), kind, QUICK, now).await.unwrap();
        let fixture = fixture.get_or_insert_with(|| Fixture::on(tables.through(&endpoint)));
        let old = held.clone();
        now += QUICK.publish_ahead_seconds;
        let new = match &old {
            None => {
                let user = fixture.add_user("alice").await;
                fixture.begin(&user, now).await.unwrap()
            }
            Some(old) => fixture.refresh(&old.refresh, now).await.unwrap(),
        };
        assert_eq!(jsonwebtoken::decode_header(&new.access).unwrap().alg, algorithm.into());
        assert_eq!(fixture.rejection(&new.access, now).await, None);
        if let Some(old) = old {
            assert_eq!(fixture.rejection(&old.access, now).await, None, "the old key verifies on");
        }
        held = Some(new);
    }
}

#[tokio::test]
async fn a_rotation_that_fails_or_whose_answer_is_lost_leaves_usable_keys_and_can_be_repeated() {
    for fate in [Fate::Lost, Fate::AnswerLost] {
        for broken in 0..3 {
            let tables = Tables::create(&format!("key-rotation-{broken}-{fate:?}"));
            let proxy = Proxy::start().await;
            let through = tables.through(&proxy.endpoint);
            proxy.decide(move |_, index| if index == broken { fate } else { Fate::Pass });
            let failed = rotate(&through.signing_keys(), &wrapper(), ES256, QUICK, NOW).await;
            proxy.pass();
            // The first key: a read, a transaction, and nothing else unless another caller was first.
            match broken {
                0 | 1 => assert!(matches!(failed, Err(RotationError::Store(_))), "{failed:?}"),
                _ => assert!(matches!(failed, Ok(Rotated::Made(_))), "{failed:?}"),
            }
            let again = rotate(&through.signing_keys(), &wrapper(), ES256, QUICK, NOW).await.unwrap();
            let keys = tables.signing_keys().public_keys(KeyPurpose::AccessToken).await.unwrap();
            assert_eq!(keys.len(), 1, "{again:?}");
            assert!(keys[0].is_active_at(NOW));
        }
    }
}

#[tokio::test]
async fn after_all_keys_were_revoked_a_new_first_key_can_be_made() {
    let tables = Tables::create("key-withdrawn-all");
    let keys = tables.signing_keys();
    let Rotated::Made(first) = rotate(&keys, &wrapper(), ES256, QUICK, NOW).await.unwrap() else { panic!() };
    assert_eq!(keys.delete(KeyPurpose::AccessToken, &first.kid).await.unwrap(), Deletion::Deleted);
    assert_eq!(keys.delete(KeyPurpose::AccessToken, &first.kid).await.unwrap(), Deletion::Absent);
    // Within a minute of the first key no caller creates another one: the first writer may still be at work.
    assert!(rotate(&keys, &wrapper(), ES256, QUICK, NOW + 59).await.is_err());
    assert!(matches!(rotate(&keys, &wrapper(), ES256, QUICK, NOW + 60).await.unwrap(), Rotated::Made(_)));
}

#[tokio::test]
async fn no_key_is_in_the_clear_in_the_table() {
    let tables = Tables::create("key-clear");
    for algorithm in SigningAlgorithm::ALL {
        let policy = RotationPolicy { rotate_after_seconds: 0, ..QUICK };
        rotate(&tables.signing_keys(), &wrapper(), KeyKind::AccessToken(algorithm), policy, NOW).await.unwrap();
    }
    let keys = tables.signing_keys().wrapped_keys(KeyPurpose::AccessToken).await.unwrap();
    assert_eq!(keys.len(), 4);
    let items = tables.client.scan().table_name(tables.name_of("SigningKeysTable")).send().await.unwrap();
    let items = format!("{:?}", items.items());
    for key in keys {
        let context = EncryptionContext { kid: &key.record.kid, purpose: KeyPurpose::AccessToken };
        let opened = wrapper().unwrap(context, &key.wrapped_private_key).await.unwrap();
        let opened = secrecy::ExposeSecret::expose_secret(&opened);
        assert!(!key.wrapped_private_key.windows(16).any(|window| opened.windows(16).any(|part| part == window)));
        let as_shown = format!("{opened:?}");
        assert!(!items.contains(as_shown.trim_matches(['[', ']'])), "{}", key.record.alg);
        assert!(!key.record.public_jwk.is_some_and(|jwk| jwk.contains("\"d\"") || jwk.contains("\"k\"")));
    }
}

#[tokio::test]
async fn a_secret_of_less_than_32_bytes_makes_no_token_of_either_kind() {
    for (kind, alg) in [(KeyKind::RefreshToken, "HS256"), (KeyKind::AccessToken(SigningAlgorithm::Hs256), "HS256")] {
        let fixture = Fixture::create(&format!("keys-short-{}", kind.purpose())).await;
        let purpose = kind.purpose();
        let kid = KeyId::new("a".repeat(43));
        let context = EncryptionContext { kid: &kid, purpose };
        let wrapped_private_key = wrapper().wrap(context, &SecretSlice::from(vec![7; 31])).await.unwrap();
        let (activates_at, retires_at) = (NOW - 1, NOW + 1000);
        let record = KeyRecord { kid: kid.clone(), alg: alg.to_owned(), public_jwk: None, activates_at, retires_at };
        fixture
            .tables
            .signing_keys()
            .add(purpose, &WrappedKey { record, wrapped_private_key }, NOW + 5000)
            .await
            .unwrap();
        let error = fixture.tokens().ready(NOW).await.err().unwrap();
        assert_eq!(error.to_string(), format!("the key {kid} cannot be used"));
    }
}
