//! How often a password may be guessed, on a real DynamoDB and with a clock of the test.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::print_stdout, reason = "a simulation prints what happened")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::EpochSeconds;
use auth::attempts::{
    ACCOUNT_EXPIRES_AFTER_SECONDS, Bucket, Counter, DEVICE_KNOWN_FOR_SECONDS, IN_PROGRESS_SECONDS, Limits,
    MAX_OF_NETWORKS, MAX_PER_BUCKET,
};
use auth::authentication::{Authenticated, AuthenticationError, Credentials};
use auth::device::DeviceToken;
use auth::network::SourceNetwork;
use auth::password::Password;
use auth::session::SignedIn;
use auth::store::login_attempts::{Expiry, Reservation};
use auth::throttle::ThrottleError;
use auth::user::User;
use auth::username::Username;
use aws_lc_rs::rand::SystemRandom;
use test_support::fixture::{Fixture, NOW, PASSWORD};
use test_support::proxy::{Fate, Proxy};

const HOME: &str = "192.0.2.10";
const ELSEWHERE: &str = "198.51.100.20";
const DAY: u64 = 24 * 60 * 60;

/// The outcome of an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    SignedIn,
    Refused,
    /// And after how many seconds to try again.
    Wait(u64),
    /// And waiting does not help.
    UsedUp,
    /// Nor on this device.
    DeviceUsedUp,
}

fn outcome(result: Result<Authenticated, AuthenticationError>) -> Outcome {
    match result {
        Ok(_) => Outcome::SignedIn,
        Err(
            AuthenticationError::UnknownUser | AuthenticationError::WrongPassword | AuthenticationError::DisabledUser,
        ) => Outcome::Refused,
        Err(AuthenticationError::Throttle(ThrottleError::TooMany { retry_after_seconds })) => {
            Outcome::Wait(retry_after_seconds)
        }
        Err(AuthenticationError::Throttle(ThrottleError::UsedUp)) => Outcome::UsedUp,
        Err(AuthenticationError::Throttle(ThrottleError::DeviceUsedUp)) => Outcome::DeviceUsedUp,
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

/// An attempt from a device that is not known.
async fn attempt(fixture: &Fixture, username: &str, password: &str, address: &str, now: EpochSeconds) -> Outcome {
    outcome(fixture.authenticate_on(None, username, password, address, now).await)
}

/// An attempt with a device token.
async fn attempt_on(
    fixture: &Fixture,
    device: &DeviceToken,
    username: &str,
    password: &str,
    address: &str,
    now: EpochSeconds,
) -> Outcome {
    outcome(fixture.authenticate_on(Some(device), username, password, address, now).await)
}

/// A login; what it hands out for the next one.
async fn known_device(fixture: &Fixture, username: &str, address: &str, now: EpochSeconds) -> DeviceToken {
    fixture.authenticate_on(None, username, PASSWORD, address, now).await.unwrap().device
}

/// Concurrent attempts, as of several execution environments: a hash in one does not delay the others.
async fn at_once(
    number: usize,
    fixture: &Arc<Fixture>,
    password: &'static str,
    address: impl Fn(usize) -> String,
    now: EpochSeconds,
) -> Vec<Outcome> {
    let attempts: Vec<_> = (0..number)
        .map(|index| {
            let (fixture, runtime, address) = (Arc::clone(fixture), tokio::runtime::Handle::current(), address(index));
            tokio::task::spawn_blocking(move || runtime.block_on(attempt(&fixture, "alice", password, &address, now)))
        })
        .collect();
    let mut outcomes = Vec::new();
    for attempt in attempts {
        outcomes.push(attempt.await.unwrap());
    }
    outcomes
}

/// Fails until the bucket is used up, each time as soon as allowed. Returns when that was, and how long each wait was.
async fn use_up(
    fixture: &Fixture,
    username: &str,
    address: &str,
    mut now: EpochSeconds,
) -> (u64, Vec<u64>, EpochSeconds) {
    let (mut made, mut waits) = (0, Vec::new());
    loop {
        match attempt(fixture, username, "wrong", address, now).await {
            Outcome::Refused => made += 1,
            Outcome::Wait(seconds) => {
                // At the second before it is still closed.
                assert_eq!(attempt(fixture, username, "wrong", address, now + (seconds - 1)).await, Outcome::Wait(1));
                now += seconds;
                waits.push(seconds);
            }
            Outcome::UsedUp | Outcome::DeviceUsedUp => return (made, waits, now),
            Outcome::SignedIn => panic!("a wrong password signed in"),
        }
    }
}

/// Shuts an account for devices that are not known, from five networks.
async fn shut(fixture: &Fixture, username: &str, mut now: EpochSeconds) -> EpochSeconds {
    for network in 1..=5 {
        let (made, _, later) = use_up(fixture, username, &format!("203.0.113.{network}"), now).await;
        assert_eq!(made, MAX_PER_BUCKET);
        now = later;
    }
    now
}

async fn counter_of(fixture: &Fixture, user: &User, now: EpochSeconds) -> Counter {
    fixture.tables.login_attempts().find(&format!("user#{}", user.user_id), now).await.unwrap()
}

fn reserved(counter: &Counter) -> u64 {
    counter.buckets.values().map(|tally| tally.reserved).sum()
}

#[tokio::test]
async fn a_network_has_five_attempts_with_growing_waits_for_every_name_alike() {
    let fixture = Fixture::create("throttle-waits").await;
    for name in ["alice", "disabled"] {
        fixture.add_user(name).await;
    }
    fixture.accounts().disable(&Username::parse("disabled").unwrap(), NOW).await.unwrap();
    for (name, address) in [("alice", "192.0.2.1"), ("nobody", "192.0.2.2"), ("disabled", "192.0.2.3")] {
        let (made, waits, now) = use_up(&fixture, name, address, NOW).await;
        assert_eq!((made, waits.as_slice(), now), (5, &[2, 10][..], NOW + 12), "{name}");
        for later in [0, DAY, 364 * DAY] {
            assert_eq!(attempt(&fixture, name, PASSWORD, address, now + later).await, Outcome::UsedUp, "{name}");
        }
    }
}

#[tokio::test]
async fn a_success_clears_the_failures_of_every_bucket() {
    let fixture = Fixture::create("throttle-success").await;
    let user = fixture.add_user("alice").await;
    for round in 0..4 {
        for address in [HOME, ELSEWHERE] {
            for _ in 0..3 {
                assert_eq!(attempt(&fixture, "alice", "wrong", address, NOW + round).await, Outcome::Refused);
            }
        }
        assert_eq!(attempt(&fixture, "alice", PASSWORD, "192.0.2.77", NOW + round).await, Outcome::SignedIn);
        assert_eq!(counter_of(&fixture, &user, NOW + round).await.buckets, [].into());
    }
}

#[tokio::test]
async fn a_success_soon_after_another_clears_every_bucket_in_one_write() {
    let fixture = Fixture::create("throttle-forget").await;
    let user = fixture.add_user("alice").await;
    let mut devices = Vec::new();
    for _ in 0..4 {
        devices.push(known_device(&fixture, "alice", HOME, NOW).await);
    }
    // As many buckets as there can be.
    for number in 0..25 {
        let address = format!("203.0.113.{number}");
        assert_eq!(attempt(&fixture, "alice", "wrong", &address, NOW + 1).await, Outcome::Refused);
    }
    for device in &devices {
        assert_eq!(attempt_on(&fixture, device, "alice", "wrong", HOME, NOW + 1).await, Outcome::Refused);
    }
    assert_eq!(reserved(&counter_of(&fixture, &user, NOW).await), 29);
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW + 1).await, Outcome::UsedUp);
    let proxy = Proxy::start().await;
    let through = Fixture::on(fixture.tables.through(&proxy.endpoint));
    through.login.warm_up(NOW).await.unwrap();
    proxy.pass();
    assert_eq!(attempt_on(&through, &devices[0], "alice", PASSWORD, HOME, NOW + 2).await, Outcome::SignedIn);
    assert_eq!(proxy.operations(), ["GetItem", "UpdateItem", "UpdateItem"]);
    assert_eq!(counter_of(&fixture, &user, NOW).await.buckets, [].into());
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW + 2).await, Outcome::SignedIn);
}

#[tokio::test]
async fn five_networks_shut_an_account_for_new_devices_and_a_known_device_opens_it() {
    let fixture = Fixture::create("throttle-shut").await;
    fixture.add_user("alice").await;
    let device = known_device(&fixture, "alice", HOME, NOW).await;
    // Four networks do not suffice.
    let mut now = NOW;
    for network in 1..=4 {
        now = use_up(&fixture, "alice", &format!("203.0.113.{network}"), now).await.2;
    }
    let other = fixture.authenticate_on(None, "alice", PASSWORD, ELSEWHERE, now).await.unwrap();
    now = shut(&fixture, "alice", now).await;
    for address in [HOME, ELSEWHERE, "192.0.2.99"] {
        assert_eq!(attempt(&fixture, "alice", PASSWORD, address, now).await, Outcome::UsedUp, "{address}");
    }
    // From any address, and that opens it for every network.
    assert_eq!(attempt_on(&fixture, &device, "alice", PASSWORD, "203.0.113.1", now).await, Outcome::SignedIn);
    assert_eq!(attempt(&fixture, "alice", PASSWORD, ELSEWHERE, now).await, Outcome::SignedIn);
    assert_eq!(attempt_on(&fixture, &other.device, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
}

#[tokio::test]
async fn a_thousand_addresses_have_no_more_than_25_attempts() {
    let fixture = Fixture::create("throttle-1000").await;
    let user = fixture.add_user("alice").await;
    let device = known_device(&fixture, "alice", HOME, NOW).await;
    let mut made = 0;
    for number in 0..1000 {
        let address = format!("203.0.{}.{}", 100 + number / 250, number % 250);
        made += u64::from(attempt(&fixture, "alice", "wrong", &address, NOW + number).await == Outcome::Refused);
    }
    assert_eq!((made, reserved(&counter_of(&fixture, &user, NOW).await)), (MAX_OF_NETWORKS, MAX_OF_NETWORKS));
    assert_eq!(attempt_on(&fixture, &device, "alice", PASSWORD, HOME, NOW + 1000).await, Outcome::SignedIn);
}

#[tokio::test]
async fn the_four_latest_devices_are_known_for_180_days_after_their_last_login() {
    let fixture = Fixture::create("throttle-known").await;
    let user = fixture.add_user("alice").await;
    let mut devices = Vec::new();
    for day in 0..5 {
        devices.push(known_device(&fixture, "alice", HOME, NOW + day * DAY).await);
    }
    // The second logs in again, so that the third is the one that logged in first.
    assert_eq!(attempt_on(&fixture, &devices[1], "alice", PASSWORD, HOME, NOW + 5 * DAY).await, Outcome::SignedIn);
    assert_eq!(counter_of(&fixture, &user, NOW).await.devices.len(), 4);
    let now = shut(&fixture, "alice", NOW + 6 * DAY).await;
    assert_eq!(
        attempt_on(&fixture, &devices[0], "alice", PASSWORD, HOME, now).await,
        Outcome::UsedUp,
        "the fifth last"
    );
    let expires_at = NOW + (2 * DAY + DEVICE_KNOWN_FOR_SECONDS);
    assert_eq!(attempt_on(&fixture, &devices[2], "alice", PASSWORD, HOME, expires_at).await, Outcome::UsedUp);
    assert_eq!(attempt_on(&fixture, &devices[2], "alice", PASSWORD, HOME, expires_at - 1).await, Outcome::SignedIn);
}

#[tokio::test]
async fn a_stolen_device_token_has_five_guesses_and_no_more() {
    let fixture = Fixture::create("throttle-stolen").await;
    let user = fixture.add_user("alice").await;
    let device = known_device(&fixture, "alice", HOME, NOW).await;
    let (mut now, mut made, mut waits) = (NOW, 0, Vec::new());
    loop {
        match attempt_on(&fixture, &device, "alice", "wrong", ELSEWHERE, now).await {
            Outcome::Refused => made += 1,
            Outcome::Wait(seconds) => {
                waits.push(seconds);
                now += seconds;
            }
            Outcome::DeviceUsedUp => break,
            outcome => panic!("{outcome:?}"),
        }
    }
    assert_eq!((made, waits.as_slice()), (5, &[2, 10][..]));
    assert_eq!(reserved(&counter_of(&fixture, &user, now).await), 5);
    for address in [ELSEWHERE, HOME] {
        let outcome = attempt_on(&fixture, &device, "alice", PASSWORD, address, now + 170 * DAY).await;
        assert_eq!(outcome, Outcome::DeviceUsedUp, "{address}");
    }
    // The owner leaves the token out, as on a new device, and then both are known.
    let new = fixture.authenticate_on(None, "alice", PASSWORD, HOME, now).await.unwrap().device;
    for device in [&device, &new] {
        assert_eq!(attempt_on(&fixture, device, "alice", PASSWORD, ELSEWHERE, now).await, Outcome::SignedIn);
    }
}

#[tokio::test]
async fn a_device_token_of_another_user_or_deployment_is_worth_nothing() {
    let fixture = Fixture::create("throttle-foreign-token").await;
    for name in ["alice", "mallory"] {
        fixture.add_user(name).await;
    }
    let of_mallory = known_device(&fixture, "mallory", ELSEWHERE, NOW).await;
    let of_nobody = DeviceToken::random(&SystemRandom::new()).unwrap();
    let now = shut(&fixture, "alice", NOW).await;
    for device in [&of_mallory, &of_nobody] {
        assert_eq!(attempt_on(&fixture, device, "alice", PASSWORD, HOME, now).await, Outcome::UsedUp);
    }
    // Several users of one browser share a token, each after a login of their own.
    let fixture = Fixture::create("throttle-shared-token").await;
    for name in ["alice", "mallory"] {
        fixture.add_user(name).await;
    }
    let shared = known_device(&fixture, "mallory", HOME, NOW).await;
    let again = fixture.authenticate_on(Some(&shared), "alice", PASSWORD, HOME, NOW).await.unwrap();
    assert_eq!(again.device.expose(), shared.expose());
    let now = shut(&fixture, "alice", NOW).await;
    assert_eq!(attempt_on(&fixture, &shared, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
    let now = shut(&fixture, "mallory", now).await;
    assert_eq!(attempt_on(&fixture, &shared, "mallory", PASSWORD, HOME, now).await, Outcome::SignedIn);
}

#[tokio::test]
async fn after_a_change_of_the_password_only_the_device_that_changed_it_is_known() {
    const NEW_PASSWORD: &str = "a horse of quite another colour";
    let fixture = Fixture::create("throttle-new-password").await;
    let user = fixture.add_user("alice").await;
    let [old, own] =
        [known_device(&fixture, "alice", HOME, NOW).await, known_device(&fixture, "alice", HOME, NOW).await];
    let held = fixture.begin(&user, NOW).await.unwrap();
    let caller = fixture.authorize(&held.access, NOW).await.unwrap();
    let new = Password::new(NEW_PASSWORD.to_owned());
    let current = Password::new(PASSWORD.to_owned());
    let source = test_support::fixture::source();
    let changed = fixture.login.change_password(&(&caller).into(), &current, &new, Some(&own), &source, NOW).await;
    assert_eq!(changed.unwrap().1.expose(), own.expose());
    assert_eq!(counter_of(&fixture, &user, NOW).await.devices_since(1).count(), 1);
    let now = shut(&fixture, "alice", NOW).await;
    assert_eq!(attempt_on(&fixture, &old, "alice", NEW_PASSWORD, HOME, now).await, Outcome::UsedUp);
    assert_eq!(attempt_on(&fixture, &own, "alice", NEW_PASSWORD, HOME, now).await, Outcome::SignedIn);
    // An operator's new password ends it for all devices.
    let (hasher, random) = (&fixture.authenticator().hasher, SystemRandom::new());
    let name = Username::parse("alice").unwrap();
    fixture.accounts().set_password(hasher, fixture.login.policy, &random, &name, &current, now).await.unwrap();
    let epoch = fixture.user("alice").await.password_epoch;
    assert_eq!((epoch, counter_of(&fixture, &user, now).await.devices_since(epoch).count()), (2, 0));
    let now = shut(&fixture, "alice", now).await;
    assert_eq!(attempt_on(&fixture, &own, "alice", PASSWORD, HOME, now).await, Outcome::UsedUp);
}

#[tokio::test]
async fn a_change_of_the_password_that_fails_leaves_devices_known() {
    let outer = Fixture::create("throttle-password-fails").await;
    let user = outer.add_user("alice").await;
    let device = known_device(&outer, "alice", HOME, NOW).await;
    let held = outer.begin(&user, NOW).await.unwrap();
    let caller = SignedIn::from(&outer.authorize(&held.access, NOW).await.unwrap());
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    proxy.decide(|call, _| if call.operation == "TransactWriteItems" { Fate::Lost } else { Fate::Pass });
    let password = Password::new(PASSWORD.to_owned());
    let new = Password::new("a horse of quite another colour".to_owned());
    let source = test_support::fixture::source();
    let changed = fixture.login.change_password(&caller, &password, &new, None, &source, NOW).await;
    assert!(changed.is_err());
    let now = shut(&outer, "alice", NOW).await;
    assert_eq!(attempt_on(&outer, &device, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
}

#[tokio::test]
async fn a_replaced_hash_and_a_logout_everywhere_leave_devices_known() {
    let fixture = Fixture::create("throttle-rehash").await;
    let user = fixture.add_user("alice").await;
    let device = known_device(&fixture, "alice", HOME, NOW).await;
    let hash = fixture.authenticator().hasher.hash(&Password::new(PASSWORD.to_owned()), &SystemRandom::new()).unwrap();
    fixture.users.replace_hash(&user, &hash.into()).await.unwrap();
    let held = fixture.begin(&user, NOW).await.unwrap();
    let caller = fixture.authorize(&held.access, NOW).await.unwrap();
    fixture.logout_everywhere(&caller, NOW).await.unwrap();
    let now = shut(&fixture, "alice", NOW).await;
    assert_eq!(attempt_on(&fixture, &device, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
}

#[tokio::test]
async fn no_waiting_and_no_number_of_places_get_to_more_than_50_failures() {
    let fixture = Fixture::create("throttle-50").await;
    let user = fixture.add_user("alice").await;
    let mut devices = Vec::new();
    for _ in 0..4 {
        devices.push(known_device(&fixture, "alice", HOME, NOW).await);
    }
    let held = fixture.begin(&user, NOW).await.unwrap();
    let caller = SignedIn::from(&fixture.authorize(&held.access, NOW).await.unwrap());
    let mut now = NOW;
    // Every 15 minutes, and then every week for a quarter of a year: each device, other networks, and the session.
    for round in 0..42_u64 {
        now += if round < 30 { 900 } else { 7 * DAY };
        for device in &devices {
            attempt_on(&fixture, device, "alice", "wrong", ELSEWHERE, now).await;
        }
        for network in 0..3 {
            attempt(&fixture, "alice", "wrong", &format!("203.0.{network}.{round}"), now).await;
        }
        let wrong = Password::new("wrong".to_owned());
        assert!(fixture.authenticator().authenticate_again(&caller, &wrong, None, now).await.is_err());
    }
    let counter = counter_of(&fixture, &user, now).await;
    assert_eq!(reserved(&counter), 50, "{counter:?}");
    assert_eq!(counter.buckets.values().map(|tally| tally.failures).sum::<u64>(), 50);
}

#[tokio::test]
async fn attempts_in_progress_at_a_success_are_counted_after_it() {
    let fixture = Fixture::create("throttle-in-progress").await;
    let user = fixture.add_user("alice").await;
    let device = known_device(&fixture, "alice", HOME, NOW).await;
    let fill = async |now| {
        let mut reserved = 0;
        for index in 0..50 {
            let bucket = Bucket::Network(format!("203.0.113.{}", index % 10));
            reserved += u64::from(is_reserved(&fixture, &user, &bucket, now).await);
        }
        reserved
    };
    assert_eq!(fill(NOW).await, 25);
    // Each of these would clear them, if a success did.
    for _ in 0..4 {
        assert_eq!(attempt_on(&fixture, &device, "alice", PASSWORD, HOME, NOW + 1).await, Outcome::SignedIn);
        assert_eq!(fill(NOW + 1).await, 0);
    }
    assert_eq!(attempt_on(&fixture, &device, "alice", PASSWORD, HOME, NOW + 39).await, Outcome::SignedIn);
    assert_eq!(fill(NOW + 39).await, 0);
    // Their functions have been killed, or are about to end.
    assert_eq!(attempt_on(&fixture, &device, "alice", PASSWORD, HOME, NOW + 40).await, Outcome::SignedIn);
    assert_eq!(counter_of(&fixture, &user, NOW).await.buckets, [].into());
}

#[test]
fn an_attempt_is_in_progress_as_long_as_its_function_may_run() {
    let template = local_stack::stack::template("throttle", &std::collections::BTreeMap::new()).unwrap();
    let functions = template.functions().unwrap();
    let login = functions.iter().find(|function| function.logical_id == "LoginFunction").unwrap();
    assert_eq!(login.timeout, Duration::from_secs(IN_PROGRESS_SECONDS));
}

/// Reserves an attempt that is never ended.
async fn is_reserved(fixture: &Fixture, user: &User, bucket: &Bucket, now: EpochSeconds) -> bool {
    let (key, limits) = (format!("user#{}", user.user_id), Limits::of_account(bucket, now));
    let reserve = fixture.tables.login_attempts();
    let reservation = reserve.reserve(&key, bucket, &limits, Expiry::At(now + DAY), now).await.unwrap();
    matches!(reservation, Reservation::Reserved(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_300_guesses_at_once_no_more_than_the_limit_are_made() {
    let fixture = Arc::new(Fixture::create("throttle-burst").await);
    fixture.add_user("alice").await;
    let made = |guesses: &[Outcome]| guesses.iter().filter(|outcome| **outcome == Outcome::Refused).count();
    let guesses = at_once(60, &fixture, "wrong", |_| ELSEWHERE.to_owned(), NOW).await;
    assert_eq!(made(&guesses), 5, "{guesses:?}");
    let guesses = at_once(240, &fixture, "wrong", |index| format!("203.0.113.{}", index % 60), NOW).await;
    assert_eq!(made(&guesses), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_right_logins_of_one_user_at_once_all_succeed() {
    let fixture = Arc::new(Fixture::create("throttle-side-by-side").await);
    let user = fixture.add_user("alice").await;
    for failed_before in [0, 3] {
        let now = NOW + failed_before * 1000;
        for _ in 0..failed_before {
            attempt(&fixture, "alice", "wrong", ELSEWHERE, NOW).await;
        }
        for outcome in at_once(40, &fixture, PASSWORD, |_| HOME.to_owned(), now).await {
            assert_eq!(outcome, Outcome::SignedIn, "{failed_before} failures before");
        }
        assert_eq!(counter_of(&fixture, &user, now).await.buckets, [].into());
        // Concurrent logins may leave more; the next one does not.
        assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, now + 1).await, Outcome::SignedIn);
        assert_eq!(counter_of(&fixture, &user, now).await.devices.len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_log_in_at_the_same_time_are_all_known() {
    let fixture = Arc::new(Fixture::create("throttle-two-devices").await);
    fixture.add_user("alice").await;
    let logins: Vec<_> = (0..4)
        .map(|_| {
            let (fixture, runtime) = (Arc::clone(&fixture), tokio::runtime::Handle::current());
            tokio::task::spawn_blocking(move || runtime.block_on(known_device(&fixture, "alice", HOME, NOW)))
        })
        .collect();
    let mut devices = Vec::new();
    for login in logins {
        devices.push(login.await.unwrap());
    }
    let now = shut(&fixture, "alice", NOW).await;
    for device in &devices {
        assert_eq!(attempt_on(&fixture, device, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
    }
}

#[tokio::test]
async fn an_attempt_blocked_by_attempts_in_progress_is_made_when_one_of_them_succeeds() {
    let fixture = Fixture::create("throttle-held-up").await;
    let user = fixture.add_user("alice").await;
    let bucket = Bucket::Network(HOME.to_owned());
    while is_reserved(&fixture, &user, &bucket, NOW).await {}
    let success = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        fixture.throttle.unlock(&user.user_id, NOW).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(attempt(&fixture, "alice", PASSWORD, HOME, NOW), success);
    assert_eq!(outcome, Outcome::SignedIn);
}

#[tokio::test]
async fn an_attempt_waits_at_most_two_seconds_for_those_in_progress() {
    let fixture = Fixture::create("throttle-waiting").await;
    let user = fixture.add_user("alice").await;
    for bucket in (0..5).map(|number| Bucket::Network(format!("203.0.113.{number}"))) {
        while is_reserved(&fixture, &user, &bucket, NOW).await {}
    }
    // In the bucket of the network, and in those of all.
    for address in ["203.0.113.0", HOME] {
        let started = Instant::now();
        assert_eq!(attempt(&fixture, "alice", PASSWORD, address, NOW + 19).await, Outcome::Wait(1));
        let waited = started.elapsed();
        assert!((Duration::from_millis(1500)..Duration::from_secs(4)).contains(&waited), "{waited:?}");
        // Their functions have timed out: the attempt does not wait.
        let started = Instant::now();
        assert_eq!(attempt(&fixture, "alice", PASSWORD, address, NOW + 20).await, Outcome::UsedUp);
        assert!(started.elapsed() < Duration::from_millis(1500));
    }
}

/// The result of an attempt, and its calls.
async fn seen(
    fixture: &Fixture,
    proxy: &Proxy,
    device: Option<&DeviceToken>,
    (username, password): (&str, &str),
    address: &str,
) -> (String, Vec<String>) {
    proxy.pass();
    let refused = fixture.authenticate_on(device, username, password, address, NOW).await.unwrap_err();
    (format!("{refused:?}"), proxy.operations())
}

#[tokio::test]
async fn at_a_used_up_address_every_name_gets_the_same_answer_by_the_same_calls() {
    let outer = Fixture::create("throttle-oracle").await;
    for name in ["alice", "bob", "dora"] {
        outer.add_user(name).await;
    }
    let device = known_device(&outer, "alice", HOME, NOW).await;
    known_device(&outer, "dora", HOME, NOW).await;
    outer.accounts().disable(&Username::parse("dora").unwrap(), NOW).await.unwrap();
    for number in 0..100 {
        attempt(&outer, &format!("name{number}"), "wrong", HOME, NOW).await;
    }
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    fixture.login.warm_up(NOW).await.unwrap();
    let of_nobody = DeviceToken::random(&SystemRandom::new()).unwrap();
    for (device, calls) in [
        (None, &["GetItem", "UpdateItem", "GetItem"][..]),
        (Some(&of_nobody), &["GetItem", "UpdateItem", "UpdateItem"]),
    ] {
        let others = seen(&fixture, &proxy, device, ("nobody", "wrong"), HOME).await;
        assert_eq!(others.0, "Throttle(TooMany { retry_after_seconds: 1 })");
        assert_eq!(others.1, calls);
        for (name, password) in [
            ("nobody", "wrong"),
            ("bob", PASSWORD),
            ("bob", "wrong"),
            ("dora", PASSWORD),
            ("dora", "wrong"),
            ("alice", PASSWORD),
            ("alice", "wrong"),
        ] {
            assert_eq!(seen(&fixture, &proxy, device, (name, password), HOME).await, others, "{name}");
        }
    }
    // Only a known device passes, and a guess from there is refused as anywhere else.
    assert_eq!(attempt_on(&outer, &device, "alice", "wrong", HOME, NOW).await, Outcome::Refused);
    assert_eq!(attempt_on(&outer, &device, "alice", PASSWORD, HOME, NOW).await, Outcome::SignedIn);
    assert_eq!(attempt_on(&outer, &device, "bob", PASSWORD, HOME, NOW).await, Outcome::Wait(1));
}

#[tokio::test]
async fn a_refusal_is_the_same_by_the_same_calls_whether_the_name_exists_or_not() {
    let outer = Fixture::create("throttle-oracle-account").await;
    outer.add_user("alice").await;
    known_device(&outer, "alice", HOME, NOW).await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    fixture.login.warm_up(NOW).await.unwrap();
    let of_nobody = DeviceToken::random(&SystemRandom::new()).unwrap();
    for device in [None, Some(&of_nobody)] {
        for attempt in 0..8 {
            let of_nobody = seen(&fixture, &proxy, device, ("nobody", PASSWORD), ELSEWHERE).await;
            let of_alice = seen(&fixture, &proxy, device, ("alice", "wrong"), ELSEWHERE).await;
            // Only the log tells them apart.
            let of_alice = (of_alice.0.replace("WrongPassword", "UnknownUser"), of_alice.1);
            assert_eq!(of_alice, of_nobody, "attempt {attempt}");
        }
    }
    assert_eq!(
        seen(&fixture, &proxy, None, ("nobody", PASSWORD), ELSEWHERE).await.0,
        "Throttle(TooMany { retry_after_seconds: 2 })"
    );
}

#[tokio::test]
async fn the_seconds_of_a_refusal_are_those_of_the_address_and_of_the_account() {
    let fixture = Fixture::create("throttle-really").await;
    fixture.add_user("alice").await;
    // The address has to wait, and the account too: first the shorter, then the longer, then for ever.
    for _ in 0..3 {
        assert_eq!(attempt(&fixture, "alice", "wrong", HOME, NOW).await, Outcome::Refused);
    }
    for number in 0..97 {
        assert_eq!(attempt(&fixture, &format!("name{number}"), "wrong", HOME, NOW).await, Outcome::Refused);
    }
    assert_eq!(attempt(&fixture, "bob", "wrong", HOME, NOW).await, Outcome::Wait(1), "the address");
    assert_eq!(attempt(&fixture, "alice", "wrong", HOME, NOW).await, Outcome::Wait(2), "the account");
    let mut now = NOW + 1;
    assert_eq!(attempt(&fixture, "bob", "wrong", HOME, now).await, Outcome::Refused);
    // The address counts this attempt, which the account does not take, and waits two seconds from the last failure.
    assert_eq!(attempt(&fixture, "alice", "wrong", HOME, now).await, Outcome::Wait(2));
    now += 2;
    assert_eq!(attempt(&fixture, "alice", "wrong", HOME, now).await, Outcome::Refused);
    assert_eq!(attempt(&fixture, "alice", "wrong", HOME, now).await, Outcome::Wait(10));
    assert_eq!(attempt(&fixture, "bob", "wrong", HOME, now).await, Outcome::Wait(4));
    now += 10;
    assert_eq!(attempt(&fixture, "alice", "wrong", HOME, now).await, Outcome::Refused);
    assert_eq!(attempt(&fixture, "alice", "wrong", HOME, now).await, Outcome::UsedUp);
    assert_eq!(attempt(&fixture, "bob", "wrong", HOME, now).await, Outcome::Wait(8));
}

#[tokio::test]
async fn without_an_address_only_the_account_is_counted() {
    let fixture = Fixture::create("throttle-no-address").await;
    let user = fixture.add_user("alice").await;
    let attempt = async |username: &str, password: &str, now| {
        let password = Password::new(password.to_owned());
        let credentials = Credentials { username, password: &password, device: None };
        outcome(fixture.authenticator().authenticate(credentials, None, now).await)
    };
    for number in 0..101 {
        assert_eq!(attempt(&format!("name{number}"), "wrong", NOW).await, Outcome::Refused);
    }
    for now in [NOW, NOW, NOW, NOW + 2, NOW + 12] {
        assert_eq!(attempt("alice", "wrong", now).await, Outcome::Refused);
    }
    assert_eq!(attempt("alice", PASSWORD, NOW + 12).await, Outcome::UsedUp);
    for _ in 0..101 {
        fixture.throttle.count("register", None, NOW).await.unwrap();
    }
    fixture.throttle.unlock(&user.user_id, NOW + 12).await.unwrap();
    assert_eq!(attempt("alice", PASSWORD, NOW + 12).await, Outcome::SignedIn);
}

#[tokio::test]
async fn an_address_that_tries_many_names_has_to_wait_for_an_hour_at_the_most() {
    let fixture = Fixture::create("throttle-address").await;
    fixture.add_user("alice").await;
    for number in 0..100 {
        assert_eq!(attempt(&fixture, &format!("name{number}"), "wrong", ELSEWHERE, NOW).await, Outcome::Refused);
    }
    assert_eq!(attempt(&fixture, "alice", PASSWORD, ELSEWHERE, NOW).await, Outcome::Wait(1));
    for no_user in ["", "no name at all"] {
        assert_eq!(attempt(&fixture, no_user, "wrong", ELSEWHERE, NOW).await, Outcome::Wait(1), "{no_user:?}");
    }
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW).await, Outcome::SignedIn, "another address");
    assert_eq!(attempt(&fixture, "alice", PASSWORD, ELSEWHERE, NOW + 1).await, Outcome::SignedIn);
    let (mut now, mut waits) = (NOW + 1, Vec::new());
    for number in 0..24 {
        match attempt(&fixture, &format!("other{number}"), "wrong", ELSEWHERE, now).await {
            Outcome::Wait(seconds) => {
                waits.push(seconds);
                now += seconds;
            }
            outcome => assert_eq!(outcome, Outcome::Refused),
        }
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    // The item still exists, but has expired.
    assert_eq!(attempt(&fixture, "alice", "wrong", ELSEWHERE, NOW + 3600).await, Outcome::Refused);
    assert_eq!(attempt(&fixture, "alice", PASSWORD, ELSEWHERE, NOW + 3600).await, Outcome::SignedIn);
}

#[tokio::test]
async fn an_ipv6_network_is_one_place_and_so_are_five_spellings_of_a_name() {
    let fixture = Fixture::create("throttle-spellings").await;
    fixture.add_user("alice").await;
    let spellings = ["alice", "ALICE", " Alice", "alice\u{a0}", "ａｌｉｃｅ"];
    for (index, now) in [NOW, NOW, NOW, NOW + 2, NOW + 12].into_iter().enumerate() {
        let address = format!("2001:db8:1:2:{index}::7");
        assert_eq!(attempt(&fixture, spellings[index], "wrong", &address, now).await, Outcome::Refused);
    }
    for spelling in spellings {
        assert_eq!(attempt(&fixture, spelling, PASSWORD, "2001:db8:1:2::9", NOW + 12).await, Outcome::UsedUp);
    }
    assert_eq!(attempt(&fixture, "alice", PASSWORD, "2001:db8:1:3::9", NOW + 12).await, Outcome::SignedIn);
}

#[tokio::test]
async fn counters_expire_a_year_after_the_last_attempt_and_hold_no_name_that_no_user_has() {
    let fixture = Fixture::create("throttle-expiry").await;
    let user = fixture.add_user("alice").await;
    for now in [NOW, NOW + 7] {
        attempt(&fixture, "alice", "wrong", HOME, now).await;
        attempt(&fixture, "my secret password", "wrong", HOME, now).await;
        attempt(&fixture, "mysecretpassword", "wrong", HOME, now).await;
    }
    let scan = fixture.tables.client.scan().table_name(fixture.tables.name_of("LoginAttemptsTable"));
    let items = scan.send().await.unwrap();
    let mut found: Vec<_> = items
        .items()
        .iter()
        .map(|item| (item["counter"].as_s().unwrap().clone(), item["expires_at"].as_n().unwrap().parse().unwrap()))
        .collect();
    found.sort();
    let year = NOW + (7 + ACCOUNT_EXPIRES_AFTER_SECONDS);
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[0], ("login#192.0.2.10".to_owned(), (NOW + 3600).get()));
    for (of_name, expires_at) in &found[1..3] {
        assert!(of_name.starts_with("name#"), "{found:?}");
        assert_eq!((of_name.len(), *expires_at), ("name#".len() + 43, year.get()), "{found:?}");
    }
    assert_eq!(found[3], (format!("user#{}", user.user_id), year.get()));
    assert!(!format!("{items:?}").contains("secret"));
    // DynamoDB deletes late. A year without any attempt is what gives attempts back.
    fixture.throttle.unlock(&user.user_id, NOW + 8).await.unwrap();
    let shut_at = shut(&fixture, "alice", NOW + 8).await;
    let year = shut_at + ACCOUNT_EXPIRES_AFTER_SECONDS;
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, year - 1).await, Outcome::UsedUp);
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, year).await, Outcome::SignedIn);
}

#[tokio::test]
async fn a_change_of_the_password_has_five_attempts_of_its_own_and_opens_the_account() {
    let fixture = Fixture::create("throttle-password").await;
    let user = fixture.add_user("alice").await;
    let held = fixture.begin(&user, NOW).await.unwrap();
    let caller = SignedIn::from(&fixture.authorize(&held.access, NOW).await.unwrap());
    let again = async |password: &str, now| {
        let password = Password::new(password.to_owned());
        outcome(fixture.authenticator().authenticate_again(&caller, &password, None, now).await)
    };
    let mut now = shut(&fixture, "alice", NOW).await;
    assert_eq!(again(PASSWORD, now).await, Outcome::SignedIn);
    assert_eq!(attempt(&fixture, "alice", "wrong", ELSEWHERE, now).await, Outcome::Refused, "it is open again");
    for (wait, expected) in [(0, 2), (2, 10)] {
        while again("wrong", now + wait).await == Outcome::Refused {}
        assert_eq!(again(PASSWORD, now + wait).await, Outcome::Wait(expected));
        now += wait;
    }
    now += 10;
    assert_eq!(again("wrong", now).await, Outcome::Refused);
    for later in [0, 364 * DAY] {
        assert_eq!(again(PASSWORD, now + later).await, Outcome::UsedUp);
    }
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
    assert_eq!(again(PASSWORD, now).await, Outcome::SignedIn);
}

#[tokio::test]
async fn an_operator_clears_the_attempts_and_leaves_the_devices_known() {
    let fixture = Fixture::create("throttle-unlock").await;
    let user = fixture.add_user("alice").await;
    let device = known_device(&fixture, "alice", HOME, NOW).await;
    let now = shut(&fixture, "alice", NOW).await;
    fixture.throttle.unlock(&user.user_id, now).await.unwrap();
    assert_eq!(counter_of(&fixture, &user, now).await.buckets, [].into());
    let now = shut(&fixture, "alice", now).await;
    assert_eq!(attempt_on(&fixture, &device, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
    // A user who never logged in has nothing to clear.
    let other = fixture.add_user("bob").await;
    fixture.throttle.unlock(&other.user_id, now).await.unwrap();
    assert_eq!(counter_of(&fixture, &other, now).await, Counter::default());
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
        assert!(matches!(refused, Err(ThrottleError::TooMany { retry_after_seconds: 1 })), "{refused:?}");
        fixture.throttle.count(what, SourceNetwork::of(HOME).as_ref(), NOW).await.unwrap();
        fixture.throttle.count(what, network.as_ref(), NOW + 1).await.unwrap();
    }
}

#[tokio::test]
async fn if_attempts_cannot_be_counted_logins_are_rejected_and_nothing_is_hashed() {
    let fixture = Fixture::create("throttle-outage").await;
    fixture.add_user("alice").await;
    let device = known_device(&fixture, "alice", HOME, NOW).await;
    let proxy = Proxy::start().await;
    let table = fixture.tables.name_of("LoginAttemptsTable");
    let fixture = Fixture::on(fixture.tables.through(&proxy.endpoint));
    fixture.login.warm_up(NOW).await.unwrap();
    // Before the hash, and after it: neither the device nor the address, the account or the success can be written.
    for (device, calls) in [(None, 3), (Some(&device), 2)] {
        for spared in 0..calls {
            let table = table.clone();
            let counted = std::sync::Mutex::new(std::collections::BTreeSet::new());
            proxy.decide(move |call, index| {
                if call.body["TableName"] != table {
                    return Fate::Pass;
                }
                let mut counted = counted.lock().unwrap();
                counted.insert(index);
                if counted.iter().position(|earlier| *earlier == index) == Some(spared) {
                    Fate::Lost
                } else {
                    Fate::Pass
                }
            });
            let refused =
                fixture.authenticate_on(device, "alice", PASSWORD, HOME, NOW + spared as u64).await.unwrap_err();
            assert_eq!(refused.reason(), "store_failed", "{spared}");
        }
    }
    proxy.pass();
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, NOW + 40).await, Outcome::SignedIn);
    let operations = proxy.operations();
    assert_eq!(operations, ["GetItem", "UpdateItem", "UpdateItem", "PutItem"], "a login before its session");
}

#[tokio::test]
async fn without_the_key_of_unknown_names_nobody_logs_in() {
    let fixture = Fixture::create("throttle-no-key").await;
    fixture.add_user("alice").await;
    let keys = fixture.tables.signing_keys();
    let key = keys.public_keys(auth::signing_key::KeyPurpose::LoginAttempts).await.unwrap().remove(0);
    keys.delete(auth::signing_key::KeyPurpose::LoginAttempts, &key.kid).await.unwrap();
    for name in ["alice", "nobody"] {
        let refused = fixture.authenticate(name, PASSWORD, HOME, NOW).await.unwrap_err();
        assert_eq!(refused.reason(), "keys_failed", "{name}");
    }
}

#[tokio::test]
async fn others_behind_the_owners_address_do_not_lock_the_owner_out() {
    let fixture = Fixture::create("throttle-neighbours").await;
    let user = fixture.add_user("alice").await;
    let device = known_device(&fixture, "alice", HOME, NOW).await;
    let held = fixture.begin(&user, NOW).await.unwrap();
    let caller = SignedIn::from(&fixture.authorize(&held.access, NOW).await.unwrap());
    for number in 0..100 {
        attempt(&fixture, &format!("name{number}"), "wrong", HOME, NOW).await;
    }
    assert_eq!(attempt(&fixture, "bob", PASSWORD, HOME, NOW).await, Outcome::Wait(1));
    let now = use_up(&fixture, "alice", HOME, NOW + 1).await.2;
    assert_eq!(attempt_on(&fixture, &device, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
    let password = Password::new(PASSWORD.to_owned());
    assert!(fixture.authenticator().authenticate_again(&caller, &password, None, now).await.is_ok());
}

#[tokio::test]
async fn what_was_tried_before_there_was_an_account_is_not_counted_against_it() {
    let fixture = Fixture::create("throttle-registration").await;
    shut(&fixture, "alice", NOW).await;
    fixture.register("alice", PASSWORD).await.unwrap();
    let now = NOW + 60;
    assert_eq!(attempt(&fixture, "alice", "wrong", "203.0.113.1", now).await, Outcome::Refused);
    assert_eq!(attempt(&fixture, "alice", PASSWORD, HOME, now).await, Outcome::SignedIn);
}

/// An office of 200 people behind one address: each logs in once within an hour, 3 % of the passwords are mistyped,
/// and the right one follows five seconds later. One of them guesses another's password all the time.
#[tokio::test]
async fn a_whole_office_logs_in_behind_one_address() {
    let fixture = Fixture::create("throttle-office").await;
    let (mut logins, mut mistakes, mut waits, mut guesses) = (0, 0, 0, 0);
    // A generator of its own, so that the simulation is the same every time.
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut arrivals: Vec<_> = (0..200).map(|person| (random(3600), format!("person{person}"))).collect();
    arrivals.sort();
    for (_, name) in &arrivals {
        fixture.add_user(name).await;
    }
    let victim = fixture.add_user("victim").await;
    let device = known_device(&fixture, "victim", HOME, NOW).await;
    for (second, name) in &arrivals {
        let mut now = NOW + *second;
        if attempt(&fixture, "victim", "guess", HOME, now).await == Outcome::Refused {
            guesses += 1;
        }
        let mut is_mistyped = random(100) < 3;
        loop {
            let password = if is_mistyped { "mistyped" } else { PASSWORD };
            match attempt(&fixture, name, password, HOME, now).await {
                Outcome::SignedIn => break logins += 1,
                Outcome::Refused => mistakes += 1,
                Outcome::Wait(_) | Outcome::UsedUp | Outcome::DeviceUsedUp => waits += 1,
            }
            (is_mistyped, now) = (false, now + 5);
        }
    }
    println!("{logins} logins, {mistakes} mistakes, {waits} waits; {guesses} guesses at one account");
    assert_eq!((logins, waits, guesses), (200, 0, MAX_PER_BUCKET));
    assert!((1..20).contains(&mistakes), "{mistakes}");
    assert_eq!(attempt_on(&fixture, &device, "victim", PASSWORD, HOME, NOW + 3600).await, Outcome::SignedIn);
    assert_eq!(counter_of(&fixture, &victim, NOW).await.buckets, [].into());
}

/// Behind a CDN all requests come from a few addresses. With the parameter as OPERATIONS.md says, the addresses do not
/// limit anything, the accounts still do, and known devices pass.
#[tokio::test]
async fn behind_a_cdn_accounts_are_counted_as_elsewhere() {
    const EDGE: &str = "203.0.113.200";
    let fixture = Fixture::create("throttle-cdn").await;
    let fixture = Fixture::with_free_attempts(fixture.tables, 1_000_000);
    for name in ["alice", "bob"] {
        fixture.add_user(name).await;
    }
    let device = known_device(&fixture, "alice", EDGE, NOW).await;
    for number in 0..150 {
        assert_eq!(attempt(&fixture, &format!("name{number}"), "wrong", EDGE, NOW).await, Outcome::Refused);
    }
    let (made, _, now) = use_up(&fixture, "alice", EDGE, NOW).await;
    assert_eq!(made, MAX_PER_BUCKET);
    assert_eq!(attempt(&fixture, "bob", PASSWORD, EDGE, now).await, Outcome::SignedIn);
    assert_eq!(attempt(&fixture, "alice", PASSWORD, EDGE, now).await, Outcome::UsedUp, "a new device at this edge");
    assert_eq!(attempt_on(&fixture, &device, "alice", PASSWORD, EDGE, now).await, Outcome::SignedIn);
}
