//! CORS, as browsers see it.

use serde_json::json;

use crate::{
    client::{Answer, send, send_body},
    invoke_api::InvokeApi,
    process::Gateway,
};

const ORIGIN: &str = "Origin: https://app.example.com";
const OTHER_ORIGIN: &str = "Origin: https://evil.example.com";
const ASKS_FOR_GET: &str = "Access-Control-Request-Method: GET";

#[test]
fn preflights_are_answered_without_authorizer_or_function() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    for path in ["/guarded", "/open", "/items/1", "/nowhere"] {
        let answer = send(gateway.port, &format!("OPTIONS {path}"), &[ORIGIN, ASKS_FOR_GET]);
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}");
        assert_eq!(
            answer.cors(),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-headers: authorization",
                "access-control-allow-methods: GET,POST",
                "access-control-allow-origin: https://app.example.com",
                "access-control-max-age: 60",
            ]
        );
    }
    assert_eq!(functions.count(), 0);
}

#[test]
fn preflights_of_other_origins_are_told_nothing() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    for origin in [OTHER_ORIGIN, "Origin: null", "Origin: http://app.example.com", "Origin: https://example.org"] {
        let answer = send(gateway.port, "OPTIONS /guarded", &[origin, ASKS_FOR_GET]);
        assert_eq!((answer.status, answer.cors()), (204, Vec::new()), "{origin}");
    }
    let answer = send(gateway.port, "OPTIONS /guarded", &["Origin: https://a.example.org", ASKS_FOR_GET]);
    assert!(answer.cors().contains(&"access-control-allow-origin: https://a.example.org".to_owned()));
    assert_eq!(functions.count(), 0);
}

#[test]
fn options_that_is_no_preflight_takes_its_route_or_is_empty() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    assert_eq!(send(gateway.port, "OPTIONS /open", &[]).json()["routeKey"], "ANY /open");
    let answer = send(gateway.port, "OPTIONS /items/1", &[ORIGIN]);
    assert_eq!((answer.status, answer.text()), (204, ""));
}

#[test]
fn answers_have_the_configured_headers_and_not_the_functions() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let wanted = json!({
        "statusCode": 200,
        "headers": { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Methods": "*", "x-exposed": "1" },
    });
    let respond = |headers: &[&str]| send_body(gateway.port, "POST /respond", headers, wanted.to_string().as_bytes());
    let configured = [
        "access-control-allow-credentials: true",
        "access-control-allow-origin: https://app.example.com",
        "access-control-expose-headers: x-exposed,retry-after",
    ];
    let answer = respond(&[ORIGIN]);
    assert_eq!((answer.status, answer.cors()), (200, configured.map(str::to_owned).to_vec()));
    assert_eq!(answer.header("x-exposed"), Some("1"));
    for headers in [&[OTHER_ORIGIN][..], &[]] {
        let answer = respond(headers);
        assert_eq!((answer.status, answer.cors()), (200, Vec::new()));
    }
}

#[test]
fn a_script_of_another_origin_can_read_the_headers_that_are_exposed() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let wanted = json!({ "statusCode": 429, "headers": { "Retry-After": "7", "x-hidden": "1" } }).to_string();
    let answer = send_body(gateway.port, "POST /respond", &[ORIGIN], wanted.as_bytes());
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    // What a browser asks before it lets the script see the header.
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
    let exposed: Vec<_> = answer.header("access-control-expose-headers").unwrap().split(',').collect();
    assert!(exposed.contains(&"retry-after") && !exposed.contains(&"x-hidden"), "{exposed:?}");
}

#[test]
fn caches_are_told_what_depends_on_the_origin() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let respond = |port: u16, headers: &[&str], own: &serde_json::Value| {
        let wanted = json!({ "statusCode": 200, "headers": own }).to_string();
        send_body(port, "POST /respond", headers, wanted.as_bytes())
    };
    let varies = |answer: &Answer| answer.all("vary").join(", ");
    for origin in [&[ORIGIN][..], &[OTHER_ORIGIN], &[]] {
        assert_eq!(varies(&respond(gateway.port, origin, &json!({}))), "Origin", "{origin:?}");
        // A function's own stays.
        let answer = respond(gateway.port, origin, &json!({ "Vary": "Accept-Encoding" }));
        assert_eq!(varies(&answer), "Accept-Encoding, Origin", "{origin:?}");
        for enough in ["Cookie, origin", "*"] {
            assert_eq!(varies(&respond(gateway.port, origin, &json!({ "Vary": enough }))), enough, "{origin:?}");
        }
    }
    for origin in [ORIGIN, OTHER_ORIGIN] {
        assert_eq!(varies(&send(gateway.port, "OPTIONS /open", &[origin, ASKS_FOR_GET])), "Origin", "{origin}");
    }
    // The gateway's own answers do not depend on it, nor does an OPTIONS that is no preflight.
    assert_eq!(varies(&send(gateway.port, "GET /guarded", &[ORIGIN])), "");
    assert_eq!(varies(&send(gateway.port, "OPTIONS /items/1", &[ORIGIN])), "");

    // Where every origin is answered with `*`, all get the same.
    let any_origin = Gateway::start_with(functions.port, &["--api", "Api", "--parameter", "Origin=*"]);
    let answer = respond(any_origin.port, &[ORIGIN], &json!({}));
    assert_eq!((answer.header("access-control-allow-origin"), varies(&answer).as_str()), (Some("*"), ""));
    assert_eq!(varies(&send(any_origin.port, "OPTIONS /open", &[ORIGIN, ASKS_FOR_GET])), "");
}

/// API Gateway's own answers, of every kind: request line, token, status.
const OWN_ANSWERS: [(&str, &str, u16); 7] = [
    ("GET /guarded", "X-Other: none", 401),
    ("GET /guarded", "X-Token: deny", 403),
    ("GET /guarded", "X-Token: garbage", 500),
    ("GET /nowhere", "X-Token: allow", 404),
    ("GET /jwt", "X-Token: allow", 500),
    ("GET /fail", "X-Token: allow", 500),
    ("POST /guarded", "Content-Length: 10485761\r\nExpect: 100-continue", 413),
];

#[test]
fn api_gateways_own_answers_have_no_cors_headers() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    for (request_line, header, status) in OWN_ANSWERS {
        let answer = send(gateway.port, request_line, &[ORIGIN, header]);
        assert_eq!((answer.status, answer.cors()), (status, Vec::new()), "{request_line} {header}");
    }
}

#[test]
fn a_switch_sends_cors_headers_with_api_gateways_own_answers_too() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start_with(functions.port, &["--api", "Api", "--cors-on-own-answers"]);
    for (request_line, header, status) in OWN_ANSWERS {
        let answer = send(gateway.port, request_line, &[ORIGIN, header]);
        assert_eq!((answer.status, answer.cors().len()), (status, 3), "{request_line} {header}");
        let answer = send(gateway.port, request_line, &[OTHER_ORIGIN, header]);
        assert_eq!((answer.status, answer.cors()), (status, Vec::new()), "{request_line} {header}");
    }
}

#[test]
fn without_configuration_a_function_speaks_for_itself() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start_with(functions.port, &["--api", "ServerlessHttpApi"]);
    let answer = send(gateway.port, "OPTIONS /x", &[ORIGIN, ASKS_FOR_GET]);
    assert_eq!((answer.status, answer.json()["routeKey"].as_str()), (200, Some("$default")));
    assert_eq!(answer.cors(), [""; 0]);
}
