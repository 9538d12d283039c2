//! docs/openapi.yaml is complete: it has the routes of template.yaml and the error codes of the source,
//! and schemathesis, which only knows that file, finds no response that it does not describe.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use e2e::local::latchkey_in;
use local_stack::install::{self, Tools};
use local_stack::stack::{self, Options, Stack};
use saphyr::{LoadableYamlNode as _, Yaml};
use serde_json::Value;
use ureq::http::StatusCode;

const PASSWORD: &str = "correct horse battery staple";
/// What the example of `POST /password` changes it to.
const NEW_PASSWORD: &str = "a horse of quite another colour";

/// An operation: the method in upper case, and the path as the template writes it.
type Route = (String, String);

/// An operation's properties in the description.
struct Operation {
    /// Whether it needs an access token.
    is_protected: bool,
    /// Every code that an error can have, with its status.
    errors: BTreeSet<(u16, String)>,
}

fn read(path: &str) -> String {
    fs::read_to_string(local_stack::workspace::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn member<'a>(node: &'a Yaml<'a>, name: &str) -> Option<&'a Yaml<'a>> {
    node.as_mapping()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

/// A node, or the target of its `$ref`.
fn resolved<'a>(root: &'a Yaml<'a>, node: &'a Yaml<'a>) -> &'a Yaml<'a> {
    let Some(reference) = member(node, "$ref") else { return node };
    let path = reference.as_str().unwrap().strip_prefix("#/").unwrap();
    path.split('/').fold(root, |node, name| member(node, name).unwrap_or_else(|| panic!("no {path}")))
}

/// The codes to which schemas narrow `error`.
fn codes(node: &Yaml<'_>, found: &mut BTreeSet<String>) {
    for (key, value) in node.as_mapping().into_iter().flatten() {
        if key.as_str() == Some("error") {
            let several = member(value, "enum").and_then(Yaml::as_sequence).into_iter().flatten();
            found.extend(several.chain(member(value, "const")).map(|code| code.as_str().unwrap().to_owned()));
        }
        codes(value, found);
    }
    node.as_sequence().into_iter().flatten().for_each(|item| codes(item, found));
}

fn described() -> BTreeMap<Route, Operation> {
    let source = read("docs/openapi.yaml");
    let documents = Yaml::load_from_str(&source).unwrap();
    let root = &documents[0];
    let mut operations = BTreeMap::new();
    for (path, methods) in member(root, "paths").unwrap().as_mapping().unwrap() {
        for (method, operation) in methods.as_mapping().unwrap() {
            let mut errors = BTreeSet::new();
            for (status, response) in member(operation, "responses").unwrap().as_mapping().unwrap() {
                let status = status.as_str().unwrap().parse().unwrap();
                let mut found = BTreeSet::new();
                codes(resolved(root, response), &mut found);
                errors.extend(found.into_iter().map(|code| (status, code)));
            }
            // By default an operation is protected.
            let is_protected = member(operation, "security")
                .is_none_or(|security| security.as_sequence().is_none_or(|schemes| !schemes.is_empty()));
            let route = (method.as_str().unwrap().to_uppercase(), path.as_str().unwrap().to_owned());
            operations.insert(route, Operation { is_protected, errors });
        }
    }
    operations
}

#[test]
fn every_route_of_the_template_is_described_and_no_other() {
    let template = stack::template("openapi", &BTreeMap::new()).unwrap();
    let routes = template.http_apis().unwrap().into_iter().flat_map(|api| api.routes);
    let deployed: BTreeMap<Route, bool> =
        routes.map(|route| ((route.method, route.path), route.authorizer.is_some())).collect();
    let described: BTreeMap<Route, bool> =
        described().into_iter().map(|(route, operation)| (route, operation.is_protected)).collect();
    assert!(!deployed.is_empty());
    assert_eq!(described, deployed, "routes, and whether they need an access token: the description, the template");
}

#[test]
fn every_code_of_an_error_is_described_and_no_other() {
    // `StatusCode::NOT_FOUND, "not_found"`, over however many lines.
    let source = ["api/src/error.rs", "shared/src/http/error.rs", "shared/src/http/problem.rs"].map(read).concat();
    let made: BTreeSet<(u16, String)> = source
        .split("StatusCode::")
        .skip(1)
        .filter_map(|text| {
            let (name, rest) = text.split_once(',')?;
            let (code, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
            Some((status(name), code.to_owned()))
        })
        .collect();
    assert!(!made.is_empty());
    let described: BTreeSet<_> = described().into_values().flat_map(|operation| operation.errors).collect();
    assert_eq!(described, made, "status and code: the description, the source");
}

/// The status of a name such as `NOT_FOUND`.
fn status(name: &str) -> u16 {
    let is_named = |status: &StatusCode| {
        let reason = status.canonical_reason().unwrap_or_default();
        reason.to_uppercase().replace([' ', '-'], "_") == name
    };
    let found = (400..600).filter_map(|code| StatusCode::from_u16(code).ok()).find(is_named);
    found.unwrap_or_else(|| panic!("no status is called {name}")).as_u16()
}

/// Runs schemathesis as this user, or without one, and returns the response statuses of each operation.
fn schemathesis(stack: &Stack, name: &str, user: Option<&str>, arguments: &[&str]) -> BTreeMap<Route, BTreeSet<u16>> {
    let openapi = local_stack::workspace::root().join("e2e/openapi");
    let directory = stack.gateway_log().parent().unwrap();
    let requests = directory.join(format!("schemathesis-{name}.har"));
    let mut command = Command::new(install::schemathesis().unwrap());
    command.arg("--config-file").arg(openapi.join("schemathesis.toml"));
    command.arg("run").arg(local_stack::workspace::root().join("docs/openapi.yaml"));
    command.args(["--no-color", "--url", &stack.base_url(), "--report", "har", "--report-har-path"]).arg(&requests);
    command.args(arguments);
    command
        .current_dir(directory)
        .env("SCHEMATHESIS_HOOKS", openapi.join("hooks.py"))
        .env("LATCHKEY_BASE_URL", stack.base_url())
        .env("LATCHKEY_PASSWORD", PASSWORD)
        .env("LATCHKEY_NEW_PASSWORD", NEW_PASSWORD)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // This machine is not behind a proxy.
        .envs([("no_proxy", "127.0.0.1"), ("NO_PROXY", "127.0.0.1")]);
    if let Some(user) = user {
        let environment = stack.command_environment();
        let added = latchkey_in(environment, &["user", "add", name, "--role", "user", "--role", user], PASSWORD);
        assert!(added.status.success(), "{added:?}");
        command.env("LATCHKEY_USERNAME", name);
    }
    let output = command.output().expect("schemathesis starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{name}: {}\n{}", text(&output.stdout), text(&output.stderr));

    let requests: Value = serde_json::from_slice(&fs::read(&requests).unwrap()).unwrap();
    let mut answers: BTreeMap<Route, BTreeSet<u16>> = BTreeMap::new();
    for entry in requests["log"]["entries"].as_array().unwrap() {
        let url = entry["request"]["url"].as_str().unwrap().strip_prefix(&stack.base_url()).unwrap();
        let path = url.split('?').next().unwrap();
        let path = match path {
            path if path.starts_with("/sessions/") => "/sessions/{sid}",
            path if path.starts_with("/page/") => "/page/{file}",
            path => path,
        };
        let route = (entry["request"]["method"].as_str().unwrap().to_owned(), path.to_owned());
        let status = entry["response"]["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        answers.entry(route).or_default().insert(status.unwrap());
    }
    answers
}

/// Whether a request was answered as it asked.
fn succeeded(statuses: &BTreeSet<u16>) -> bool {
    statuses.range(200..300).next().is_some()
}

#[test]
fn no_answer_is_one_that_is_not_described() {
    let mut options = Options::for_test("openapi");
    // Remains of an earlier run.
    let _ = fs::remove_dir_all(&options.directory);
    // Most logins and refreshes fail here, and all come from one address.
    options.parameters.insert("FreeAttemptsPerAddress".to_owned(), "1000000".to_owned());
    let mut stack = Stack::start(&Tools::find_or_install().unwrap(), &options).unwrap();
    let operations = || described().into_iter();

    // Every operation succeeded at least once; otherwise the test proves little.
    let answers = schemathesis(&stack, "signed-in", Some("admin"), &[]);
    for (route, _) in operations() {
        assert!(succeeded(&answers[&route]), "{route:?}: {:?}", answers[&route]);
    }

    let answers = schemathesis(&stack, "nobody", None, &[]);
    for (route, _) in operations().filter(|(_, operation)| operation.is_protected) {
        assert!(!succeeded(&answers[&route]), "{route:?}: {:?}", answers[&route]);
    }

    // No link of the description leads from one of the two to the other, so there is nothing stateful to do.
    let only = ["--include-path=/admin-only", "--include-path=/introspect", "--phases=examples,coverage,fuzzing"];
    let answers = schemathesis(&stack, "without-role", Some("user"), &only);
    for route in [("GET", "/admin-only"), ("POST", "/introspect")] {
        let statuses = &answers[&(route.0.to_owned(), route.1.to_owned())];
        assert!(statuses.contains(&403) && !succeeded(statuses), "{route:?}: {statuses:?}");
    }
    stack.must_run().unwrap();
}
