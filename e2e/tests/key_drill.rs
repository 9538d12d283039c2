//! The drill: keys rotate three times and functions restart while requests flow through gateway, authorizer and
//! functions without a pause.
//!
//! It takes as long as functions take to read the keys again, three times a minute and more, so it only runs on
//! request: `cargo xtask test -- --test key_drill -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::print_stdout, reason = "it prints its figures")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::local::latchkey_in;
use e2e::{ADMIN, ALICE, Answer, Client, Tokens, unverified};
use local_stack::install::Tools;
use local_stack::stack::{Options, Stack};

/// Functions read the keys again after a minute.
const READ_BY_ALL: Duration = Duration::from_secs(66);

fn kid(tokens: &Tokens) -> String {
    unverified(&tokens.access).0["kid"].as_str().unwrap().to_owned()
}

/// What the clients have in common.
#[derive(Default)]
struct Drill {
    stop: AtomicBool,
    requests: AtomicU64,
    /// Requests that a function had when it was ended.
    lost: AtomicU64,
}

impl Drill {
    /// Retries until there is a response. A function that ends loses its request, as in a crash in AWS: that is a
    /// 500 or 503, which says nothing about the token. Every other response is checked.
    fn answer(&self, ask: impl Fn() -> Answer) -> Answer {
        loop {
            let answer = ask();
            self.requests.fetch_add(1, Ordering::Relaxed);
            if !matches!(answer.status, 500 | 503) {
                assert_eq!(answer.status, 200, "{answer:?}");
                return answer;
            }
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Logs in, calls, refreshes, calls again, until it is stopped.
    fn run(&self, client: &Client, user: (&str, &str)) -> BTreeSet<String> {
        let mut tokens = Tokens::of(&self.answer(|| client.login(user.0, user.1)));
        let mut kids = BTreeSet::from([kid(&tokens)]);
        // The first token is used as long as it is valid: its key must keep verifying.
        let first = tokens.clone();
        while !self.stop.load(Ordering::Relaxed) {
            for token in [&tokens.access, &first.access] {
                self.answer(|| client.get("/me", token));
            }
            tokens = Tokens::of(&self.answer(|| client.refresh(&tokens.refresh)));
            kids.insert(kid(&tokens));
            std::thread::sleep(Duration::from_millis(20));
        }
        kids
    }
}

#[test]
#[ignore = "it takes four minutes"]
fn no_valid_token_is_refused_while_keys_rotate_three_times_and_functions_restart_under_load() {
    let mut options = Options::for_test("key-drill");
    // Remains of an earlier run.
    let _ = std::fs::remove_dir_all(&options.directory);
    options.parameters.insert("AccessTokenLifetimeSeconds".to_owned(), "3600".to_owned());
    // A retry that met an ended function must still be inside the window.
    options.parameters.insert("RefreshGraceSeconds".to_owned(), "60".to_owned());
    let mut stack = Stack::start(&Tools::find_or_install().unwrap(), &options).unwrap();
    let client = Client::new(&stack.base_url());
    let drill = Arc::new(Drill::default());
    let clients: Vec<_> = [ALICE, ADMIN, ALICE]
        .map(|user| {
            let (client, drill) = (client.clone(), Arc::clone(&drill));
            std::thread::spawn(move || drill.run(&client, user))
        })
        .into_iter()
        .collect();
    let (started, mut restarts) = (Instant::now(), 0);
    for algorithm in ["RS256", "EdDSA", "ES256"] {
        let arguments = ["keys", "rotate", "--now", "--algorithm", algorithm, "--sign-for", "150"];
        let rotated = latchkey_in(stack.command_environment(), &arguments, "");
        assert!(rotated.status.success(), "{rotated:?}");
        let rotated = Instant::now();
        for function in ["authorizer", "protected", "token", "login"] {
            stack.functions().restart(function).unwrap();
            restarts += 1;
            std::thread::sleep(READ_BY_ALL / 5);
        }
        std::thread::sleep(READ_BY_ALL.saturating_sub(rotated.elapsed()));
        let tokens = Tokens::of(&drill.answer(|| client.login(ALICE.0, ALICE.1)));
        assert_eq!(unverified(&tokens.access).0["alg"], algorithm, "everybody signs with the new key");
    }
    drill.stop.store(true, Ordering::Relaxed);
    let kids: BTreeSet<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    stack.must_run().unwrap();
    assert!(kids.len() >= 4, "{kids:?}");
    let (seconds, requests) = (started.elapsed().as_secs(), drill.requests.load(Ordering::Relaxed));
    let lost = drill.lost.load(Ordering::Relaxed);
    println!(
        "{requests} requests in {seconds} s, {} keys signed, {restarts} restarts; {lost} lost with the function that had \
         them and sent again, none refused",
        kids.len()
    );
}
