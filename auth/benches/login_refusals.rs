//! Does the time of a rejected login reveal whether a name exists?
//!
//! Interleaved logins of an unknown user, with a wrong password, and of a disabled user with the right one, each with
//! its calls to DynamoDB Local and its hash: without a device, with one that none of them knows, and with one that is
//! known to the users. Then the same where the account has to wait, and where the address has to. It prints the medians,
//! how far each is from that of the wrong password, and the *z* of a Mann-Whitney test of the two. It fails for a *z* of
//! 3 or more in either direction: an attacker could tell the two apart from so many samples. On a busy machine it may
//! fail by chance.
//!
//! `cargo bench -p auth --bench login_refusals`, with a number of iterations as its argument.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail")]
#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::time::{Duration, Instant};

use auth::EpochSeconds;
use auth::accounts::{Accounts, Effect, new_user};
use auth::authentication::{Authenticator, Credentials};
use auth::device::DeviceToken;
use auth::keys::login_attempts::LoginAttemptsKeyCache;
use auth::keys::rotation::{RotationPolicy, rotate};
use auth::keys::wrapping::KeyWrapper;
use auth::network::SourceNetwork;
use auth::password::Password;
use auth::password::hash::Hasher;
use auth::roles::Roles;
use auth::signing_key::KeyKind;
use auth::store::client;
use auth::store::denylist::DenylistTable;
use auth::store::login_attempts::LoginAttemptsTable;
use auth::store::signing_keys::SigningKeysTable;
use auth::store::users::{Addition, UsersTable};
use auth::throttle::{Account, Throttle};
use auth::username::Username;
use aws_lc_rs::rand::SystemRandom;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local_stack::dynamodb_local::{DynamoDbLocal, Storage};
use local_stack::install::Tools;
use sam_template::{Parameters, Template};
use secrecy::SecretString;

const PASSWORD: &str = "correct horse battery staple";
const NAME: &str = "login-refusals";

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(220);
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

    let [known, disabled, unknown] =
        ["known-user", "disabled-user", "unknown-user"].map(|name| Username::parse(name).unwrap());
    for name in [&known, &disabled] {
        let password = Password::new(PASSWORD.to_owned());
        let user = new_user(&hasher, &random, name.clone(), &password, Roles::registered(), now).unwrap();
        assert_eq!(users.add(&user).await.unwrap(), Addition::Added);
    }
    assert_eq!(Accounts::new(users.clone(), denylist).disable(&disabled, now).await.unwrap(), Effect::Changed);

    let network = SourceNetwork::of("192.0.2.10");
    let attempts = LoginAttemptsTable::new(client.clone(), table("LoginAttemptsTable"));
    let keys = SigningKeysTable::new(client.clone(), table("SigningKeysTable"));
    let wrapper = || KeyWrapper::local(&SecretString::from(STANDARD.encode([7; 32]))).unwrap();
    rotate(&keys, &wrapper(), KeyKind::LoginAttempts, RotationPolicy::default(), now).await.unwrap();
    let authenticator = |free_attempts| Authenticator {
        users: users.clone(),
        throttle: Throttle::new(attempts.clone(), free_attempts),
        unknown_names: LoginAttemptsKeyCache::new(keys.clone(), wrapper()),
        hasher: Hasher::new(),
        random: SystemRandom::new(),
    };
    let open = authenticator(1_000_000);
    open.unknown_names.get(now).await.unwrap();
    let wrong = "not the password at all!!!!!";
    let cases = [
        Case { name: "wrong password", username: &known, password: wrong },
        Case { name: "unknown user", username: &unknown, password: PASSWORD },
        Case { name: "disabled user", username: &disabled, password: PASSWORD },
    ];
    let key = open.unknown_names.get(now).await.unwrap();
    let mut accounts = Vec::new();
    for case in &cases {
        accounts.push(match users.find(case.username).await.unwrap() {
            Some(user) => Account::User { sub: user.user_id, password_epoch: user.password_epoch },
            None => Account::of_unknown_name(case.username, key),
        });
    }
    let attempt = Attempt { network: network.as_ref(), now, rounds };

    // Every attempt is the first one.
    let no_device = async || clear(&client, &table("LoginAttemptsTable"), &accounts, None, now).await;
    compare("Refused, no device", &open, &cases, None, &attempt, no_device).await;
    let device = DeviceToken::random(&random).unwrap();
    compare("Refused, unknown device", &open, &cases, Some(&device), &attempt, no_device).await;
    // A name that no user has has no known device: its counter is as if it had one.
    let known_device = async || clear(&client, &table("LoginAttemptsTable"), &accounts, Some(&device), now).await;
    compare("Refused, known device", &open, &cases[..], Some(&device), &attempt, known_device).await;

    clear(&client, &table("LoginAttemptsTable"), &accounts, None, now).await;
    for account in &accounts {
        while let Ok(admission) = open.throttle.admit_login(Some(account), None, network.as_ref(), now).await {
            admission.failed(now).await.unwrap();
        }
    }
    compare("The account has to wait", &open, &cases, None, &attempt, async || {}).await;
    let closed = authenticator(1);
    closed.unknown_names.get(now).await.unwrap();
    while closed.throttle.count("login", network.as_ref(), now).await.is_ok() {}
    compare("The address has to wait", &closed, &cases, None, &attempt, async || {}).await;
}

/// Counters without attempts, in which a device is known or not.
async fn clear(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    accounts: &[Account],
    device: Option<&DeviceToken>,
    now: EpochSeconds,
) {
    for account in accounts {
        let put = client.put_item().table_name(table).item("counter", AttributeValue::S(account.key()));
        let put = match device {
            Some(device) => put.item(
                format!("known_at@device:{}", account.device(device).as_str()),
                AttributeValue::N(now.to_string()),
            ),
            None => put,
        };
        put.send().await.unwrap();
    }
}

/// A login that is refused.
struct Case<'a> {
    name: &'static str,
    username: &'a Username,
    password: &'static str,
}

/// What all attempts of a comparison have in common.
struct Attempt<'a> {
    network: Option<&'a SourceNetwork>,
    now: EpochSeconds,
    rounds: usize,
}

async fn compare(
    title: &str,
    authenticator: &Authenticator,
    cases: &[Case<'_>],
    device: Option<&DeviceToken>,
    attempt: &Attempt<'_>,
    prepare: impl AsyncFn(),
) {
    let &Attempt { network, now, rounds } = attempt;
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); cases.len()];
    for round in 0..rounds + 10 {
        for offset in 0..cases.len() {
            // Each case has each position equally often.
            let index = (round + offset) % cases.len();
            let Case { username, password, .. } = cases[index];
            prepare().await;
            let password = Password::new(password.to_owned());
            let credentials = Credentials { username: username.as_str(), password: &password, device };
            let started = Instant::now();
            let refused = authenticator.authenticate(credentials, network, now).await;
            let elapsed = started.elapsed();
            assert!(refused.is_err());
            // The first ones warm up.
            if round >= 10 {
                times[index].push(elapsed);
            }
        }
    }
    let z: Vec<f64> = times.iter().map(|sample| mann_whitney(&times[0], sample)).collect();
    let medians: Vec<f64> = times
        .into_iter()
        .map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1000.0
        })
        .collect();
    println!("{title}; {rounds} rounds, medians:");
    for ((Case { name, .. }, median), z) in cases.iter().zip(&medians).zip(z) {
        println!("  {name:15} {median:8.3} ms  {:+6.2} %  z {z:+5.2}", (median / medians[0] - 1.0) * 100.0);
        assert!(z.abs() < 3.0, "{title}: {name} can be told from a wrong password");
    }
}

/// The *z* of a Mann-Whitney test: how many standard deviations the number of pairs in which `other` took longer is
/// from half of them.
#[allow(clippy::cast_precision_loss, reason = "there are some hundred samples")]
fn mann_whitney(one: &[Duration], other: &[Duration]) -> f64 {
    let pairs = |holds: fn(&Duration, &Duration) -> bool| {
        one.iter().map(|one| other.iter().filter(|other| holds(other, one)).count()).sum::<usize>() as f64
    };
    let longer = pairs(|other, one| other > one) + pairs(|other, one| other == one) / 2.0;
    let (n, m) = (one.len() as f64, other.len() as f64);
    (longer - n * m / 2.0) / (n * m * (n + m + 1.0) / 12.0).sqrt()
}
