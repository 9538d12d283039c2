//! The command line: output and errors.

use std::{net::TcpListener, process::Output};

use serde_json::{Value, json};

use crate::{
    client::send,
    invoke_api::InvokeApi,
    process::{Gateway, command, template},
};

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command().args(arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&stdout), "");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn the_first_line_says_where_it_listens_and_later_ones_what_was_asked() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let first = gateway.output();
    assert_eq!(first, [format!("gateway listening on http://127.0.0.1:{}", gateway.port)]);

    let answer = send(gateway.port, "GET /guarded?token=in-the-query", &["X-Token: allow", "Cookie: c=in-a-cookie"]);
    let id = answer.header("apigw-requestid").unwrap();
    let line = gateway.wait_for_output(id);
    let parts: Vec<_> = line.split(" | ").collect();
    assert_eq!(parts.len(), 4, "{line}");
    let (clock, rest) = parts[0].split_once(' ').unwrap();
    assert!(clock.len() == 9 && clock.ends_with('Z'), "{line}");
    assert!(rest.starts_with("GET /guarded 200 ") && rest.ends_with(" ms"), "{line}");
    assert!(parts[1].starts_with("authorizer allow ") && parts[1].ends_with(" ms"), "{line}");
    assert!(parts[2].starts_with("echo ") && parts[2].ends_with(" ms"), "{line}");
    assert_eq!(parts[3], id);
    let everything = [gateway.output(), gateway.errors()].concat().join("\n");
    for secret in ["in-the-query", "in-a-cookie", "\x1b"] {
        assert!(!everything.contains(secret), "{everything}");
    }

    for (token, printed) in [("deny", "authorizer deny "), ("garbage", "authorizer error ")] {
        let answer = send(gateway.port, "GET /guarded", &[&format!("X-Token: {token}")]);
        let line = gateway.wait_for_output(answer.header("apigw-requestid").unwrap());
        assert!(line.contains(printed) && line.contains(" | no function | "), "{line}");
    }
    let answer = send(gateway.port, "GET /guarded", &[]);
    let line = gateway.wait_for_output(answer.header("apigw-requestid").unwrap());
    assert!(line.contains(" GET /guarded 401 ") && line.contains(" | authorizer not asked "), "{line}");
    assert_eq!(gateway.output().len(), 5);
}

#[test]
fn programs_are_told_in_json() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start_with(functions.port, &["--api", "Api", "--json"]);
    let answer = send(gateway.port, "GET /guarded?token=in-the-query", &["X-Token: allow"]);
    let line = gateway.wait_for_output(answer.header("apigw-requestid").unwrap());
    let lines: Vec<Value> = gateway.output().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0], json!({ "event": "listening", "url": format!("http://127.0.0.1:{}", gateway.port) }));
    assert_eq!((lines[1]["event"].as_str(), lines[1]["path"].as_str()), (Some("request"), Some("/guarded")));
    assert_eq!(lines[1]["authorizer"]["verdict"], "allow");
    assert!(lines[1]["function"]["milliseconds"].is_f64());
    assert!(!line.contains("in-the-query"), "{line}");
}

#[test]
fn what_is_not_emulated_is_reported_once_at_start() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    send(gateway.port, "GET /jwt", &[]);
    gateway.wait_for_error("GET /jwt needs something that is not emulated");
    let mut notices: Vec<_> =
        gateway.errors().into_iter().filter(|line| line.starts_with("gateway: not emulated: ")).collect();
    notices.sort();
    assert_eq!(
        notices,
        [
            "gateway: not emulated: JWT authorizers: every route of the authorizer Jwt answers 500",
            "gateway: not emulated: Resources.Api.Properties.DefaultRouteSettings",
        ]
    );
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let template = template();
    let (code, printed) = run(&["--template", template.to_str().unwrap(), "--api", "Api", "--port", &port]);
    assert_eq!(code, Some(1));
    let last = printed.lines().last().unwrap();
    assert!(
        last.starts_with(&format!(
            "gateway: cannot listen on port {port} of 127.0.0.1; choose another with --port, or end what listens there: "
        )),
        "{printed}"
    );
}

#[test]
fn what_cannot_be_served_is_named() {
    let template = template();
    let template = template.to_str().unwrap();
    let (code, printed) = run(&["--template", "no/such/template.yaml"]);
    assert_eq!(code, Some(2));
    assert!(printed.starts_with("gateway: cannot read the template no/such/template.yaml: "), "{printed}");

    let (code, printed) = run(&["--template", template]);
    assert_eq!(code, Some(2));
    assert_eq!(printed, "gateway: the template has the APIs Api, ServerlessHttpApi, RestApi; choose one with --api\n");

    let (code, printed) = run(&["--template", template, "--api", "Ipa"]);
    assert_eq!(code, Some(2));
    assert_eq!(printed, "gateway: the template has no API Ipa; it has Api, ServerlessHttpApi, RestApi\n");

    let (code, printed) = run(&["--template", template, "--api", "Api", "--parameter", "Orgin=https://x.example"]);
    assert_eq!(code, Some(2));
    assert!(
        printed.ends_with("there is no parameter Orgin; correct its name or add it to the template\n"),
        "{printed}"
    );

    let (code, printed) = run(&["--template", template, "--parameter", "Origin"]);
    assert_eq!(code, Some(2));
    assert!(printed.contains("expected NAME=VALUE"), "{printed}");

    let (code, said) = run(&["--template", template, "--api", "Api", "--invoke-url", "https://lambda.example.com"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("give --invoke-url an address such as http://127.0.0.1:9000"), "{said}");
}

#[test]
fn parameters_reach_the_template() {
    let functions = InvokeApi::start();
    let gateway =
        Gateway::start_with(functions.port, &["--api", "Api", "--parameter", "Origin=https://given.example.com"]);
    let headers = ["Origin: https://given.example.com", "Access-Control-Request-Method: GET"];
    let answer = send(gateway.port, "OPTIONS /open", &headers);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://given.example.com"));
}
