//! The drill: keys rotate three times while requests flow through gateway, authorizer and functions without a pause.
//!
//! It takes as long as functions take to read the keys again, three times a minute and more, so it runs when asked for:
//! `cargo xtask test -- --test key_drill -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::print_stdout, reason = "it prints its figures")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::local::latchkey_in;
use e2e::{ADMIN, ALICE, Client, Tokens, unverified};
use xtask::install::Tools;
use xtask::stack::{Options, Stack};

/// Functions read the keys again after a minute.
const READ_BY_ALL: Duration = Duration::from_secs(66);

fn kid(tokens: &Tokens) -> String {
    unverified(&tokens.access).0["kid"].as_str().unwrap().to_owned()
}

/// Logs in, asks, refreshes, asks again, until it is told to stop. Every answer must be good.
fn client_of(client: &Client, user: (&str, &str), stop: &AtomicBool, requests: &AtomicU64) -> BTreeSet<String> {
    let mut tokens = client.tokens(user);
    let mut kids = BTreeSet::from([kid(&tokens)]);
    // The first token is used as long as it lasts: its key must verify on.
    let first = tokens.clone();
    while !stop.load(Ordering::Relaxed) {
        for token in [&tokens.access, &first.access] {
            let answer = client.get("/me", token);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        tokens = Tokens::of(&client.refresh(&tokens.refresh));
        kids.insert(kid(&tokens));
        requests.fetch_add(3, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    }
    kids
}

#[test]
#[ignore = "it takes four minutes"]
fn no_valid_token_is_refused_while_keys_rotate_three_times_under_load() {
    let mut options = Options::for_test("key-drill");
    // What an earlier run left.
    let _ = std::fs::remove_dir_all(&options.directory);
    options.parameters.insert("AccessTokenLifetimeSeconds".to_owned(), "3600".to_owned());
    let mut stack = Stack::start(&Tools::find_or_install().unwrap(), &options).unwrap();
    let client = Client::new(&stack.base_url());
    let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = [ALICE, ADMIN, ALICE]
        .map(|user| {
            let (client, stop, requests) = (client.clone(), Arc::clone(&stop), Arc::clone(&requests));
            std::thread::spawn(move || client_of(&client, user, &stop, &requests))
        })
        .into_iter()
        .collect();
    let started = Instant::now();
    for algorithm in ["RS256", "EdDSA", "ES256"] {
        let arguments = ["keys", "rotate", "--now", "--algorithm", algorithm, "--sign-for", "150"];
        let rotated = latchkey_in(stack.command_environment(), &arguments, "");
        assert!(rotated.status.success(), "{rotated:?}");
        std::thread::sleep(READ_BY_ALL);
        assert_eq!(unverified(&client.access_token(ALICE)).0["alg"], algorithm, "everybody signs with the new key");
    }
    stop.store(true, Ordering::Relaxed);
    let kids: BTreeSet<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    stack.must_run().unwrap();
    assert!(kids.len() >= 4, "{kids:?}");
    let seconds = started.elapsed().as_secs();
    println!("{} requests in {seconds} s, {} keys signed, none refused", requests.load(Ordering::Relaxed), kids.len());
}
