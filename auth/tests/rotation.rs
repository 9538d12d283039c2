//! Refresh tokens on a real DynamoDB, with real concurrency and lost answers.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::HashSet;
use std::sync::Arc;

use auth::accounts::Effect;
use auth::id::SessionId;
use auth::keys::generation::generate;
use auth::revocation::Revoked;
use auth::roles::{Role, Roles};
use auth::session::{ABSOLUTE_LIFETIME_SECONDS, IDLE_LIFETIME_SECONDS};
use auth::sessions::refresh::RefreshError;
use auth::signing_key::{KeyKind, KeyPurpose};
use aws_sdk_dynamodb::types::AttributeValue;
use test_support::fixture::{Fixture, Held, NOW, alice, wrapper};
use test_support::proxy::{Fate, Proxy};

/// A fixture with alice in it, and her tokens.
async fn signed_in(test: &str) -> (Fixture, Held) {
    let fixture = Fixture::create(test).await;
    let user = fixture.add_user("alice").await;
    let held = fixture.begin(&user, NOW).await.unwrap();
    (fixture, held)
}

async fn generation(fixture: &Fixture, sid: &str) -> Option<u64> {
    fixture.sessions.find(&SessionId::new(sid)).await.unwrap().map(|session| session.generation)
}

#[tokio::test]
async fn a_refresh_returns_the_next_generation_and_a_new_access_token() {
    let (fixture, first) = signed_in("refresh").await;
    let second = fixture.refresh(&first.refresh, NOW + 60).await.unwrap();
    assert_eq!(second.sid, first.sid);
    assert_ne!(second.access, first.access);
    assert_ne!(second.refresh, first.refresh);
    assert_eq!(generation(&fixture, &first.sid).await, Some(1));
    let session = fixture.sessions.find(&SessionId::new(&first.sid)).await.unwrap().unwrap();
    assert_eq!(session.refreshed_at, NOW + 60);
    assert_eq!(session.expires_at, NOW + 60 + IDLE_LIFETIME_SECONDS);
    // The first access token is not revoked by it.
    assert_eq!(fixture.rejection(&first.access, NOW + 61).await, None);
    assert_eq!(fixture.rejection(&second.access, NOW + 61).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_50_clients_that_refresh_at_once_all_hold_the_same_successor_200_times() {
    let (fixture, held) = signed_in("refresh-50").await;
    let fixture = Arc::new(fixture);
    let (sid, mut current) = (held.sid, held.refresh);
    let mut seen = HashSet::from([current.clone()]);
    for round in 0..200 {
        let now = NOW + round;
        let clients: Vec<_> = (0..50)
            .map(|_| {
                let (fixture, current) = (Arc::clone(&fixture), current.clone());
                tokio::spawn(async move { fixture.refresh(&current, now).await })
            })
            .collect();
        let mut successors = HashSet::new();
        let mut access_tokens = HashSet::new();
        for client in clients {
            let held = client.await.unwrap().unwrap_or_else(|error| panic!("round {round}: {error}"));
            successors.insert(held.refresh);
            access_tokens.insert(held.access);
        }
        assert_eq!(successors.len(), 1, "round {round}: one line of tokens");
        assert_eq!(access_tokens.len(), 50, "round {round}: each client has an access token of its own");
        assert_eq!(generation(&fixture, &sid).await, Some(round + 1), "round {round}: one step");
        current = successors.into_iter().next().unwrap();
        assert!(seen.insert(current.clone()), "round {round}: a new token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_grace_0_exactly_one_of_50_wins() {
    for round in 0..5 {
        let (mut fixture, held) = signed_in(&format!("refresh-grace-0-{round}")).await;
        fixture.set_grace_seconds(0);
        let fixture = Arc::new(fixture);
        let clients: Vec<_> = (0..50)
            .map(|_| {
                let (fixture, token) = (Arc::clone(&fixture), held.refresh.clone());
                tokio::spawn(async move { fixture.refresh(&token, NOW).await })
            })
            .collect();
        let mut winners = 0;
        for client in clients {
            match client.await.unwrap() {
                Ok(_) => winners += 1,
                Err(RefreshError::Reused | RefreshError::SessionEnded) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(winners, 1);
        assert_eq!(generation(&fixture, &held.sid).await, None, "a single-use token was used twice");
    }
}

#[tokio::test]
async fn a_second_use_within_the_grace_window_returns_the_same_successor_and_no_alarm() {
    let (fixture, first) = signed_in("refresh-grace").await;
    let second = fixture.refresh(&first.refresh, NOW).await.unwrap();
    let again = fixture.refresh(&first.refresh, NOW + 9).await.unwrap();
    assert_eq!(again.refresh, second.refresh);
    assert_eq!(generation(&fixture, &first.sid).await, Some(1));
    assert!(fixture.refresh(&second.refresh, NOW + 10).await.is_ok());
}

#[tokio::test]
async fn a_stolen_token_replayed_after_the_grace_window_ends_the_session_for_both() {
    let (fixture, first) = signed_in("refresh-reuse").await;
    let second = fixture.refresh(&first.refresh, NOW).await.unwrap();
    assert!(matches!(fixture.refresh(&first.refresh, NOW + 10).await, Err(RefreshError::Reused)));
    assert!(matches!(fixture.refresh(&first.refresh, NOW + 10).await, Err(RefreshError::SessionEnded)));
    assert!(matches!(fixture.refresh(&second.refresh, NOW + 10).await, Err(RefreshError::SessionEnded)));
    for held in [first, second] {
        assert_eq!(fixture.rejection(&held.access, NOW + 10).await, Some(Revoked::Session.into()));
    }
}

#[tokio::test]
async fn a_token_two_generations_old_is_reuse_even_within_the_grace_window() {
    let (fixture, first) = signed_in("refresh-two-old").await;
    let second = fixture.refresh(&first.refresh, NOW).await.unwrap();
    fixture.refresh(&second.refresh, NOW + 1).await.unwrap();
    assert!(matches!(fixture.refresh(&first.refresh, NOW + 2).await, Err(RefreshError::Reused)));
}

#[tokio::test]
async fn a_session_that_is_not_used_expires_to_the_second_and_is_no_alarm() {
    let (fixture, first) = signed_in("refresh-idle").await;
    let last = NOW + IDLE_LIFETIME_SECONDS - 1;
    let second = fixture.refresh(&first.refresh, last).await.unwrap();
    let over = last + IDLE_LIFETIME_SECONDS;
    // DynamoDB has not deleted the item, but it has expired.
    assert!(matches!(fixture.refresh(&second.refresh, over).await, Err(RefreshError::SessionExpired)));
    assert_eq!(generation(&fixture, &first.sid).await, Some(1));
    assert!(fixture.refresh(&second.refresh, over - 1).await.is_ok());
}

#[tokio::test]
async fn a_session_that_is_used_ends_at_its_absolute_lifetime() {
    let (fixture, mut held) = signed_in("refresh-absolute").await;
    let end = NOW + ABSOLUTE_LIFETIME_SECONDS;
    let mut now = NOW;
    while now + IDLE_LIFETIME_SECONDS <= end {
        now += IDLE_LIFETIME_SECONDS - 1;
        held = fixture.refresh(&held.refresh, now.min(end - 1)).await.unwrap();
    }
    held = fixture.refresh(&held.refresh, end - 1).await.unwrap();
    assert!(matches!(fixture.refresh(&held.refresh, end).await, Err(RefreshError::SessionExpired)));
}

#[tokio::test]
async fn changed_roles_count_from_the_next_refresh_on() {
    let (fixture, first) = signed_in("refresh-roles").await;
    let roles = Roles::new(["ops", "admin"].map(Role::from_stored).to_vec()).unwrap();
    fixture.accounts().set_roles(&alice(), &roles).await.unwrap();
    assert_eq!(fixture.authorize(&first.access, NOW).await.unwrap().roles, ["user"]);
    let second = fixture.refresh(&first.refresh, NOW).await.unwrap();
    assert_eq!(fixture.authorize(&second.access, NOW).await.unwrap().roles, ["ops", "admin"]);
}

#[tokio::test]
async fn a_disabled_user_gets_nothing_also_once_enabled_again() {
    let (fixture, first) = signed_in("refresh-disabled").await;
    assert_eq!(fixture.accounts().disable(&alice(), NOW).await.unwrap(), Effect::Changed);
    assert!(matches!(fixture.refresh(&first.refresh, NOW).await, Err(RefreshError::UserRevoked)));
    assert_eq!(fixture.rejection(&first.access, NOW).await, Some(Revoked::Epoch.into()));
    assert_eq!(fixture.accounts().enable(&alice()).await.unwrap(), Effect::Changed);
    assert!(fixture.refresh(&first.refresh, NOW + 5).await.is_err());
    let again = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    assert!(fixture.refresh(&again.refresh, NOW).await.is_ok());
}

#[tokio::test]
async fn another_user_who_got_the_name_gets_nothing_of_the_former_ones_session() {
    let (fixture, first) = signed_in("refresh-renamed").await;
    let table = fixture.tables.name_of("UsersTable");
    let key = AttributeValue::S("alice".to_owned());
    fixture.tables.client.delete_item().table_name(table).key("username", key).send().await.unwrap();
    fixture.add_user("alice").await;
    assert!(matches!(fixture.refresh(&first.refresh, NOW).await, Err(RefreshError::UserRevoked)));
}

#[tokio::test]
async fn a_token_of_a_retired_key_is_valid_and_its_successor_is_of_the_new_key() {
    let (fixture, first) = signed_in("refresh-retired-key").await;
    let key = generate(KeyKind::RefreshToken, NOW + 5, NOW + 1_000_000, &wrapper()).await.unwrap();
    fixture.tables.signing_keys().add(KeyPurpose::RefreshToken, &key, NOW + 2_000_000).await.unwrap();
    let kid = |held: &Held| held.refresh.split('.').nth(1).unwrap().to_owned();
    // A function that is running rereads the keys once a minute, and one that starts reads them.
    for fixture in
        [&Fixture::on(fixture.tables.through(&std::env::var("AWS_ENDPOINT_URL_DYNAMODB").unwrap())), &fixture]
    {
        let held = fixture.refresh(&first.refresh, NOW + 60).await.unwrap();
        assert_ne!(kid(&held), kid(&first));
        assert_eq!(kid(&held), key.record.kid.as_str());
    }
}

#[tokio::test]
async fn a_token_of_a_revoked_key_is_none_of_ours_within_a_minute() {
    let (fixture, first) = signed_in("refresh-withdrawn-key").await;
    let kid = first.refresh.split('.').nth(1).unwrap().to_owned();
    let key = generate(KeyKind::RefreshToken, NOW, NOW + 1_000_000, &wrapper()).await.unwrap();
    fixture.tables.signing_keys().add(KeyPurpose::RefreshToken, &key, NOW + 2_000_000).await.unwrap();
    let table = fixture.tables.name_of("SigningKeysTable");
    let delete = fixture.tables.client.delete_item().table_name(table);
    let delete = delete.key("purpose", AttributeValue::S("refresh-token".to_owned()));
    delete.key("kid", AttributeValue::S(kid)).send().await.unwrap();
    assert!(matches!(fixture.refresh(&first.refresh, NOW + 60).await, Err(RefreshError::NotOurs)));
    assert_eq!(generation(&fixture, &first.sid).await, Some(0), "nothing was rotated");
}

#[tokio::test]
async fn garbage_costs_no_call_and_a_refresh_one_write_and_one_read() {
    let (fixture, first) = signed_in("refresh-calls").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(fixture.tables.through(&proxy.endpoint));
    fixture.tokens().ready(NOW).await.unwrap();

    proxy.pass();
    let mut forged = first.refresh.clone();
    forged.replace_range(forged.len() - 5.., "AAAAA");
    let other_generation = first.refresh.replacen(".0.", ".1.", 1);
    for garbage in ["", "garbage", "1.a.b.0.AAAA", &forged, &other_generation, &first.access] {
        assert!(matches!(fixture.refresh(garbage, NOW).await, Err(RefreshError::NotOurs)), "{garbage}");
    }
    // A `kid` that is not known may be that of a new key: the two purposes are read, at most once in ten seconds.
    assert_eq!(proxy.operations(), ["Query", "Query"]);

    proxy.pass();
    fixture.refresh(&first.refresh, NOW).await.unwrap();
    assert_eq!(proxy.operations(), ["UpdateItem", "GetItem"]);
    assert_eq!(proxy.calls()[1].body["ConsistentRead"], true);
}

#[tokio::test]
async fn a_write_that_the_sdk_repeats_after_a_lost_response_is_not_reuse_with_any_grace_window() {
    for grace_seconds in [0, 10] {
        let (fixture, first) = signed_in(&format!("refresh-answer-lost-{grace_seconds}")).await;
        let proxy = Proxy::start().await;
        let mut fixture = Fixture::on(fixture.tables.through(&proxy.endpoint));
        fixture.set_grace_seconds(grace_seconds);
        fixture.tokens().ready(NOW).await.unwrap();
        proxy.decide(
            |call, _| {
                if call.operation == "UpdateItem" && call.attempt == 1 { Fate::AnswerLost } else { Fate::Pass }
            },
        );
        let second = fixture.refresh(&first.refresh, NOW).await.unwrap();
        let attempts = proxy.calls().iter().filter(|call| call.operation == "UpdateItem").count();
        assert_eq!(attempts, 2, "the answer was lost once");
        assert_eq!(generation(&fixture, &first.sid).await, Some(1));
        assert!(fixture.refresh(&second.refresh, NOW + 60).await.is_ok());
    }
}

#[tokio::test]
async fn when_every_answer_is_lost_the_clients_retry_gets_the_same_successor_and_no_alarm() {
    let (fixture, first) = signed_in("refresh-answers-lost").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(fixture.tables.through(&proxy.endpoint));
    fixture.tokens().ready(NOW).await.unwrap();
    proxy.decide(|call, _| if call.operation == "UpdateItem" { Fate::AnswerLost } else { Fate::Pass });
    assert!(matches!(fixture.refresh(&first.refresh, NOW).await, Err(RefreshError::Store(_))));
    assert_eq!(generation(&fixture, &first.sid).await, Some(1), "the write was made");
    proxy.pass();
    let second = fixture.refresh(&first.refresh, NOW + 3).await.unwrap();
    assert_eq!(generation(&fixture, &first.sid).await, Some(1));
    assert_eq!(second.refresh, fixture.refresh(&first.refresh, NOW + 4).await.unwrap().refresh);
    assert!(fixture.refresh(&second.refresh, NOW + 60).await.is_ok());
}

/// Deletes a key from the table, which revokes it.
async fn revoke_key(fixture: &Fixture, purpose: &str, kid: &str) {
    let table = fixture.tables.name_of("SigningKeysTable");
    let delete = fixture.tables.client.delete_item().table_name(table);
    let delete = delete.key("purpose", AttributeValue::S(purpose.to_owned()));
    delete.key("kid", AttributeValue::S(kid.to_owned())).send().await.unwrap();
}

#[tokio::test]
async fn a_revoked_key_does_not_come_back_when_the_table_is_silent_afterwards() {
    let (outer, first) = signed_in("refresh-withdrawn-silent").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    fixture.tokens().ready(NOW).await.unwrap();
    revoke_key(&outer, "refresh-token", first.refresh.split('.').nth(1).unwrap()).await;
    assert!(fixture.tokens().ready(NOW + 60).await.is_err(), "there is no key");
    let table = outer.tables.name_of("SigningKeysTable");
    proxy.decide(move |call, _| if call.body["TableName"] == table { Fate::Lost } else { Fate::Pass });
    for seconds in [61, 90, 121, 299] {
        assert!(fixture.tokens().ready(NOW + seconds).await.is_err(), "after {seconds} s");
        assert!(fixture.refresh(&first.refresh, NOW + seconds).await.is_err(), "after {seconds} s");
    }
    assert_eq!(generation(&outer, &first.sid).await, Some(0));
}

#[tokio::test]
async fn a_refresh_token_can_be_revoked_although_no_key_signs() {
    let (fixture, first) = signed_in("revoke-without-signer").await;
    let kid = jsonwebtoken::decode_header(&first.access).unwrap().kid.unwrap();
    revoke_key(&fixture, "access-token", &kid).await;
    let now = NOW + 60;
    assert!(matches!(fixture.refresh(&first.refresh, now).await, Err(RefreshError::Keys(_))));
    fixture.states.revoke(&first.refresh, now).await.unwrap();
    assert_eq!(generation(&fixture, &first.sid).await, None);
}

#[tokio::test]
async fn while_the_keys_cannot_be_read_cached_keys_are_used_and_not_every_request_waits() {
    let (outer, first) = signed_in("refresh-keys-silent").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    fixture.tokens().ready(NOW).await.unwrap();
    let table = outer.tables.name_of("SigningKeysTable");
    proxy.decide(move |call, _| if call.body["TableName"] == table { Fate::Lost } else { Fate::Pass });
    let mut token = first.refresh;
    for seconds in [60, 61, 69, 70, 299] {
        token = fixture.refresh(&token, NOW + seconds).await.unwrap().refresh;
    }
    let tried = proxy.operations().iter().filter(|operation| *operation == "Query").count();
    assert!((3..=6).contains(&tried), "once in ten seconds, two queries: {tried}");
    assert!(
        matches!(fixture.refresh(&token, NOW + 300).await, Err(RefreshError::Keys(_))),
        "the cached keys are too old"
    );
}
