//! A user's own account: registration, password, sessions, logout everywhere.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use e2e::local::add_user;
use e2e::{Client, Tokens, unverified};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery staple";
const NEW_PASSWORD: &str = "a horse of quite another colour";

fn forbidden() -> (u16, Value) {
    (403, json!({ "message": "Forbidden" }))
}

fn error(status: u16, code: &str, sentence: &str) -> (u16, Value) {
    (status, json!({ "error": code, "message": sentence }))
}

fn register(client: &Client, username: &str, password: &str) -> e2e::Answer {
    let body = json!({ "username": username, "password": password }).to_string();
    client.send("POST", "/register", &[("content-type", "application/json")], body)
}

fn own_name(prefix: &str) -> String {
    format!("{prefix}-{}", std::process::id())
}

#[test]
fn a_registration_makes_a_user_who_can_log_in() {
    let client = Client::from_env();
    let name = own_name("Registered");
    let answer = register(&client, &name, PASSWORD);
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let user = answer.json();
    let user_id = user["user_id"].as_str().unwrap();
    assert_eq!(user, json!({ "user_id": user_id, "username": name.to_lowercase() }));
    let me = client.get("/me", &client.access_token((&name, PASSWORD))).json();
    assert_eq!((&me["sub"], &me["roles"]), (&json!(user_id), &json!(["user"])));
}

#[test]
fn of_two_concurrent_registrations_of_one_name_in_any_spelling_one_succeeds() {
    let client = Client::from_env();
    let id = std::process::id();
    for (one, other) in
        [(format!("race-{id}"), format!("race-{id}")), (format!("Zo\u{eb}-{id}"), format!("zoe\u{308}-{id}"))]
    {
        let attempts = [one, other].map(|name| {
            let client = client.clone();
            std::thread::spawn(move || register(&client, &name, PASSWORD))
        });
        let mut answers = attempts.map(|attempt| attempt.join().unwrap());
        answers.sort_by_key(|answer| answer.status);
        assert_eq!(answers[0].status, 201);
        assert_eq!(
            answers[1].status_and_json(),
            error(409, "username_taken", "This username is taken. Choose another one.")
        );
    }
}

#[test]
fn a_user_signs_in_with_an_email_address_as_a_phone_types_it() {
    let client = Client::from_env();
    let name = format!("{}.o'hara&co@example.com", own_name("maeve"));
    let registered = register(&client, &format!("{name} "), PASSWORD);
    assert_eq!((registered.status, &registered.json()["username"]), (201, &json!(name)), "{registered:?}");
    for typed in [format!(" {name}"), format!("{name}\u{a0}"), name.to_uppercase(), name.replace('\'', "\u{2019}")] {
        assert_eq!(client.login(&typed, PASSWORD).status, 200, "{typed:?}");
    }
    assert_eq!(client.login(&name, &format!("{PASSWORD} ")).status, 401, "a password is taken as it is");
}

#[test]
fn a_registration_that_is_refused_says_why() {
    let client = Client::from_env();
    let name = own_name("unregistered");
    assert_eq!(
        register(&client, "a b", PASSWORD).status_and_json(),
        error(
            422,
            "invalid_username",
            "A user name cannot contain a space (U+0020); allowed are letters, digits and ._-+@!#$%&'*/=?^`{|}~."
        )
    );
    for (name, message) in [
        ("", "A user name has at least one character."),
        (" \u{a0}", "A user name has at least one character."),
        (&"a".repeat(257), "A user name has at most 256 bytes in UTF-8."),
        ("al\u{200b}ice", "A user name cannot contain the invisible character U+200B."),
        (
            "CORP\\mmuster",
            "A user name cannot contain \\ (U+005C); allowed are letters, digits and ._-+@!#$%&'*/=?^`{|}~.",
        ),
        (
            "x\u{332}\u{332}\u{332}\u{332}\u{332}",
            "A user name cannot contain more than 4 combining marks in a row; U+0332 is one too many.",
        ),
    ] {
        assert_eq!(
            register(&client, name, PASSWORD).status_and_json(),
            error(422, "invalid_username", message),
            "{name:?}"
        );
    }
    for weak in ["short", "passwordpassword", &format!("{name}{name}"), &"x".repeat(129), "aaaaaaaaaaaaaaaaaaaa"] {
        let answer = register(&client, &name, weak);
        assert_eq!((answer.status, &answer.json()["error"]), (422, &json!("weak_password")), "{weak}: {answer:?}");
        assert!(answer.json()["message"].as_str().unwrap().ends_with('.'));
        assert!(!answer.body.contains(weak));
    }
    for body in ["", "null", r#"{"username":"x"}"#, r#"{"username":"x","password":"y","roles":["admin"]}"#] {
        let answer = client.send("POST", "/register", &[("content-type", "application/json")], body);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{body}");
    }
    assert_eq!(client.login(&name, "short").status, 401, "no user was created");
}

#[test]
fn a_new_password_ends_everything_else_and_answers_with_fresh_tokens() {
    let client = Client::from_env();
    let name = add_user("password", PASSWORD, &["user"]);
    let (one, other) = (client.tokens((&name, PASSWORD)), client.tokens((&name, PASSWORD)));
    let body = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
    let answer = client.post_json("/password", &one.access, &body);
    let new = Tokens::of(&answer);
    assert_eq!(
        answer.json(),
        json!({
            "access_token": new.access, "token_type": "Bearer", "expires_in": 900, "refresh_token": new.refresh,
            "device_token": answer.json()["device_token"],
        })
    );
    for tokens in [&one, &other] {
        assert_eq!(client.get("/me", &tokens.access).status_and_json(), forbidden());
        assert_eq!(client.refresh(&tokens.refresh).json()["error"], "invalid_grant");
    }
    assert_eq!(client.get("/me", &new.access).status, 200);
    let new = Tokens::of(&client.refresh(&new.refresh));
    assert_eq!(client.get("/me", &new.access).status, 200);
    assert_eq!(client.login(&name, PASSWORD).status, 401);
    assert_eq!(client.login(&name, NEW_PASSWORD).status, 200);
}

#[test]
fn a_change_of_the_password_that_is_refused_changes_nothing() {
    let client = Client::from_env();
    let name = add_user("unchanged", PASSWORD, &["user"]);
    let tokens = client.tokens((&name, PASSWORD));
    let change = |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        client.post_json("/password", &tokens.access, &body)
    };
    assert_eq!(
        change("wrong", NEW_PASSWORD).status_and_json(),
        error(403, "invalid_credentials", "The current password is wrong.")
    );
    assert_eq!(change(PASSWORD, "short").json()["error"], "weak_password");
    assert_eq!(change(PASSWORD, "short").status, 422);
    let shape = client.post_json("/password", &tokens.access, &json!({ "new_password": NEW_PASSWORD }));
    assert_eq!((shape.status, &shape.json()["error"]), (400, &json!("invalid_request")));
    assert_eq!(client.send("POST", "/password", &[], "").status, 401);
    assert_eq!(client.get("/me", &tokens.access).status, 200);
    assert_eq!(client.login(&name, PASSWORD).status, 200);
}

#[test]
fn a_user_sees_own_sessions_and_ends_them_one_by_one() {
    let client = Client::from_env();
    let name = add_user("sessions", PASSWORD, &["user"]);
    let login = |agent: &str| {
        let headers = [("content-type", "application/json"), ("user-agent", agent)];
        let body = json!({ "username": name, "password": PASSWORD }).to_string();
        Tokens::of(&client.send("POST", "/login", &headers, body))
    };
    let (phone, laptop) = (login("a phone"), login("a laptop"));
    let answer = client.get("/sessions", &laptop.access);
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut sessions = answer.json()["sessions"].as_array().unwrap().clone();
    sessions.sort_by_key(|session| session["user_agent"].as_str().unwrap().to_owned());
    for (session, (tokens, agent)) in sessions.iter().zip([(&laptop, "a laptop"), (&phone, "a phone")]) {
        let began = unverified(&tokens.access).1["iat"].clone();
        assert_eq!(
            *session,
            json!({
                "sid": tokens.sid(),
                "current": agent == "a laptop",
                "created_at": began,
                "last_used_at": began,
                "expires_at": began.as_u64().unwrap() + 7 * 24 * 60 * 60,
                "source_address": "127.0.0.1",
                "user_agent": agent,
            })
        );
    }
    assert_eq!(sessions.len(), 2);

    let end = |sid: &str, by: &str| client.delete(&format!("/sessions/{sid}"), by);
    assert_eq!(end(&phone.sid(), &laptop.access).status, 204);
    assert_eq!(client.get("/me", &phone.access).status_and_json(), forbidden());
    assert_eq!(client.refresh(&phone.refresh).json()["error"], "invalid_grant");
    assert_eq!(client.get("/sessions", &laptop.access).json()["sessions"].as_array().unwrap().len(), 1);
    let not_found = error(404, "not_found", "You have no session with this id.");
    assert_eq!(end(&phone.sid(), &laptop.access).status_and_json(), not_found);
    assert_eq!(end("no-such-session", &laptop.access).status_and_json(), not_found);
    assert_eq!(end(&"x".repeat(3000), &laptop.access).status_and_json(), not_found);
    assert_eq!(end(&laptop.sid(), &laptop.access).status, 204, "the current one too");
    assert_eq!(client.get("/me", &laptop.access).status_and_json(), forbidden());
}

#[test]
fn anothers_session_is_not_found_and_lives_on() {
    let client = Client::from_env();
    let (mallory, victim) = (add_user("mallory", PASSWORD, &["admin"]), add_user("victim", PASSWORD, &["user"]));
    let (mallory, victim) = (client.access_token((&mallory, PASSWORD)), client.tokens((&victim, PASSWORD)));
    let answer = client.delete(&format!("/sessions/{}", victim.sid()), &mallory);
    assert_eq!(answer.status_and_json(), error(404, "not_found", "You have no session with this id."));
    assert_eq!(client.get("/me", &victim.access).status, 200);
    // An HTTP API decodes paths: this is one with a space.
    let answer = client.delete("/sessions/a%20b", &mallory);
    assert_eq!(answer.status_and_json(), error(404, "not_found", "You have no session with this id."));
    let listed = client.get("/sessions", &mallory).body;
    assert!(!listed.contains(&victim.sid()));
}

#[test]
fn a_logout_everywhere_ends_every_session_and_a_later_login_is_valid() {
    let client = Client::from_env();
    let name = add_user("everywhere", PASSWORD, &["user"]);
    let (one, other) = (client.tokens((&name, PASSWORD)), client.tokens((&name, PASSWORD)));
    let answer = client.post("/logout?everywhere=true", &one.access);
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    // Most likely in the same second.
    let after = client.tokens((&name, PASSWORD));
    for tokens in [&one, &other] {
        assert_eq!(client.get("/me", &tokens.access).status_and_json(), forbidden());
        assert_eq!(client.refresh(&tokens.refresh).json()["error"], "invalid_grant");
    }
    assert_eq!(client.get("/me", &after.access).status, 200);
    assert_eq!(client.refresh(&after.refresh).status, 200);
}

#[test]
fn everywhere_is_true_or_false_and_nothing_else() {
    let client = Client::from_env();
    let name = add_user("somewhere", PASSWORD, &["user"]);
    let (one, other) = (client.tokens((&name, PASSWORD)), client.tokens((&name, PASSWORD)));
    for query in ["everywhere", "everywhere=", "everywhere=1", "everywhere=TRUE", "everywhere=true&everywhere=false"] {
        assert_eq!(
            client.post(&format!("/logout?{query}"), &one.access).status_and_json(),
            error(400, "invalid_request", "`everywhere` must be `true` or `false`, once."),
            "{query}"
        );
    }
    assert_eq!(client.post("/logout?everywhere=false", &one.access).status, 204);
    assert_eq!(client.get("/me", &one.access).status_and_json(), forbidden());
    assert_eq!(client.get("/me", &other.access).status, 200);
}

#[test]
fn too_many_wrong_passwords_have_to_wait_whether_the_user_exists_or_not() {
    let client = Client::from_env();
    let name = add_user("guessed", PASSWORD, &["user"]);
    let nobody = own_name("guessed-nobody");
    let mut names_of_headers = Vec::new();
    for username in [&name, &nobody] {
        for _ in 0..3 {
            assert_eq!(client.login(username, "wrong").status, 401);
        }
        let refused = client.login(username, "wrong");
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=2).contains(&seconds), "{seconds}");
        let sentence = match seconds {
            1 => "Too many attempts. Try again in a second.".to_owned(),
            seconds => format!("Too many attempts. Try again in {seconds} seconds."),
        };
        let body = json!({ "error": "too_many_attempts", "message": sentence, "retry_after": seconds });
        assert_eq!(refused.status_and_json(), (429, body));
        names_of_headers.push(refused.headers.keys().map(ToString::to_string).collect::<Vec<_>>());
        if username == &name {
            std::thread::sleep(std::time::Duration::from_secs(seconds));
            assert_eq!(client.login(&name, PASSWORD).status, 200, "it was worth waiting");
            assert_eq!(client.login(&name, "wrong").status, 401, "the counter was cleared");
        }
    }
    assert_eq!(names_of_headers[0], names_of_headers[1]);
}

#[test]
fn the_device_that_changed_the_password_is_known_and_a_wrong_current_one_can_be_tried_five_times() {
    let client = Client::from_env();
    let name = add_user("device-password", PASSWORD, &["user"]);
    let login = client.login(&name, PASSWORD);
    let (tokens, device) = (Tokens::of(&login), login.json()["device_token"].as_str().unwrap().to_owned());
    let new_password = "a horse of quite another colour";
    let change = |access: &str, current: &str, new: &str, device: Option<&str>| {
        let mut body = json!({ "current_password": current, "new_password": new });
        if let Some(device) = device {
            body["device_token"] = device.into();
        }
        let authorization = format!("Bearer {access}");
        let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
        client.send("POST", "/password", &headers, body.to_string())
    };
    let changed = change(&tokens.access, PASSWORD, new_password, Some(&device));
    assert_eq!((changed.status, &changed.json()["device_token"]), (200, &json!(device)));
    let access = Tokens::of(&changed).access;
    assert_ne!(change(&access, new_password, PASSWORD, None).json()["device_token"], json!(device), "a new device");

    let login = client.login(&name, PASSWORD);
    let access = Tokens::of(&login).access;
    // A new password that is too weak is no attempt at the current one.
    for _ in 0..7 {
        assert_eq!(change(&access, "wrong", "password", None).json()["error"], "weak_password");
    }
    let mut failures = 0;
    let answer = loop {
        let answer = change(&access, "wrong", new_password, None);
        match (answer.status, answer.json()["retry_after"].as_u64()) {
            (403, _) => failures += 1,
            (_, Some(seconds)) => std::thread::sleep(std::time::Duration::from_secs(seconds)),
            _ => break answer,
        }
    };
    let message = "Too many attempts to enter the current password, and waiting does not help. A login on this device \
                   allows more.";
    let body = json!({ "error": "attempts_used_up", "message": message });
    assert_eq!((failures, answer.status_and_json()), (5, (429, body)));
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(client.login(&name, PASSWORD).status, 200);
    assert_eq!(change(&access, PASSWORD, new_password, None).status, 200);
}
