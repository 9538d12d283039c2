//! Attacks on passwords and on their owners: what an attacker can do and cannot do (docs/SECURITY.md), over HTTP, with
//! 30 processes of the login function at the same time and as many source addresses as an attacker likes.
//!
//! Requests go to the Invoke API with the event that API Gateway makes, because the source address is in it. What
//! depends on the clock is tested in `auth/tests/throttle.rs`.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use e2e::local::{add_user, invoke_at, latchkey, log_lines, sample_event};
use e2e::{Client, Tokens};
use local_stack::process::{Supervised, command};
use local_stack::{port, stack, workspace};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery staple";
const HOME: &str = "192.0.2.10";
/// As many execution environments as a burst may get.
const PROCESSES: usize = 30;

/// The login function, in as many processes as requests come at the same time.
struct LoginFunction {
    invoke_url: String,
    _host: Supervised,
}

impl LoginFunction {
    fn start() -> Self {
        let directory = workspace::local().join("test/guessing");
        std::fs::create_dir_all(&directory).unwrap();
        let template = stack::template("e2e", &BTreeMap::new()).unwrap();
        let mut variables = template.environment("LoginFunction").unwrap();
        // The tables, the wrapping key and DynamoDB Local of the stack that `cargo xtask test` has started.
        variables.remove("LATCHKEY_KMS_KEY_ID");
        variables.extend(std::env::vars().filter(|(name, _)| {
            name.ends_with("_TABLE_NAME") || name.starts_with("AWS_") || name == "LATCHKEY_SEALING_KEY"
        }));
        let functions = json!([{
            "name": "login", "program": workspace::binary("login"), "variables": variables,
            "memory_megabytes": 1769, "timeout_seconds": 20,
        }]);
        let file = directory.join("functions.json");
        std::fs::write(&file, functions.to_string()).unwrap();
        let port = port::free().unwrap();
        let mut host = command(workspace::binary("lambda-host"));
        host.arg("--functions").arg(&file).args(["--port", &port.to_string()]);
        host.args(["--concurrency", &PROCESSES.to_string()]);
        let mut host = Supervised::start("lambda-host", host, &directory.join("functions.log")).unwrap();
        host.wait_until(Duration::from_secs(20), || port::is_answered(port)).unwrap();
        Self { invoke_url: format!("http://127.0.0.1:{port}"), _host: host }
    }
}

/// What a login gets: status, body, and `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u64,
    body: Value,
    retry_after: Option<String>,
}

impl Answer {
    fn device(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.body["device_token"].as_str().unwrap().to_owned()
    }
}

/// `POST /login` from an address.
fn log_in(name: &str, password: &str, device: Option<&str>, address: &str) -> Answer {
    static FUNCTION: OnceLock<LoginFunction> = OnceLock::new();
    let mut event: Value = serde_json::from_str(&sample_event("login-ok")).unwrap();
    event["requestContext"]["http"]["sourceIp"] = address.into();
    // What a client can write into a header is not the address.
    event["headers"]["x-forwarded-for"] = format!("10.0.0.1, {address}").into();
    let mut body = json!({ "username": name, "password": password });
    if let Some(device) = device {
        body["device_token"] = device.into();
    }
    event["body"] = body.to_string().into();
    let function = FUNCTION.get_or_init(LoginFunction::start);
    let (status, answer) = invoke_at(&function.invoke_url, "login", &event.to_string());
    assert_eq!(status, 200, "{answer}");
    Answer {
        status: answer["statusCode"].as_u64().unwrap(),
        body: serde_json::from_str(answer["body"].as_str().unwrap()).unwrap(),
        retry_after: answer["headers"]["retry-after"].as_str().map(str::to_owned),
    }
}

/// What guesses got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Guesses {
    /// The password was compared.
    made: usize,
    has_to_wait: usize,
    used_up: usize,
}

/// Concurrent guesses, each from the address that `address` gives it.
fn guess_at_once(name: &str, number: usize, address: impl Fn(usize) -> String + Sync) -> Guesses {
    let next = AtomicUsize::new(0);
    let guess = || {
        let mut guesses = Guesses::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= number {
                break guesses;
            }
            let answer = log_in(name, &format!("guess {index}"), None, &address(index));
            match answer.body["error"].as_str().unwrap() {
                "invalid_credentials" => guesses.made += 1,
                "too_many_attempts" => guesses.has_to_wait += 1,
                _ => {
                    assert_eq!(answer, used_up());
                    guesses.used_up += 1;
                }
            }
        }
    };
    thread::scope(|scope| {
        let guessers: Vec<_> = (0..PROCESSES).map(|_| scope.spawn(guess)).collect();
        guessers.into_iter().map(|guesser| guesser.join().unwrap()).fold(Guesses::default(), |all, one| Guesses {
            made: all.made + one.made,
            has_to_wait: all.has_to_wait + one.has_to_wait,
            used_up: all.used_up + one.used_up,
        })
    })
}

/// Guesses again and again until no address of these may guess any more. Returns how many guesses were made.
fn guess_until_used_up(name: &str, number: usize, address: impl Fn(usize) -> String + Sync) -> usize {
    let (begun, mut made) = (Instant::now(), 0);
    loop {
        let guesses = guess_at_once(name, number, &address);
        made += guesses.made;
        if guesses.used_up == number {
            return made;
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "{name}: {guesses:?}");
        thread::sleep(Duration::from_secs(1));
    }
}

/// Shuts an account for devices that are not known, immediately: two guesses from each network do not have to wait.
fn shut(name: &str) {
    assert_eq!(guess_until_used_up(name, 60, |index| format!("198.51.100.{}", index % 30)), 25, "{name}");
}

fn refused() -> Answer {
    let body = json!({ "error": "invalid_credentials", "message": "The username or the password is wrong." });
    Answer { status: 401, body, retry_after: None }
}

fn used_up() -> Answer {
    let message = "Too many attempts to log in with this name from here, and waiting does not help. Log in on a device on \
                   which you have logged in before, try another network, or ask an operator to unlock the account.";
    Answer { status: 429, body: json!({ "error": "attempts_used_up", "message": message }), retry_after: None }
}

fn wait(seconds: u64) -> Answer {
    let sentence = match seconds {
        1 => "Too many attempts. Try again in a second.".to_owned(),
        seconds => format!("Too many attempts. Try again in {seconds} seconds."),
    };
    let body = json!({ "error": "too_many_attempts", "message": sentence, "retry_after": seconds });
    Answer { status: 429, body, retry_after: Some(seconds.to_string()) }
}

#[test]
fn of_300_guesses_at_once_from_60_networks_25_are_made_and_the_owner_logs_in_all_the_while() {
    let name = add_user("guessed-at-once", PASSWORD, &["user"]);
    let device = log_in(&name, PASSWORD, None, HOME).device();
    // Logins of the owner clear the failures, so the attack has to go on: the device always passes.
    thread::scope(|scope| {
        let attack = scope.spawn(|| guess_at_once(&name, 300, |index| format!("198.51.100.{}", index % 60)));
        while !attack.is_finished() {
            assert_eq!(log_in(&name, PASSWORD, Some(&device), HOME).status, 200);
            thread::sleep(Duration::from_millis(200));
        }
        attack.join().unwrap();
    });
    assert_eq!(log_in(&name, PASSWORD, Some(&device), HOME).status, 200);
    let other = add_user("guessed-at-once-alone", PASSWORD, &["user"]);
    // A guess that has waited for others in vain could be repeated, and the others are refused for good.
    let guesses = guess_at_once(&other, 300, |index| format!("198.51.100.{}", index % 60));
    assert_eq!((guesses.made, guesses.has_to_wait + guesses.used_up), (25, 275), "{guesses:?}");
    assert_eq!(log_in(&other, PASSWORD, None, HOME), used_up(), "a new device has to wait for an operator");
}

#[test]
fn one_network_cannot_lock_the_owner_out_and_five_only_new_devices() {
    let name = add_user("lock-out", PASSWORD, &["user"]);
    let device = log_in(&name, PASSWORD, None, HOME).device();
    assert_eq!(guess_until_used_up(&name, 60, |_| "198.51.100.1".to_owned()), 5);
    assert_eq!(log_in(&name, PASSWORD, None, "198.51.100.1"), used_up());
    assert_eq!(log_in(&name, PASSWORD, None, "203.0.113.7").status, 200, "a new device on another network");
    assert_eq!(guess_until_used_up(&name, 50, |index| format!("198.51.100.{}", index % 5)), 25);
    for address in [HOME, "203.0.113.7"] {
        assert_eq!(log_in(&name, PASSWORD, None, address), used_up());
    }
    // From the attacker's own network too.
    assert_eq!(log_in(&name, PASSWORD, Some(&device), "198.51.100.1").status, 200);
    assert_eq!(log_in(&name, PASSWORD, None, "203.0.113.7").status, 200, "and that opens it");
}

#[test]
fn the_sessions_of_a_user_under_attack_go_on() {
    let client = Client::from_env();
    let name = add_user("sessions-go-on", PASSWORD, &["user"]);
    let tokens = client.tokens((&name, PASSWORD));
    shut(&name);
    assert_eq!(client.get("/me", &tokens.access).status, 200);
    let tokens = Tokens::of(&client.refresh(&tokens.refresh));
    assert_eq!(client.get("/me", &tokens.access).status, 200);
    // And one of them opens the account.
    assert_eq!(log_in(&name, PASSWORD, None, HOME), used_up());
    let new_password = "a horse of quite another colour";
    let body = json!({ "current_password": PASSWORD, "new_password": new_password });
    assert_eq!(client.post_json("/password", &tokens.access, &body).status, 200);
    assert_eq!(log_in(&name, new_password, None, HOME).status, 200);
}

#[test]
fn from_a_thousand_addresses_25_guesses_are_made() {
    let name = add_user("thousand", PASSWORD, &["user"]);
    let device = log_in(&name, PASSWORD, None, HOME).device();
    let guesses = guess_at_once(&name, 1000, |index| format!("203.0.{}.{}", 120 + index / 250, index % 250));
    assert_eq!((guesses.made, guesses.has_to_wait + guesses.used_up), (25, 975), "{guesses:?}");
    assert_eq!(log_in(&name, PASSWORD, Some(&device), HOME).status, 200);
}

#[test]
fn somebody_in_the_victims_own_network_cannot_lock_the_victims_device_out() {
    let name = add_user("same-network", PASSWORD, &["user"]);
    let address = "203.0.113.20";
    let device = log_in(&name, PASSWORD, None, address).device();
    // The account's attempts from there, and those of the address over all names.
    assert_eq!(guess_until_used_up(&name, 30, |_| address.to_owned()), 5);
    use_up_address(address);
    assert_eq!(log_in(&name, PASSWORD, None, address), used_up());
    assert_eq!(log_in(&name, PASSWORD, Some(&device), address).status, 200);
    // And a new device logs in elsewhere.
    assert_eq!(log_in(&name, PASSWORD, None, HOME).status, 200);
}

/// Fails with as many names as an address may try, and some more, so that it has to wait for a while.
fn use_up_address(address: &str) {
    let names = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for _ in 0..13 {
                    let number = names.fetch_add(1, Ordering::Relaxed);
                    let _ = log_in(&format!("used-up-{number}-{address}"), "wrong", None, address);
                }
            });
        }
    });
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_mins(1), "the address never has to wait");
        match log_in(&format!("used-up-{}-{address}", begun.elapsed().as_nanos()), "wrong", None, address) {
            Answer { status: 401, .. } => {}
            answer => match answer.body["retry_after"].as_u64().unwrap() {
                16.. => return,
                seconds => thread::sleep(Duration::from_secs(seconds)),
            },
        }
    }
}

#[test]
fn no_address_tells_which_names_exist() {
    let address = "203.0.113.30";
    let (enabled, disabled) =
        (add_user("oracle", PASSWORD, &["user"]), add_user("oracle-disabled", PASSWORD, &["user"]));
    // Both have logged in from there.
    let device = log_in(&enabled, PASSWORD, None, address).device();
    assert_eq!(log_in(&disabled, PASSWORD, Some(&device), address).status, 200);
    assert!(latchkey(&["user", "disable", &disabled], "").status.success());
    let unknown = format!("oracle-nobody-{}", std::process::id());
    let cases =
        [(&enabled, "wrong"), (&disabled, PASSWORD), (&disabled, "wrong"), (&unknown, PASSWORD), (&unknown, "wrong")];
    for (name, password) in cases {
        assert_eq!(log_in(name, password, None, address), refused(), "{name}");
    }
    // One attempt more for the first, which has had one less.
    assert_eq!(log_in(&enabled, "wrong", None, address), refused());
    use_up_address(address);
    // Only the seconds that are left differ.
    let answer = |name: &str, password: &str| {
        let answer = log_in(name, password, None, address);
        assert_eq!(answer, wait(answer.body["retry_after"].as_u64().unwrap()));
        answer.body["error"].clone()
    };
    let names = [(&*enabled, PASSWORD), (&*enabled, "wrong"), (&*disabled, PASSWORD), (&*unknown, PASSWORD)];
    assert_eq!(names.map(|(name, password)| answer(name, password)), names.map(|_| json!("too_many_attempts")));
    // A known device passes, for the accounts that it is known to.
    assert_eq!(log_in(&enabled, "wrong", Some(&device), address), refused());
    assert_eq!(log_in(&disabled, PASSWORD, Some(&device), address), refused());
    assert_eq!(log_in(&unknown, PASSWORD, Some(&device), address).status, 429);
    assert_eq!(log_in(&enabled, PASSWORD, Some(&device), address).status, 200);
}

#[test]
fn a_used_up_bucket_does_not_tell_whether_the_name_exists() {
    let exists = add_user("used-up", PASSWORD, &["user"]);
    let unknown = format!("used-up-nobody-{}", std::process::id());
    for name in [&exists, &unknown] {
        assert_eq!(guess_until_used_up(name, 30, |_| "203.0.113.40".to_owned()), 5);
        assert_eq!(log_in(name, PASSWORD, None, "203.0.113.40"), used_up());
        assert_eq!(guess_until_used_up(name, 60, |index| format!("198.51.100.{}", index % 30)), 20);
        assert_eq!(log_in(name, PASSWORD, None, HOME), used_up());
    }
}

#[test]
fn a_stolen_device_token_is_worth_five_guesses() {
    let name = add_user("stolen-device", PASSWORD, &["user"]);
    let device = log_in(&name, PASSWORD, None, HOME).device();
    let message = "Too many attempts to log in with this name on this device, and waiting does not help. Log in without \
                   `device_token`, as on a device that is not known, or ask an operator to unlock the account.";
    let device_used_up = Answer {
        status: 429,
        body: json!({ "error": "device_attempts_used_up", "message": message }),
        retry_after: None,
    };
    let (begun, mut made) = (Instant::now(), 0);
    loop {
        let answer = log_in(&name, "guess", Some(&device), "198.51.100.1");
        if let Some(seconds) = answer.body["retry_after"].as_u64() {
            assert_eq!(answer, wait(seconds));
            thread::sleep(Duration::from_secs(seconds));
        } else if answer == device_used_up {
            break;
        } else {
            assert_eq!(answer, refused());
            made += 1;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "{made} guesses, and no end");
    }
    assert_eq!(made, 5);
    for address in ["198.51.100.1", "198.51.100.2", HOME] {
        assert_eq!(log_in(&name, PASSWORD, Some(&device), address), device_used_up, "{address}");
    }
    // The owner leaves it out, as the page does.
    assert_eq!(log_in(&name, PASSWORD, None, HOME).status, 200);
    assert_eq!(log_in(&name, PASSWORD, Some(&device), HOME).status, 200, "a success opens it");
}

#[test]
fn device_tokens_of_others_and_of_an_earlier_password_are_worth_nothing() {
    let name = add_user("foreign-device", PASSWORD, &["user"]);
    let other = add_user("foreign-device-other", PASSWORD, &["user"]);
    let of_other = log_in(&other, PASSWORD, None, HOME).device();
    let own = log_in(&name, PASSWORD, None, HOME).device();
    assert_ne!(own, of_other);
    assert!(latchkey(&["user", "set-password", &name], "a horse of quite another colour").status.success());
    shut(&name);
    for device in [of_other.as_str(), "pHg-9_W5v3ZwEtF6p_owOA", own.as_str()] {
        assert_eq!(log_in(&name, "a horse of quite another colour", Some(device), HOME), used_up());
    }
    for malformed in ["", "short", "pHg-9_W5v3ZwEtF6p_owOB", "pHg-9_W5v3ZwEtF6p_owOAA", "pHg/9+W5v3ZwEtF6p/owOA"] {
        let answer = log_in(&name, PASSWORD, Some(malformed), HOME);
        assert_eq!((answer.status, &answer.body["error"]), (400, &json!("invalid_request")), "{malformed}");
    }
}

#[test]
fn spellings_of_a_name_and_addresses_of_an_ipv6_network_are_one() {
    let name = add_user("spelt", PASSWORD, &["user"]);
    let spellings =
        [name.clone(), name.to_uppercase(), format!(" {name}"), format!("{name}\u{3000}"), name.replace('s', "ｓ")];
    let address = |index| format!("2001:db8:7:1:{index:x}::1");
    let made: usize = thread::scope(|scope| {
        let guessers = spellings.each_ref().map(|spelling| scope.spawn(|| guess_until_used_up(spelling, 6, address)));
        guessers.into_iter().map(|guesser| guesser.join().unwrap()).sum()
    });
    assert_eq!(made, 5);
    for spelling in &spellings {
        assert_eq!(log_in(spelling, PASSWORD, None, "2001:db8:7:1:ffff::1"), used_up());
    }
    assert_eq!(log_in(&name, PASSWORD, None, "2001:db8:7:2::1").status, 200);
}

#[test]
fn a_source_address_that_cannot_be_read_is_a_network_too() {
    let name = add_user("unreadable", PASSWORD, &["user"]);
    assert_eq!(guess_until_used_up(&name, 30, |index| format!("unknown {index}")), 5);
    assert_eq!(log_in(&name, PASSWORD, None, "unknown"), used_up());
    assert_eq!(log_in(&name, PASSWORD, None, HOME).status, 200);
}

#[test]
fn a_forwarding_header_is_no_source_address() {
    let client = Client::from_env();
    let name = add_user("forwarded", PASSWORD, &["user"]);
    let body = json!({ "username": name, "password": "guess" }).to_string();
    let mut statuses = Vec::new();
    for number in 0..6 {
        let address = format!("198.51.100.{number}");
        let headers = [
            ("content-type", "application/json"),
            ("x-forwarded-for", &address),
            ("forwarded", &format!("for={address}")),
            ("x-real-ip", &address),
            ("cf-connecting-ip", &address),
            ("true-client-ip", &address),
            ("cloudfront-viewer-address", &format!("{address}:4711")),
        ];
        statuses.push(client.send("POST", "/login", &headers, body.clone()).status);
    }
    assert_eq!(statuses[..3], [401, 401, 401]);
    assert!(statuses[3..].contains(&429), "they are of one network: {statuses:?}");
}

#[test]
fn an_attacked_name_can_be_registered_and_its_owner_logs_in() {
    let name = format!("not-yet-{}", std::process::id());
    shut(&name);
    assert_eq!(log_in(&name, PASSWORD, None, HOME), used_up());
    let body = json!({ "username": name, "password": PASSWORD }).to_string();
    let registered = Client::from_env().send("POST", "/register", &[("content-type", "application/json")], body);
    assert_eq!(registered.status, 201, "{registered:?}");
    for address in [HOME, "198.51.100.1"] {
        assert_eq!(log_in(&name, PASSWORD, None, address).status, 200);
    }
}

#[test]
fn forty_right_logins_at_once_all_succeed() {
    let name = add_user("forty", PASSWORD, &["user"]);
    let devices: BTreeSet<String> = thread::scope(|scope| {
        let logins: Vec<_> = (0..40).map(|_| scope.spawn(|| log_in(&name, PASSWORD, None, HOME).device())).collect();
        logins.into_iter().map(|login| login.join().unwrap()).collect()
    });
    assert_eq!(devices.len(), 40, "each device has a token of its own");
}

#[test]
fn an_operator_sees_what_is_shut_and_opens_it() {
    let name = add_user("operator-unlocks", PASSWORD, &["user"]);
    let device = log_in(&name, PASSWORD, None, HOME).device();
    shut(&name);
    let shown = latchkey(&["user", "--json", "show", &name], "");
    let user: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let throttle = &user["throttle"];
    assert_eq!(throttle["networks"], json!({ "attempts": 25, "limit": 25, "opens": "not_by_time", "opens_at": null }));
    assert_eq!(throttle["devices"].as_array().unwrap().len(), 1);
    let buckets = throttle["buckets"].as_array().unwrap();
    assert_eq!(buckets.iter().map(|bucket| bucket["attempts"].as_u64().unwrap()).sum::<u64>(), 25);
    let first = &buckets[0];
    assert_eq!(
        first,
        &json!({
            "bucket": "network", "network": first["network"], "attempts": first["attempts"], "failures": first["attempts"],
            "limit": 5, "opens": "not_by_time", "opens_at": null,
        })
    );
    assert!(first["network"].as_str().unwrap().starts_with("198.51.100."));
    let text = String::from_utf8(latchkey(&["user", "show", &name], "").stdout).unwrap();
    for line in [
        "devices     1 known",
        "attempts    25 of 25 from networks without a known device",
        &format!(
            "network {}: {} of 5, does not open by waiting",
            first["network"].as_str().unwrap(),
            first["attempts"]
        ),
        &format!("`latchkey user unlock {name}`"),
    ] {
        assert!(text.contains(line), "{text}");
    }

    let unlocked = latchkey(&["user", "unlock", &name], "");
    assert!(unlocked.status.success(), "{unlocked:?}");
    let text = String::from_utf8(latchkey(&["user", "show", &name], "").stdout).unwrap();
    assert!(text.contains("attempts    none since the last success"), "{text}");
    assert_eq!(log_in(&name, PASSWORD, None, "198.51.100.1").status, 200);
    assert_eq!(log_in(&name, PASSWORD, Some(&device), HOME).status, 200, "the device stays known");
}

#[test]
fn a_shut_account_is_an_event_of_the_log_and_a_metric() {
    let name = add_user("event", PASSWORD, &["user"]);
    let shown = latchkey(&["user", "--json", "show", &name], "");
    let user: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let sub = user["user_id"].as_str().unwrap();
    shut(&name);
    let log = std::fs::read_to_string(workspace::local().join("test/guessing/functions.log")).unwrap();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let events: Vec<_> = lines.iter().filter(|line| line["event"] == "account_shut" && line["sub"] == sub).collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["level"], "WARN");
    // The request's own line makes the metric.
    let login = lines.iter().filter(|line| line["event"] == "login" && line["account_shut"] == true);
    assert_eq!(login.clone().count(), lines.iter().filter(|line| line["AccountsShut"] == 1).count());
    assert!(login.count() >= 1);
    assert!(!log.contains(&name), "no name in the log");
    assert!(!log_lines().iter().any(|line| line.contains("\"guess ")), "no password in the log");
}
