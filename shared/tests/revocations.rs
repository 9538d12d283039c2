//! What is revoked of one user must not make the user's requests grow, and nothing that was revoked may come back.
//!
//! `cargo xtask test -- --test revocations -- --nocapture` prints what a request costs after many revocations.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::print_stdout, reason = "it prints a table")]

mod proxy;
mod tables;
mod world;

use std::sync::Arc;
use std::time::Instant;

use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use proxy::Proxy;
use shared::account::Owner;
use shared::token::verifier::Refusal;
use world::{Held, NOW, World, alice};

/// A session that begins and ends.
async fn begin_and_end(world: &World, now: u64) -> Held {
    let held = world.begin(&world.user("alice").await, now).await.unwrap();
    world.token_states().revoke(&held.refresh, now).await.unwrap();
    held
}

/// Puts revocations of sessions into the table, as the release before would have written them.
async fn fill(world: &World, sub: &str, numbers: std::ops::Range<usize>, expires_at: u64) {
    let table = world.tables.name_of("DenylistTable");
    let items: Vec<_> = numbers
        .map(|number| {
            let put = PutRequest::builder()
                .item("sub", AttributeValue::S(sub.to_owned()))
                .item("revocation", AttributeValue::S(format!("{expires_at:010}#sid#{number:022}")))
                .item("expires_at", AttributeValue::N(expires_at.to_string()))
                .build()
                .unwrap();
            WriteRequest::builder().put_request(put).build()
        })
        .collect();
    for batch in items.chunks(25) {
        world.tables.client.batch_write_item().request_items(&table, batch.to_vec()).send().await.unwrap();
    }
}

#[tokio::test]
async fn however_much_was_revoked_a_request_reads_three_units_at_the_most() {
    requests_after(&[0, 10, 100, 1_000]).await;
}

#[tokio::test]
#[ignore = "it takes minutes, and holds no more than the one before"]
async fn ten_thousand_revocations() {
    requests_after(&[0, 10, 100, 1_000, 10_000]).await;
}

async fn requests_after(numbers: &[usize]) {
    let outer = World::create(&format!("revocations-growth-{}", numbers.len())).await;
    outer.add_user("alice").await;
    let proxy = Proxy::start().await;
    let world = World::on(outer.tables.through(&proxy.endpoint));
    let mut made = 0;
    println!("| revocations | calls | read units | ms |");
    for number in numbers {
        while made < *number {
            let user = outer.user("alice").await;
            // Whether a session was ever stored does not matter.
            let owner = Owner { sub: &user.user_id, username: &user.username, epoch: user.epoch };
            outer.accounts().end_session(&outer.sessions, owner, &format!("{made:022}"), NOW).await.unwrap();
            made += 1;
        }
        let held = world.begin(&outer.user("alice").await, NOW).await.unwrap();
        assert_eq!(world.refusal(&held.access, NOW).await, None, "the keys are read");
        proxy.pass();
        let started = Instant::now();
        assert_eq!(world.refusal(&held.access, NOW).await, None);
        let elapsed = started.elapsed().as_secs_f64() * 1000.0;
        let calls = proxy.calls();
        println!("| {number} | {} | {} | {elapsed:.1} |", calls.len(), calls[0].units);
        assert_eq!((calls.len(), calls[0].operation.as_str()), (1, "Query"));
        assert!(calls[0].units <= 3.0, "{number}: {}", calls[0].units);
    }
}

#[tokio::test]
async fn the_sixty_sixth_end_of_a_session_ends_all_and_the_next_ones_end_one() {
    let world = World::create("revocations-bound").await;
    world.add_user("alice").await;
    let open = world.begin(&world.user("alice").await, NOW).await.unwrap();
    let mut ended = Vec::new();
    for _ in 0..65 {
        ended.push(begin_and_end(&world, NOW).await);
    }
    assert_eq!(world.refusal(&open.access, NOW).await, None);
    assert_eq!(world.user("alice").await.epoch, 0);
    ended.push(begin_and_end(&world, NOW).await);
    assert_eq!(world.user("alice").await.epoch, 1);
    assert_eq!(world.refusal(&open.access, NOW).await, Some(Refusal::RevokedEpoch));
    assert!(world.refresh(&open.refresh, NOW).await.is_err());
    let open = world.begin(&world.user("alice").await, NOW).await.unwrap();
    for _ in 0..65 {
        ended.push(begin_and_end(&world, NOW).await);
    }
    assert_eq!(world.user("alice").await.epoch, 1);
    assert_eq!(world.refusal(&open.access, NOW).await, None);
    for held in ended {
        assert!(world.refusal(&held.access, NOW).await.is_some());
        assert!(world.refresh(&held.refresh, NOW).await.is_err());
    }
    // An hour later all is forgotten, for nothing of it can still verify.
    let later = NOW + 3600 + 3600;
    begin_and_end(&world, later).await;
    assert_eq!(world.user("alice").await.epoch, 1);
}

#[tokio::test]
async fn more_than_is_read_without_a_raised_epoch_is_refused_until_the_epoch_is_raised() {
    let world = World::create("revocations-too-many").await;
    let user = world.add_user("alice").await;
    let held = world.begin(&user, NOW).await.unwrap();
    fill(&world, &user.user_id, 0..138, NOW + 3620).await;
    assert_eq!(world.refusal(&held.access, NOW).await, None, "all of it is read");
    fill(&world, &user.user_id, 138..1000, NOW + 3620).await;
    assert_eq!(world.refusal(&held.access, NOW).await, Some(Refusal::TooManyRevocations));
    world.accounts().revoke(&alice(), NOW).await.unwrap();
    assert_eq!(world.refusal(&held.access, NOW).await, Some(Refusal::RevokedEpoch));
    let held = world.begin(&world.user("alice").await, NOW).await.unwrap();
    assert_eq!(world.refusal(&held.access, NOW).await, None);
    // And so does the next revocation by itself.
    fill(&world, &user.user_id, 1000..1200, NOW + 4000).await;
    assert_eq!(world.refusal(&held.access, NOW).await, Some(Refusal::TooManyRevocations));
    world.token_states().revoke(&held.access, NOW).await.unwrap();
    assert_eq!(world.refusal(&held.access, NOW).await, Some(Refusal::RevokedEpoch));
    let held = world.begin(&world.user("alice").await, NOW).await.unwrap();
    assert_eq!(world.refusal(&held.access, NOW).await, None);
}

#[tokio::test]
async fn a_writer_whose_clock_is_wrong_hides_nothing() {
    let world = World::create("revocations-clock").await;
    let user = world.add_user("alice").await;
    // An operator's clock is an hour ahead, and so much was revoked before that not all is read.
    fill(&world, &user.user_id, 0..500, NOW + 3620).await;
    world.accounts().revoke(&alice(), NOW + 3600).await.unwrap();
    let one = world.begin(&world.user("alice").await, NOW).await.unwrap();
    let other = world.begin(&world.user("alice").await, NOW).await.unwrap();
    world.token_states().revoke(&one.access, NOW).await.unwrap();
    let caller = world.authorize(&other.access, NOW).await.unwrap();
    assert_eq!(world.refusal(&one.access, NOW).await, Some(Refusal::RevokedToken));
    world.logout(&caller, NOW).await.unwrap();
    assert_eq!(world.refusal(&other.access, NOW).await, Some(Refusal::RevokedSession));
    let held = world.begin(&world.user("alice").await, NOW).await.unwrap();
    let caller = world.authorize(&held.access, NOW).await.unwrap();
    world.logout_everywhere(&caller, NOW).await.unwrap();
    for held in [&one, &other, &held] {
        assert!(world.refusal(&held.access, NOW).await.is_some());
    }
}

#[tokio::test]
async fn whoever_holds_what_is_revoked_already_ends_nothing_with_it() {
    let world = World::create("revocations-dead-token").await;
    world.add_user("alice").await;
    let before = world.begin(&world.user("alice").await, NOW).await.unwrap();
    world.accounts().revoke(&alice(), NOW).await.unwrap();
    for _ in 0..65 {
        begin_and_end(&world, NOW).await;
    }
    let open = world.begin(&world.user("alice").await, NOW).await.unwrap();
    for token in [&before.refresh, &before.access] {
        for _ in 0..3 {
            world.token_states().revoke(token, NOW).await.unwrap();
        }
    }
    assert_eq!(world.refusal(&open.access, NOW).await, None);
    assert_eq!(world.user("alice").await.epoch, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_sessions_that_end_at_once_none_stays_and_the_user_can_log_in() {
    let world = Arc::new(World::create("revocations-at-once").await);
    let user = world.add_user("alice").await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(world.begin(&user, NOW).await.unwrap());
    }
    let ends: Vec<_> = held
        .iter()
        .map(|held| {
            let (world, token) = (Arc::clone(&world), held.refresh.clone());
            tokio::spawn(async move { world.token_states().revoke(&token, NOW).await })
        })
        .collect();
    for end in ends {
        end.await.unwrap().unwrap();
    }
    for held in &held {
        assert!(world.refusal(&held.access, NOW).await.is_some());
    }
    let held = world.begin(&world.user("alice").await, NOW).await.unwrap();
    assert_eq!(world.refusal(&held.access, NOW).await, None);
}
