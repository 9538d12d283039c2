//! The cost of a request must not grow with the revocations of its user, and a revoked token must stay revoked.
//!
//! `cargo xtask test -- --test revocations -- --nocapture` prints what a request costs after many revocations.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::sync::Arc;
use std::time::Instant;

use auth::EpochSeconds;
use auth::revocation::Revoked;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use test_support::fixture::{Fixture, Held, NOW, alice};
use test_support::proxy::Proxy;

/// A session that begins and ends.
async fn begin_and_end(fixture: &Fixture, now: EpochSeconds) -> Held {
    let held = fixture.begin(&fixture.user("alice").await, now).await.unwrap();
    fixture.states.revoke(&held.refresh, now).await.unwrap();
    held
}

/// Puts revocations of sessions into the table, as the previous release wrote them.
async fn fill(fixture: &Fixture, sub: &str, numbers: std::ops::Range<usize>, expires_at: EpochSeconds) {
    let table = fixture.tables.name_of("DenylistTable");
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
        fixture.tables.client.batch_write_item().request_items(&table, batch.to_vec()).send().await.unwrap();
    }
}

#[tokio::test]
async fn however_much_was_revoked_a_request_reads_three_units_at_the_most() {
    Box::pin(requests_after(&[0, 10, 100, 1_000])).await;
}

#[tokio::test]
#[ignore = "it takes minutes, and tests the same as the previous one"]
async fn ten_thousand_revocations() {
    Box::pin(requests_after(&[0, 10, 100, 1_000, 10_000])).await;
}

async fn requests_after(numbers: &[usize]) {
    let outer = Fixture::create(&format!("revocations-growth-{}", numbers.len())).await;
    outer.add_user("alice").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    let mut made = 0;
    println!("| revocations | calls | read units | ms |");
    for number in numbers {
        while made < *number {
            let user = outer.user("alice").await;
            // The sessions need not be stored.
            outer.end(&user, user.epoch, &format!("{made:022}"), NOW).await.unwrap();
            made += 1;
        }
        let held = fixture.begin(&outer.user("alice").await, NOW).await.unwrap();
        assert_eq!(fixture.rejection(&held.access, NOW).await, None, "the keys are read");
        proxy.pass();
        let started = Instant::now();
        assert_eq!(fixture.rejection(&held.access, NOW).await, None);
        let elapsed = started.elapsed().as_secs_f64() * 1000.0;
        let calls = proxy.calls();
        println!("| {number} | {} | {} | {elapsed:.1} |", calls.len(), calls[0].units);
        assert_eq!((calls.len(), calls[0].operation.as_str()), (1, "Query"));
        assert!(calls[0].units <= 3.0, "{number}: {}", calls[0].units);
    }
}

#[tokio::test]
async fn the_sixty_sixth_end_of_a_session_ends_all_and_the_next_ones_end_one() {
    let fixture = Fixture::create("revocations-bound").await;
    fixture.add_user("alice").await;
    let open = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    let mut ended = Vec::new();
    for _ in 0..65 {
        ended.push(begin_and_end(&fixture, NOW).await);
    }
    assert_eq!(fixture.rejection(&open.access, NOW).await, None);
    assert_eq!(fixture.user("alice").await.epoch, 0);
    ended.push(begin_and_end(&fixture, NOW).await);
    assert_eq!(fixture.user("alice").await.epoch, 1);
    assert_eq!(fixture.rejection(&open.access, NOW).await, Some(Revoked::Epoch.into()));
    assert!(fixture.refresh(&open.refresh, NOW).await.is_err());
    let open = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    for _ in 0..65 {
        ended.push(begin_and_end(&fixture, NOW).await);
    }
    assert_eq!(fixture.user("alice").await.epoch, 1);
    assert_eq!(fixture.rejection(&open.access, NOW).await, None);
    for held in ended {
        assert!(fixture.rejection(&held.access, NOW).await.is_some());
        assert!(fixture.refresh(&held.refresh, NOW).await.is_err());
    }
    // An hour later the revocations are deleted, because those tokens have expired.
    let later = NOW + 3600 + 3600;
    begin_and_end(&fixture, later).await;
    assert_eq!(fixture.user("alice").await.epoch, 1);
}

#[tokio::test]
async fn more_than_is_read_without_a_raised_epoch_is_refused_until_the_epoch_is_raised() {
    let fixture = Fixture::create("revocations-too-many").await;
    let user = fixture.add_user("alice").await;
    let held = fixture.begin(&user, NOW).await.unwrap();
    fill(&fixture, user.user_id.as_str(), 0..138, NOW + 3620).await;
    assert_eq!(fixture.rejection(&held.access, NOW).await, None, "all of it is read");
    fill(&fixture, user.user_id.as_str(), 138..1000, NOW + 3620).await;
    assert_eq!(fixture.rejection(&held.access, NOW).await, Some(Revoked::TooMany.into()));
    fixture.accounts().revoke(&alice(), NOW).await.unwrap();
    assert_eq!(fixture.rejection(&held.access, NOW).await, Some(Revoked::Epoch.into()));
    let held = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    assert_eq!(fixture.rejection(&held.access, NOW).await, None);
    // And so does the next revocation by itself.
    fill(&fixture, user.user_id.as_str(), 1000..1200, NOW + 4000).await;
    assert_eq!(fixture.rejection(&held.access, NOW).await, Some(Revoked::TooMany.into()));
    fixture.states.revoke(&held.access, NOW).await.unwrap();
    assert_eq!(fixture.rejection(&held.access, NOW).await, Some(Revoked::Epoch.into()));
    let held = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    assert_eq!(fixture.rejection(&held.access, NOW).await, None);
}

#[tokio::test]
async fn a_writer_whose_clock_is_wrong_hides_nothing() {
    let fixture = Fixture::create("revocations-clock").await;
    let user = fixture.add_user("alice").await;
    // An operator's clock is an hour ahead, and there are more revocations than are read.
    fill(&fixture, user.user_id.as_str(), 0..500, NOW + 3620).await;
    fixture.accounts().revoke(&alice(), NOW + 3600).await.unwrap();
    let one = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    let other = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    fixture.states.revoke(&one.access, NOW).await.unwrap();
    let caller = fixture.authorize(&other.access, NOW).await.unwrap();
    assert_eq!(fixture.rejection(&one.access, NOW).await, Some(Revoked::Token.into()));
    fixture.logout(&caller, NOW).await.unwrap();
    assert_eq!(fixture.rejection(&other.access, NOW).await, Some(Revoked::Session.into()));
    let held = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    let caller = fixture.authorize(&held.access, NOW).await.unwrap();
    fixture.logout_everywhere(&caller, NOW).await.unwrap();
    for held in [&one, &other, &held] {
        assert!(fixture.rejection(&held.access, NOW).await.is_some());
    }
}

#[tokio::test]
async fn a_revoked_token_revokes_nothing_else() {
    let fixture = Fixture::create("revocations-invalid-token").await;
    fixture.add_user("alice").await;
    let before = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    fixture.accounts().revoke(&alice(), NOW).await.unwrap();
    for _ in 0..65 {
        begin_and_end(&fixture, NOW).await;
    }
    let open = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    for token in [&before.refresh, &before.access] {
        for _ in 0..3 {
            fixture.states.revoke(token, NOW).await.unwrap();
        }
    }
    assert_eq!(fixture.rejection(&open.access, NOW).await, None);
    assert_eq!(fixture.user("alice").await.epoch, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_sessions_that_end_at_once_none_stays_and_the_user_can_log_in() {
    let fixture = Arc::new(Fixture::create("revocations-at-once").await);
    let user = fixture.add_user("alice").await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(fixture.begin(&user, NOW).await.unwrap());
    }
    let ends: Vec<_> = held
        .iter()
        .map(|held| {
            let (fixture, token) = (Arc::clone(&fixture), held.refresh.clone());
            tokio::spawn(async move { fixture.states.revoke(&token, NOW).await })
        })
        .collect();
    for end in ends {
        end.await.unwrap().unwrap();
    }
    for held in &held {
        assert!(fixture.rejection(&held.access, NOW).await.is_some());
    }
    let held = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    assert_eq!(fixture.rejection(&held.access, NOW).await, None);
}
