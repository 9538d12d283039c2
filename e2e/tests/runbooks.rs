//! The runbooks of docs/OPERATIONS.md, run as they are written: the commands are read from the page.
//!
//! A placeholder is in capitals: KID, NAME, URL. The tests wait for minutes, in parallel.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{ALICE, Client, Tokens, unverified};
use local_stack::install::Tools;
use local_stack::stack::{Options, Stack};
use local_stack::workspace;
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery staple";
/// Functions read the keys again once a minute.
const READ_BY_ALL: Duration = Duration::from_secs(66);

/// The commands of a runbook, in order.
fn commands(title: &str) -> Vec<String> {
    let page = std::fs::read_to_string(workspace::root().join("docs/OPERATIONS.md")).unwrap();
    let (_, section) = page.split_once(&format!("### {title}\n")).unwrap();
    let section = section.split("\n### ").next().unwrap();
    let commands: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect();
    assert!(!commands.is_empty(), "{title}");
    commands
}

/// Runs a command of a runbook in a shell, in the environment of the operator.
fn run(environment: &BTreeMap<String, String>, command: &str, filled: &[(&str, &str)], input: &str) -> Output {
    let command = filled.iter().fold(command.to_owned(), |command, (name, value)| command.replace(name, value));
    let path = format!(
        "{}:{}",
        workspace::binary("latchkey").parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut shell = Command::new("sh")
        .args(["-c", &command])
        .envs(environment)
        .env("PATH", path)
        .current_dir(directory(environment))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command without a prompt may have ended already.
    let _ = writeln!(shell.stdin.take().unwrap(), "{input}");
    shell.wait_with_output().unwrap()
}

/// The same, which must succeed. Returns its standard output.
fn done(environment: &BTreeMap<String, String>, command: &str, filled: &[(&str, &str)], input: &str) -> String {
    let output = run(environment, command, filled, input);
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A directory for the files of one test.
fn directory(environment: &BTreeMap<String, String>) -> PathBuf {
    let directory = workspace::local().join("test/runbooks").join(&environment["SIGNING_KEYS_TABLE_NAME"]);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn stack(name: &str) -> Stack {
    let options = Options::for_test(name);
    // Remains of an earlier run.
    let _ = std::fs::remove_dir_all(&options.directory);
    Stack::start(&Tools::find_or_install().unwrap(), &options).unwrap()
}

fn keys(environment: &BTreeMap<String, String>) -> Vec<Value> {
    let listed = done(environment, "latchkey keys list --json", &[], "");
    listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kids(keys: &[Value]) -> BTreeSet<String> {
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Runs "A signing key may be stolen" to its end, for every key that the list showed.
fn replace_the_keys(environment: &BTreeMap<String, String>) {
    let commands = commands("A signing key may be stolen");
    let [list, rotate, revoke] = commands.as_slice() else { panic!("{commands:?}") };
    // The key of login attempts signs nothing, and stays.
    let signing: Vec<_> = keys(environment).into_iter().filter(|key| key["purpose"] != "login-attempts").collect();
    let before = kids(&signing);
    let shown = done(environment, list, &[], "");
    assert!(before.iter().all(|kid| shown.contains(kid)), "{shown}");
    let rotated = done(environment, rotate, &[], "");
    assert_eq!(rotated.matches(", which signs from now on;").count(), 2, "{rotated}");
    for kid in &before {
        done(environment, revoke, &[("KID", kid)], "");
    }
    let after = keys(environment);
    assert!(kids(&after).is_disjoint(&before), "{after:?}");
    let mut active: Vec<_> = after.iter().filter(|key| key["is_active"] == true).map(|key| &key["purpose"]).collect();
    active.sort_by_key(ToString::to_string);
    assert_eq!(active, ["access-token", "login-attempts", "refresh-token"], "one key of each purpose signs: {after:?}");
}

#[test]
fn a_stolen_key_is_replaced_and_no_login_hands_out_what_is_invalid_at_once() {
    let mut stack = stack("runbook-stolen-key");
    let client = Client::new(&stack.base_url());
    let environment = stack.command_environment().clone();
    // Another key does not sign yet.
    done(&environment, "latchkey keys rotate", &[], "");
    let before = client.tokens(ALICE);

    let stop = Arc::new(AtomicBool::new(false));
    let logins = {
        let (client, stop) = (client.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut made = 0;
            while !stop.load(Ordering::Relaxed) {
                let tokens = client.tokens(ALICE);
                assert_eq!(client.get("/me", &tokens.access).status, 200, "login {made}");
                assert_eq!(client.refresh(&tokens.refresh).status, 200, "login {made}");
                made += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            made
        })
    };
    replace_the_keys(&environment);
    // Within a minute every token of the old keys is invalid.
    let revoked = Instant::now();
    let is_invalid =
        || client.get("/me", &before.access).status == 403 && client.refresh(&before.refresh).status == 400;
    while !is_invalid() {
        assert!(revoked.elapsed() < READ_BY_ALL, "the old tokens are still valid");
        std::thread::sleep(Duration::from_millis(500));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(logins.join().unwrap() > 100, "logins went on all the time");
    stack.must_run().unwrap();
}

#[test]
fn a_stolen_key_is_replaced_for_every_set_of_keys() {
    let stack = stack("runbook-rings");
    let rings = [
        ("one", "true"),
        ("waiting", "latchkey keys rotate"),
        ("another-algorithm", "latchkey keys rotate --algorithm RS256"),
        ("rotated", "latchkey keys rotate --now && latchkey keys rotate --now"),
        ("stops-soon", "latchkey keys rotate --now --sign-for 30"),
        ("only-waiting", "latchkey keys rotate"),
    ];
    let runs: Vec<_> = rings
        .into_iter()
        .map(|(name, prepare)| {
            let environment = tables(&stack, name);
            std::thread::spawn(move || {
                done(&environment, "latchkey keys init", &[], "");
                // The first keys were created long ago.
                for purpose in ["access-token", "refresh-token"] {
                    delete_key(&environment, "first-key", purpose);
                }
                done(&environment, prepare, &[], "");
                if name == "only-waiting" {
                    // `revoke` itself keeps the last key that signs.
                    let signs = |key: &&Value| key["is_active"] == true && key["purpose"] != "login-attempts";
                    for key in keys(&environment).iter().filter(signs) {
                        delete_key(&environment, key["purpose"].as_str().unwrap(), key["kid"].as_str().unwrap());
                    }
                }
                replace_the_keys(&environment);
            })
        })
        .collect();
    for run in runs {
        run.join().unwrap();
    }
}

/// Tables of their own on the stack's DynamoDB, and the environment for them.
fn tables(stack: &Stack, name: &str) -> BTreeMap<String, String> {
    tables_of(stack, "runbook-rings", name)
}

fn tables_of(stack: &Stack, stack_name: &str, name: &str) -> BTreeMap<String, String> {
    let name = format!("runbook-{name}");
    let mut environment = stack.command_environment().clone();
    let template = local_stack::stack::template(&name, &BTreeMap::new()).unwrap();
    local_stack::tables::create(&environment["AWS_ENDPOINT_URL_DYNAMODB"], &template).unwrap();
    for (variable, value) in &mut environment {
        if variable.ends_with("_TABLE_NAME") {
            *value = value.replacen(stack_name, &name, 1);
        }
    }
    environment
}

fn delete_key(environment: &BTreeMap<String, String>, purpose: &str, kid: &str) {
    let request = json!({
        "TableName": environment["SIGNING_KEYS_TABLE_NAME"],
        "Key": { "purpose": { "S": purpose }, "kid": { "S": kid } },
    });
    let endpoint = &environment["AWS_ENDPOINT_URL_DYNAMODB"];
    let (status, problem) = local_stack::tables::call(endpoint, "DeleteItem", &request).unwrap();
    assert_eq!(status, 200, "{problem}");
}

#[test]
fn a_key_is_revoked_after_a_wait_that_can_be_interrupted_or_skipped() {
    let stack = stack("runbook-retire");
    let environment = tables_of(&stack, "runbook-retire", "breaking-off");
    done(&environment, "latchkey keys init", &[], "");
    let old = keys(&environment)[0]["kid"].as_str().unwrap().to_owned();
    done(&environment, "latchkey keys rotate --now --purpose access-token", &[], "");
    let newest = keys(&environment).iter().find(|key| key["is_active"] == true && key["kid"] != *old).unwrap().clone();
    let newest = newest["kid"].as_str().unwrap();

    // Ctrl-C while it waits.
    let interrupted = run(&environment, "timeout --signal INT 2 latchkey keys revoke KID", &[("KID", &old)], "");
    let printed = String::from_utf8_lossy(&interrupted.stderr).into_owned();
    assert!(
        printed.contains(" s, when every function")
            && printed.ends_with(&format!("interrupted; {old} is not revoked\n")),
        "{printed}"
    );
    assert!(kids(&keys(&environment)).contains(&old));
    // The newest key that signs needs a successor first.
    let refused = run(&environment, "latchkey keys revoke --json KID", &[("KID", newest)], "");
    let problem: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!((refused.status.code(), &problem["error"]), (Some(1), &json!("signs")));
    // The wait can be skipped.
    let started = Instant::now();
    done(&environment, "latchkey keys revoke --at-once KID", &[("KID", &old)], "");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(!kids(&keys(&environment)).contains(&old));
    // An id may begin with a hyphen.
    let unknown = run(&environment, "latchkey keys revoke -4mo2q && exit 0", &[], "");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no key -4mo2q"), "{unknown:?}");
}

#[test]
fn a_leaked_token_of_any_kind_and_state_is_invalid_after_the_runbook() {
    let stack = stack("runbook-leaked");
    let client = Client::new(&stack.base_url());
    let environment = stack.command_environment();
    let commands = commands("A token leaked");
    let [inspect, revoke_user, revoke_token] = commands.as_slice() else { panic!("{commands:?}") };
    let file = directory(environment).join("token.txt");
    let is_invalid = |tokens: &Tokens| {
        assert_eq!(client.get("/me", &tokens.access).status, 403);
        assert_eq!(client.refresh(&tokens.refresh).status, 400);
    };
    let url = stack.base_url();

    // An access token: its user is known, and loses everything.
    let (leaked, other) = (client.tokens(ALICE), client.tokens(ALICE));
    std::fs::write(&file, format!("{}\n", leaked.access)).unwrap();
    let seen = done(environment, inspect, &[], "");
    assert!(seen.contains("  username    alice\n") && seen.ends_with("the token is valid\n"), "{seen}");
    done(environment, revoke_user, &[("NAME", "alice")], "");
    is_invalid(&leaked);
    is_invalid(&other);
    let after = run(environment, inspect, &[], "");
    assert!(!after.status.success() && String::from_utf8_lossy(&after.stdout).contains("REFUSED   revocation"));

    // Each kind alone: the leaked token, one that has a successor, and one that is already invalid.
    let (leaked, other) = (client.tokens(ALICE), client.tokens(ALICE));
    for token in [&leaked.access, &leaked.access] {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        done(environment, revoke_token, &[("URL", &url)], "");
        assert_eq!(client.get("/me", &leaked.access).status, 403);
        assert_eq!(client.get("/me", &other.access).status, 200);
    }
    let successor = Tokens::of(&client.refresh(&leaked.refresh));
    for token in [&leaked.refresh, &successor.refresh, &leaked.refresh] {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        assert!(done(environment, inspect, &[], "").starts_with("a refresh token"));
        done(environment, revoke_token, &[("URL", &url)], "");
        assert_eq!(client.get("/me", &successor.access).status, 403);
        assert_eq!(client.refresh(&successor.refresh).status, 400);
        assert_eq!(client.get("/me", &other.access).status, 200);
    }
}

#[test]
fn a_compromised_user_has_nothing_left_but_the_new_password() {
    let stack = stack("runbook-compromised");
    let client = Client::new(&stack.base_url());
    let environment = stack.command_environment();
    let commands = commands("A user is compromised");
    let new_password = "a horse of quite another colour";
    for state in ["signed-in", "disabled", "guessed-at", "never-signed-in"] {
        let name = format!("owner-{state}");
        done(environment, "latchkey user add NAME --role user", &[("NAME", &name)], PASSWORD);
        let held = match state {
            "never-signed-in" => Vec::new(),
            _ => vec![client.tokens((&name, PASSWORD)), client.tokens((&name, PASSWORD))],
        };
        match state {
            "disabled" => {
                done(environment, "latchkey user disable NAME", &[("NAME", &name)], "");
            }
            "guessed-at" => {
                let throttled = (0..40).any(|_| client.login(&name, "guessed").status == 429);
                assert!(throttled, "the owner would have to wait");
            }
            _ => {}
        }
        for command in &commands {
            done(environment, command, &[("NAME", &name)], new_password);
            // Not at any step in between either.
            for tokens in &held {
                assert_eq!(client.get("/me", &tokens.access).status, 403, "{state}: {command}");
                assert_eq!(client.refresh(&tokens.refresh).status, 400, "{state}: {command}");
            }
        }
        assert_eq!(client.login(&name, PASSWORD).status, 401, "{state}");
        let tokens = client.tokens((&name, new_password));
        assert_eq!(client.get("/me", &tokens.access).json()["username"], name.as_str(), "{state}");
        assert_eq!(unverified(&tokens.access).1["roles"], json!(["user"]), "{state}");
    }
}
