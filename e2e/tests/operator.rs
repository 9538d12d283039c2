//! The operator's command, on the tables of the running stack.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::local::{latchkey, latchkey_in, log_lines, variable};
use e2e::{Client, Tokens};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery staple";

fn text(output: &Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn failure(message: &str) -> (bool, String, String) {
    (false, String::new(), format!("latchkey: {message}"))
}

#[test]
fn a_user_from_being_added_to_being_disabled() {
    let name = format!("operator-{}", std::process::id());
    let (added, printed, _) = text(&latchkey(&["user", "add", &name, "--role", "user", "--role", "ops"], PASSWORD));
    assert!(
        added && printed.starts_with(&format!("added {name}, id ")) && printed.ends_with("roles user, ops"),
        "{printed}"
    );

    let client = Client::from_env();
    let token = client.access_token((&name, PASSWORD));
    assert_eq!(client.get("/me", &token).json()["roles"], serde_json::json!(["user", "ops"]));

    let (_, shown, _) = text(&latchkey(&["user", "show", &name.to_uppercase()], ""));
    assert!(shown.contains(&format!("username    {name}")) && shown.contains("status      enabled"), "{shown}");
    assert!(!shown.contains("argon2"), "{shown}");

    let (disabled, printed, _) = text(&latchkey(&["user", "disable", &name], ""));
    assert!(disabled && printed.starts_with(&format!("disabled {name}")), "{printed}");
    assert_eq!(client.get("/me", &token).status, 403, "its tokens are revoked");
    let refused = client.login(&name, PASSWORD);
    assert_eq!(refused.status_and_json(), client.login("nobody-at-all", PASSWORD).status_and_json());
    assert_eq!(refused.status, 401);

    let again = latchkey(&["user", "disable", &name], "");
    assert_eq!(text(&again), (true, format!("{name} was disabled already"), String::new()));
}

#[test]
fn what_cannot_be_added_says_why() {
    let name = format!("refused-{}", std::process::id());
    let add = |name: &str, password: &str| text(&latchkey(&["user", "add", name], password));
    assert_eq!(
        add(&name, "too short"),
        failure("The password needs at least 15 characters. Several words are easy to remember. Nothing was changed.")
    );
    let easy = add(&name, &format!("{name}{name}{name}"));
    assert!(easy.2.starts_with("latchkey: The password is easy to guess."), "{easy:?}");
    assert_eq!(add(&name, ""), failure("the password is empty; type it, or pipe it in as one line"));
    assert_eq!(
        add("a b", PASSWORD),
        failure(
            "\"a b\" is not a valid user name: a user name cannot contain a space (U+0020); allowed are letters, digits and \
             ._-+@!#$%&'*/=?^`{|}~"
        )
    );
    assert!(add(&name, PASSWORD).0);
    assert_eq!(add(&name, PASSWORD), failure(&format!("there is a user {name} already; nothing was changed")));
    assert_eq!(text(&latchkey(&["user", "show", "nobody-at-all"], "")), failure("there is no user nobody-at-all"));
}

#[test]
fn first_keys_are_made_once() {
    let (done, printed, _) = text(&latchkey(&["keys", "init"], ""));
    assert!(done, "{printed}");
    for line in printed.lines() {
        assert!(line.ends_with("signs already") || line.ends_with("is in use already"), "{line}");
    }
    assert_eq!(printed.lines().count(), 3);
}

/// A user of this run's own, signed in.
fn signed_in(prefix: &str) -> (Client, String, Tokens) {
    let name = e2e::local::add_user(prefix, PASSWORD, &["user"]);
    let client = Client::from_env();
    let tokens = client.tokens((&name, PASSWORD));
    (client, name, tokens)
}

fn stdout_of(arguments: &[&str], input: &str) -> String {
    let (done, printed, error) = text(&latchkey(arguments, input));
    assert!(done, "{arguments:?}: {error}");
    printed
}

fn json_of(arguments: &[&str], input: &str) -> Value {
    serde_json::from_str(&stdout_of(arguments, input)).unwrap()
}

/// The stored hash of a user.
fn stored_hash(name: &str) -> String {
    let request = json!({ "TableName": variable("USERS_TABLE_NAME"), "Key": { "username": { "S": name } } });
    let (_, user) = local_stack::tables::call(&variable("AWS_ENDPOINT_URL_DYNAMODB"), "GetItem", &request).unwrap();
    user["Item"]["password_hash"]["S"].as_str().unwrap().to_owned()
}

#[test]
fn a_new_password_revokes_every_session_and_clears_failed_attempts() {
    let (client, name, tokens) = signed_in("set-password");
    while client.login(&name, "wrong").status == 401 {}
    let new = "a horse of quite another colour";
    assert_eq!(
        stdout_of(&["user", "set-password", &name], new),
        format!(
            "{name} has the new password: every earlier session and token is revoked, and failed attempts are cleared"
        )
    );
    let shown = stdout_of(&["user", "show", &name], "");
    assert!(shown.contains("devices     none known\nattempts    none since the last success"), "{shown}");
    assert_eq!(client.get("/me", &tokens.access).status, 403);
    assert_eq!(client.refresh(&tokens.refresh).status, 400);
    assert_eq!(client.login(&name, PASSWORD).status, 401);
    assert_eq!(client.login(&name, new).status, 200);
    let weak = text(&latchkey(&["user", "set-password", &name], "short"));
    assert!(!weak.0 && weak.2.ends_with("Nothing was changed."), "{weak:?}");
    assert_eq!(client.login(&name, new).status, 200);
}

#[test]
fn other_roles_take_effect_at_the_next_refresh() {
    let (client, name, tokens) = signed_in("set-roles");
    let done = stdout_of(&["user", "set-roles", &name, "--role", "ops", "--role", "admin"], "");
    assert!(
        done.starts_with(&format!(
            "{name} now has the roles: ops, admin. They take effect at the next login or refresh."
        ))
    );
    assert!(done.contains("60 minutes") && done.contains(&format!("latchkey user revoke {name}")), "{done}");
    assert_eq!(client.get("/admin-only", &tokens.access).status, 403);
    let tokens = Tokens::of(&client.refresh(&tokens.refresh));
    assert_eq!(client.get("/admin-only", &tokens.access).status, 200);
    assert!(stdout_of(&["user", "set-roles", &name, "--none"], "").contains("the roles: none."));
    let tokens = Tokens::of(&client.refresh(&tokens.refresh));
    assert_eq!(client.get("/me", &tokens.access).json()["roles"], json!([]));
    let usage = latchkey(&["user", "set-roles", &name], "");
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn an_enabled_user_logs_in_again_and_what_was_revoked_stays_revoked() {
    let (client, name, tokens) = signed_in("enable");
    assert_eq!(stdout_of(&["user", "enable", &name], ""), format!("{name} was enabled already"));
    stdout_of(&["user", "disable", &name], "");
    assert_eq!(
        stdout_of(&["user", "enable", &name], ""),
        format!(
            "enabled {name}, who may log in again; failed attempts are cleared, and earlier sessions and tokens stay revoked"
        )
    );
    assert_eq!(client.get("/me", &tokens.access).status, 403);
    assert_eq!(client.refresh(&tokens.refresh).status, 400);
    assert_eq!(client.login(&name, PASSWORD).status, 200);
}

#[test]
fn what_was_guessed_while_a_user_was_disabled_does_not_keep_the_user_out() {
    let (client, name, _) = signed_in("guessed");
    stdout_of(&["user", "disable", &name], "");
    while client.login(&name, "wrong").status == 401 {}
    stdout_of(&["user", "enable", &name], "");
    assert_eq!(client.login(&name, PASSWORD).status, 200);
}

#[test]
fn a_new_password_is_set_even_if_failed_attempts_cannot_be_cleared_and_the_error_says_so() {
    let (client, name, tokens) = signed_in("half");
    let environment = BTreeMap::from([("LOGIN_ATTEMPTS_TABLE_NAME".to_owned(), "no-such-table".to_owned())]);
    let new = "a horse of quite another colour";
    let output = latchkey_in(&environment, &["user", "set-password", &name, "--json"], new);
    let (done, printed, error) = text(&output);
    assert_eq!((done, printed.as_str()), (false, ""));
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(error["error"], "attempts_not_forgotten");
    assert!(error["message"].as_str().unwrap().starts_with(&format!("{name} has the new password")), "{error}");
    assert_eq!(client.get("/me", &tokens.access).status, 403);
    assert_eq!(client.login(&name, new).status, 200);
}

#[test]
fn revoking_ends_everything_and_lets_the_user_log_in_again() {
    let (client, name, tokens) = signed_in("revoke");
    assert_eq!(
        stdout_of(&["user", "revoke", &name], ""),
        format!("every session and token of {name} is revoked; {name} may log in again")
    );
    assert_eq!(client.get("/me", &tokens.access).status, 403);
    assert_eq!(client.refresh(&tokens.refresh).status, 400);
    let tokens = client.tokens((&name, PASSWORD));
    assert_eq!(client.get("/me", &tokens.access).status, 200);
}

#[test]
fn an_unlocked_user_need_not_wait() {
    let (client, name, _) = signed_in("unlock");
    while client.login(&name, "wrong").status == 401 {}
    stdout_of(&["user", "unlock", &name], "");
    assert_eq!(client.login(&name, PASSWORD).status, 200);
}

#[test]
fn counters_by_name_of_an_earlier_release_are_deleted_and_no_others() {
    let (endpoint, table) = (variable("AWS_ENDPOINT_URL_DYNAMODB"), variable("LOGIN_ATTEMPTS_TABLE_NAME"));
    let name = e2e::local::add_user("pruned", PASSWORD, &["user"]);
    assert_eq!(Client::from_env().login(&name, PASSWORD).status, 200);
    let former = |number: u32| json!({ "counter": { "S": format!("account#{name}-{number}") } });
    for number in 0..30 {
        let mut item = former(number);
        item["reserved@strangers"] = json!({ "N": "3" });
        let request = json!({ "TableName": table, "Item": item });
        assert_eq!(local_stack::tables::call(&endpoint, "PutItem", &request).unwrap().0, 200);
    }
    let done = json_of(&["user", "prune-attempts", "--json"], "");
    assert!(done["deleted"].as_u64().unwrap() >= 30, "{done}");
    for number in 0..30 {
        let request = json!({ "TableName": table, "Key": former(number) });
        assert_eq!(local_stack::tables::call(&endpoint, "GetItem", &request).unwrap().1["Item"], Value::Null);
    }
    let user = json_of(&["user", "--json", "show", &name], "");
    assert_eq!(user["throttle"]["devices"].as_array().unwrap().len(), 1, "the device is still known");
    let again = stdout_of(&["user", "prune-attempts"], "");
    assert_eq!(again.trim(), "no login attempts are counted by name");
}

#[test]
fn scripts_get_json_and_stable_codes() {
    let (_, name, _) = signed_in("json");
    let user = json_of(&["user", "--json", "show", &name], "");
    assert_eq!(
        user,
        json!({
            "username": name, "user_id": user["user_id"], "roles": ["user"], "status": "enabled", "epoch": 0,
            "created_at": user["created_at"],
            "throttle": {
                "networks": { "attempts": 0, "limit": 25, "opens": "now", "opens_at": null }, "buckets": [],
                "devices": [{ "last_login_at": user["throttle"]["devices"][0]["last_login_at"] }],
            },
        })
    );
    let listed = stdout_of(&["user", "list", "--json"], "");
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut user = user;
    user.as_object_mut().unwrap().remove("throttle");
    assert!(listed.contains(&user));
    assert!(stdout_of(&["user", "list"], "").contains(&format!("{name}  {}  user", user["user_id"].as_str().unwrap())));

    for (action, changed) in
        [("disable", true), ("disable", false), ("enable", true), ("revoke", true), ("unlock", true)]
    {
        assert_eq!(
            json_of(&["user", action, &name, "--json"], ""),
            json!({ "username": name, "action": action, "changed": changed })
        );
    }
    assert_eq!(
        json_of(&["user", "set-roles", &name, "--role", "ops", "--json"], ""),
        json!({ "username": name, "action": "set-roles", "changed": true, "roles": ["ops"] })
    );
    assert_eq!(
        json_of(&["user", "set-roles", &name, "--role", "ops", "--json"], ""),
        json!({ "username": name, "action": "set-roles", "changed": false, "roles": ["ops"] })
    );
    assert_eq!(
        json_of(&["user", "set-password", &name, "--json"], PASSWORD),
        json!({ "username": name, "action": "set-password", "changed": true })
    );
    for (arguments, code) in [
        (["show", "nobody-at-all"], "unknown_user"),
        (["revoke", "nobody-at-all"], "unknown_user"),
        (["unlock", "nobody-at-all"], "unknown_user"),
        (["show", "a b"], "unknown_user"),
        (["show", " "], "invalid_username"),
        (["add", "a b"], "invalid_username"),
        (["add", &name], "username_taken"),
        (["set-password", &name], "weak_password"),
    ] {
        let (done, printed, error) = text(&latchkey(&[&["user", "--json"][..], &arguments].concat(), "short"));
        assert_eq!((done, printed.as_str()), (false, ""));
        assert_eq!(serde_json::from_str::<Value>(&error).unwrap()["error"], code, "{arguments:?}");
    }
}

#[test]
fn wrong_usage_is_json_for_scripts_too() {
    let output = latchkey(&["user", "--json", "set-roles", "alice"], "");
    assert_eq!(output.status.code(), Some(2));
    let (_, printed, error) = text(&output);
    assert_eq!(printed, "");
    assert_eq!(serde_json::from_str::<Value>(&error).unwrap()["error"], "usage");
}

#[test]
fn imported_users_log_in_with_their_old_passwords_and_get_new_hashes() {
    let id = std::process::id();
    let name = |scheme: &str| format!("import-{scheme}-{id}");
    // The vectors of the unit tests: `correct horse battery staple`.
    let hashes = [
        ("bcrypt", "$2a$05$O5hSPh8fvnve.A2hOa9u9eFnrDEVA2ReVpsOKdQx6tne5oFzjyg/q"),
        ("scrypt", "$scrypt$ln=10,r=8,p=1$c2l4dGVlbiBieXRlcyEhIQ$4LVKB0kpXb/Ns77HB1VMHZNXPPU+oxjAgyU74Hx49zI"),
        (
            "pbkdf2-sha256",
            "$pbkdf2-sha256$i=1000,l=32$c2l4dGVlbiBieXRlcyEhIQ$J0FzJGWuqjXuae6ulJUEyUbotTZMuwI35S4xFOQVBlc",
        ),
        (
            "pbkdf2-sha512",
            "$pbkdf2-sha512$i=1000$c2l4dGVlbiBieXRlcyEhIQ$t2sMwTLw8WoSNauR6mSc9dsVF8AhnEnnDJ8I95pfq+N+fwaLnZwM10GI0AWiiMl9wPW1b1BIxJZNfviCbVLi4Q",
        ),
        ("argon2", "$argon2id$v=19$m=1024,t=3,p=1$ptQNzYG96MialHPzOJy1kg$Ysy1l/eLDhYJO+6bJq4Ku6MYIKqP9KoMkz/oQOBNa6c"),
    ];
    let mut lines: Vec<String> = hashes
        .iter()
        .map(|(scheme, hash)| {
            json!({ "username": name(scheme).to_uppercase(), "hash": hash, "roles": ["user"] }).to_string()
        })
        .collect();
    lines.insert(1, String::new());
    let imported = json_of(&["user", "import", "-", "--json"], &lines.join("\n"));
    assert_eq!(imported, json!({ "imported": hashes.len(), "already_there": 0, "refused": [] }));

    let client = Client::from_env();
    for (scheme, hash) in hashes {
        let name = name(scheme);
        assert_eq!(stored_hash(&name), hash);
        assert_eq!(client.login(&name, "wrong").status, 401, "{scheme}");
        assert_eq!(stored_hash(&name), hash);
        assert_eq!(client.login(&name, PASSWORD).status, 200, "{scheme}");
        let replaced = stored_hash(&name);
        assert!(replaced.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{scheme}: {replaced}");
        assert_eq!(client.login(&name, PASSWORD).status, 200, "{scheme}");
        assert_eq!(stored_hash(&name), replaced, "once");
    }

    // Once more, as after an interruption, with one more user.
    lines.push(json!({ "username": name("late"), "hash": hashes[0].1 }).to_string());
    assert_eq!(
        stdout_of(&["user", "import", "-"], &lines.join("\n")),
        format!("imported: 1; already there, not changed: {}; lines rejected: 0", hashes.len())
    );
    assert!(stored_hash(&name("bcrypt")).starts_with("$argon2id$"), "no user is overwritten");
}

#[test]
fn lines_that_are_refused_are_reported_and_the_others_imported() {
    let id = std::process::id();
    let hash = "$2a$05$O5hSPh8fvnve.A2hOa9u9eFnrDEVA2ReVpsOKdQx6tne5oFzjyg/q";
    let good = |name: &str| json!({ "username": format!("{name}-{id}"), "hash": hash }).to_string();
    let lines = [
        good("lines-one"),
        "not json".to_owned(),
        json!({ "username": "lines two", "hash": hash }).to_string(),
        json!({ "username": format!("lines-three-{id}"), "hash": "$1$unknown$s3cr3t" }).to_string(),
        good("LINES-ONE"),
        json!({ "username": format!("lines-four-{id}"), "hash": hash, "roles": ["no role"] }).to_string(),
        good("lines-five"),
    ];
    let (done, printed, error) = text(&latchkey(&["user", "import", "-"], &lines.join("\n")));
    assert!(!done);
    assert_eq!(printed, "imported: 2; already there, not changed: 0; lines rejected: 5");
    let numbers: Vec<_> = error.lines().map(|line| line.split(':').nth(1).unwrap().trim().to_owned()).collect();
    assert_eq!(numbers, ["line 2", "line 3", "line 4", "line 5", "line 6", "rejected lines"]);
    assert!(!error.contains("s3cr3t"));
    assert_eq!(Client::from_env().login(&format!("lines-five-{id}"), PASSWORD).status, 200);

    let array = json!([format!("lines-six-{id}"), hash]).to_string();
    let (done, printed, error) = text(&latchkey(&["user", "import", "-", "--json"], &array));
    assert!(!done);
    let report: Value = serde_json::from_str(&printed).unwrap();
    let reason = &report["refused"][0]["reason"];
    assert_eq!(report, json!({ "imported": 0, "already_there": 0, "refused": [{ "line": 1, "reason": reason }] }));
    assert!(reason.as_str().unwrap().starts_with("it is not a JSON object"), "{reason}");
    assert_eq!(serde_json::from_str::<Value>(&error).unwrap()["error"], "lines_refused");

    let missing = text(&latchkey(&["user", "import", "/no/such/file"], ""));
    assert!(!missing.0 && missing.2.starts_with("latchkey: the file /no/such/file cannot be opened"), "{missing:?}");
}

#[test]
fn names_of_real_exports_are_imported_and_a_refusal_names_user_and_character() {
    let id = std::process::id();
    let hash = "$2a$05$O5hSPh8fvnve.A2hOa9u9eFnrDEVA2ReVpsOKdQx6tne5oFzjyg/q";
    let names = ["maeve.o'hara", "r&d", "first last", "CORP\\mmuster", "zoe", "n!a"].map(|name| format!("{name}-{id}"));
    let lines = names.iter().map(|name| json!({ "username": format!("{name}\u{a0}"), "hash": hash }).to_string());
    let (done, printed, error) = text(&latchkey(&["user", "import", "-"], &lines.collect::<Vec<_>>().join("\n")));
    assert!(!done);
    assert_eq!(printed, "imported: 4; already there, not changed: 0; lines rejected: 2");
    let allowed = "allowed are letters, digits and ._-+@!#$%&'*/=?^`{|}~";
    let rejected: Vec<_> = error.lines().take(2).collect();
    let expected = [
        format!(
            "line 3: \"first last-{id}\\u{{a0}}\" is not a valid user name: a user name cannot contain a space (U+0020); {allowed}"
        ),
        format!(
            "line 4: \"CORP\\\\mmuster-{id}\\u{{a0}}\" is not a valid user name: a user name cannot contain \\ (U+005C); {allowed}"
        ),
    ];
    for (line, expected) in rejected.into_iter().zip(expected) {
        assert!(line.ends_with(&expected), "{line}");
    }
    for name in [&names[0], &names[1], &names[4], &names[5]] {
        assert_eq!(Client::from_env().login(name, PASSWORD).status, 200, "{name}");
    }
}

#[test]
fn an_import_that_the_store_stops_says_how_far_it_got() {
    let line = json!({ "username": "stopped", "hash": "$2a$05$O5hSPh8fvnve.A2hOa9u9eFnrDEVA2ReVpsOKdQx6tne5oFzjyg/q" });
    let environment = BTreeMap::from([("USERS_TABLE_NAME".to_owned(), "no-such-table".to_owned())]);
    let (done, printed, error) = text(&latchkey_in(&environment, &["user", "import", "-"], &line.to_string()));
    assert_eq!((done, printed.as_str()), (false, ""));
    assert!(
        error.starts_with(
            "latchkey: the import stopped near line 1; run it again to continue; so far imported: 0, already there: 0, \
             lines rejected: 0: the table of users did not answer"
        ),
        "{error}"
    );
}

#[test]
fn users_are_imported_while_the_rest_of_a_pipe_is_awaited() {
    let name = format!("pipe-{}", std::process::id());
    let mut import = Command::new(local_stack::workspace::binary("latchkey"))
        .args(["user", "import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = import.stdin.take().unwrap();
    let hash = "$2a$05$O5hSPh8fvnve.A2hOa9u9eFnrDEVA2ReVpsOKdQx6tne5oFzjyg/q";
    writeln!(pipe, "{}", json!({ "username": name, "hash": hash })).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !latchkey(&["user", "show", &name], "").status.success() {
        assert!(Instant::now() < deadline, "the user waits for the end of the pipe");
        thread::sleep(Duration::from_millis(100));
    }
    drop(pipe);
    assert!(import.wait().unwrap().success());
}

/// `count` roles of `length` bytes each, as arguments; in a token they are `count * (length + 3) + 1` bytes.
fn roles(count: usize, length: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:0length$}")).collect()
}

/// The arguments of `command`, and a `--role` for each of `roles`.
fn with_roles<'a>(command: &[&'a str], roles: &'a [String]) -> Vec<&'a str> {
    command.iter().copied().chain(roles.iter().flat_map(|role| ["--role", role.as_str()])).collect()
}

/// Writes an attribute of a user directly, as an earlier release could have.
fn store(name: &str, attribute: &str, value: &Value) {
    let request = json!({
        "TableName": variable("USERS_TABLE_NAME"),
        "Key": { "username": { "S": name } },
        "UpdateExpression": "SET #attribute = :value",
        "ExpressionAttributeNames": { "#attribute": attribute },
        "ExpressionAttributeValues": { ":value": value },
    });
    local_stack::tables::call(&variable("AWS_ENDPOINT_URL_DYNAMODB"), "UpdateItem", &request).unwrap();
}

fn internal_error() -> Value {
    let message = "The request failed. The log of the function has the reason.";
    json!({ "error": "internal_error", "message": message })
}

/// Whether a function logs a line with all of `parts` in it, soon.
fn log_has(parts: &[&str]) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if log_lines().iter().any(|line| parts.iter().all(|part| line.contains(part))) {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn store_roles(name: &str, roles: &[String]) {
    let list: Vec<_> = roles.iter().map(|role| json!({ "S": role })).collect();
    store(name, "roles", &json!({ "L": list }));
}

#[test]
fn roles_are_limited_in_all_where_they_are_set() {
    let (client, name, tokens) = signed_in("roles-limit");
    let too_much = |name: &str| {
        failure(&format!(
            "the roles of {name} cannot be set: the roles take 1025 bytes as a JSON array, as a token carries them; \
             the limit is 1024 bytes"
        ))
    };
    // 1025 bytes, one too many, and the roles that gave a token that the authorizer rejects.
    let one_over = roles(32, 29);
    let text_of = |command: &[&str], roles: &[String]| text(&latchkey(&with_roles(command, roles), PASSWORD));
    assert_eq!(text_of(&["user", "set-roles", &name], &one_over), too_much(&name));
    let other = format!("{name}-other");
    assert_eq!(text_of(&["user", "add", &other], &one_over), too_much(&other));
    assert_eq!(text(&latchkey(&["user", "show", &other], "")), failure(&format!("there is no user {other}")));
    let (done, nothing, error) = text_of(&["user", "set-roles", &name, "--json"], &roles(88, 64));
    assert_eq!((done, nothing.as_str()), (false, ""));
    let message = format!(
        "the roles of {name} cannot be set: the roles take 5897 bytes as a JSON array, as a token carries them; \
         the limit is 1024 bytes"
    );
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(error, json!({ "error": "invalid_roles", "message": message }));
    let unchanged = Tokens::of(&client.refresh(&tokens.refresh));
    assert_eq!(client.get("/me", &unchanged.access).json()["roles"], json!(["user"]));

    // Exactly as many as fit.
    let most = roles(33, 28);
    stdout_of(&with_roles(&["user", "set-roles", &name], &most), "");
    let token = client.access_token((&name, PASSWORD));
    assert_eq!(client.get("/me", &token).json()["roles"], json!(most));
}

#[test]
fn a_user_with_more_roles_from_before_signs_in_as_long_as_the_token_is_valid() {
    let (client, name, _) = signed_in("roles-before");
    store_roles(&name, &roles(60, 64));
    let token = client.access_token((&name, PASSWORD));
    assert_eq!(client.get("/me", &token).status, 200);
    let shown = stdout_of(&["user", "show", &name], "");
    assert!(
        shown.contains(&format!(
            "\nwarning     the roles take 4021 bytes as a JSON array, as a token carries them; the limit is \
             1024 bytes; `latchkey user set-roles {name}` sets fewer\n"
        )),
        "{shown}"
    );
}

/// 8 KiB are more than the authorizer accepts: no token is better than one that is rejected everywhere.
#[test]
fn a_user_with_more_roles_than_a_token_can_carry_gets_an_internal_error_and_the_log_says_why() {
    let (client, name, tokens) = signed_in("roles-endless");
    store_roles(&name, &roles(88, 64));
    assert_eq!(client.login(&name, PASSWORD).status_and_json(), (500, internal_error()));
    let sub = json_of(&["user", "show", &name, "--json"], "")["user_id"].as_str().unwrap().to_owned();
    assert!(log_has(&[
        &format!("the access token of the user {sub} would have"),
        "bytes, and the verifier accepts 8192"
    ]));
    let refreshed = client.refresh(&tokens.refresh);
    assert_eq!((refreshed.status, &refreshed.json()["error"]), (500, &json!("internal_error")));
    stdout_of(&["user", "set-roles", &name, "--role", "user"], "");
    assert_eq!(client.get("/me", &client.access_token((&name, PASSWORD))).status, 200);
}

#[test]
fn an_import_refuses_roles_and_hashes_over_the_limits_and_says_which() {
    let id = std::process::id();
    let (salt, hash) = ("c2FsdHNhbHRzYWx0c2FsdA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let long = "A".repeat(86);
    let bcrypt = "$2a$05$O5hSPh8fvnve.A2hOa9u9eFnrDEVA2ReVpsOKdQx6tne5oFzjyg/q";
    let dear = [
        (bcrypt.replace("$05$", "$14$"), "the cost of bcrypt is 14; the limit is 13"),
        (format!("$scrypt$ln=17,r=8,p=2${salt}${hash}"), "N × r × p of scrypt is 2097152; the limit is 1572864"),
        (format!("$scrypt$ln=1,r=1,p=1048576${salt}${hash}"), "r × p of scrypt is 1048576; the limit is 1024"),
        (
            format!("$pbkdf2-sha256$i=4000001${salt}${hash}"),
            "iterations × blocks of PBKDF2-SHA-256 is 4000001; the limit is 4000000",
        ),
        (
            format!("$pbkdf2-sha256$i=2000001${salt}${long}"),
            "iterations × blocks of PBKDF2-SHA-256 is 4000002; the limit is 4000000",
        ),
        (
            format!("$pbkdf2-sha512$i=1000001${salt}${long}"),
            "iterations × blocks of PBKDF2-SHA-512 is 1000001; the limit is 1000000",
        ),
        (format!("$argon2id$v=19$m=262145,t=1,p=1${salt}${hash}"), "m of Argon2 is 262145; the limit is 262144"),
        (format!("$argon2id$v=19$m=262144,t=4,p=1${salt}${hash}"), "m × t of Argon2 is 1048576; the limit is 786432"),
        (format!("$argon2i$v=19$m=262144,t=1,p=65${salt}${hash}"), "p of Argon2 is 65; the limit is 64"),
    ];
    let mut lines: Vec<String> = (0..)
        .zip(&dear)
        .map(|(number, (hash, _))| json!({ "username": format!("dear-{number}-{id}"), "hash": hash }).to_string())
        .collect();
    lines.push(json!({ "username": format!("dear-roles-{id}"), "hash": bcrypt, "roles": roles(32, 29) }).to_string());
    lines.push(json!({ "username": format!("dear-not-{id}"), "hash": bcrypt, "roles": roles(33, 28) }).to_string());
    let mut expected: Vec<String> = (0..)
        .zip(&dear)
        .map(|(number, (_, reason))| {
            let name = format!("dear-{number}-{id}");
            format!(
                "latchkey: line {}: the hash of {name} costs too much to verify: {reason}; `latchkey user add {name}` \
                 adds the user with a new password",
                number + 1
            )
        })
        .collect();
    expected.push(format!(
        "latchkey: line 10: the roles of dear-roles-{id} cannot be set: the roles take 1025 bytes as a JSON array, as \
         a token carries them; the limit is 1024 bytes"
    ));
    expected.push("latchkey: rejected lines: 10; the others are imported".to_owned());
    let (done, printed, error) = text(&latchkey(&["user", "import", "-"], &lines.join("\n")));
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
    assert_eq!((done, printed.as_str()), (false, "imported: 1; already there, not changed: 0; lines rejected: 10"));
    assert_eq!(Client::from_env().login(&format!("dear-not-{id}"), PASSWORD).status, 200);
}

#[test]
fn a_dear_hash_from_before_the_limits_verifies_once_and_one_without_end_is_refused() {
    let (client, name, _) = signed_in("dear-before");
    // `hashlib.scrypt` of Python: over the limit of an import, but accepted by imports before that limit.
    let stored = "$scrypt$ln=17,r=8,p=2$c2l4dGVlbiBieXRlcyEhIQ$eoU8JOO0bIMlxJtUDoKdJxoCKVnCBQjd99edeivqsZg";
    store(&name, "password_hash", &json!({ "S": stored }));
    assert_eq!(client.login(&name, PASSWORD).status, 200);
    assert!(stored_hash(&name).starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));

    let endless = "$pbkdf2-sha512$i=4294967295$c2l4dGVlbiBieXRlcyEhIQ$t2sMwTLw8WoSNauR6mSc9dsVF8AhnEnnDJ8I95pfq+N+fwaLnZwM10GI0AWiiMl9wPW1b1BIxJZNfviCbVLi4Q";
    store(&name, "password_hash", &json!({ "S": endless }));
    assert_eq!(client.login(&name, PASSWORD).status_and_json(), (500, internal_error()));
    let sub = json_of(&["user", "show", &name, "--json"], "")["user_id"].as_str().unwrap().to_owned();
    assert!(log_has(&[&sub, "iterations × blocks of PBKDF2-SHA-512 is 4294967295; the limit is 3000000"]));
    stdout_of(&["user", "set-password", &name], PASSWORD);
    assert_eq!(client.login(&name, PASSWORD).status, 200);
}

#[test]
fn the_help_of_an_import_says_the_limits() {
    let help = stdout_of(&["user", "import", "--help"], "");
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for limit in [
        "bcrypt: cost at most 13",
        "scrypt: N × r × p at most 1572864, r × p at most 1024",
        "PBKDF2-SHA-256: iterations × blocks at most 4000000",
        "PBKDF2-SHA-512: iterations × blocks at most 1000000",
        "Argon2: m × t at most 786432, m at most 262144 (KiB), p at most 64",
        "at most 1024 bytes",
    ] {
        assert!(words.contains(limit), "{limit}: {help}");
    }
}
