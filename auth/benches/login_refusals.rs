//! Does the time of a rejected login reveal whether a name exists?
//!
//! Interleaved logins of an unknown user, with a wrong password, and of a disabled user with the right one, each with
//! its calls to DynamoDB Local and its hash; and the same at an address whose attempts are used up, where users who
//! have logged in from it may still try. It prints the medians and how far each is from that of the wrong password.
//!
//! `cargo bench -p auth --bench login_refusals`, with a number of iterations as its argument.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail")]
#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::time::{Duration, Instant};

use auth::EpochSeconds;
use auth::accounts::{Accounts, Effect, new_user};
use auth::authentication::Authenticator;
use auth::password::Password;
use auth::password::hash::Hasher;
use auth::roles::Roles;
use auth::store::client;
use auth::store::denylist::DenylistTable;
use auth::store::login_attempts::LoginAttemptsTable;
use auth::store::users::{Addition, UsersTable};
use auth::throttle::{SourceNetwork, Throttle};
use auth::username::Username;
use aws_lc_rs::rand::SystemRandom;
use local_stack::dynamodb_local::{DynamoDbLocal, Storage};
use local_stack::install::Tools;
use sam_template::{Parameters, Template};

const PASSWORD: &str = "correct horse battery staple";
const NAME: &str = "login-refusals";

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(300);
    let log = local_stack::workspace::local().join("logs").join("bench-dynamodb.log");
    let dynamodb = DynamoDbLocal::start(&Tools::find_or_install().unwrap(), Storage::Memory, log).unwrap();
    let template = Template::load(&local_stack::workspace::template(), Parameters::new(NAME)).unwrap();
    local_stack::tables::create(&dynamodb.endpoint(), &template).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&dynamodb.endpoint(), rounds));
}

async fn measure(endpoint: &str, rounds: usize) {
    let config = client::config_loader()
        .endpoint_url(endpoint)
        .region(aws_config::Region::from_static("local"))
        .test_credentials()
        .load()
        .await;
    let client = aws_sdk_dynamodb::Client::new(&config);
    let table = |logical_id: &str| format!("{NAME}-{logical_id}");
    let users = UsersTable::new(client.clone(), table("UsersTable"));
    let denylist = DenylistTable::new(client.clone(), table("DenylistTable"));
    let (hasher, random, now) = (Hasher::new(), SystemRandom::new(), EpochSeconds::now());

    let [known, disabled, unknown, elsewhere] =
        ["known-user", "disabled-user", "unknown-user", "elsewhere-user"].map(|name| Username::parse(name).unwrap());
    for name in [&known, &disabled, &elsewhere] {
        let password = Password::new(PASSWORD.to_owned());
        let user = new_user(&hasher, &random, name.clone(), &password, Roles::registered(), now).unwrap();
        assert_eq!(users.add(&user).await.unwrap(), Addition::Added);
    }
    assert_eq!(Accounts::new(users.clone(), denylist).disable(&disabled, now).await.unwrap(), Effect::Changed);

    let network = SourceNetwork::of("192.0.2.10");
    let authenticator = |throttle: &Throttle| Authenticator {
        users: users.clone(),
        throttle: throttle.clone(),
        hasher: Hasher::new(),
        random: SystemRandom::new(),
    };
    let attempts = || LoginAttemptsTable::new(client.clone(), table("LoginAttemptsTable"));
    let wrong = "not the password at all!!!!!";

    let throttle = Throttle::new(attempts(), 1_000_000);
    let cases = [
        Case { name: "wrong password", username: &known, password: wrong },
        Case { name: "unknown user", username: &unknown, password: PASSWORD },
        Case { name: "disabled user", username: &disabled, password: PASSWORD },
    ];
    let prepare = async |username: &Username| throttle.unlock(username).await.unwrap();
    compare("Refused", authenticator(&throttle), &cases, network.as_ref(), now, rounds, prepare).await;

    // Two users have logged in from an address whose attempts are now used up, and one of them is disabled.
    let throttle = Throttle::new(attempts(), 1);
    for username in [&known, &disabled] {
        throttle.welcome(username, network.as_ref(), now).await.unwrap();
    }
    while throttle.count("login", network.as_ref(), now).await.is_ok() {}
    let cases = [
        Case { name: "wrong password", username: &known, password: wrong },
        Case { name: "unknown user", username: &unknown, password: PASSWORD },
        Case { name: "disabled user", username: &disabled, password: PASSWORD },
        Case { name: "not known here", username: &elsewhere, password: PASSWORD },
    ];
    let prepare = async |username: &Username| throttle.unlock(username).await.unwrap();
    let title = "Throttled, users known at the address and others";
    compare(title, authenticator(&throttle), &cases, network.as_ref(), now, rounds, prepare).await;
}

/// A login that is refused.
struct Case<'a> {
    name: &'static str,
    username: &'a Username,
    password: &'static str,
}

async fn compare(
    title: &str,
    authenticator: Authenticator,
    cases: &[Case<'_>],
    network: Option<&SourceNetwork>,
    now: EpochSeconds,
    rounds: usize,
    prepare: impl AsyncFn(&Username),
) {
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); cases.len()];
    for round in 0..rounds + 10 {
        for offset in 0..cases.len() {
            // Each case has each position equally often.
            let index = (round + offset) % cases.len();
            let Case { username, password, .. } = cases[index];
            prepare(username).await;
            let password = Password::new(password.to_owned());
            let started = Instant::now();
            let refused = authenticator.authenticate(username.as_str(), &password, network, now).await;
            let elapsed = started.elapsed();
            assert!(refused.is_err());
            // The first ones warm up.
            if round >= 10 {
                times[index].push(elapsed);
            }
        }
    }
    let medians: Vec<f64> = times
        .into_iter()
        .map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1000.0
        })
        .collect();
    println!("{title}; {rounds} rounds, medians:");
    for (Case { name, .. }, median) in cases.iter().zip(&medians) {
        println!("  {name:15} {median:8.3} ms  {:+6.2} %", (median / medians[0] - 1.0) * 100.0);
    }
}
