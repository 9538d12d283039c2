//! The authorizer's decisions, with keys and denylist on DynamoDB Local and a clock of the test.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use auth::EpochSeconds;
use auth::authorization::{AccessTokenAuthorizer, AuthorizationError};
use auth::id::{SessionId, UserId};
use auth::keys::generation::generate;
use auth::keys::signing::TokenSigner;
use auth::keys::verification::VerificationKeys;
use auth::keys::wrapping::EncryptionContext;
use auth::revocation::{Revocation, Revocations, Revoked};
use auth::session::{Origin, Session, revocation_expires_at};
use auth::signing_key::{KeyKind, KeyPurpose};
use auth::store::denylist::DenylistTable;
use auth::store::signing_keys::SigningKeysTable;
use auth::token::issuer::Issuer;
use auth::user::{Profile, UserStatus};
use auth::username::Username;
use aws_lc_rs::rand::SystemRandom;
use aws_sdk_dynamodb::types::AttributeValue;
use latchkey_verifier::{Expected, ExpectedIssuer, Refusal, SigningAlgorithm};
use secrecy::ExposeSecret as _;
use test_support::fixture::{Rejection, wrapper};
use test_support::proxy::{Fate, Proxy};
use test_support::tables::Tables;

const NOW: EpochSeconds = EpochSeconds::new(1_800_000_000);
const ISSUER: &str = "https://api.example.com";
const EXPECTED: Expected<'_> = Expected { issuer: ExpectedIssuer::Exactly(ISSUER), audience: "latchkey" };

/// An authorizer that has just started, on tables of its own.
async fn authorizer(tables: &Tables) -> AccessTokenAuthorizer {
    let authorizer = AccessTokenAuthorizer::new(VerificationKeys::new(tables.signing_keys(), None), tables.denylist());
    authorizer.warm_up(NOW).await.unwrap();
    authorizer
}

/// A new key in the table.
async fn add_key(tables: &Tables) -> TokenSigner {
    let kind = KeyKind::AccessToken(SigningAlgorithm::Es256);
    let key = generate(kind, NOW - 10, NOW + 100_000, &wrapper()).await.unwrap();
    tables.signing_keys().add(KeyPurpose::AccessToken, &key, NOW + 200_000).await.unwrap();
    let context = EncryptionContext { kid: &key.record.kid, purpose: KeyPurpose::AccessToken };
    let unwrapped = wrapper().unwrap(context, &key.wrapped_private_key).await.unwrap();
    TokenSigner::new(key.record.kid, SigningAlgorithm::Es256, &unwrapped)
}

async fn delete_key(tables: &Tables, signer: &TokenSigner) {
    tables
        .client
        .delete_item()
        .table_name(tables.name_of("SigningKeysTable"))
        .key("purpose", AttributeValue::S("access-token".to_owned()))
        .key("kid", AttributeValue::S(signer.kid().to_string()))
        .send()
        .await
        .unwrap();
}

/// A token of the session `s` and of epoch 3, issued at `iat`.
fn token(signer: &TokenSigner, iat: EpochSeconds) -> String {
    let user = Profile {
        username: Username::from_stored("alice"),
        user_id: UserId::new("sub"),
        roles: Vec::new(),
        status: UserStatus::Enabled,
        epoch: 3,
    };
    let session = Session::begin(SessionId::new("s"), &user, &Origin::default(), iat);
    let issuer = Issuer { audience: EXPECTED.audience.to_owned(), lifetime_seconds: 900 };
    let token = issuer.issue(signer, ISSUER, &user, &session, iat, &SystemRandom::new()).unwrap();
    token.expose_secret().to_owned()
}

fn sub() -> UserId {
    UserId::new("sub")
}

async fn rejection(authorizer: &AccessTokenAuthorizer, token: &str, now: EpochSeconds) -> Option<Rejection> {
    Rejection::of(authorizer.authorize(token, EXPECTED, now).await)
}

#[tokio::test]
async fn a_good_token_passes() {
    let tables = Tables::create("authorize-good");
    let signer = add_key(&tables).await;
    let claims = authorizer(&tables).await.authorize(&token(&signer, NOW), EXPECTED, NOW).await.unwrap();
    assert_eq!((claims.sub.as_str(), claims.sid.as_str(), claims.exp), ("sub", "s", NOW + 900));
}

#[tokio::test]
async fn revoked_token() {
    let tables = Tables::create("authorize-jti");
    let signer = add_key(&tables).await;
    let authorizer = authorizer(&tables).await;
    let (revoked, other) = (token(&signer, NOW), token(&signer, NOW));
    let jti = authorizer.authorize(&revoked, EXPECTED, NOW).await.unwrap().jti;
    tables.denylist().deny(&sub(), &Revocation::Token(jti), NOW + 900, &Revocations::default()).await.unwrap();
    assert_eq!(rejection(&authorizer, &revoked, NOW).await, Some(Revoked::Token.into()));
    assert_eq!(rejection(&authorizer, &other, NOW).await, None);
}

#[tokio::test]
async fn revoked_session() {
    let tables = Tables::create("authorize-sid");
    let signer = add_key(&tables).await;
    let authorizer = authorizer(&tables).await;
    let token = token(&signer, NOW);
    tables
        .denylist()
        .deny(&sub(), &Revocation::Session(SessionId::new("another")), NOW + 900, &Revocations::default())
        .await
        .unwrap();
    assert_eq!(rejection(&authorizer, &token, NOW).await, None);
    let denylist = tables.denylist();
    let found = denylist.revocations(&sub(), NOW).await.unwrap();
    let expires_at = revocation_expires_at(NOW);
    tables.sessions().end((&denylist, &found), &sub(), &SessionId::new("s"), expires_at).await.unwrap();
    assert_eq!(rejection(&authorizer, &token, NOW).await, Some(Revoked::Session.into()));
    assert_eq!(rejection(&authorizer, &token, NOW + 899).await, Some(Revoked::Session.into()));
}

#[tokio::test]
async fn revoked_epoch() {
    let tables = Tables::create("authorize-epoch");
    let signer = add_key(&tables).await;
    let authorizer = authorizer(&tables).await;
    let token = token(&signer, NOW);
    tables.denylist().deny(&sub(), &Revocation::Epoch(3), NOW + 900, &Revocations::default()).await.unwrap();
    assert_eq!(rejection(&authorizer, &token, NOW).await, None, "the token is of epoch 3 itself");
    tables.denylist().deny(&sub(), &Revocation::Epoch(4), NOW + 900, &Revocations::default()).await.unwrap();
    assert_eq!(rejection(&authorizer, &token, NOW).await, Some(Revoked::Epoch.into()));
}

#[tokio::test]
async fn a_key_made_after_the_start_is_found_at_its_first_token() {
    let tables = Tables::create("authorize-new-key");
    let authorizer = authorizer(&tables).await;
    let signer = add_key(&tables).await;
    assert_eq!(rejection(&authorizer, &token(&signer, NOW), NOW).await, None);
}

#[tokio::test]
async fn unknown_kid_makes_the_keys_be_read_at_most_once_in_ten_seconds() {
    let tables = Tables::create("authorize-unknown-kid");
    let authorizer = authorizer(&tables).await;
    let other = add_key(&Tables::create("authorize-stranger")).await;
    assert_eq!(rejection(&authorizer, &token(&other, NOW), NOW).await, Some(Refusal::UnknownKid.into()));
    // The keys were read for the other key just now, so the next unknown key waits.
    let signer = add_key(&tables).await;
    assert_eq!(rejection(&authorizer, &token(&signer, NOW), NOW + 9).await, Some(Refusal::UnknownKid.into()));
    assert_eq!(rejection(&authorizer, &token(&signer, NOW), NOW + 10).await, None);
}

#[tokio::test]
async fn a_revoked_key_verifies_nothing_after_a_minute() {
    let tables = Tables::create("authorize-revoked-key");
    let signer = add_key(&tables).await;
    let authorizer = authorizer(&tables).await;
    let token = token(&signer, NOW);
    delete_key(&tables, &signer).await;
    assert_eq!(rejection(&authorizer, &token, NOW + 59).await, None);
    assert_eq!(rejection(&authorizer, &token, NOW + 60).await, Some(Refusal::UnknownKid.into()));
}

#[tokio::test]
async fn after_a_long_sleep_the_first_request_already_knows_of_a_revoked_key() {
    let tables = Tables::create("authorize-asleep");
    let signer = add_key(&tables).await;
    let authorizer = authorizer(&tables).await;
    delete_key(&tables, &signer).await;
    let later = NOW + 3600;
    assert_eq!(rejection(&authorizer, &token(&signer, later), later).await, Some(Refusal::UnknownKid.into()));
}

/// An authorizer that has read its keys from `tables` and whose denylist is at a port where nothing listens.
async fn authorizer_without_denylist(tables: &Tables) -> AccessTokenAuthorizer {
    let port = local_stack::port::free().unwrap();
    let config = tables.client.config().to_builder().endpoint_url(format!("http://127.0.0.1:{port}")).build();
    let denylist = DenylistTable::new(aws_sdk_dynamodb::Client::from_conf(config), "denylist".to_owned());
    let authorizer = AccessTokenAuthorizer::new(VerificationKeys::new(tables.signing_keys(), None), denylist);
    authorizer.warm_up(NOW).await.unwrap();
    authorizer
}

#[tokio::test]
async fn without_the_denylist_every_request_is_denied() {
    let tables = Tables::create("authorize-outage");
    let signer = add_key(&tables).await;
    let authorizer = authorizer_without_denylist(&tables).await;
    let error = authorizer.authorize(&token(&signer, NOW), EXPECTED, NOW).await.unwrap_err();
    assert!(matches!(error, AuthorizationError::Store(_)), "{error}");
}

#[tokio::test]
async fn a_refused_token_is_refused_without_the_denylist() {
    let tables = Tables::create("authorize-no-read");
    let signer = add_key(&tables).await;
    let authorizer = authorizer_without_denylist(&tables).await;
    let token = token(&signer, NOW);
    assert_eq!(rejection(&authorizer, &token, NOW + 900).await, Some(Refusal::Expired.into()));
    assert_eq!(rejection(&authorizer, &format!("{token}A"), NOW).await, Some(Refusal::WrongSignature.into()));
    assert_eq!(rejection(&authorizer, "garbage", NOW).await, Some(Refusal::NotThreeParts.into()));
}

#[tokio::test]
async fn without_keys_every_request_is_denied() {
    let tables = Tables::create("authorize-no-keys");
    let signer = add_key(&tables).await;
    let port = local_stack::port::free().unwrap();
    let config = tables.client.config().to_builder().endpoint_url(format!("http://127.0.0.1:{port}")).build();
    let keys = SigningKeysTable::new(aws_sdk_dynamodb::Client::from_conf(config), "keys".to_owned());
    let authorizer = AccessTokenAuthorizer::new(VerificationKeys::new(keys, None), tables.denylist());
    assert!(authorizer.warm_up(NOW).await.is_err());
    let error = authorizer.authorize(&token(&signer, NOW), EXPECTED, NOW).await.unwrap_err();
    assert!(matches!(error, AuthorizationError::Store(_)), "{error}");
}

#[tokio::test]
async fn before_the_keys_were_ever_read_a_token_that_needs_none_to_be_refused_costs_no_read() {
    let tables = Tables::create("authorize-unread");
    let signer = add_key(&tables).await;
    let proxy = Proxy::start().await;
    let through = tables.through(&proxy.endpoint);
    let authorizer =
        AccessTokenAuthorizer::new(VerificationKeys::new(through.signing_keys(), None), through.denylist());
    assert_eq!(rejection(&authorizer, "garbage", NOW).await, Some(Refusal::NotThreeParts.into()));
    assert_eq!(rejection(&authorizer, &"x".repeat(10_000), NOW).await, Some(Refusal::TooLong.into()));
    assert_eq!(proxy.operations(), [""; 0]);
    assert_eq!(rejection(&authorizer, &token(&signer, NOW), NOW).await, None);
    assert_eq!(proxy.operations(), ["Query", "Query"]);
}

#[tokio::test]
async fn a_refused_token_costs_no_read_and_an_accepted_one_one_consistent_query() {
    let tables = Tables::create("authorize-calls");
    let signer = add_key(&tables).await;
    let proxy = Proxy::start().await;
    let through = tables.through(&proxy.endpoint);
    let authorizer =
        AccessTokenAuthorizer::new(VerificationKeys::new(through.signing_keys(), None), through.denylist());
    authorizer.warm_up(NOW).await.unwrap();
    proxy.pass();
    let good = token(&signer, NOW);
    for refused in ["", "garbage", "a.b.c", &format!("{good}x"), &good[1..], &token(&signer, NOW - 900)] {
        assert!(rejection(&authorizer, refused, NOW).await.is_some(), "{refused}");
    }
    assert_eq!(proxy.operations(), [""; 0]);
    assert_eq!(rejection(&authorizer, &good, NOW).await, None);
    assert_eq!(proxy.operations(), ["Query"]);
    assert_eq!(proxy.calls()[0].body["ConsistentRead"], true);
}

#[tokio::test]
async fn a_key_that_could_not_be_looked_for_is_not_known_to_be_missing() {
    let tables = Tables::create("authorize-unknown-silent");
    add_key(&tables).await;
    let proxy = Proxy::start().await;
    let through = tables.through(&proxy.endpoint);
    let authorizer =
        AccessTokenAuthorizer::new(VerificationKeys::new(through.signing_keys(), None), through.denylist());
    authorizer.warm_up(NOW).await.unwrap();
    let new = token(&add_key(&tables).await, NOW);
    proxy.decide(|_, _| Fate::Lost);
    let unknown = async |now| authorizer.authorize(&new, EXPECTED, now).await.unwrap_err();
    assert!(matches!(unknown(NOW).await, AuthorizationError::Store(_)));
    proxy.pass();
    assert!(matches!(unknown(NOW + 9).await, AuthorizationError::Store(_)), "it is not asked again yet");
    assert_eq!(rejection(&authorizer, &new, NOW + 10).await, None);
}
