//! What a web page of another origin may do, and what its script can read.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;

use e2e::{Answer, Client};

/// The origin that the template lists.
const LISTED: &str = "https://localhost";

fn preflight(client: &Client, path: &str, origin: &str, method: &str, headers: &str) -> Answer {
    let asks =
        [("origin", origin), ("access-control-request-method", method), ("access-control-request-headers", headers)];
    client.send("OPTIONS", path, &asks, "")
}

/// The members of a list in a header, in small letters.
fn list(answer: &Answer, name: &str) -> BTreeSet<String> {
    let value = answer.header(name).unwrap_or_default();
    value.split(',').map(|member| member.trim().to_ascii_lowercase()).filter(|member| !member.is_empty()).collect()
}

fn set(members: &[&str]) -> BTreeSet<String> {
    members.iter().map(|member| (*member).to_owned()).collect()
}

#[test]
fn a_page_elsewhere_may_use_the_methods_and_headers_that_apis_use() {
    let client = Client::from_env();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        // There is no such route: the preflight is API Gateway's own, and needs none.
        let answer = preflight(&client, "/orders/1", LISTED, method, "authorization,content-type,traceparent");
        assert_eq!(answer.status, 204, "{method}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(LISTED));
        assert_eq!(list(&answer, "access-control-allow-methods"), set(&["delete", "get", "patch", "post", "put"]));
        let headers = ["authorization", "baggage", "content-type", "traceparent", "tracestate", "x-requested-with"];
        assert_eq!(list(&answer, "access-control-allow-headers"), set(&headers));
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
}

#[test]
fn a_page_that_is_not_listed_is_told_nothing() {
    let client = Client::from_env();
    for origin in ["https://evil.example", "http://localhost", "https://localhost.evil.example", "null"] {
        let answer = preflight(&client, "/login", origin, "POST", "content-type");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        let answer = client.send("GET", "/.well-known/jwks.json", &[("origin", origin)], "");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None), "{origin}");
    }
}

#[test]
fn a_script_elsewhere_can_read_when_to_try_again() {
    let client = Client::from_env();
    let body = format!(r#"{{"username":"elsewhere-{}","password":"no"}}"#, std::process::id());
    let headers = [("origin", LISTED), ("content-type", "application/json")];
    let refused = (0..20)
        .map(|_| client.send("POST", "/login", &headers, body.clone()))
        .find(|answer| answer.status == 429)
        .expect("twenty wrong passwords in a row are too many");
    let exposed = list(&refused, "access-control-expose-headers");
    assert_eq!(exposed, set(&["retry-after", "www-authenticate", "x-request-id"]));
    assert_eq!(refused.header("access-control-allow-origin"), Some(LISTED));
    assert_eq!(list(&refused, "vary"), set(&["origin"]));
    let seconds = refused.json()["retry_after"].as_u64().expect("the body says the seconds, as a number");
    assert_eq!(refused.header("retry-after"), Some(seconds.to_string().as_str()));
}

#[test]
fn answers_of_api_gateway_itself_have_no_cors_headers() {
    let client = Client::from_env();
    let token = ("authorization", "Bearer none");
    for (path, headers, status) in [
        ("/me", &[("origin", LISTED)][..], 401),
        ("/me", &[("origin", LISTED), token], 403),
        ("/nothing", &[("origin", LISTED)], 404),
    ] {
        let answer = client.send("GET", path, headers, "");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, None), "{path}");
    }
}
