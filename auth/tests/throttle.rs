//! How often a password may be guessed, on a real DynamoDB and with a clock of the test.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::EpochSeconds;
use auth::authentication::AuthenticationError;
use auth::password::Password;
use auth::store::login_attempts::{Bucket, Limits, Reserve};
use auth::throttle::{MAX_WAIT_SECONDS, SourceNetwork, ThrottleError};
use auth::username::Username;
use aws_sdk_dynamodb::types::AttributeValue;
use test_support::fixture::{Fixture, NOW, PASSWORD, alice};
use test_support::proxy::{Fate, Proxy};

const HOME: &str = "192.0.2.10";
const ELSEWHERE: &str = "198.51.100.20";

/// The outcome of an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    SignedIn,
    Refused,
    /// And after how many seconds to try again.
    Throttled(u64),
}

async fn attempt(fixture: &Fixture, username: &str, password: &str, address: &str, now: EpochSeconds) -> Outcome {
    match fixture.authenticate(username, password, address, now).await {
        Ok(_) => Outcome::SignedIn,
        Err(
            AuthenticationError::UnknownUser | AuthenticationError::WrongPassword | AuthenticationError::DisabledUser,
        ) => Outcome::Refused,
        Err(AuthenticationError::Throttle(ThrottleError::TooMany { retry_after_seconds, .. })) => {
            Outcome::Throttled(retry_after_seconds)
        }
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

/// Concurrent attempts, as of several execution environments: a hash in one does not delay the others.
async fn at_once(
    number: usize,
    fixture: &Arc<Fixture>,
    password: &'static str,
    address: &'static str,
    now: EpochSeconds,
) -> Vec<Outcome> {
    let attempts: Vec<_> = (0..number)
        .map(|_| {
            let (fixture, runtime) = (Arc::clone(fixture), tokio::runtime::Handle::current());
            tokio::task::spawn_blocking(move || runtime.block_on(attempt(&fixture, "alice", password, address, now)))
        })
        .collect();
    let mut outcomes = Vec::new();
    for attempt in attempts {
        outcomes.push(attempt.await.unwrap());
    }
    outcomes
}

/// Fails until throttled, each time as soon as allowed. Returns the number of attempts and how long each had to wait.
async fn fail_until_closed(
    fixture: &Fixture,
    username: &str,
    address: &str,
    mut now: EpochSeconds,
) -> (u64, Vec<u64>, EpochSeconds) {
    let (mut made, mut waits) = (0, Vec::new());
    loop {
        match attempt(fixture, username, "wrong", address, now).await {
            Outcome::Refused => made += 1,
            Outcome::Throttled(seconds) => {
                // At the second before it is still closed; a bucket that is used up does not open by time.
                assert!(matches!(
                    attempt(fixture, username, "wrong", address, now + seconds - 1).await,
                    Outcome::Throttled(_)
                ));
                now += seconds;
                if attempt(fixture, username, "wrong", address, now).await != Outcome::Refused {
                    return (made, waits, now);
                }
                made += 1;
                waits.push(seconds);
            }
            Outcome::SignedIn => panic!("a wrong password signed in"),
        }
    }
}

#[tokio::test]
async fn waits_begin_after_five_failures_double_and_end_at_15_minutes() {
    let fixture = Fixture::create("throttle-waits").await;
    fixture.add_user("alice").await;
    let (made, waits, _) = fail_until_closed(&fixture, "alice", ELSEWHERE, NOW).await;
    assert_eq!(waits[..11], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900]);
    assert!(waits[10..].iter().all(|wait| *wait == MAX_WAIT_SECONDS), "{waits:?}");
    assert_eq!(made, 25, "untrusted attempts are no more than these");
}

#[tokio::test]
async fn an_unknown_name_is_counted_in_the_same_way() {
    let fixture = Fixture::create("throttle-nobody").await;
    let (made, waits, _) = fail_until_closed(&fixture, "nobody", ELSEWHERE, NOW).await;
    assert_eq!((made, waits.len()), (25, 20));
}

#[tokio::test]
async fn a_success_clears_the_counter_of_the_account() {
    let fixture = Fixture::create("throttle-success").await;
    fixture.add_user("alice").await;
    for round in 0..4 {
        let address = format!("192.0.2.{round}");
        for _ in 0..5 {
            assert_eq!(attempt(&fixture, "alice", "wrong", &address, NOW + round).await, Outcome::Refused);
        }
        assert_eq!(attempt(&fixture, "alice", PASSWORD, &address, NOW + round).await, Outcome::Throttled(1));
        assert_eq!(attempt(&fixture, "alice", PASSWORD, &address, NOW + round + 1).await, Outcome::SignedIn);
    }
}

#[tokio::test]
async fn an_attacker_cannot_lock_the_owner_out_who_comes_from_a_known_address() {
    let fixture = Fixture::create("throttle-owner").await;
    fixture.add_user("alice").await;
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW).await, Outcome::SignedIn);
    let (_, _, now) = fail_until_closed(&fixture, "alice", ELSEWHERE, NOW).await;
    assert_eq!(attempt(&fixture, "alice", PASSWORD, ELSEWHERE, now).await, Outcome::Throttled(MAX_WAIT_SECONDS));
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
    // And that clears it for everybody, including the owner at a new address.
    assert_eq!(attempt(&fixture, "alice", PASSWORD, ELSEWHERE, now).await, Outcome::SignedIn);
}

#[tokio::test]
async fn an_address_is_known_for_30_days_and_only_the_latest_four_are() {
    let fixture = Fixture::create("throttle-known").await;
    fixture.add_user("alice").await;
    let day = 24 * 60 * 60;
    for (day_number, address) in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"].iter().enumerate() {
        let now = NOW + day_number as u64 * day;
        assert_eq!(attempt(&fixture, "alice", PASSWORD, address, now).await, Outcome::SignedIn);
    }
    let (_, _, now) = fail_until_closed(&fixture, "alice", ELSEWHERE, NOW + 5 * day).await;
    assert_eq!(attempt(&fixture, "alice", PASSWORD, "192.0.2.1", now).await, Outcome::Throttled(900), "the fifth last");
    let last_seen = NOW + day;
    assert_eq!(
        attempt(&fixture, "alice", PASSWORD, "192.0.2.2", last_seen + 30 * day).await,
        Outcome::Throttled(900),
        "30 days ago"
    );
    assert_eq!(attempt(&fixture, "alice", PASSWORD, "192.0.2.2", last_seen + 30 * day - 1).await, Outcome::SignedIn);
}

#[tokio::test]
async fn a_known_address_has_five_attempts_of_its_own() {
    let fixture = Fixture::create("throttle-known-limit").await;
    fixture.add_user("alice").await;
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW).await, Outcome::SignedIn);
    let (_, _, now) = fail_until_closed(&fixture, "alice", ELSEWHERE, NOW).await;
    for _ in 0..5 {
        assert_eq!(
            attempt(&fixture, "alice", "wrong", HOME, now).await,
            Outcome::Throttled(900),
            "as for everybody else"
        );
    }
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, now).await, Outcome::Throttled(900));
    // Time does not clear it, or more than 100 consecutive failures would be possible.
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, now + 29 * 24 * 60 * 60).await, Outcome::Throttled(900));
    fixture.throttle.unlock(&alice()).await.unwrap();
    // Known addresses stay known: untrusted attempts cannot block the owner again.
    let (_, _, now) = fail_until_closed(&fixture, "alice", ELSEWHERE, now).await;
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
    assert_eq!(attempt(&fixture, "alice", PASSWORD, ELSEWHERE, now).await, Outcome::SignedIn);
}

#[tokio::test]
async fn no_waiting_and_no_number_of_addresses_get_to_100_failures() {
    let fixture = Fixture::create("throttle-100").await;
    fixture.add_user("alice").await;
    let homes: Vec<_> = (1..=4).map(|number| format!("192.0.2.{number}")).collect();
    for home in &homes {
        assert_eq!(attempt(&fixture, "alice", PASSWORD, home, NOW).await, Outcome::SignedIn);
    }
    let mut now = NOW;
    // Every 15 minutes, and then every week for a quarter of a year, from the owner's addresses and from others.
    for round in 0..42_u64 {
        now += if round < 30 { 900 } else { 7 * 24 * 60 * 60 };
        let elsewhere = format!("198.51.100.{round}");
        for address in homes.iter().map(String::as_str).chain([elsewhere.as_str()]) {
            assert_ne!(attempt(&fixture, "alice", "wrong", address, now).await, Outcome::SignedIn);
        }
    }
    // Every hash was reserved before, and nothing was cleared since the last success.
    let table = fixture.tables.name_of("LoginAttemptsTable");
    let key = AttributeValue::S("account#alice".to_owned());
    let item =
        fixture.tables.client.get_item().table_name(table).key("counter", key).send().await.unwrap().item.unwrap();
    let reserved = item.iter().filter(|(name, _)| name.starts_with("reserved@"));
    let hashed: u64 = reserved.map(|(_, number)| number.as_n().unwrap().parse::<u64>().unwrap()).sum();
    assert!((25..=50).contains(&hashed), "{hashed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_60_concurrent_guesses_no_more_than_the_limit_are_made() {
    let fixture = Arc::new(Fixture::create("throttle-burst").await);
    fixture.add_user("alice").await;
    let guesses = at_once(60, &fixture, "wrong", ELSEWHERE, NOW).await;
    let made = guesses.iter().filter(|outcome| **outcome == Outcome::Refused).count();
    assert!((5..=25).contains(&made), "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_right_logins_of_one_user_at_once_all_succeed() {
    let fixture = Arc::new(Fixture::create("throttle-side-by-side").await);
    fixture.add_user("alice").await;
    for failed_before in [0, 7] {
        let now = NOW + failed_before * 1000;
        for failure in 0..failed_before {
            attempt(&fixture, "alice", "wrong", ELSEWHERE, NOW + failure * 100).await;
        }
        for outcome in at_once(40, &fixture, PASSWORD, HOME, now).await {
            assert_eq!(outcome, Outcome::SignedIn, "{failed_before} failures before");
        }
    }
}

/// Twenty-five attempts at alice's account in progress, which is the limit.
async fn fill_with_attempts_in_progress(fixture: &Fixture) {
    let bucket = Bucket { counter: "account#alice".to_owned(), name: "strangers".to_owned() };
    let limits = Limits { max_reserved: 25, waits: Vec::new(), succeeded_after: None };
    for _ in 0..25 {
        fixture.tables.login_attempts().reserve(&bucket, &limits, Reserve::AsInProgress, NOW, None).await.unwrap();
    }
}

#[tokio::test]
async fn an_attempt_blocked_by_attempts_in_progress_is_made_when_one_of_them_succeeds() {
    let fixture = Fixture::create("throttle-held-up").await;
    fixture.add_user("alice").await;
    fill_with_attempts_in_progress(&fixture).await;
    let success = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        fixture.tables.login_attempts().succeed("account#alice", &BTreeMap::new()).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(attempt(&fixture, "alice", PASSWORD, HOME, NOW), success);
    assert_eq!(outcome, Outcome::SignedIn);
}

#[tokio::test]
async fn an_attempt_waits_at_most_two_seconds_for_those_in_progress() {
    let fixture = Fixture::create("throttle-waiting").await;
    fixture.add_user("alice").await;
    fill_with_attempts_in_progress(&fixture).await;
    let started = Instant::now();
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW + 20).await, Outcome::Throttled(1));
    let waited = started.elapsed();
    assert!((Duration::from_millis(1500)..Duration::from_secs(4)).contains(&waited), "{waited:?}");
    // Their functions have timed out: the attempt does not wait.
    let started = Instant::now();
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW + 21).await, Outcome::Throttled(MAX_WAIT_SECONDS));
    assert!(started.elapsed() < Duration::from_millis(1500));
}

/// The result of an attempt, and its calls.
async fn seen(
    fixture: &Fixture,
    proxy: &Proxy,
    username: &str,
    password: &str,
    address: &str,
) -> (String, Vec<String>) {
    proxy.pass();
    let refused = fixture.authenticate(username, password, address, NOW).await.unwrap_err();
    (format!("{} {refused:?}", refused.reason()), proxy.operations())
}

#[tokio::test]
async fn at_a_used_up_address_a_failure_of_a_user_known_there_is_like_everybody_else_s() {
    let outer = Fixture::create("throttle-oracle-address").await;
    for name in ["alice", "bob", "dora"] {
        outer.add_user(name).await;
    }
    for name in ["alice", "dora"] {
        assert_eq!(attempt(&outer, name, PASSWORD, HOME, NOW).await, Outcome::SignedIn);
    }
    outer.accounts().disable(&Username::parse("dora").unwrap(), NOW).await.unwrap();
    for number in 0..100 {
        attempt(&outer, &format!("name{number}"), "wrong", HOME, NOW).await;
    }
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    let others = seen(&fixture, &proxy, "nobody", "wrong", HOME).await;
    assert_eq!(others.1, ["GetItem", "UpdateItem", "UpdateItem"]);
    assert!(others.0.starts_with("throttled "), "{}", others.0);
    for (name, password) in
        [("bob", PASSWORD), ("bob", "wrong"), ("dora", PASSWORD), ("dora", "wrong"), ("alice", "wrong")]
    {
        assert_eq!(seen(&fixture, &proxy, name, password, HOME).await, others, "{name}");
    }
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW).await, Outcome::SignedIn);
}

#[tokio::test]
async fn at_a_closed_account_a_failure_from_a_known_address_is_like_everybody_else_s() {
    let outer = Fixture::create("throttle-oracle-account").await;
    outer.add_user("alice").await;
    assert_eq!(attempt(&outer, "alice", PASSWORD, HOME, NOW).await, Outcome::SignedIn);
    // Five concurrent failures, and the sixth has to wait a second: that would be enough to find out known addresses.
    for name in ["alice", "nobody"] {
        for _ in 0..5 {
            assert_eq!(attempt(&outer, name, "wrong", ELSEWHERE, NOW).await, Outcome::Refused);
        }
    }
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    let others = seen(&fixture, &proxy, "nobody", "wrong", HOME).await;
    assert_eq!(others.1, ["GetItem", "UpdateItem", "UpdateItem", "UpdateItem"]);
    assert_eq!(seen(&fixture, &proxy, "alice", "wrong", HOME).await, others);
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW).await, Outcome::SignedIn);
}

#[tokio::test]
async fn without_an_address_only_the_account_is_counted() {
    let fixture = Fixture::create("throttle-no-address").await;
    fixture.add_user("alice").await;
    let attempt = async |username: &str, password: &str| {
        let password = Password::new(password.to_owned());
        fixture.authenticator().authenticate(username, &password, None, NOW).await
    };
    for number in 0..101 {
        assert_eq!(attempt(&format!("name{number}"), "wrong").await.unwrap_err().reason(), "unknown_user");
    }
    for _ in 0..5 {
        assert_eq!(attempt("alice", "wrong").await.unwrap_err().reason(), "wrong_password");
    }
    assert_eq!(attempt("alice", PASSWORD).await.unwrap_err().reason(), "throttled");
    for _ in 0..101 {
        fixture.throttle.count("register", None, NOW).await.unwrap();
    }
    fixture.throttle.unlock(&alice()).await.unwrap();
    assert!(attempt("alice", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn an_address_that_tries_many_names_has_to_wait_for_an_hour_at_the_most() {
    let fixture = Fixture::create("throttle-address").await;
    fixture.add_user("alice").await;
    for number in 0..100 {
        assert_eq!(attempt(&fixture, &format!("name{number}"), "wrong", ELSEWHERE, NOW).await, Outcome::Refused);
    }
    assert_eq!(attempt(&fixture, "alice", PASSWORD, ELSEWHERE, NOW).await, Outcome::Throttled(1));
    for no_user in ["", "no name at all"] {
        assert_eq!(attempt(&fixture, no_user, "wrong", ELSEWHERE, NOW).await, Outcome::Throttled(1), "{no_user:?}");
    }
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW).await, Outcome::SignedIn, "another address");
    assert_eq!(attempt(&fixture, "alice", PASSWORD, ELSEWHERE, NOW + 1).await, Outcome::SignedIn);
    for step in 0..12 {
        attempt(&fixture, "nobody", "wrong", ELSEWHERE, NOW + 1 + step).await;
    }
    // The item still exists, but has expired.
    assert_eq!(attempt(&fixture, "alice", "wrong", ELSEWHERE, NOW + 3600).await, Outcome::Refused);
    assert_eq!(attempt(&fixture, "alice", PASSWORD, ELSEWHERE, NOW + 3600).await, Outcome::SignedIn);
}

#[tokio::test]
async fn the_counter_of_an_account_that_exists_is_never_deleted_and_others_are() {
    let fixture = Fixture::create("throttle-expiry").await;
    fixture.add_user("alice").await;
    attempt(&fixture, "alice", "wrong", HOME, NOW).await;
    attempt(&fixture, "nobody", "wrong", HOME, NOW).await;
    let items =
        fixture.tables.client.scan().table_name(fixture.tables.name_of("LoginAttemptsTable")).send().await.unwrap();
    let expiry = |counter: &str| {
        let item = items.items().iter().find(|item| item["counter"] == AttributeValue::S(counter.to_owned())).unwrap();
        item.get("expires_at").and_then(|value| value.as_n().ok()?.parse::<EpochSeconds>().ok())
    };
    assert_eq!(expiry("account#alice"), None);
    assert_eq!(expiry("account#nobody"), Some(NOW + 30 * 24 * 60 * 60));
    assert_eq!(expiry("login#192.0.2.10"), Some(NOW + 3600));
}

#[tokio::test]
async fn a_change_of_the_password_has_five_attempts_of_its_own() {
    let fixture = Fixture::create("throttle-password").await;
    let user = fixture.add_user("alice").await;
    let held = fixture.begin(&user, NOW).await.unwrap();
    let caller = fixture.authorize(&held.access, NOW).await.unwrap();
    let (_, _, now) = fail_until_closed(&fixture, "alice", ELSEWHERE, NOW).await;
    let network = SourceNetwork::of(ELSEWHERE);
    let again = async |password: &str| {
        let password = Password::new(password.to_owned());
        fixture.authenticator().authenticate_again(&(&caller).into(), &password, network.as_ref(), now).await
    };
    for _ in 0..5 {
        assert!(matches!(again("wrong").await, Err(AuthenticationError::WrongPassword)));
    }
    assert!(matches!(
        again(PASSWORD).await,
        Err(AuthenticationError::Throttle(ThrottleError::TooMany { retry_after_seconds: 900, .. }))
    ));
}

#[tokio::test]
async fn registrations_and_failed_refreshes_are_limited_for_an_address() {
    let fixture = Fixture::create("throttle-count").await;
    let network = SourceNetwork::of(ELSEWHERE);
    for what in ["register", "refresh"] {
        for _ in 0..100 {
            fixture.throttle.count(what, network.as_ref(), NOW).await.unwrap();
        }
        let refused = fixture.throttle.count(what, network.as_ref(), NOW).await;
        assert!(
            matches!(refused, Err(ThrottleError::TooMany { what: "address", retry_after_seconds: 1 })),
            "{refused:?}"
        );
        fixture.throttle.count(what, SourceNetwork::of(HOME).as_ref(), NOW).await.unwrap();
        fixture.throttle.count(what, network.as_ref(), NOW + 1).await.unwrap();
    }
}

#[tokio::test]
async fn if_attempts_cannot_be_counted_logins_are_rejected_and_nothing_is_hashed() {
    let fixture = Fixture::create("throttle-outage").await;
    fixture.add_user("alice").await;
    let proxy = Proxy::start().await;
    let table = fixture.tables.name_of("LoginAttemptsTable");
    let fixture = Fixture::on(fixture.tables.through(&proxy.endpoint));
    // Before the hash, and after it: neither the account nor the address, nor the success can be written.
    for spared in 0..3 {
        let table = table.clone();
        let counted = std::sync::Mutex::new(std::collections::BTreeSet::new());
        proxy.decide(move |call, index| {
            if call.body["TableName"] != table {
                return Fate::Pass;
            }
            let mut counted = counted.lock().unwrap();
            counted.insert(index);
            if counted.iter().position(|earlier| *earlier == index) == Some(spared) { Fate::Lost } else { Fate::Pass }
        });
        let refused = fixture.authenticate("alice", PASSWORD, HOME, NOW + spared as u64).await.unwrap_err();
        assert_eq!(refused.reason(), "store_failed", "{spared}");
    }
    proxy.pass();
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW + 10).await, Outcome::SignedIn);
    let operations = proxy.operations();
    assert_eq!(
        operations,
        ["GetItem", "UpdateItem", "UpdateItem", "PutItem"],
        "the calls of a login before its session"
    );
}

#[tokio::test]
async fn others_behind_the_owners_address_do_not_lock_the_owner_out() {
    let fixture = Fixture::create("throttle-neighbours").await;
    let user = fixture.add_user("alice").await;
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW).await, Outcome::SignedIn);
    let held = fixture.begin(&user, NOW).await.unwrap();
    let caller = fixture.authorize(&held.access, NOW).await.unwrap();
    for number in 0..100 {
        attempt(&fixture, &format!("name{number}"), "wrong", HOME, NOW).await;
    }
    assert_eq!(attempt(&fixture, "bob", PASSWORD, HOME, NOW).await, Outcome::Throttled(1));
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW).await, Outcome::SignedIn);
    let password = Password::new(PASSWORD.to_owned());
    let network = SourceNetwork::of(HOME);
    assert!(
        fixture.authenticator().authenticate_again(&(&caller).into(), &password, network.as_ref(), NOW).await.is_ok()
    );
}

#[tokio::test]
async fn what_was_tried_before_there_was_an_account_does_not_count_against_it() {
    let fixture = Fixture::create("throttle-welcome").await;
    let (_, _, now) = fail_until_closed(&fixture, "alice", ELSEWHERE, NOW).await;
    let user = fixture.add_user("alice").await;
    fixture.throttle.welcome(&user.username, SourceNetwork::of(HOME).as_ref(), now).await.unwrap();
    assert_eq!(attempt(&fixture, "alice", "wrong", ELSEWHERE, now).await, Outcome::Refused);
    let (_, _, now) = fail_until_closed(&fixture, "alice", ELSEWHERE, now).await;
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
}
