//! Everything that can happen to a session, once, which makes every call that a role allows.

use std::time::{Duration, Instant};

use e2e::deployment::{Aws, Stack};
use e2e::{Answer, Client, Tokens, unverified};
use serde_json::{Value, json};

pub(crate) const PASSWORD: &str = "violet kettle sings at noon";
const NEW_PASSWORD: &str = "seven lanterns over the harbour";

/// `POST /register` with the password of all users here.
pub(crate) fn register(client: &Client, name: &str) -> Answer {
    let body = json!({ "username": name, "password": PASSWORD }).to_string();
    client.send("POST", "/register", &[("content-type", "application/json")], body)
}

/// Creates users, and performs all operations on them.
pub(crate) fn run_all_of_it(aws: &Aws, stack: &Stack) {
    let client = &aws.client();
    aws.latchkey(stack, &["user", "add", "admin", "--role", "admin"], PASSWORD);

    assert_eq!(register(client, "alice").status, 201);
    assert_eq!(register(client, "alice").status, 409);
    assert_eq!(client.login("alice", "wrong").status, 401);
    assert_eq!(client.login("nobody", "wrong").status, 401);
    let first = client.tokens(("alice", PASSWORD));
    assert_eq!(client.get("/me", &first.access).json()["username"], "alice");
    assert_eq!(client.get("/admin-only", &first.access).status, 403);
    assert_eq!(client.get("/me", "no token").status, 403);

    // Keys rotate; issued tokens stay valid.
    aws.latchkey(stack, &["keys", "rotate", "--now", "--purpose", "access-token"], "");
    let second = Tokens::of(&client.refresh(&first.refresh));
    assert_eq!(client.get("/me", &first.access).status, 200);
    assert_eq!(client.get("/me", &second.access).status, 200);
    let published = client.send("GET", "/.well-known/jwks.json", &[], "").json();
    let kid = unverified(&first.access).0["kid"].clone();
    assert!(published["keys"].as_array().unwrap().iter().any(|key| key["kid"] == kid), "{published}");
    assert_eq!(client.send("GET", "/.well-known/oauth-authorization-server", &[], "").status, 200);

    // A refresh token twice, after its successor was used: both are gone.
    let third = Tokens::of(&client.refresh(&second.refresh));
    assert_eq!(client.refresh(&first.refresh).status, 400);
    assert_eq!(client.refresh(&third.refresh).status, 400);
    assert_eq!(client.refresh("no token").status, 400);

    // A device that is known, one that is not, and an address whose attempts are used up.
    let device = client.login("admin", PASSWORD).json()["device_token"].as_str().unwrap().to_owned();
    for device in [device.as_str(), "pHg-9_W5v3ZwEtF6p_owOA"] {
        let body = json!({ "username": "admin", "password": PASSWORD, "device_token": device });
        assert_eq!(client.login_with_body(body.to_string()).status, 200);
    }
    let _ = aws.python(&["-c", USE_UP, stack.output("LoginAttemptsTableName")]);
    let refused = client.login("alice", PASSWORD);
    assert_eq!((refused.status, &refused.json()["error"]), (429, &json!("too_many_attempts")));

    // An hour later, counters of an address start again.
    let _ = aws.python(&["-c", LAPSE, stack.output("LoginAttemptsTableName")]);
    assert_eq!(client.login("nobody", "wrong").status, 401);
    assert_eq!(register(client, "alice").status, 409);
    assert_eq!(client.refresh("no token").status, 400);

    // Sessions: listed, ended one by one, revoked, introspected.
    let admin = client.access_token(("admin", PASSWORD));
    let (one, other, revoked) =
        (client.tokens(("alice", PASSWORD)), client.tokens(("alice", PASSWORD)), client.tokens(("alice", PASSWORD)));
    assert_eq!(client.get("/sessions", &one.access).json()["sessions"].as_array().unwrap().len(), 3);
    assert_eq!(client.delete(&format!("/sessions/{}", other.sid()), &one.access).status, 204);
    assert_eq!(client.get("/me", &other.access).status, 403);
    assert_eq!(client.post_form("/introspect", Some(&admin), &[("token", &revoked.refresh)]).json()["active"], true);
    assert_eq!(client.post_form("/revoke", None, &[("token", &revoked.refresh)]).status, 200);
    assert_eq!(client.post_form("/introspect", Some(&admin), &[("token", &revoked.refresh)]).json()["active"], false);
    assert_eq!(client.post_form("/introspect", Some(&admin), &[("token", &one.access)]).json()["active"], true);
    assert_eq!(client.post_form("/revoke", None, &[("token", &one.access)]).status, 200);

    // So many single revocations that the next end of a session ends all of them.
    let sub = unverified(&one.access).1["sub"].as_str().unwrap().to_owned();
    for (by, seconds) in [("account", "5000"), ("token", "6000")] {
        let (one, other) = (client.tokens(("alice", PASSWORD)), client.tokens(("alice", PASSWORD)));
        let _ = aws.python(&["-c", FILL, stack.output("DenylistTableName"), &sub, by, seconds]);
        match by {
            "account" => assert_eq!(client.delete(&format!("/sessions/{}", other.sid()), &one.access).status, 204),
            _ => assert_eq!(client.post_form("/revoke", None, &[("token", &other.refresh)]).status, 200),
        }
        assert_eq!(client.get("/me", &one.access).status, 403);
    }

    // A new password, a logout, a logout everywhere.
    let token = client.access_token(("alice", PASSWORD));
    let change = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
    assert_eq!(client.post_json("/password", &token, &change).status, 200);
    let token = client.access_token(("alice", NEW_PASSWORD));
    assert_eq!(client.post("/logout", &token).status, 204);
    assert_eq!(client.get("/me", &token).status, 403);
    let (here, there) = (client.access_token(("alice", NEW_PASSWORD)), client.access_token(("alice", NEW_PASSWORD)));
    assert_eq!(client.post("/logout?everywhere=true", &here).status, 204);
    assert_eq!(client.get("/me", &there).status, 403);
    assert_eq!(client.send("GET", "/", &[], "").status, 200);
    assert_eq!(client.get("/protected-resource", &admin).status, 200);
}

/// Moves the start of counters into the past.
const LAPSE: &str = "import boto3, sys; \
    table = boto3.resource('dynamodb').Table(sys.argv[1]); \
    [table.update_item(Key={'counter': it['counter']}, UpdateExpression='SET expires_at = :past', \
    ExpressionAttributeValues={':past': 1}) for it in table.scan()['Items'] if 'expires_at' in it]";

/// Fails at every address as often as an address may fail, and more.
const USE_UP: &str = "import boto3, sys, time; \
    table = boto3.resource('dynamodb').Table(sys.argv[1]); \
    [table.update_item(Key={'counter': it['counter']}, UpdateExpression='SET #f = :many, #a = :now', \
    ExpressionAttributeNames={'#f': 'failures@all', '#a': 'attempted_at@all'}, \
    ExpressionAttributeValues={':many': 1000, ':now': int(time.time())}) \
    for it in table.scan()['Items'] if it['counter'].startswith('login#')]";

/// Ends many sessions of a user.
const FILL: &str = "import boto3, sys, time; \
    table = boto3.resource('dynamodb').Table(sys.argv[1]); until = int(time.time()) + int(sys.argv[4]); \
    [table.put_item(Item={'sub': sys.argv[2], 'revocation': f'{until:010}#sid#{sys.argv[3]}-{number}', \
    'expires_at': until}) for number in range(65)]";

/// A day passes, and EventBridge invokes the function: no keys are due.
pub(crate) fn the_schedule_fires(aws: &Aws) {
    let begun = Instant::now();
    let fired = |line: &Value| line["event"] == "rotate_keys" && line["outcome"] == "not_due";
    loop {
        let log = aws.log();
        let lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let count = lines.filter(fired).count();
        if count > 0 {
            println!("the schedule fired: {count} purposes were checked and no key was due");
            return;
        }
        assert!(begun.elapsed() < Duration::from_mins(2), "the schedule does not fire");
        std::thread::sleep(Duration::from_secs(1));
    }
}
