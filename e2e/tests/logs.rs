//! Logs: what every line has, and what no line has.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::local::{add_user, invoke_at, latchkey, log_lines, sample_event, variable};
use e2e::{Client, Tokens, unverified};
use local_stack::gateway::Gateway;
use local_stack::process::{Supervised, command};
use local_stack::{port, stack, workspace};
use serde_json::{Value, json};

#[test]
fn every_line_is_json_and_none_has_a_secret() {
    let name = format!("logs-{}", std::process::id());
    let password = "a password that is in no log 4711";
    let added = latchkey(&["user", "add", &name, "--role", "user"], password);
    assert!(added.status.success(), "{added:?}");

    let client = Client::from_env();
    let login = client.login(&name, password);
    assert_eq!(login.status, 200, "{login:?}");
    let tokens = login.json();
    let (access_token, refresh_token) =
        (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    let wrong_password = "another password that is in no log 4712";
    assert_eq!(client.login(&name, wrong_password).status, 401);
    assert_eq!(client.login_with_body(format!("{{\"password\":\"{wrong_password}\"")).status, 400);
    assert_eq!(client.login_with_body(format!("{{\"{wrong_password}\":1}}")).status, 400);
    assert_eq!(client.get("/me", access_token).status, 200);
    assert_eq!(client.get("/me", &format!("{access_token}A")).status, 403);
    assert_eq!(client.get("/me", refresh_token).status, 403);
    assert_eq!(client.get(&format!("/me?access_token={access_token}"), access_token).status, 403);
    assert_eq!(client.post("/logout", access_token).status, 204);
    assert_eq!(client.get("/me", access_token).status, 403);

    let request = json!({ "TableName": variable("USERS_TABLE_NAME"), "Key": { "username": { "S": name } } });
    let (_, user) = local_stack::tables::call(&variable("AWS_ENDPOINT_URL_DYNAMODB"), "GetItem", &request).unwrap();
    let hash = user["Item"]["password_hash"]["S"].as_str().unwrap().rsplit('$').next().unwrap().to_owned();
    let part = |token: &str, number: usize| token.split('.').nth(number).unwrap().to_owned();
    let secrets = [
        password.to_owned(),
        wrong_password.to_owned(),
        hash,
        variable("LATCHKEY_SEALING_KEY"),
        part(access_token, 1),
        part(access_token, 2),
        part(refresh_token, 4),
    ];
    let lines = log_lines();
    for line in &lines {
        for secret in &secrets {
            assert!(!line.contains(secret.as_str()), "a secret is in the log: {line}");
        }
    }

    // The lines of `cargo lambda watch` and the gateway are theirs; a function's line is an object.
    let objects: Vec<Value> = lines
        .iter()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let (metrics, objects): (Vec<_>, Vec<_>) = objects.into_iter().partition(|line| line.get("_aws").is_some());
    for (name, dimension, value) in [
        ("Logins", "Outcome", "succeeded"),
        ("Logins", "Outcome", "refused"),
        ("Authorizations", "Outcome", "allowed"),
        ("RefusedAuthorizations", "Reason", "revoked_session"),
        ("LoginLatency", "Outcome", "succeeded"),
        ("AuthorizationLatency", "Outcome", "allowed"),
    ] {
        let is_there = metrics.iter().any(|line| {
            line["Service"] == "e2e" && line[dimension] == value && (line[name].is_number() || line[name].is_array())
        });
        assert!(is_there, "no {name} with {dimension}={value}");
    }
    for line in &objects {
        for field in ["timestamp", "level", "event", "outcome"] {
            assert!(line[field].is_string(), "{field} is missing: {line}");
        }
        let of_a_request = !["start", "warm_up", "load_keys", "panic"].contains(&line["event"].as_str().unwrap());
        assert!(!of_a_request || line["lambda_request_id"].is_string(), "{line}");
        // What comes through an API has a route and API Gateway's id.
        assert!(!line["route"].is_string() || line["request_id"].is_string(), "{line}");
    }

    // This test's own requests, by what only they have.
    let (_, claims) = unverified(access_token);
    let of = |event: &str, outcome: &str| {
        let own = objects.iter().filter(|line| line["sid"] == claims["sid"] && line["request_id"].is_string());
        own.filter(|line| line["event"] == event && line["outcome"] == outcome).count()
    };
    assert_eq!(of("login", "succeeded"), 1);
    assert_eq!(of("authorize", "allowed"), 2);
    assert_eq!(of("read_resource", "succeeded"), 1);
    assert_eq!(of("logout", "succeeded"), 1);
}

/// Lambda's own level stays at TRACE, or it would drop the metrics: their lines have no `level`.
#[test]
fn a_level_leaves_out_lines_and_no_metric() {
    let password = "a password for few lines 4713";
    let name = add_user("levels", password, &["user"]);
    for (level, kept) in [("WARN", &["ERROR", "WARN"][..]), ("ERROR", &["ERROR"])] {
        let directory = workspace::local().join("test/log-levels").join(level);
        std::fs::create_dir_all(&directory).unwrap();
        let parameters = BTreeMap::from([("LogLevel".to_owned(), level.to_owned())]);
        let template = stack::template("e2e", &parameters).unwrap();
        let functions: Vec<_> = template
            .functions()
            .unwrap()
            .iter()
            .map(|function| {
                let mut variables = template.environment(&function.logical_id).unwrap();
                let local = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL_DYNAMODB"];
                for of_this_machine in local.iter().chain(&["LATCHKEY_SEALING_KEY"]) {
                    variables.insert((*of_this_machine).to_owned(), variable(of_this_machine));
                }
                json!({
                    "name": function.binary, "program": workspace::binary(&function.binary), "variables": variables,
                    "memory_megabytes": 256, "timeout_seconds": function.timeout.as_secs(),
                })
            })
            .collect();
        let file = directory.join("functions.json");
        std::fs::write(&file, json!(functions).to_string()).unwrap();
        let port = port::free().unwrap();
        let mut host = command(workspace::binary("lambda-host"));
        host.arg("--functions").arg(&file).args(["--port", &port.to_string()]);
        let log = directory.join("functions.log");
        let mut host = Supervised::start("lambda-host", host, &log).unwrap();
        host.wait_until(Duration::from_secs(20), || port::is_answered(port)).unwrap();
        let invoke_url = format!("http://127.0.0.1:{port}");
        let gateway = Gateway::start("e2e", &parameters, &invoke_url, port::free().unwrap(), None, &directory).unwrap();

        let client = Client::new(&gateway.base_url());
        let tokens = client.tokens((&name, password));
        assert_eq!(client.login(&name, "wrong").status, 401);
        assert_eq!(client.get("/me", &tokens.access).status, 200);
        assert_eq!(client.get("/me", "garbage").status, 403);
        let tokens = Tokens::of(&client.refresh(&tokens.refresh));
        assert_eq!(client.post("/logout", &tokens.access).status, 204);

        // Lambda counts this refusal as an error of the function.
        let (_, problem) = invoke_at(&invoke_url, "authorizer", &sample_event("authorizer-rest-request"));
        assert_eq!(problem["errorType"], "Unauthorized", "{problem}");

        let text = std::fs::read_to_string(&log).unwrap();
        let lines = text.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap());
        let (metrics, lines): (Vec<Value>, Vec<_>) = lines.partition(|line: &Value| line.get("_aws").is_some());
        for (name, outcome) in [
            ("Logins", "succeeded"),
            ("Logins", "refused"),
            ("Authorizations", "allowed"),
            ("Authorizations", "refused"),
            ("Refreshes", "succeeded"),
        ] {
            let is_there = metrics.iter().any(|line| line["Outcome"] == outcome && line[name].is_number());
            assert!(is_there, "no {name} with Outcome={outcome} at {level}:\n{text}");
        }
        for (name, ones) in [("LoginFailures", 1), ("UnauthorizedErrors", 1)] {
            let values = || metrics.iter().filter_map(|line| line[name].as_u64());
            assert_eq!(values().sum::<u64>(), ones, "{name} at {level}:\n{text}");
            assert!(values().any(|value| value == 0), "{name} at {level}:\n{text}");
        }
        for line in &lines {
            assert!(kept.contains(&line["level"].as_str().unwrap()), "{line} at {level}");
        }
        assert_eq!(lines.iter().any(|line| line["outcome"] == "refused"), level == "WARN", "{text}");
    }
}
