//! CORS of an HTTP API: it answers preflights, and replaces the CORS headers of functions.
//!
//! SAM gives a REST API a mock integration for `OPTIONS` instead, which answers every origin alike. Functions set the
//! other headers.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, http::request::Parts};
use sam_template::Cors;

/// Every header that is the configuration's to set.
const CORS_HEADERS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// Whether this is a preflight.
pub(crate) fn is_preflight(request: &Parts) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(ORIGIN)
        && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The headers of a preflight's response; without permission for an origin that is not allowed.
pub(crate) fn preflight_headers(cors: &Cors, request: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(origin) = allowed_origin(cors, request) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        insert_list(&mut headers, ACCESS_CONTROL_ALLOW_METHODS, &cors.allow_methods);
        insert_list(&mut headers, ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers);
        insert_credentials(cors, &mut headers);
        if let Some(age) = cors.max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(age));
        }
    }
    append_vary(cors, &mut headers);
    headers
}

/// The response of a REST API's mock. `methods` are those of the path, the default of the template.
pub(crate) fn mock_headers(cors: &Cors, methods: &[String]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert_list(&mut headers, ACCESS_CONTROL_ALLOW_ORIGIN, &cors.allow_origins);
    let methods = if cors.allow_methods.is_empty() { methods } else { &cors.allow_methods };
    insert_list(&mut headers, ACCESS_CONTROL_ALLOW_METHODS, methods);
    insert_list(&mut headers, ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers);
    insert_credentials(cors, &mut headers);
    if let Some(age) = cors.max_age {
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(age));
    }
    headers
}

/// Replaces the CORS headers of any other answer that has some: a function's, and with `--cors-on-own-answers` also the
/// gateway's own.
pub(crate) fn replace_headers(cors: &Cors, request: &HeaderMap, response: &mut HeaderMap) {
    for name in &CORS_HEADERS {
        response.remove(name);
    }
    if let Some(origin) = allowed_origin(cors, request) {
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        insert_list(response, ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers);
        insert_credentials(cors, response);
    }
    append_vary(cors, response);
}

/// Tells caches that the response depends on the origin, even if that is not allowed: another origin would get a wrong
/// permission or a wrong refusal. A response with `*` is for all origins.
fn append_vary(cors: &Cors, headers: &mut HeaderMap) {
    let names = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let has_origin = names.flat_map(|value| value.split(',')).map(str::trim).any(|name| {
        // `*` is everything.
        name == "*" || name.eq_ignore_ascii_case(ORIGIN.as_str())
    });
    if !has_origin && !allows_any(cors) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

fn allows_any(cors: &Cors) -> bool {
    cors.allow_origins.iter().any(|allowed| allowed == "*")
}

/// What `Access-Control-Allow-Origin` is for this request, if its origin is allowed.
fn allowed_origin(cors: &Cors, request: &HeaderMap) -> Option<HeaderValue> {
    let mut origins = request.get_all(ORIGIN).iter();
    let origin = origins.next().filter(|_| origins.next().is_none())?;
    if allows_any(cors) {
        return Some(HeaderValue::from_static("*"));
    }
    let text = origin.to_str().ok()?;
    cors.allow_origins.iter().any(|allowed| origin_matches(allowed, text)).then(|| origin.clone())
}

/// `allowed` is an origin, or has one `*` that stands for anything but a slash: `https://*`, `https://*.example.com`.
fn origin_matches(allowed: &str, origin: &str) -> bool {
    match allowed.split_once('*') {
        None => allowed == origin,
        Some((before, after)) => origin
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|wild| !wild.is_empty() && !wild.contains('/')),
    }
}

fn insert_list(headers: &mut HeaderMap, name: HeaderName, list: &[String]) {
    // A template can contain text that is not valid in a header; the header is then missing, which denies.
    if let Some(value) = HeaderValue::from_str(&list.join(",")).ok().filter(|value| !value.is_empty()) {
        headers.insert(name, value);
    }
}

fn insert_credentials(cors: &Cors, headers: &mut HeaderMap) {
    if cors.allow_credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderValue, ORIGIN};
    use sam_template::Cors;

    use super::{allowed_origin, preflight_headers, replace_headers};

    fn cors(origins: &[&str]) -> Cors {
        Cors {
            allow_credentials: false,
            allow_headers: vec!["authorization".to_owned(), "content-type".to_owned()],
            allow_methods: vec!["GET".to_owned(), "POST".to_owned()],
            allow_origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            expose_headers: vec!["x-a".to_owned(), "x-b".to_owned()],
            max_age: Some(600),
        }
    }

    fn from_origin(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(origin))])
    }

    fn answer(origins: &[&str], origin: &'static str) -> Option<String> {
        allowed_origin(&cors(origins), &from_origin(origin)).map(|value| value.to_str().unwrap().to_owned())
    }

    fn pairs(headers: &HeaderMap) -> Vec<String> {
        let mut pairs: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        pairs.sort();
        pairs
    }

    #[test]
    fn exact_origins_are_echoed_and_others_get_nothing() {
        let origins = ["https://a.example.com", "http://localhost:3000"];
        assert_eq!(answer(&origins, "https://a.example.com").as_deref(), Some("https://a.example.com"));
        assert_eq!(answer(&origins, "http://localhost:3000").as_deref(), Some("http://localhost:3000"));
        for other in ["http://a.example.com", "https://a.example.com.evil.example", "http://localhost", "null", ""] {
            assert_eq!(answer(&origins, other), None, "{other}");
        }
    }

    #[test]
    fn any_origin_is_a_star() {
        assert_eq!(answer(&["*"], "https://a.example.com").as_deref(), Some("*"));
        assert_eq!(answer(&["*"], "null").as_deref(), Some("*"));
        assert_eq!(allowed_origin(&cors(&["*"]), &HeaderMap::new()), None);
    }

    #[test]
    fn wildcards_stand_for_a_part_of_a_host() {
        let origins = ["https://*.example.com"];
        assert_eq!(answer(&origins, "https://a.example.com").as_deref(), Some("https://a.example.com"));
        assert_eq!(answer(&origins, "https://a.b.example.com").as_deref(), Some("https://a.b.example.com"));
        for other in
            ["https://.example.com", "https://example.com", "https://evil/.example.com", "http://a.example.com"]
        {
            assert_eq!(answer(&origins, other), None, "{other}");
        }
        assert_eq!(answer(&["https://*"], "https://x.example").as_deref(), Some("https://x.example"));
        assert_eq!(answer(&["https://*"], "http://x.example"), None);
    }

    #[test]
    fn a_null_origin_is_allowed_only_by_name() {
        assert_eq!(answer(&["https://a.example.com"], "null"), None);
        assert_eq!(answer(&["null"], "null").as_deref(), Some("null"));
    }

    #[test]
    fn two_origins_are_none() {
        let mut headers = from_origin("https://a.example.com");
        headers.append(ORIGIN, HeaderValue::from_static("https://a.example.com"));
        assert_eq!(allowed_origin(&cors(&["*"]), &headers), None);
    }

    #[test]
    fn a_preflight_returns_the_configuration() {
        let headers = preflight_headers(&cors(&["https://a.example.com"]), &from_origin("https://a.example.com"));
        assert_eq!(
            pairs(&headers),
            [
                "access-control-allow-headers: authorization,content-type",
                "access-control-allow-methods: GET,POST",
                "access-control-allow-origin: https://a.example.com",
                "access-control-max-age: 600",
                "vary: Origin",
            ]
        );
        let refused = preflight_headers(&cors(&["https://a.example.com"]), &from_origin("https://b.example.com"));
        assert_eq!(pairs(&refused), ["vary: Origin"]);
    }

    #[test]
    fn a_functions_own_cors_headers_are_replaced() {
        let mut cors = cors(&["https://a.example.com"]);
        cors.allow_credentials = true;
        let of_function = || {
            let mut headers = HeaderMap::new();
            headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
            headers.insert("access-control-allow-methods", HeaderValue::from_static("*"));
            headers.insert("x-kept", HeaderValue::from_static("1"));
            headers
        };
        let mut allowed = of_function();
        replace_headers(&cors, &from_origin("https://a.example.com"), &mut allowed);
        assert_eq!(
            pairs(&allowed),
            [
                "access-control-allow-credentials: true",
                "access-control-allow-origin: https://a.example.com",
                "access-control-expose-headers: x-a,x-b",
                "vary: Origin",
                "x-kept: 1",
            ]
        );
        let mut refused = of_function();
        replace_headers(&cors, &from_origin("https://b.example.com"), &mut refused);
        assert_eq!(pairs(&refused), ["vary: Origin", "x-kept: 1"]);
    }
}
