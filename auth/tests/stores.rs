//! The stores, on DynamoDB Local. Each test has tables of its own.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use auth::EpochSeconds;
use auth::accounts::{AccountError, Accounts, Effect};
use auth::id::{SessionId, UserId};
use auth::keys::generation::generate;
use auth::revocation::{Revocation, Revocations};
use auth::roles::Role;
use auth::session::{IDLE_LIFETIME_SECONDS, Session, revocation_expires_at};
use auth::signing_key::{KeyKind, KeyPurpose, WrappedKey};
use auth::store::denylist::DenylistTable;
use auth::store::users::{Addition, Update};
use auth::store::{StoreError, client};
use auth::user::{Change, User, UserStatus};
use auth::username::Username;
use aws_sdk_dynamodb::types::AttributeValue;
use latchkey_verifier::SigningAlgorithm;
use sam_template::{Parameters, Template};
use secrecy::SecretString;
use test_support::fixture::wrapper;
use test_support::tables::Tables;

const NOW: EpochSeconds = EpochSeconds::new(1_800_000_000);

fn user(username: &str) -> User {
    User {
        username: Username::from_stored(username),
        user_id: UserId::new(format!("id-of-{username}")),
        password_hash: SecretString::from("$argon2id$"),
        roles: ["user", "ops"].map(Role::from_stored).to_vec(),
        status: UserStatus::Enabled,
        epoch: 3,
        created_at: NOW,
        password_epoch: 0,
    }
}

fn session(sid: &str) -> Session {
    Session {
        sid: SessionId::new(sid),
        sub: UserId::new("sub"),
        username: alice(),
        epoch: 3,
        generation: 0,
        created_at: NOW,
        refreshed_at: NOW,
        expires_at: NOW + IDLE_LIFETIME_SECONDS,
        source_address: Some("192.0.2.10".to_owned()),
        user_agent: None,
    }
}

fn alice() -> Username {
    Username::parse("alice").unwrap()
}

async fn revoked(denylist: &DenylistTable, sub: &str, now: EpochSeconds) -> Vec<Revocation> {
    denylist.revocations(&UserId::new(sub), now).await.unwrap().iter().cloned().collect()
}

/// Ends a session of the user `sub`.
async fn end(tables: &Tables, sid: &str) {
    let denylist = tables.denylist();
    let found = denylist.revocations(&UserId::new("sub"), NOW).await.unwrap();
    let expires_at = revocation_expires_at(NOW);
    tables.sessions().end((&denylist, &found), &UserId::new("sub"), &SessionId::new(sid), expires_at).await.unwrap();
}

#[tokio::test]
async fn a_user_is_read_as_added() {
    let tables = Tables::create("user-round-trip");
    assert!(tables.users().find(&alice()).await.unwrap().is_none());
    assert_eq!(tables.users().add(&user("alice")).await.unwrap(), Addition::Added);
    let found = tables.users().find(&alice()).await.unwrap().unwrap();
    assert_eq!(format!("{found:?}"), format!("{:?}", user("alice")));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_add_one_name_at_once_one_succeeds() {
    let tables = Tables::create("user-race");
    let attempts: Vec<_> = (0..20)
        .map(|number| {
            let users = tables.users();
            tokio::spawn(async move {
                users.add(&User { user_id: UserId::new(format!("id-{number}")), ..user("alice") }).await.unwrap()
            })
        })
        .collect();
    let mut added = 0;
    for attempt in attempts {
        added += usize::from(attempt.await.unwrap() == Addition::Added);
    }
    assert_eq!(added, 1);
}

#[tokio::test]
async fn disabling_a_user_raises_the_epoch_and_denies_what_is_older() {
    let tables = Tables::create("user-disable");
    let (users, denylist) = (tables.users(), tables.denylist());
    let accounts = Accounts::new(users.clone(), denylist.clone());
    assert!(matches!(accounts.disable(&alice(), NOW).await, Err(AccountError::Unknown)));
    users.add(&user("alice")).await.unwrap();
    assert_eq!(accounts.disable(&alice(), NOW).await.unwrap(), Effect::Changed);
    let found = users.find(&alice()).await.unwrap().unwrap();
    assert_eq!((found.status, found.epoch), (UserStatus::Disabled, 4));
    assert_eq!(revoked(&denylist, "id-of-alice", NOW).await, [Revocation::Epoch(4)]);
    assert_eq!(accounts.disable(&alice(), NOW).await.unwrap(), Effect::Unchanged);
    assert_eq!(users.find(&alice()).await.unwrap().unwrap().epoch, 4);
}

#[tokio::test]
async fn the_epoch_of_a_user_who_was_changed_meanwhile_is_not_raised() {
    let tables = Tables::create("user-epoch-stale");
    tables.users().add(&user("alice")).await.unwrap();
    for stale in [User { epoch: 2, ..user("alice") }, User { user_id: UserId::new("another"), ..user("alice") }] {
        let (denylist, found) = (tables.denylist(), Revocations::default());
        let users = tables.users();
        let raised = users.raise_epoch((&denylist, &found), &stale.at_epoch(), Change::Disable, None, NOW + 10).await;
        assert_eq!(raised.unwrap(), Update::Stale);
    }
    assert_eq!(tables.users().find(&alice()).await.unwrap().unwrap().status, UserStatus::Enabled);
    assert_eq!(revoked(&tables.denylist(), "id-of-alice", NOW).await, []);
}

#[tokio::test]
async fn a_malformed_user_is_an_error_and_names_the_attribute() {
    let tables = Tables::create("user-malformed");
    tables
        .client
        .put_item()
        .table_name(tables.name_of("UsersTable"))
        .item("username", AttributeValue::S("alice".to_owned()))
        .send()
        .await
        .unwrap();
    let error = tables.users().find(&alice()).await.unwrap_err();
    assert_eq!(error.to_string(), "an item of the Users table has no usable attribute user_id");
}

#[tokio::test]
async fn a_session_is_read_as_added() {
    let tables = Tables::create("session-round-trip");
    tables.sessions().add(&session("s")).await.unwrap();
    assert_eq!(tables.sessions().find(&SessionId::new("s")).await.unwrap(), Some(session("s")));
}

#[tokio::test]
async fn warming_up_changes_nothing() {
    let tables = Tables::create("session-warm-up");
    tables.sessions().add(&session("s")).await.unwrap();
    tables.sessions().warm_up().await.unwrap();
    assert_eq!(tables.sessions().find(&SessionId::new("s")).await.unwrap(), Some(session("s")));
    assert_eq!(tables.sessions().find(&SessionId::new("warm-up")).await.unwrap(), None);
}

#[tokio::test]
async fn ending_a_session_denies_its_tokens_and_can_be_repeated() {
    let tables = Tables::create("session-end");
    let (sessions, denylist) = (tables.sessions(), tables.denylist());
    sessions.add(&session("s")).await.unwrap();
    for _ in 0..2 {
        end(&tables, "s").await;
        assert_eq!(sessions.find(&SessionId::new("s")).await.unwrap(), None);
        assert_eq!(revoked(&denylist, "sub", NOW).await, [Revocation::Session(SessionId::new("s"))]);
    }
}

#[tokio::test]
async fn a_session_that_was_never_stored_can_be_ended_too() {
    let tables = Tables::create("session-end-unknown");
    end(&tables, "s").await;
    assert_eq!(revoked(&tables.denylist(), "sub", NOW).await, [Revocation::Session(SessionId::new("s"))]);
}

#[tokio::test]
async fn an_ended_session_is_denied_until_the_last_token_it_can_have_has_expired() {
    let tables = Tables::create("session-end-expiry");
    end(&tables, "s").await;
    // Issued by a clock 10 s ahead, for the longest lifetime there is; and DynamoDB's clock may be 10 s ahead too.
    let last = NOW + 10 + 3600 + 10;
    assert_eq!(revoked(&tables.denylist(), "sub", last - 1).await.len(), 1);
    assert_eq!(revoked(&tables.denylist(), "sub", last + 1).await.len(), 0);
    let item = tables.client.scan().table_name(tables.name_of("DenylistTable")).send().await.unwrap();
    assert_eq!(item.items()[0]["expires_at"], AttributeValue::N(last.to_string()));
}

#[tokio::test]
async fn the_denylist_gives_what_still_matters_of_this_user() {
    let tables = Tables::create("denylist");
    let denylist = tables.denylist();
    for (sub, what, expires_at) in [
        ("sub", Revocation::Token("expired".to_owned()), NOW - 1),
        ("sub", Revocation::Token("j".to_owned()), NOW + 1),
        ("sub", Revocation::Session(SessionId::new("s")), NOW + 900),
        ("sub", Revocation::Epoch(7), NOW + 3600),
        ("other", Revocation::Token("of another".to_owned()), NOW + 900),
    ] {
        denylist.deny(&UserId::new(sub), &what, expires_at, &Revocations::default()).await.unwrap();
    }
    assert_eq!(
        revoked(&denylist, "sub", NOW).await,
        [Revocation::Epoch(7), Revocation::Session(SessionId::new("s")), Revocation::Token("j".to_owned())]
    );
}

#[tokio::test]
async fn a_revocation_that_is_not_understood_is_an_error() {
    let tables = Tables::create("denylist-unknown");
    tables
        .client
        .put_item()
        .table_name(tables.name_of("DenylistTable"))
        .item("sub", AttributeValue::S("sub".to_owned()))
        .item("revocation", AttributeValue::S(format!("{}#device#d", NOW + 10)))
        .send()
        .await
        .unwrap();
    let error = tables.denylist().revocations(&UserId::new("sub"), NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::MalformedItem { attribute: "revocation", .. }), "{error}");
}

#[tokio::test]
async fn keys_are_read_by_purpose_and_added_once() {
    let tables = Tables::create("keys");
    let keys = tables.signing_keys();
    let key = generate(KeyKind::AccessToken(SigningAlgorithm::Es256), NOW, NOW + 100, &wrapper()).await.unwrap();
    keys.add(KeyPurpose::AccessToken, &key, NOW + 3700).await.unwrap();
    let other = WrappedKey { wrapped_private_key: vec![1], ..key.clone() };
    assert!(keys.add(KeyPurpose::AccessToken, &other, NOW + 3700).await.is_err(), "nothing in an item changes");
    // As when the SDK repeats the write because its answer was lost.
    keys.add(KeyPurpose::AccessToken, &key, NOW + 3700).await.unwrap();
    assert_eq!(keys.public_keys(KeyPurpose::AccessToken).await.unwrap().as_slice(), std::slice::from_ref(&key.record));
    assert_eq!(keys.public_keys(KeyPurpose::RefreshToken).await.unwrap(), []);
    let wrapped = keys.wrapped_keys(KeyPurpose::AccessToken).await.unwrap();
    assert_eq!(wrapped[0].record, key.record);
    assert_eq!(wrapped[0].wrapped_private_key, key.wrapped_private_key);
}

#[tokio::test]
async fn limits_of_time_are_set_and_below_those_of_the_functions() {
    let config = client::config_loader().load().await;
    let limits = config.timeout_config().unwrap();
    assert_eq!(limits.connect_timeout(), Some(client::CONNECT_TIMEOUT));
    assert_eq!(limits.operation_attempt_timeout(), Some(client::ATTEMPT_TIMEOUT));
    assert_eq!(limits.operation_timeout(), Some(client::OPERATION_TIMEOUT));
    let template = Template::load(&local_stack::workspace::template(), Parameters::new("timeouts")).unwrap();
    for function in template.functions().unwrap() {
        // A login reads a user, reads the keys and writes a session: three calls, one after the other.
        assert!(client::OPERATION_TIMEOUT * 3 < function.timeout, "{}", function.logical_id);
    }
}

#[tokio::test]
async fn a_malformed_key_is_left_out_and_takes_no_other_with_it() {
    let tables = Tables::create("keys-malformed");
    let keys = tables.signing_keys();
    let key = generate(KeyKind::AccessToken(SigningAlgorithm::Es256), NOW, NOW + 100, &wrapper()).await.unwrap();
    keys.add(KeyPurpose::AccessToken, &key, NOW + 3700).await.unwrap();
    tables
        .client
        .put_item()
        .table_name(tables.name_of("SigningKeysTable"))
        .item("purpose", AttributeValue::S("access-token".to_owned()))
        .item("kid", AttributeValue::S("of another version".to_owned()))
        .send()
        .await
        .unwrap();
    assert_eq!(keys.public_keys(KeyPurpose::AccessToken).await.unwrap().as_slice(), std::slice::from_ref(&key.record));
    assert_eq!(keys.wrapped_keys(KeyPurpose::AccessToken).await.unwrap().len(), 1);
}
