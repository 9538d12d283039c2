//! DynamoDB hangs, then dies. Every request is denied, every client gets a response in time, and everything works again
//! once it is back, without a restart of anything else.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::{Duration, Instant};

use e2e::{ALICE, Answer, Client};
use local_stack::dynamodb_local::Storage;
use local_stack::install::Tools;
use local_stack::stack::{Options, Stack};
use serde_json::{Value, json};

/// Longest wait of a client for a response.
const LIMIT: Duration = Duration::from_secs(10);

fn timely(request: impl FnOnce() -> Answer) -> (u16, Value) {
    let started = Instant::now();
    let answer = request();
    assert!(started.elapsed() < LIMIT, "{:?} for {answer:?}", started.elapsed());
    answer.status_and_json()
}

fn unavailable() -> (u16, Value) {
    let message = "The service is temporarily unavailable. Try again in a few seconds.";
    (503, json!({ "error": "temporarily_unavailable", "message": message, "retry_after": 2 }))
}

/// The response to everybody while DynamoDB does not answer.
fn nobody_passes(client: &Client, token: &str) {
    let internal_error = (500, json!({ "message": "Internal Server Error" }));
    assert_eq!(timely(|| client.get("/me", token)), internal_error);
    // Logout has not been called before the first outage, so it also starts during it.
    assert_eq!(timely(|| client.post("/logout", token)), internal_error);
    assert_eq!(timely(|| client.login("alice", "password")), unavailable());
    assert_eq!(timely(|| client.login("nobody", "password")), unavailable());
    // Requests that are rejected without DynamoDB are rejected as always.
    assert_eq!(timely(|| client.get("/me", "garbage")), (403, json!({ "message": "Forbidden" })));
}

/// The token is accepted again within a few seconds.
fn recovers(client: &Client, token: &str) {
    let until = Instant::now() + Duration::from_secs(5);
    while client.get("/me", token).status != 200 {
        assert!(Instant::now() < until, "it does not recover");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(client.login("alice", "password").status, 200);
}

#[test]
fn while_dynamodb_hangs_or_is_gone_every_request_is_denied_and_afterwards_allowed_again() {
    let mut options = Options::for_test("outage");
    let data = options.directory.join("dynamodb");
    let _ = std::fs::remove_dir_all(&data);
    options.storage = Storage::Disk(data);
    let mut stack = Stack::start(&Tools::find_or_install().unwrap(), &options).unwrap();
    let client = Client::new(&stack.base_url());
    let token = client.access_token(ALICE);
    assert_eq!(client.get("/me", &token).status, 200);

    stack.dynamodb().freeze();
    nobody_passes(&client, &token);
    // A function that starts while DynamoDB hangs.
    let keys = timely(|| client.send("GET", "/.well-known/jwks.json", &[], ""));
    assert_eq!(keys, unavailable());
    stack.dynamodb().thaw();
    recovers(&client, &token);
    assert_eq!(client.send("GET", "/.well-known/jwks.json", &[], "").status, 200);

    stack.dynamodb().kill();
    nobody_passes(&client, &token);
    stack.dynamodb().restart().unwrap();
    recovers(&client, &token);

    assert_eq!(client.post("/logout", &token).status, 204);
    assert_eq!(client.get("/me", &token).status, 403);
    stack.must_run().unwrap();
}
