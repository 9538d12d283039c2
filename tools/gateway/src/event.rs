//! The events functions and authorizers get: payload format 2.0. Format 1.0 is in [`crate::event_v1`].

use std::{collections::BTreeMap, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use sam_template::ApiKind;
use serde_json::{Map, Value, json};

use crate::{path, request::Request};

/// What all events of one API have in common.
#[derive(Debug)]
pub(crate) struct ApiContext {
    pub(crate) kind: ApiKind,
    pub(crate) api_id: String,
    pub(crate) account_id: String,
    pub(crate) region: String,
    pub(crate) domain_name: String,
    /// The stage every request is served in.
    pub(crate) stage: String,
    pub(crate) stage_variables: BTreeMap<String, String>,
    /// Media types whose bodies a REST API passes as base64.
    pub(crate) binary_media_types: Vec<String>,
}

/// The stage of an HTTP API that is in no path.
pub(crate) const DEFAULT_STAGE: &str = "$default";

impl ApiContext {
    /// A path without the stage in front, which every path has in a stage that has a name; `None` is outside of it.
    pub(crate) fn within_stage<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.stage == DEFAULT_STAGE {
            return Some(path);
        }
        match path.strip_prefix('/')?.strip_prefix(self.stage.as_str())? {
            "" => Some("/"),
            rest => rest.starts_with('/').then_some(rest),
        }
    }

    /// A path, or a part of it, as in events: an HTTP API decodes it, a REST API does not.
    pub(crate) fn as_told(&self, path: &str) -> String {
        match self.kind {
            ApiKind::Http => path::decoded(path),
            ApiKind::Rest => path.to_owned(),
        }
    }
}

/// The caller, as the authorizer returned it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Caller {
    /// Of a policy, not of a simple response.
    pub(crate) principal_id: Option<String>,
    pub(crate) context: Map<String, Value>,
}

/// A request that has found its route.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Routed<'r> {
    pub(crate) api: &'r ApiContext,
    pub(crate) request: &'r Request,
    /// Its path within the stage.
    pub(crate) path: &'r str,
    pub(crate) route_key: &'r str,
    pub(crate) path_parameters: &'r BTreeMap<String, String>,
}

impl Routed<'_> {
    /// The event of the function. `caller` is from its authorizer, `None` on a public route.
    pub(crate) fn function_event(&self, caller: Option<Caller>) -> Value {
        let mut event = self.common();
        if let Some(caller) = caller {
            event["requestContext"]["authorizer"] = json!({ "lambda": caller.context });
        }
        let content_type = self.request.headers.get("content-type").map_or("", String::as_str);
        let text = str::from_utf8(&self.request.body).ok().filter(|_| is_text(content_type));
        event["isBase64Encoded"] = json!(text.is_none() && !self.request.body.is_empty());
        if !self.request.body.is_empty() {
            event["body"] = text.map_or_else(|| BASE64_STANDARD.encode(&self.request.body), str::to_owned).into();
        }
        event
    }

    /// The event of an authorizer. `identity` holds the values of its identity sources, in their order.
    pub(crate) fn authorizer_event(&self, identity: &[String]) -> Value {
        let mut event = self.common();
        event["type"] = json!("REQUEST");
        event["routeArn"] = json!(self.route_arn());
        event["identitySource"] = json!(identity);
        event
    }

    fn common(&self) -> Value {
        let Self { api, request, route_key, path_parameters, .. } = self;
        let mut event = json!({
            "version": "2.0",
            "routeKey": route_key,
            "rawPath": self.told_path(),
            "rawQueryString": request.query,
            "headers": request.headers,
            "requestContext": self.request_context(),
        });
        // What is empty is absent.
        if !request.cookies.is_empty() {
            event["cookies"] = json!(request.cookies);
        }
        for (name, values) in [
            ("queryStringParameters", &request.query_parameters),
            ("pathParameters", *path_parameters),
            ("stageVariables", &api.stage_variables),
        ] {
            if !values.is_empty() {
                event[name] = json!(values);
            }
        }
        event
    }

    fn request_context(&self) -> Value {
        let Self { api, request, route_key, .. } = self;
        json!({
            "accountId": api.account_id,
            "apiId": api.api_id,
            "domainName": api.domain_name,
            "domainPrefix": self.domain_prefix(),
            "http": {
                "method": request.method,
                "path": self.told_path(),
                "protocol": request.protocol,
                "sourceIp": request.source_ip.to_string(),
                "userAgent": request.headers.get("user-agent").map_or("", String::as_str),
            },
            "requestId": request.id,
            "routeKey": route_key,
            "stage": api.stage,
            "time": clf(request.time),
            "timeEpoch": epoch_millis(request.time),
        })
    }

    /// The whole path, with the stage.
    pub(crate) fn told_path(&self) -> String {
        self.api.as_told(&self.request.path)
    }

    /// The ARN of the method, which policies speak of.
    pub(crate) fn route_arn(&self) -> String {
        let ApiContext { region, account_id, api_id, stage, .. } = self.api;
        let (method, path) = (&self.request.method, self.api.as_told(self.path));
        format!("arn:aws:execute-api:{region}:{account_id}:{api_id}/{stage}/{method}{path}")
    }

    pub(crate) fn domain_prefix(&self) -> &str {
        self.api.domain_name.split('.').next().unwrap_or_default()
    }

    /// The value of a `$context` variable, as identity sources name them; `None` if there is no such variable.
    pub(crate) fn context_variable(&self, name: &str) -> Option<String> {
        let Self { api, request, route_key, .. } = self;
        Some(match name {
            "accountId" => api.account_id.clone(),
            "apiId" => api.api_id.clone(),
            "domainName" => api.domain_name.clone(),
            "domainPrefix" => self.domain_prefix().to_owned(),
            "extendedRequestId" | "requestId" => request.id.clone(),
            "httpMethod" => request.method.clone(),
            "identity.sourceIp" => request.source_ip.to_string(),
            "identity.userAgent" => request.headers.get("user-agent").cloned().unwrap_or_default(),
            "path" => self.told_path(),
            "protocol" => request.protocol.to_owned(),
            "requestTime" => clf(request.time),
            "requestTimeEpoch" => epoch_millis(request.time).to_string(),
            "routeKey" => (*route_key).to_owned(),
            "stage" => api.stage.clone(),
            _ => return None,
        })
    }
}

/// Whether a body of this type goes to functions as text.
pub(crate) fn is_text(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    let essence = parts.next().unwrap_or_default();
    essence.starts_with("text/")
        || ["application/json", "application/javascript", "application/xml"].contains(&essence.as_str())
        || parts.any(|parameter| matches!(parameter.as_str(), "charset=utf-8" | "charset=\"utf-8\""))
}

/// Milliseconds since 1970.
pub(crate) fn epoch_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A time in the Common Log Format: `12/Mar/2020:19:03:58 +0000`.
pub(crate) fn clf(time: SystemTime) -> String {
    // "Thu, 12 Mar 2020 19:03:58 GMT"
    let date = httpdate::fmt_http_date(time);
    match date.split(' ').collect::<Vec<_>>()[..] {
        [_, day, month, year, clock, _] => format!("{day}/{month}/{year}:{clock} +0000"),
        _ => date,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        net::{IpAddr, Ipv4Addr},
        time::{Duration, SystemTime},
    };

    use hyper::body::Bytes;
    use serde_json::{Map, Value, json};

    use sam_template::ApiKind;

    use super::{ApiContext, Caller, DEFAULT_STAGE, Routed, is_text};
    use crate::request::Request;

    fn api() -> ApiContext {
        ApiContext {
            kind: ApiKind::Http,
            api_id: "api".to_owned(),
            account_id: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            domain_name: "login.example.com".to_owned(),
            stage: DEFAULT_STAGE.to_owned(),
            stage_variables: BTreeMap::new(),
            binary_media_types: Vec::new(),
        }
    }

    fn request(content_type: &str, body: &'static [u8]) -> Request {
        Request {
            id: "JKJaXmPLvHcESHA=".to_owned(),
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_583_348_638_390),
            source_ip: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
            method: "POST".to_owned(),
            path: "/items/a%20b".to_owned(),
            query: "x=1".to_owned(),
            protocol: "HTTP/1.1",
            headers: BTreeMap::from([
                ("content-type".to_owned(), content_type.to_owned()),
                ("user-agent".to_owned(), "curl".to_owned()),
            ]),
            header_lists: BTreeMap::new(),
            cookies: vec!["a=1".to_owned()],
            query_parameters: BTreeMap::from([("x".to_owned(), "1".to_owned())]),
            body: Bytes::from_static(body),
        }
    }

    fn with_event(request: &Request, make: impl FnOnce(Routed<'_>) -> Value) -> Value {
        let path_parameters = BTreeMap::from([("id".to_owned(), "a b".to_owned())]);
        make(Routed {
            api: &api(),
            request,
            path: &request.path,
            route_key: "POST /items/{id}",
            path_parameters: &path_parameters,
        })
    }

    #[test]
    fn a_function_gets_the_whole_event() {
        let context = Map::from_iter([("sub".to_owned(), json!("u1")), ("roles".to_owned(), json!(["user"]))]);
        let event = with_event(&request("application/json", b"{}"), |routed| {
            routed.function_event(Some(Caller { principal_id: None, context }))
        });
        assert_eq!(
            event,
            json!({
                "version": "2.0",
                "routeKey": "POST /items/{id}",
                "rawPath": "/items/a b",
                "rawQueryString": "x=1",
                "cookies": ["a=1"],
                "headers": { "content-type": "application/json", "user-agent": "curl" },
                "queryStringParameters": { "x": "1" },
                "pathParameters": { "id": "a b" },
                "requestContext": {
                    "accountId": "123456789012",
                    "apiId": "api",
                    "authorizer": { "lambda": { "sub": "u1", "roles": ["user"] } },
                    "domainName": "login.example.com",
                    "domainPrefix": "login",
                    "http": {
                        "method": "POST",
                        "path": "/items/a b",
                        "protocol": "HTTP/1.1",
                        "sourceIp": "203.0.113.1",
                        "userAgent": "curl",
                    },
                    "requestId": "JKJaXmPLvHcESHA=",
                    "routeKey": "POST /items/{id}",
                    "stage": "$default",
                    "time": "04/Mar/2020:19:03:58 +0000",
                    "timeEpoch": 1_583_348_638_390_u64,
                },
                "body": "{}",
                "isBase64Encoded": false,
            })
        );
    }

    #[test]
    fn an_authorizer_gets_identity_and_arn_but_no_body() {
        let event = with_event(&request("application/json", b"{}"), |routed| {
            routed.authorizer_event(&["Bearer x".to_owned(), "1".to_owned()])
        });
        assert_eq!(event["type"], "REQUEST");
        assert_eq!(event["identitySource"], json!(["Bearer x", "1"]));
        assert_eq!(event["routeArn"], "arn:aws:execute-api:eu-west-1:123456789012:api/$default/POST/items/a b");
        for absent in ["body", "isBase64Encoded"] {
            assert_eq!(event.get(absent), None, "{absent}");
        }
        assert_eq!(event["requestContext"].get("authorizer"), None);
    }

    #[test]
    fn what_is_empty_is_absent() {
        let mut request = request("", b"");
        request.cookies.clear();
        request.query_parameters.clear();
        let path_parameters = BTreeMap::new();
        let routed =
            Routed { api: &api(), request: &request, path: "/", route_key: "GET /", path_parameters: &path_parameters };
        let event = routed.function_event(None);
        for absent in ["cookies", "queryStringParameters", "pathParameters", "stageVariables", "body"] {
            assert_eq!(event.get(absent), None, "{absent}");
        }
        assert_eq!(event["requestContext"].get("authorizer"), None);
        assert_eq!(event["isBase64Encoded"], false);
    }

    #[test]
    fn bodies_are_text_or_base64() {
        let body = |content_type: &str, body: &'static [u8]| {
            let event = with_event(&request(content_type, body), |routed| routed.function_event(None));
            (event["body"].as_str().unwrap().to_owned(), event["isBase64Encoded"].as_bool().unwrap())
        };
        assert_eq!(body("text/plain", "é".as_bytes()), ("é".to_owned(), false));
        assert_eq!(body("application/json", b"\xff"), ("/w==".to_owned(), true));
        assert_eq!(body("application/octet-stream", b"abc"), ("YWJj".to_owned(), true));
        assert_eq!(body("", b"abc"), ("YWJj".to_owned(), true));
    }

    #[test]
    fn a_stage_with_a_name_is_in_front_of_every_path() {
        let api = ApiContext { stage: "prod".to_owned(), ..api() };
        for (path, expected) in [
            ("/prod/items", Some("/items")),
            ("/prod", Some("/")),
            ("/prod/", Some("/")),
            ("/prod//items", Some("//items")),
            ("/product", None),
            ("/Prod/items", None),
            ("/items", None),
            ("//prod/items", None),
            ("*", None),
        ] {
            assert_eq!(api.within_stage(path), expected, "{path}");
        }
    }

    #[test]
    fn the_content_type_decides_what_is_text() {
        for text in [
            "text/html",
            "Application/JSON; charset=utf-8",
            "application/javascript",
            "application/xml",
            "application/x-www-form-urlencoded; charset=UTF-8",
        ] {
            assert!(is_text(text), "{text}");
        }
        for binary in ["", "image/png", "application/x-www-form-urlencoded", "application/pdf; charset=latin1"] {
            assert!(!is_text(binary), "{binary}");
        }
    }
}
