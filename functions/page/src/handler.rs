//! Request in, file out.

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue};
use shared::http::error::RequestError;
use shared::http::request::path_parameter;
use shared::http::{Body, Request, Response, Route, StatusCode, ready, response};

use crate::files::{self, File};

/// The page may load its own files and call its own origin. It has no inline script, cannot be framed, submits
/// no form, and cannot turn text into script. The icon is a `data:` URL.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// On every response, because a link may lead to any of the files.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    // It may be cached, but must be revalidated: the files belong together, and a deployment changes them.
    (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

pub(crate) const ROUTES: &[Route<()>] = &[
    Route::new("GET /", "read_page", |(), request| ready(respond(request, files::find("index.html")))),
    Route::new("GET /page/{file}", "read_page", |(), request| ready(respond(request, requested(request)))),
];

/// The file that the path names. The page itself has one address only.
fn requested(request: &Request) -> Option<&'static File> {
    path_parameter(request, "file").filter(|name| name != "index.html").and_then(|name| files::find(&name))
}

fn respond(request: &Request, file: Option<&File>) -> Result<Response, RequestError> {
    let file = file.ok_or(RequestError::NoRoute)?;
    let mut response = response::empty(StatusCode::NOT_MODIFIED);
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, value);
    }
    response.headers_mut().insert(ETAG, file.etag.clone());
    if !is_known(request, file) {
        *response.status_mut() = StatusCode::OK;
        *response.body_mut() = Body::Text(file.text.to_owned());
        response.headers_mut().insert(CONTENT_TYPE, file.content_type.clone());
    }
    Ok(response)
}

/// Whether the client's copy is current (RFC 9110 §13.1.2). API Gateway joins repeated headers with commas.
fn is_known(request: &Request, file: &File) -> bool {
    let Some(known) = request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()) else { return false };
    known.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == file.etag)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use lambda_http::request::LambdaRequest;
    use serde_json::{Value, json};

    use super::*;

    async fn get(route: &str, file: Option<&str>, headers: &Value) -> Result<Response, RequestError> {
        let event = json!({
            "version": "2.0",
            "routeKey": route,
            "rawPath": "/",
            "rawQueryString": "",
            "headers": headers,
            "pathParameters": file.map(|file| json!({ "file": file })),
            "requestContext": { "routeKey": route, "http": { "method": "GET" }, "timeEpoch": 0 },
        });
        let request = LambdaRequest::ApiGatewayV2(serde_json::from_value(event).unwrap());
        shared::http::dispatch(&(), ROUTES, &request.into()).await
    }

    #[tokio::test]
    async fn every_file_that_the_page_names_is_there_with_its_type() {
        let page = get("GET /", None, &json!({})).await.unwrap();
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        for (file, content_type) in [
            ("style.css", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("api.js", "text/javascript; charset=utf-8"),
            ("session.js", "text/javascript; charset=utf-8"),
            ("token.js", "text/javascript; charset=utf-8"),
        ] {
            let answer = get("GET /page/{file}", Some(file), &json!({})).await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), &answer.headers()[CONTENT_TYPE]),
                (200, &HeaderValue::from_static(content_type))
            );
        }
    }

    #[tokio::test]
    async fn every_answer_carries_the_policy() {
        for (name, value) in HEADERS {
            assert_eq!(get("GET /", None, &json!({})).await.unwrap().headers()[&name], value);
            assert_eq!(get("GET /page/{file}", Some("app.js"), &json!({})).await.unwrap().headers()[&name], value);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_known_is_not_sent_again() {
        let tag = get("GET /", None, &json!({})).await.unwrap().headers()[ETAG].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let answer = get("GET /", None, &json!({ "if-none-match": known })).await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.body().len()), (304, 0), "{known}");
            assert_eq!(answer.headers()[ETAG], tag);
        }
        for other in ["\"other\"", "", "W/\"other\""] {
            assert_eq!(get("GET /", None, &json!({ "if-none-match": other })).await.unwrap().status(), 200);
        }
    }

    #[tokio::test]
    async fn there_are_no_other_files() {
        for file in ["index.html", "APP.JS", "app.js/", "../Cargo.toml", "%61pp.js", "", "app"] {
            assert!(
                matches!(get("GET /page/{file}", Some(file), &json!({})).await, Err(RequestError::NoRoute)),
                "{file}"
            );
        }
        assert!(matches!(get("GET /page/{file}", None, &json!({})).await, Err(RequestError::NoRoute)));
        assert!(matches!(get("GET /me", None, &json!({})).await, Err(RequestError::NoRoute)));
    }
}
