//! A deployment without AWS: the template's stack in an AWS API emulator, what exists there held against what functions need,
//! the bootstraps that are deployed run against it, and what they asked of AWS held against their roles.
//!
//! `cargo xtask rehearse` runs it, after it has packaged the functions.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::print_stdout, reason = "it prints what it found")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::local::{invoke_at, packages, response_url, run_latchkey, sample_event};
use e2e::{Client, Tokens, unverified};
use serde_json::{Value, json};
use xtask::gateway::Gateway;
use xtask::moto::Moto;
use xtask::process::{Supervised, command};
use xtask::{install, port, rehearse, stack, tables, workspace};

const STACK: &str = "rehearsal";
const PASSWORD: &str = "violet kettle sings at noon";
const NEW_PASSWORD: &str = "seven lanterns over the harbour";

/// What stands for AWS, and what runs in it.
struct Deployment {
    _gateway: Gateway,
    _host: Supervised,
    moto: Moto,
    invoke_url: String,
    /// What `deploy.py` told.
    told: Value,
    /// The binary of each function, by its logical id.
    binaries: BTreeMap<String, String>,
    calls: PathBuf,
    client: Client,
}

fn object<'v>(value: &'v Value, name: &str) -> &'v serde_json::Map<String, Value> {
    value[name].as_object().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// As a list: IAM takes a single member for one.
fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(members) => members.iter().map(|member| text(member).to_owned()).collect(),
        Value::Null => Vec::new(),
        member => vec![text(member).to_owned()],
    }
}

fn deploy(name: &str, parameters: &[(&str, &str)]) -> Deployment {
    let directory = workspace::local().join("test").join(name);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    let packages = packages();
    let moto = Moto::start(&directory.join("moto.log")).unwrap();
    let output = Command::new(install::moto_python().unwrap())
        .arg(workspace::root().join("e2e/rehearsal/deploy.py"))
        .args([&moto.endpoint(), STACK])
        .arg(workspace::template())
        .arg(&packages)
        .args(parameters.iter().map(|(name, value)| format!("{name}={value}")))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();

    let template = stack::template(STACK, &BTreeMap::new()).unwrap();
    let binaries: BTreeMap<_, _> =
        template.functions().unwrap().into_iter().map(|function| (function.logical_id, function.binary)).collect();
    let functions: Vec<Value> = object(&told, "functions")
        .iter()
        .map(|(logical_id, configuration)| function(&packages, &binaries[logical_id], configuration, &moto.endpoint()))
        .collect();
    let file = directory.join("functions.json");
    std::fs::write(&file, json!(functions).to_string()).unwrap();
    let calls = directory.join("calls.jsonl");
    let port = port::free().unwrap();
    let mut host = command(workspace::binary("lambda-host"));
    host.arg("--functions").arg(&file).args(["--port", &port.to_string(), "--record"]).arg(&calls);
    let mut host = Supervised::start("lambda-host", host, &directory.join("functions.log")).unwrap();
    host.wait_until(Duration::from_secs(20), || port::is_answered(port)).unwrap();
    let invoke_url = format!("http://127.0.0.1:{port}");
    let gateway = Gateway::start(STACK, &BTreeMap::new(), &invoke_url, port::free().unwrap(), &directory).unwrap();
    let client = Client::new(&gateway.base_url());
    Deployment { _gateway: gateway, _host: host, moto, invoke_url, told, binaries, calls, client }
}

/// A function as the emulator's Lambda has it, for the host of bootstraps. Only the endpoints and the credentials are ours.
fn function(packages: &Path, binary: &str, configuration: &Value, endpoint: &str) -> Value {
    let mut variables: BTreeMap<String, String> = object(&configuration["Environment"], "Variables")
        .iter()
        // CloudFormation makes text of a number; this emulator does not.
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
        ("AWS_ENDPOINT_URL_KMS", endpoint),
        // Any other service would be asked there as well, and recorded.
        ("AWS_ENDPOINT_URL", endpoint),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    json!({
        "name": binary,
        "program": rehearse::unpack(&packages.join(binary).join("bootstrap.zip")).unwrap(),
        "variables": variables,
        "memory_megabytes": configuration["MemorySize"],
        "timeout_seconds": configuration["Timeout"],
    })
}

/// What exists, held against what functions need.
fn must_have_what_functions_need(deployment: &Deployment) {
    let told = &deployment.told;
    println!("\nmade in the emulator:");
    for (kind, members) in object(told, "resources").iter().filter(|(kind, _)| !kind.is_empty()) {
        println!("  {:2} {kind}", members.as_array().unwrap().len());
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in object(told, "left_out").values() {
        *reasons.entry(text(reason)).or_default() += 1;
    }
    println!("left out:");
    for (reason, count) in reasons {
        println!("  {count:2} because {reason}");
    }

    let (names, keys) = (table_names(told), object(told, "keys"));
    let template = stack::template(STACK, &BTreeMap::new()).unwrap();
    for table in template.tables().unwrap() {
        // The last part of the name is the resource's logical id.
        let (logical_id, described) =
            object(told, "tables").iter().find(|(id, _)| table.name.contains(id.as_str())).unwrap();
        assert_eq!(described["KeySchema"], table.create_table["KeySchema"], "{logical_id}");
        assert_eq!(described["DeletionProtectionEnabled"], true, "{logical_id}");
        assert_eq!(described["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST", "{logical_id}");
        // Users stay; what else there is carries the time of its end, by this name (`shared/src/store`).
        let time_to_live = match logical_id.as_str() {
            "UsersTable" => Value::Null,
            _ => json!({ "AttributeName": "expires_at", "Enabled": true }),
        };
        let properties = &told["table_properties"][logical_id.as_str()];
        assert_eq!(properties["TimeToLiveSpecification"], time_to_live, "{logical_id}");
        let recovery = json!({ "PointInTimeRecoveryEnabled": true });
        assert_eq!(properties["PointInTimeRecoverySpecification"], recovery, "{logical_id}");
        assert_eq!(properties["SSESpecification"]["SSEEnabled"], true, "{logical_id}");
    }
    let key = &keys["SealingKey"];
    assert_eq!((&key["KeyState"], &key["rotates"]), (&json!("Enabled"), &json!(true)));
    assert_eq!(
        key["policy"]["Statement"][1],
        json!({
            "Sid": "OnlyWithPurpose",
            "Effect": "Deny",
            "Principal": { "AWS": "*" },
            "Action": ["kms:Encrypt", "kms:Decrypt"],
            "Resource": "*",
            "Condition": { "Null": { "kms:EncryptionContext:purpose": "true" } },
        })
    );
    assert_eq!(told["outputs"]["KmsKeyId"], key["Arn"]);
    assert_eq!(object(told, "log_groups").len(), deployment.binaries.len() + 1, "and one for requests");
    assert!(object(told, "log_groups").values().all(|group| group["retentionInDays"] == 30));

    // Every function has a role of its own, and its variables are those the template says, with what was made in them.
    let mut roles = BTreeSet::new();
    for (logical_id, configuration) in object(told, "functions") {
        let role = &told["roles"][format!("{logical_id}Role")];
        assert_eq!(configuration["Role"], role["arn"], "{logical_id}");
        assert!(roles.insert(text(&role["arn"])), "{logical_id} shares a role");
        let traces = json!([{ "Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AWSXrayWriteOnlyAccess" }]);
        assert_eq!(role["managed"], traces, "{logical_id}");
        assert_eq!(role["trusts"]["Statement"][0]["Principal"], json!({ "Service": "lambda.amazonaws.com" }));
        let variables = object(&configuration["Environment"], "Variables");
        let expected: Vec<_> = template.environment(logical_id).unwrap().into_keys().collect();
        let mut found: Vec<_> = variables.keys().cloned().collect();
        found.sort();
        assert_eq!(found, expected, "{logical_id}");
        for (name, value) in variables.iter().filter(|(name, _)| name.ends_with("_TABLE_NAME")) {
            assert!(names.contains_key(text(value)), "{logical_id}: {name}={value}");
        }
        // Who may use the key is told of it, and nobody else.
        let may_use_it = role["statements"].to_string().contains("\"kms:");
        let id = variables.get("LATCHKEY_KMS_KEY_ID").filter(|id| *id != "");
        assert_eq!(id, may_use_it.then_some(&key["Arn"]), "{logical_id}");
    }
    assert_eq!(roles.len(), deployment.binaries.len());
}

/// The logical id of each table, by its name.
fn table_names(told: &Value) -> BTreeMap<String, String> {
    object(told, "tables").iter().map(|(id, table)| (text(&table["TableName"]).to_owned(), id.clone())).collect()
}

/// The variables that the stack's output `NextStep` names, with which the operator's command works.
fn command_environment(deployment: &Deployment) -> BTreeMap<String, String> {
    let next_step = text(&deployment.told["outputs"]["NextStep"]);
    let mut environment: BTreeMap<String, String> = next_step
        .split(' ')
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(next_step.ends_with("latchkey user add admin --role admin"), "{next_step}");
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_DYNAMODB", &deployment.moto.endpoint()),
        ("AWS_ENDPOINT_URL_KMS", &deployment.moto.endpoint()),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    environment
}

/// CloudFormation asks for the first keys.
fn make_first_keys(deployment: &Deployment) {
    let (url, taker) = response_url("200 OK");
    let event = sample_event("rotate-keys-create").replace("RESPONSE_URL", &url);
    let answer = invoke_at(&deployment.invoke_url, "rotate-keys", &event);
    assert_eq!(answer, (200, Value::Null));
    let (_, told) = taker.join().unwrap();
    assert_eq!(told["Status"], "SUCCESS", "{told}");
}

/// The operator's command, as it is installed, on the stack. It must succeed.
fn operator(deployment: &Deployment) -> impl Fn(&[&str], &str) {
    let environment = command_environment(deployment);
    move |arguments: &[&str], input: &str| {
        let output = run_latchkey(&workspace::root().join("target/release/latchkey"), &environment, arguments, input);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

/// Everything that a session can meet, once.
fn run_the_whole_flow(deployment: &Deployment) {
    let (client, latchkey) = (&deployment.client, operator(deployment));
    make_first_keys(deployment);
    latchkey(&["user", "add", "admin", "--role", "admin"], PASSWORD);

    let registration = json!({ "username": "alice", "password": PASSWORD }).to_string();
    let register = || client.send("POST", "/register", &[("content-type", "application/json")], registration.clone());
    assert_eq!(register().status, 201);
    assert_eq!(register().status, 409);
    assert_eq!(client.login("alice", "wrong").status, 401);
    assert_eq!(client.login("nobody", "wrong").status, 401);
    let first = client.tokens(("alice", PASSWORD));
    assert_eq!(client.get("/me", &first.access).json()["username"], "alice");
    assert_eq!(client.get("/admin-only", &first.access).status, 403);
    assert_eq!(client.get("/me", "no token").status, 403);

    // Keys rotate; who has a token keeps it.
    latchkey(&["keys", "rotate", "--now", "--purpose", "access-token"], "");
    assert_eq!(invoke_at(&deployment.invoke_url, "rotate-keys", &sample_event("rotate-keys-schedule")).0, 200);
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

    // An hour later, counters of an address begin anew.
    lapse_counters(deployment);
    assert_eq!(client.login("nobody", "wrong").status, 401);
    assert_eq!(register().status, 409);
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

/// Makes it a long time ago that counters were begun.
fn lapse_counters(deployment: &Deployment) {
    let ask = |operation, request: &Value| {
        let (status, answer) = tables::call(&deployment.moto.endpoint(), operation, request).unwrap();
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    };
    let table = &deployment.told["tables"]["LoginAttemptsTable"]["TableName"];
    let counters = ask("Scan", &json!({ "TableName": table }));
    for counter in counters["Items"].as_array().unwrap().iter().filter(|counter| !counter["expires_at"].is_null()) {
        let update = json!({
            "TableName": table,
            "Key": { "counter": counter["counter"] },
            "UpdateExpression": "SET expires_at = :past",
            "ExpressionAttributeValues": { ":past": { "N": "1" } },
        });
        ask("UpdateItem", &update);
    }
}

/// A statement of a role, resolved.
struct Statement<'v> {
    sid: &'v str,
    actions: Vec<String>,
    resource: &'v str,
    conditions: BTreeMap<String, BTreeSet<String>>,
}

fn statements(role: &Value) -> Vec<Statement<'_>> {
    let statements = role["statements"].as_array().unwrap().iter();
    statements
        // What `AWS::NoValue` leaves in this emulator.
        .filter(|statement| !statement.is_null())
        .map(|statement| {
            assert_eq!(statement["Effect"], "Allow");
            let operators = statement["Condition"].as_object().into_iter().flatten();
            let conditions = operators.flat_map(|(operator, keys)| {
                assert!(["ForAllValues:StringEquals", "StringEquals"].contains(&operator.as_str()), "{operator}");
                let keys = keys.as_object().unwrap().iter();
                keys.map(|(key, values)| (key.clone(), list(values).into_iter().collect::<BTreeSet<_>>()))
            });
            Statement {
                sid: text(&statement["Sid"]),
                actions: list(&statement["Action"]),
                resource: text(&statement["Resource"]),
                conditions: conditions.collect(),
            }
        })
        .collect()
}

/// Whether the call fulfils the conditions: what it names is among what is allowed. IAM lets a call that names no attributes
/// fulfil `ForAllValues`, which is why `Select` is asked for beside them; here every call has to name what is asked for.
fn fulfils(call: &Value, conditions: &BTreeMap<String, BTreeSet<String>>) -> bool {
    conditions.iter().all(|(key, allowed)| {
        let named = list(&call["conditions"][key]);
        !named.is_empty() && named.iter().all(|value| allowed.contains(value))
    })
}

/// Every call has a statement that allows it, and every action of a statement a call that needs it.
fn calls_must_be_what_roles_allow(deployment: &Deployment, functions: &BTreeMap<String, String>) {
    let told = &deployment.told;
    let (names, key) = (table_names(told), text(&told["keys"]["SealingKey"]["Arn"]));
    let recorded = std::fs::read_to_string(&deployment.calls).unwrap();
    let calls: Vec<Value> = recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!calls.is_empty());
    // The ARN that IAM would be asked about.
    let resource_of = |call: &Value| match call["resource"].as_str().unwrap() {
        id if id == key => key.to_owned(),
        table => {
            let id = names.get(table).unwrap_or_else(|| panic!("{call}: there is no such table"));
            let arn = text(&told["tables"][id]["TableArn"]);
            call["index"].as_str().map_or_else(|| arn.to_owned(), |index| format!("{arn}/index/{index}"))
        }
    };
    let short = |resource: &str| {
        let name = resource.rsplit("table/").next().unwrap_or(resource);
        let (table, index) = name.split_once('/').map_or((name, ""), |(table, index)| (table, index));
        let index = index.strip_prefix("index/").map(|index| format!("/{index}")).unwrap_or_default();
        names.get(table).map_or_else(|| "SealingKey".to_owned(), |id| id.clone() + &index)
    };

    println!("\n{:12} {:28} {:24} {:32} calls", "function", "action", "resource", "statement");
    let (mut missing, mut unused) = (BTreeSet::new(), Vec::new());
    for (logical_id, binary) in functions {
        let statements = statements(&told["roles"][format!("{logical_id}Role")]);
        let own: Vec<_> = calls.iter().filter(|call| call["function"] == json!(binary)).collect();
        let mut allowed = BTreeSet::new();
        for statement in &statements {
            // Lambda itself writes the log, with the function's role.
            if statement.sid == "WriteOwnLog" {
                let group = &told["log_groups"][logical_id.replace("Function", "LogGroup")]["logGroupArn"];
                assert_eq!(statement.actions, ["logs:CreateLogStream", "logs:PutLogEvents"], "{logical_id}");
                assert_eq!(statement.resource, text(group), "{logical_id}");
                continue;
            }
            for action in &statement.actions {
                let matching: Vec<_> = own
                    .iter()
                    .enumerate()
                    .filter(|(_, call)| {
                        text(&call["action"]) == action
                            && resource_of(call) == statement.resource
                            && fulfils(call, &statement.conditions)
                    })
                    .map(|(index, _)| index)
                    .collect();
                let resource = short(statement.resource);
                println!("{binary:12} {action:28} {resource:24} {:32} {:5}", statement.sid, matching.len());
                if matching.is_empty() {
                    unused.push(format!("{binary}: {action} on {resource} ({})", statement.sid));
                }
                allowed.extend(matching);
            }
        }
        if own.is_empty() && statements.len() == 1 {
            println!("{binary:12} nothing asked, nothing allowed");
        }
        for (index, call) in own.iter().enumerate() {
            if !allowed.contains(&index) {
                missing.insert(format!("{call}"));
            }
        }
    }
    assert!(missing.is_empty(), "asked and not allowed: {missing:#?}");
    assert!(unused.is_empty(), "allowed and never asked: {unused:#?}");
    println!("{} calls, all of them allowed; every action that is allowed was asked for", calls.len());
}

#[test]
#[ignore = "it needs the packages: `cargo xtask rehearse` makes them and runs it"]
fn the_stack_is_made_the_functions_run_in_it_and_their_roles_are_what_they_need() {
    let deployment = deploy("rehearsal", &[]);
    must_have_what_functions_need(&deployment);
    run_the_whole_flow(&deployment);
    calls_must_be_what_roles_allow(&deployment, &deployment.binaries);
}

/// With HS256 those who verify are given secrets, and rights to open them, that they have in no other deployment.
#[test]
#[ignore = "it needs the packages: `cargo xtask rehearse` makes them and runs it"]
fn functions_that_verify_hs256_have_the_rights_for_it_and_no_more() {
    let deployment = deploy("rehearsal-hs256", &[("SigningAlgorithm", "HS256"), ("Hs256", "accepted")]);
    let (client, latchkey) = (&deployment.client, operator(&deployment));
    make_first_keys(&deployment);
    latchkey(&["user", "add", "admin", "--role", "admin"], PASSWORD);
    let tokens = client.tokens(("admin", PASSWORD));
    assert_eq!(unverified(&tokens.access).0["alg"], "HS256");
    assert_eq!(client.get("/me", &tokens.access).status, 200);
    assert_eq!(
        client.post_form("/introspect", Some(&tokens.access), &[("token", &tokens.access)]).json()["active"],
        true
    );
    assert_eq!(client.send("GET", "/.well-known/jwks.json", &[], "").json(), json!({ "keys": [] }));
    let verifiers = ["AuthorizerFunction", "DiscoveryFunction"];
    let verifiers = deployment.binaries.iter().filter(|(logical_id, _)| verifiers.contains(&logical_id.as_str()));
    calls_must_be_what_roles_allow(&deployment, &verifiers.map(|(id, binary)| (id.clone(), binary.clone())).collect());
}
