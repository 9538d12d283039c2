//! Refresh tokens on a real DynamoDB, with real concurrency and lost answers.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod proxy;
mod tables;
mod world;

use std::collections::HashSet;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use proxy::{Fate, Proxy};
use shared::keys::generation::generate;
use shared::keys::{KeyKind, KeyPurpose};
use shared::roles::Roles;
use shared::session::rotation::RefreshError;
use shared::store::sessions::{ABSOLUTE_LIFETIME_SECONDS, IDLE_LIFETIME_SECONDS};
use shared::token::verifier::Refusal;
use world::{Held, NOW, World, alice, sealer};

/// A world with alice in it, and her tokens.
async fn signed_in(test: &str) -> (World, Held) {
    let world = World::create(test).await;
    let user = world.add_user("alice").await;
    let held = world.begin(&user, NOW).await.unwrap();
    (world, held)
}

async fn generation(world: &World, sid: &str) -> Option<u64> {
    world.sessions.find(sid).await.unwrap().map(|session| session.generation)
}

#[tokio::test]
async fn a_refresh_brings_the_next_generation_and_a_new_access_token() {
    let (world, first) = signed_in("refresh").await;
    let second = world.refresh(&first.refresh, NOW + 60).await.unwrap();
    assert_eq!(second.sid, first.sid);
    assert_ne!(second.access, first.access);
    assert_ne!(second.refresh, first.refresh);
    assert_eq!(generation(&world, &first.sid).await, Some(1));
    let session = world.sessions.find(&first.sid).await.unwrap().unwrap();
    assert_eq!(session.refreshed_at, NOW + 60);
    assert_eq!(session.expires_at, NOW + 60 + IDLE_LIFETIME_SECONDS);
    // The first access token is not revoked by it.
    assert_eq!(world.refusal(&first.access, NOW + 61).await, None);
    assert_eq!(world.refusal(&second.access, NOW + 61).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_50_clients_that_refresh_at_once_all_hold_the_same_successor_200_times() {
    let (world, held) = signed_in("refresh-50").await;
    let world = Arc::new(world);
    let (sid, mut current) = (held.sid, held.refresh);
    let mut seen = HashSet::from([current.clone()]);
    for round in 0..200 {
        let now = NOW + round;
        let clients: Vec<_> = (0..50)
            .map(|_| {
                let (world, current) = (Arc::clone(&world), current.clone());
                tokio::spawn(async move { world.refresh(&current, now).await })
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
        assert_eq!(generation(&world, &sid).await, Some(round + 1), "round {round}: one step");
        current = successors.into_iter().next().unwrap();
        assert!(seen.insert(current.clone()), "round {round}: a new token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_grace_0_exactly_one_of_50_wins() {
    for round in 0..5 {
        let (mut world, held) = signed_in(&format!("refresh-grace-0-{round}")).await;
        world.grace_seconds = 0;
        let world = Arc::new(world);
        let clients: Vec<_> = (0..50)
            .map(|_| {
                let (world, token) = (Arc::clone(&world), held.refresh.clone());
                tokio::spawn(async move { world.refresh(&token, NOW).await })
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
        assert_eq!(generation(&world, &held.sid).await, None, "a token that counts once was used twice");
    }
}

#[tokio::test]
async fn a_second_use_within_the_grace_window_brings_the_same_successor_and_no_alarm() {
    let (world, first) = signed_in("refresh-grace").await;
    let second = world.refresh(&first.refresh, NOW).await.unwrap();
    let again = world.refresh(&first.refresh, NOW + 9).await.unwrap();
    assert_eq!(again.refresh, second.refresh);
    assert_eq!(generation(&world, &first.sid).await, Some(1));
    assert!(world.refresh(&second.refresh, NOW + 10).await.is_ok());
}

#[tokio::test]
async fn a_stolen_token_replayed_after_the_grace_window_ends_the_session_for_both() {
    let (world, first) = signed_in("refresh-reuse").await;
    let second = world.refresh(&first.refresh, NOW).await.unwrap();
    assert!(matches!(world.refresh(&first.refresh, NOW + 10).await, Err(RefreshError::Reused)));
    assert!(matches!(world.refresh(&first.refresh, NOW + 10).await, Err(RefreshError::SessionEnded)));
    assert!(matches!(world.refresh(&second.refresh, NOW + 10).await, Err(RefreshError::SessionEnded)));
    for held in [first, second] {
        assert_eq!(world.refusal(&held.access, NOW + 10).await, Some(Refusal::RevokedSession));
    }
}

#[tokio::test]
async fn a_token_two_generations_old_is_reuse_even_within_the_grace_window() {
    let (world, first) = signed_in("refresh-two-old").await;
    let second = world.refresh(&first.refresh, NOW).await.unwrap();
    world.refresh(&second.refresh, NOW + 1).await.unwrap();
    assert!(matches!(world.refresh(&first.refresh, NOW + 2).await, Err(RefreshError::Reused)));
}

#[tokio::test]
async fn a_session_that_is_not_used_expires_to_the_second_and_is_no_alarm() {
    let (world, first) = signed_in("refresh-idle").await;
    let last = NOW + IDLE_LIFETIME_SECONDS - 1;
    let second = world.refresh(&first.refresh, last).await.unwrap();
    let over = last + IDLE_LIFETIME_SECONDS;
    // DynamoDB has not deleted the item, and it is gone all the same.
    assert!(matches!(world.refresh(&second.refresh, over).await, Err(RefreshError::SessionExpired)));
    assert_eq!(generation(&world, &first.sid).await, Some(1));
    assert!(world.refresh(&second.refresh, over - 1).await.is_ok());
}

#[tokio::test]
async fn a_session_that_is_used_ends_at_its_absolute_lifetime() {
    let (world, mut held) = signed_in("refresh-absolute").await;
    let end = NOW + ABSOLUTE_LIFETIME_SECONDS;
    let mut now = NOW;
    while now + IDLE_LIFETIME_SECONDS <= end {
        now += IDLE_LIFETIME_SECONDS - 1;
        held = world.refresh(&held.refresh, now.min(end - 1)).await.unwrap();
    }
    held = world.refresh(&held.refresh, end - 1).await.unwrap();
    assert!(matches!(world.refresh(&held.refresh, end).await, Err(RefreshError::SessionExpired)));
}

#[tokio::test]
async fn changed_roles_count_from_the_next_refresh_on() {
    let (world, first) = signed_in("refresh-roles").await;
    let roles = Roles::new(vec!["ops".to_owned(), "admin".to_owned()]).unwrap();
    world.accounts().set_roles(&alice(), &roles).await.unwrap();
    assert_eq!(world.authorize(&first.access, NOW).await.unwrap().roles, ["user"]);
    let second = world.refresh(&first.refresh, NOW).await.unwrap();
    assert_eq!(world.authorize(&second.access, NOW).await.unwrap().roles, ["ops", "admin"]);
}

#[tokio::test]
async fn a_disabled_user_gets_nothing_also_once_enabled_again() {
    let (world, first) = signed_in("refresh-disabled").await;
    assert!(world.accounts().disable(&alice(), NOW).await.unwrap());
    assert!(matches!(world.refresh(&first.refresh, NOW).await, Err(RefreshError::UserRevoked)));
    assert_eq!(world.refusal(&first.access, NOW).await, Some(Refusal::RevokedEpoch));
    assert!(world.accounts().enable(&alice()).await.unwrap());
    assert!(world.refresh(&first.refresh, NOW + 5).await.is_err());
    let again = world.begin(&world.user("alice").await, NOW).await.unwrap();
    assert!(world.refresh(&again.refresh, NOW).await.is_ok());
}

#[tokio::test]
async fn another_user_who_got_the_name_gets_nothing_of_the_former_ones_session() {
    let (world, first) = signed_in("refresh-renamed").await;
    let table = world.tables.name_of("UsersTable");
    let key = AttributeValue::S("alice".to_owned());
    world.tables.client.delete_item().table_name(table).key("username", key).send().await.unwrap();
    world.add_user("alice").await;
    assert!(matches!(world.refresh(&first.refresh, NOW).await, Err(RefreshError::UserRevoked)));
}

#[tokio::test]
async fn a_token_of_a_retired_key_counts_and_its_successor_is_of_the_new_key() {
    let (world, first) = signed_in("refresh-retired-key").await;
    let key = generate(KeyKind::RefreshToken, NOW + 5, NOW + 1_000_000, &sealer()).await.unwrap();
    world.tables.signing_keys().add(KeyPurpose::RefreshToken, &key, NOW + 2_000_000).await.unwrap();
    let kid = |held: &Held| held.refresh.split('.').nth(1).unwrap().to_owned();
    // A function that is running rereads the keys once a minute, and one that starts reads them.
    for world in [&World::on(world.tables.through(&std::env::var("AWS_ENDPOINT_URL_DYNAMODB").unwrap())), &world] {
        let held = world.refresh(&first.refresh, NOW + 60).await.unwrap();
        assert_ne!(kid(&held), kid(&first));
        assert_eq!(kid(&held), key.record.kid);
    }
}

#[tokio::test]
async fn a_token_of_a_withdrawn_key_is_none_of_ours_within_a_minute() {
    let (world, first) = signed_in("refresh-withdrawn-key").await;
    let kid = first.refresh.split('.').nth(1).unwrap().to_owned();
    let key = generate(KeyKind::RefreshToken, NOW, NOW + 1_000_000, &sealer()).await.unwrap();
    world.tables.signing_keys().add(KeyPurpose::RefreshToken, &key, NOW + 2_000_000).await.unwrap();
    let table = world.tables.name_of("SigningKeysTable");
    let delete = world.tables.client.delete_item().table_name(table);
    let delete = delete.key("purpose", AttributeValue::S("refresh-token".to_owned()));
    delete.key("kid", AttributeValue::S(kid)).send().await.unwrap();
    assert!(matches!(world.refresh(&first.refresh, NOW + 60).await, Err(RefreshError::NotOurs)));
    assert_eq!(generation(&world, &first.sid).await, Some(0), "nothing was rotated");
}

#[tokio::test]
async fn garbage_costs_no_call_and_a_refresh_one_write_and_one_read() {
    let (world, first) = signed_in("refresh-calls").await;
    let proxy = Proxy::start().await;
    let world = World::on(world.tables.through(&proxy.endpoint));
    world.keys.get(NOW).await.unwrap();

    proxy.pass();
    let mut forged = first.refresh.clone();
    forged.replace_range(forged.len() - 5.., "AAAAA");
    let other_generation = first.refresh.replacen(".0.", ".1.", 1);
    for garbage in ["", "garbage", "1.a.b.0.AAAA", &forged, &other_generation, &first.access] {
        assert!(matches!(world.refresh(garbage, NOW).await, Err(RefreshError::NotOurs)), "{garbage}");
    }
    // A `kid` that is not known may be that of a new key: the two purposes are read, at most once in ten seconds.
    assert_eq!(proxy.operations(), ["Query", "Query"]);

    proxy.pass();
    world.refresh(&first.refresh, NOW).await.unwrap();
    assert_eq!(proxy.operations(), ["UpdateItem", "GetItem"]);
    assert_eq!(proxy.calls()[1].body["ConsistentRead"], true);
}

#[tokio::test]
async fn when_the_sdk_repeats_a_write_whose_answer_was_lost_that_is_no_reuse_whatever_the_grace() {
    for grace_seconds in [0, 10] {
        let (world, first) = signed_in(&format!("refresh-answer-lost-{grace_seconds}")).await;
        let proxy = Proxy::start().await;
        let mut world = World::on(world.tables.through(&proxy.endpoint));
        world.grace_seconds = grace_seconds;
        world.keys.get(NOW).await.unwrap();
        proxy.decide(
            |call, _| {
                if call.operation == "UpdateItem" && call.attempt == 1 { Fate::AnswerLost } else { Fate::Pass }
            },
        );
        let second = world.refresh(&first.refresh, NOW).await.unwrap();
        let attempts = proxy.calls().iter().filter(|call| call.operation == "UpdateItem").count();
        assert_eq!(attempts, 2, "the answer was lost once");
        assert_eq!(generation(&world, &first.sid).await, Some(1));
        assert!(world.refresh(&second.refresh, NOW + 60).await.is_ok());
    }
}

#[tokio::test]
async fn when_every_answer_is_lost_the_clients_retry_gets_the_same_successor_and_no_alarm() {
    let (world, first) = signed_in("refresh-answers-lost").await;
    let proxy = Proxy::start().await;
    let world = World::on(world.tables.through(&proxy.endpoint));
    world.keys.get(NOW).await.unwrap();
    proxy.decide(|call, _| if call.operation == "UpdateItem" { Fate::AnswerLost } else { Fate::Pass });
    assert!(matches!(world.refresh(&first.refresh, NOW).await, Err(RefreshError::Store(_))));
    assert_eq!(generation(&world, &first.sid).await, Some(1), "the write was made");
    proxy.pass();
    let second = world.refresh(&first.refresh, NOW + 3).await.unwrap();
    assert_eq!(generation(&world, &first.sid).await, Some(1));
    assert_eq!(second.refresh, world.refresh(&first.refresh, NOW + 4).await.unwrap().refresh);
    assert!(world.refresh(&second.refresh, NOW + 60).await.is_ok());
}

/// Takes a key out of the table: the emergency stop.
async fn withdraw(world: &World, purpose: &str, kid: &str) {
    let table = world.tables.name_of("SigningKeysTable");
    let delete = world.tables.client.delete_item().table_name(table);
    let delete = delete.key("purpose", AttributeValue::S(purpose.to_owned()));
    delete.key("kid", AttributeValue::S(kid.to_owned())).send().await.unwrap();
}

#[tokio::test]
async fn a_withdrawn_key_does_not_come_back_when_the_table_is_silent_afterwards() {
    let (outer, first) = signed_in("refresh-withdrawn-silent").await;
    let proxy = Proxy::start().await;
    let world = World::on(outer.tables.through(&proxy.endpoint));
    world.keys.get(NOW).await.unwrap();
    withdraw(&outer, "refresh-token", first.refresh.split('.').nth(1).unwrap()).await;
    assert!(world.keys.get(NOW + 60).await.is_err(), "there is no key");
    let table = outer.tables.name_of("SigningKeysTable");
    proxy.decide(move |call, _| if call.body["TableName"] == table { Fate::Lost } else { Fate::Pass });
    for seconds in [61, 90, 121, 299] {
        assert!(world.keys.get(NOW + seconds).await.is_err(), "after {seconds} s");
        assert!(world.refresh(&first.refresh, NOW + seconds).await.is_err(), "after {seconds} s");
    }
    assert_eq!(generation(&outer, &first.sid).await, Some(0));
}

#[tokio::test]
async fn a_refresh_token_can_be_revoked_although_no_key_signs() {
    let (world, first) = signed_in("revoke-without-signer").await;
    let kid = jsonwebtoken::decode_header(&first.access).unwrap().kid.unwrap();
    withdraw(&world, "access-token", &kid).await;
    let now = NOW + 60;
    assert!(matches!(world.refresh(&first.refresh, now).await, Err(RefreshError::Keys(_))));
    world.token_states().revoke(&first.refresh, now).await.unwrap();
    assert_eq!(generation(&world, &first.sid).await, None);
}

#[tokio::test]
async fn while_the_keys_cannot_be_read_the_copy_goes_on_and_not_every_request_waits() {
    let (outer, first) = signed_in("refresh-keys-silent").await;
    let proxy = Proxy::start().await;
    let world = World::on(outer.tables.through(&proxy.endpoint));
    world.keys.get(NOW).await.unwrap();
    let table = outer.tables.name_of("SigningKeysTable");
    proxy.decide(move |call, _| if call.body["TableName"] == table { Fate::Lost } else { Fate::Pass });
    let mut token = first.refresh;
    for seconds in [60, 61, 69, 70, 299] {
        token = world.refresh(&token, NOW + seconds).await.unwrap().refresh;
    }
    let tried = proxy.operations().iter().filter(|operation| *operation == "Query").count();
    assert!((3..=6).contains(&tried), "once in ten seconds, two queries: {tried}");
    assert!(matches!(world.refresh(&token, NOW + 300).await, Err(RefreshError::Keys(_))), "the copy is too old");
}
