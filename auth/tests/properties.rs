//! Random input of clients: nothing panics, and only issued tokens are valid.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::LazyLock;

use auth::EpochSeconds;
use auth::id::{KeyId, SessionId, UserId};
use auth::keys::generation::generate;
use auth::keys::signing::{RefreshTokenKey, TokenSigner};
use auth::keys::wrapping::EncryptionContext;
use auth::password::error::HashError;
use auth::password::hash::Hasher;
use auth::password::limits;
use auth::session::{Origin, Session};
use auth::signing_key::{KeyKind, KeyPurpose};
use auth::token::issuer::Issuer;
use auth::token::refresh::{self, Unverified};
use auth::user::{Profile, UserStatus};
use auth::username::Username;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use latchkey_verifier::{
    Expected, ExpectedIssuer, KeySet, LEEWAY_SECONDS, MAX_ACCESS_TOKEN_LIFETIME_SECONDS, SigningAlgorithm,
    VerificationKey, bearer, verify,
};
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretSlice};
use serde_json::{Value, json};
use test_support::fixture::wrapper;

const NOW: EpochSeconds = EpochSeconds::new(1_800_000_000);
const ISSUER: &str = "https://api.example.com";
const EXPECTED: Expected<'_> = Expected { issuer: ExpectedIssuer::Exactly(ISSUER), audience: "latchkey" };

/// A key set, and a token that is valid under it.
static ISSUED: LazyLock<(KeySet, String)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let kind = KeyKind::AccessToken(SigningAlgorithm::Es256);
        let key = generate(kind, NOW - 10, NOW + 1000, &wrapper()).await.unwrap();
        let context = EncryptionContext { kid: &key.record.kid, purpose: KeyPurpose::AccessToken };
        let unwrapped = wrapper().unwrap(context, &key.wrapped_private_key).await.unwrap();
        let signer = TokenSigner::new(key.record.kid.clone(), SigningAlgorithm::Es256, &unwrapped);
        let user = Profile {
            username: Username::from_stored("alice"),
            user_id: UserId::new("sub"),
            roles: Vec::new(),
            status: UserStatus::Enabled,
            epoch: 0,
        };
        let session = Session::begin(SessionId::new("sid"), &user, &Origin::default(), NOW);
        let issuer = Issuer { audience: EXPECTED.audience.to_owned(), lifetime_seconds: 900 };
        let token = issuer.issue(&signer, ISSUER, &user, &session, NOW, &SystemRandom::new()).unwrap();
        let public_key = VerificationKey::from_jwk(key.record.public_jwk.as_deref().unwrap()).unwrap();
        ([public_key].into_iter().collect(), token.expose_secret().to_owned())
    })
});

fn refresh_token_key() -> RefreshTokenKey {
    RefreshTokenKey::new(KeyId::new("k"), &SecretSlice::from(vec![7; 32]))
}

/// A parameter of a hash: mostly small, or about a power of two.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..70_u32,
        any::<u32>(),
        (0..32_u32, 0..3_u32).prop_map(|(shift, off)| (1_u32 << shift).wrapping_add(off).wrapping_sub(1))
    ]
}

/// Names and values.
type Pairs = Vec<(String, String)>;

/// The authorizer's result for a header's value.
fn is_valid(value: &str) -> bool {
    let headers = [("authorization".into(), value.into())];
    bearer::token(&headers, &[]).is_ok_and(|token| verify(token, &ISSUED.0, EXPECTED, NOW).is_ok())
}

const SHARED_KID: &str = "HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH";
const SHARED_SECRET: [u8; 32] = [9; 32];

/// A key set of one secret, under which a test can sign what no issuer would.
static SHARED: LazyLock<KeySet> = LazyLock::new(|| {
    [VerificationKey::from_secret(SHARED_KID.to_owned(), &SHARED_SECRET).unwrap()].into_iter().collect()
});

/// A token of these claims, with a correct signature.
fn sign(claims: &str) -> String {
    let header = json!({ "alg": "HS256", "typ": "at+jwt", "kid": SHARED_KID }).to_string();
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SHARED_SECRET), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac))
}

fn good_claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "sub", "aud": EXPECTED.audience, "exp": NOW + 900, "iat": NOW, "nbf": NOW,
        "jti": "jti", "client_id": "latchkey", "sid": "sid", "username": "alice", "roles": ["user"], "epoch": 0,
    })
}

/// Any JSON, and often a time near one that matters.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ((NOW - 1000).get()..(NOW + 5000).get()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(Value::from(ISSUER)),
        Just(Value::from(EXPECTED.audience)),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{0,4}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Whether claims with replaced members are still valid.
fn may_be_valid(claims: &Value) -> bool {
    let (good, time) = (good_claims(), |name: &str| claims[name].as_u64());
    let (Some(good), Some(claims), Some(exp), Some(iat), Some(nbf)) =
        (good.as_object(), claims.as_object(), time("exp"), time("iat"), time("nbf"))
    else {
        return false;
    };
    claims.len() == good.len()
        && good.iter().all(|(name, ours)| {
            claims.get(name).is_some_and(|value| match name.as_str() {
                "exp" | "iat" | "nbf" => true,
                "iss" | "aud" => value == ours,
                "roles" => value.as_array().is_some_and(|roles| roles.iter().all(Value::is_string)),
                "epoch" => value.is_u64(),
                _ => value.is_string(),
            })
        })
        && exp > NOW.get()
        && iat <= (NOW + LEEWAY_SECONDS).get()
        && nbf <= (NOW + LEEWAY_SECONDS).get()
        && exp >= iat
        && exp - iat <= MAX_ACCESS_TOKEN_LIFETIME_SECONDS
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_header_is_valid_but_the_one_with_the_token(value in ".*", scheme in "(?i)bearer ") {
        prop_assert!(!is_valid(&value));
        let value = format!("{scheme}{value}");
        prop_assert!(!is_valid(&value));
    }

    #[test]
    fn a_token_is_valid_in_one_spelling(position in any::<prop::sample::Index>(), replacement in any::<char>()) {
        let token = &ISSUED.1;
        let bearer = format!("Bearer {token}");
        prop_assert!(is_valid(&bearer));
        let position = position.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(position..=position, &replacement.to_string());
        let spoilt = format!("Bearer {changed}");
        prop_assert!(changed == *token || !is_valid(&spoilt), "{}", changed);
        let cut = format!("Bearer {}", &token[..position]);
        prop_assert!(!is_valid(&cut));
    }

    #[test]
    fn a_header_and_claims_of_any_shape_are_not_valid(header in "\\PC{0,80}", claims in "\\PC{0,80}", members in "[a-z0-9\":,{}\\[\\]]{0,80}") {
        let signature = ISSUED.1.rsplit('.').next().unwrap();
        for (header, claims) in [(&header, &claims), (&members, &claims), (&header, &members)] {
            let token = format!("Bearer {}.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims), signature);
            prop_assert!(!is_valid(&token));
        }
    }

    #[test]
    fn signed_claims_are_valid_exactly_if_each_of_them_may_be(
        changes in prop::collection::vec((any::<prop::sample::Index>(), json_value()), 0..3),
        unknown in prop::option::weighted(0.1, ("[a-z]{0,4}", json_value())),
        missing in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut claims = good_claims();
        let names: Vec<String> = claims.as_object().unwrap().keys().cloned().collect();
        for (name, value) in changes {
            claims[name.get(&names)] = value;
        }
        if let Some((name, value)) = unknown {
            claims[name] = value;
        }
        if let Some(name) = missing {
            claims.as_object_mut().unwrap().remove(name.get(&names));
        }
        let verified = verify(&sign(&claims.to_string()), &SHARED, EXPECTED, NOW);
        prop_assert_eq!(verified.is_ok(), may_be_valid(&claims), "{}: {:?}", claims, verified);
    }

    /// What the authorizer has of an event, once it is read: pairs of headers and of parameters, of which some have one
    /// name.
    #[test]
    fn of_an_event_only_the_one_header_yields_a_token(
        headers in prop::collection::vec(("(?i)authorization|cookie|[a-z-]{0,6}", "(?i)(bearer )?[a-z0-9._,-]{0,20}"), 0..4),
        query in prop::collection::vec(("access_token|[a-z_]{0,6}", ".{0,8}"), 0..2),
    ) {
        let (headers, query): (Pairs, Pairs) = (headers, query);
        let has_query_token = query.iter().any(|(name, _)| name == "access_token");
        let named: Vec<&String> =
            headers.iter().filter(|(name, _)| name.to_lowercase() == "authorization").map(|(_, value)| value).collect();
        let pairs = |pairs: &Pairs| -> Vec<bearer::Pair<'static>> {
            pairs.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect()
        };
        match bearer::token(&pairs(&headers), &pairs(&query)) {
            Ok(token) => {
                prop_assert_eq!(named.len(), 1);
                prop_assert!(!has_query_token);
                prop_assert!(!token.is_empty() && !token.contains(','));
                prop_assert_eq!(named[0].to_lowercase(), format!("bearer {}", token.to_lowercase()));
            }
            Err(refusal) => {
                let whole = named.len() == 1 && !has_query_token && !named[0].contains(',');
                let is_bearer = named.first().is_some_and(|value| value.len() > 7 && value.to_lowercase().starts_with("bearer "));
                prop_assert!(!(whole && is_bearer), "{:?}", refusal);
            }
        }
    }

    #[test]
    fn no_refresh_token_verifies_but_one_that_was_issued(text in ".*", sid in "[A-Za-z0-9_-]{1,22}", generation in any::<u64>(), mac in "[A-Za-z0-9_-]{0,44}") {
        let key = refresh_token_key();
        let verified = |text: &str| Unverified::parse(text).and_then(|token| token.verify(&key));
        prop_assert_eq!(verified(&text), None);
        let guessed = format!("1.k.{sid}.{generation}.{mac}");
        prop_assert_eq!(verified(&guessed), None);
        let issued = refresh::issue(&key, &SessionId::new(&sid), generation);
        let token = verified(issued.expose_secret()).unwrap();
        prop_assert_eq!((token.sid.into_inner(), token.generation), (sid, generation));
    }

    #[test]
    fn no_text_that_is_stored_as_a_hash_makes_it_panic(text in ".*", phc in "\\$(argon2id|argon2i|scrypt|pbkdf2-sha256|pbkdf2-sha512|2[aby])\\$[a-z0-9=,$+/.]{0,80}") {
        for stored in [&text, &phc] {
            let _ = Hasher::check_importable(stored);
            prop_assert!(Hasher::new().needs_rehash(stored));
        }
    }

    /// For all parameters of a hash, even if their product overflows: an imported hash is within the limits.
    #[test]
    fn a_hash_that_can_be_imported_is_within_the_limits(
        numbers in [number(), number(), number()],
        scheme in prop::sample::select(vec!["argon2id", "argon2i", "scrypt", "pbkdf2-sha256", "pbkdf2-sha512"]),
        output in prop::sample::select(vec![16_usize, 32, 48, 64]),
    ) {
        let [a, b, c] = numbers;
        let (wide_a, wide_b, wide_c) = (u128::from(a), u128::from(b), u128::from(c));
        let blocks = |bytes: usize| output.div_ceil(bytes) as u128;
        let (parameters, within) = match scheme {
            "scrypt" => {
                let n = if a < 64 { 1_u128 << a } else { u128::MAX };
                let blocks = wide_b * wide_c;
                let is_within = n.saturating_mul(blocks) <= limits::MAX_SCRYPT_WORK.into()
                    && blocks <= limits::MAX_SCRYPT_BLOCKS.into();
                (format!("ln={a},r={b},p={c}"), is_within)
            }
            "pbkdf2-sha256" => (format!("i={a}"), wide_a * blocks(32) <= limits::MAX_PBKDF2_SHA256_WORK.into()),
            "pbkdf2-sha512" => (format!("i={a}"), wide_a * blocks(64) <= limits::MAX_PBKDF2_SHA512_WORK.into()),
            _ => {
                let is_within = wide_a * wide_b <= limits::MAX_ARGON2_WORK.into()
                    && a <= limits::MAX_ARGON2_MEMORY_KIB
                    && c <= limits::MAX_ARGON2_LANES;
                (format!("m={a},t={b},p={c}"), is_within)
            }
        };
        let hash = STANDARD_NO_PAD.encode(vec![0; output]);
        let stored = format!("${scheme}${parameters}$c2l4dGVlbiBieXRlcyEhIQ${hash}");
        prop_assert!(within || Hasher::check_importable(&stored).is_err(), "{}", stored);
        // Within the limits only malformed hashes are rejected.
        let refused = Hasher::check_importable(&stored).err();
        prop_assert!(!within || !matches!(refused, Some(HashError::TooCostly { .. })), "{}: {:?}", stored, refused);
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
