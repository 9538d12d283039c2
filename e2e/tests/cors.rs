//! What a web page of another origin may do, and what its script may read.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;

use e2e::{ALICE, Answer, Client, unverified};
use serde_json::{Value, json};

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
fn a_page_that_is_not_listed_gets_no_cors_headers() {
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

const NAME: &str = "made-by-a-page-elsewhere";
const PASSWORD: &str = "violet kettle sings at noon";

/// The headers of a browser for a page at `https://evil.example`, with and without `Sec-Fetch-Site`.
const FOREIGN: [&[(&str, &str)]; 4] = [
    &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
    &[("origin", "null"), ("sec-fetch-site", "cross-site")],
    &[("origin", "https://neighbour.localhost"), ("sec-fetch-site", "same-site")],
    &[("origin", "https://evil.example")],
];

fn refused(is_oauth: bool) -> (u16, Value) {
    let code = "origin_not_allowed";
    let sentence = "A web page of another origin may not make this request, unless the deployment lists its origin in \
                    `AllowedOrigins`.";
    let body = json!({ "error": code, "message": sentence });
    let oauth = json!({ "error": code, "error_description": sentence, "message": sentence });
    (403, if is_oauth { oauth } else { body })
}

#[test]
fn a_page_elsewhere_can_make_no_request_that_changes_something() {
    let client = Client::from_env();
    let tokens = client.tokens(ALICE);
    let bearer = format!("Bearer {}", tokens.access);
    let credentials = json!({ "username": NAME, "password": PASSWORD }).to_string();
    let passwords = json!({ "current_password": ALICE.1, "new_password": PASSWORD }).to_string();
    let session = format!("/sessions/{}", tokens.sid());
    let refresh = format!("grant_type=refresh_token&refresh_token={}", tokens.refresh);
    let revoke = format!("token={}", tokens.refresh);
    for headers in FOREIGN {
        for (method, path, body) in [
            ("POST", "/login", credentials.as_str()),
            ("POST", "/register", &credentials),
            ("POST", "/password", &passwords),
            ("POST", "/token", &refresh),
            ("POST", "/revoke", &revoke),
            ("POST", "/introspect", &revoke),
            ("POST", "/logout", ""),
            ("DELETE", &session, ""),
        ] {
            let is_form = ["/token", "/revoke", "/introspect"].contains(&path);
            let media_type = if is_form { "application/x-www-form-urlencoded" } else { "text/plain" };
            let own = [("authorization", bearer.as_str()), ("content-type", media_type)];
            let answer = client.send(method, path, &[headers, &own].concat(), body);
            assert_eq!(answer.status_and_json(), refused(is_form), "{method} {path} {headers:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {path}");
        }
    }
    // Nothing has changed: the session is valid, its tokens are current, and the name is free.
    assert_eq!(client.get("/me", &tokens.access).status, 200);
    assert_eq!(client.refresh(&tokens.refresh).status, 200);
    assert_eq!(client.login(NAME, PASSWORD).status, 401);
}

#[test]
fn what_a_page_elsewhere_tries_is_not_counted() {
    let client = Client::from_env();
    let name = format!("tried-elsewhere-{}", std::process::id());
    let credentials = |password: &str| json!({ "username": name, "password": password }).to_string();
    assert_eq!(client.send("POST", "/register", &[], credentials(PASSWORD)).status, 201);
    for _ in 0..30 {
        assert_eq!(client.send("POST", "/login", FOREIGN[0], credentials("wrong")).status_and_json(), refused(false));
    }
    // Five failures would cause a wait, and twenty-five would lock the account for new addresses.
    assert_eq!(client.login(&name, PASSWORD).status, 200);
}

#[test]
fn pages_that_are_listed_and_the_api_s_own_and_what_is_no_browser_sign_in() {
    let client = Client::from_env();
    let credentials = json!({ "username": ALICE.0, "password": ALICE.1 }).to_string();
    let own = unverified(&client.access_token(ALICE)).1["iss"].as_str().unwrap().to_owned();
    for headers in [
        &[][..],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://not-known-to-the-function.example")],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "cross-site"), ("origin", LISTED)],
        &[("origin", LISTED)],
        &[("origin", &own)],
    ] {
        assert_eq!(client.send("POST", "/login", headers, credentials.clone()).status, 200, "{headers:?}");
    }
}

#[test]
fn a_page_elsewhere_may_ask_for_what_is_public() {
    let client = Client::from_env();
    for path in ["/", "/.well-known/jwks.json", "/.well-known/oauth-authorization-server"] {
        assert_eq!(client.send("GET", path, FOREIGN[0], "").status, 200, "{path}");
    }
}
