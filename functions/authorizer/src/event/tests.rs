use super::*;
use serde_json::{Value, json};

const HTTP_V2: &str = include_str!("../../../../events/authorizer-good.json");
const HTTP_V1: &str = include_str!("../../../../events/authorizer-http-v1.json");
const REST_TOKEN: &str = include_str!("../../../../events/authorizer-rest-token.json");
const REST_REQUEST: &str = include_str!("../../../../events/authorizer-rest-request.json");
const WEB_SOCKET: &str = include_str!("../../../../events/authorizer-websocket-connect.json");
const ALL: [&str; 5] = [HTTP_V2, HTTP_V1, REST_TOKEN, REST_REQUEST, WEB_SOCKET];

fn value(event: &str) -> Value {
    serde_json::from_str(event).unwrap()
}

fn read(event: &str) -> Result<Event<'static>, EventError> {
    // An event borrows from its payload. A test is short enough to keep each.
    Event::read(Box::leak(RawValue::from_string(event.trim().to_owned()).unwrap()))
}

fn read_value(event: &Value) -> Result<Event<'static>, EventError> {
    read(&event.to_string())
}

/// The event with the values at these paths (RFC 6901) replaced.
fn with(event: &str, changes: &[(&str, Value)]) -> Event<'static> {
    let mut event = value(event);
    for (path, to) in changes {
        *event.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = to.clone();
    }
    read_value(&event).ok().unwrap()
}

fn token(event: &Event<'_>) -> Result<String, Refusal> {
    event.access_token().map(str::to_owned)
}

fn stage(api: &str) -> Stage {
    Stage::of(&format!("arn:aws:execute-api:eu-west-1:123456789012:{api}/GET/")).unwrap()
}

#[test]
fn every_kind_is_told_apart_and_read() {
    let localhost = Some("localhost");
    let get = Some("GET /protected-resource");
    for (event, kind, domain_name, request_id, route) in [
        (HTTP_V2, Kind::HttpV2, localhost, Some("sample-get-protected-resource"), get),
        (HTTP_V1, Kind::HttpV1(stage("localapi/$default")), localhost, Some("sample-http-v1"), get),
        (REST_TOKEN, Kind::RestToken(stage("restapi/prod")), None, None, None),
        (REST_REQUEST, Kind::RestRequest(stage("restapi/prod")), localhost, Some("sample-rest-request"), get),
        (
            WEB_SOCKET,
            Kind::WebSocketConnect(stage("wsapi/prod")),
            localhost,
            Some("sample-websocket-connect"),
            Some("$connect"),
        ),
    ] {
        let event = read(event).ok().unwrap();
        assert_eq!(token(&event), Ok("ACCESS_TOKEN".to_owned()), "{kind:?}");
        assert_eq!(event.domain_name.as_deref(), domain_name, "{kind:?}");
        assert_eq!(event.request_id.as_deref(), request_id, "{kind:?}");
        assert_eq!(event.route.as_deref(), route, "{kind:?}");
        assert_eq!(event.kind, kind);
    }
}

#[test]
fn of_a_request_only_the_context_and_the_arn_must_be_there() {
    let arn = "arn:aws:execute-api:eu-west-1:123456789012:api/prod/GET/";
    for event in [
        json!({ "version": "2.0", "type": "REQUEST", "requestContext": {} }),
        json!({ "version": "2.0", "type": "REQUEST", "headers": null, "queryStringParameters": null, "requestContext": {} }),
        json!({ "version": "1.0", "type": "REQUEST", "methodArn": arn, "requestContext": {} }),
        json!({ "type": "REQUEST", "methodArn": arn, "requestContext": {} }),
        json!({ "type": "REQUEST", "methodArn": arn, "headers": null, "multiValueHeaders": null,
                "queryStringParameters": null, "multiValueQueryStringParameters": null, "requestContext": {} }),
        json!({ "type": "REQUEST", "methodArn": arn,
                "requestContext": { "connectionId": "a", "eventType": "CONNECT" } }),
        json!({ "type": "TOKEN", "methodArn": arn }),
        json!({ "type": "TOKEN", "methodArn": arn, "authorizationToken": null }),
    ] {
        assert_eq!(token(&read_value(&event).ok().unwrap()), Err(Refusal::NoAuthorization), "{event}");
    }
}

#[test]
fn two_headers_of_one_name_are_seen_although_the_other_map_has_one() {
    let twice = [
        json!(["Bearer ACCESS_TOKEN", "Bearer ACCESS_TOKEN"]),
        json!(["Bearer ACCESS_TOKEN", "Basic YTpi"]),
        json!(["Bearer ACCESS_TOKEN", ""]),
    ];
    for (event, path) in
        [(HTTP_V1, "/multiValueHeaders/authorization"), (REST_REQUEST, "/multiValueHeaders/Authorization")]
    {
        for values in &twice {
            let event = with(event, &[(path, values.clone())]);
            assert_eq!(token(&event), Err(Refusal::SeveralAuthorizations), "{values}");
        }
        for values in [json!(["", "Bearer ACCESS_TOKEN"]), json!(["Basic YTpi", "Bearer ACCESS_TOKEN"])] {
            assert_eq!(token(&with(event, &[(path, values)])), Err(Refusal::SeveralAuthorizations));
        }
    }
}

#[test]
fn a_name_without_a_value_is_there() {
    for (event, path) in
        [(HTTP_V1, "/multiValueHeaders/authorization"), (REST_REQUEST, "/multiValueHeaders/Authorization")]
    {
        assert_eq!(token(&with(event, &[(path, json!([]))])), Err(Refusal::NotBearer));
        let query = ("/multiValueQueryStringParameters", json!({ "access_token": [] }));
        assert_eq!(token(&with(event, &[query])), Err(Refusal::SeveralAuthorizations));
    }
    let header = ("/multiValueHeaders", json!({ "Authorization": [] }));
    let query = ("/multiValueQueryStringParameters", json!({}));
    assert_eq!(token(&with(WEB_SOCKET, &[header, query])), Err(Refusal::NotBearer));
}

#[test]
fn payload_2_0_has_no_maps_of_several_values() {
    let mut event = value(HTTP_V2);
    event["multiValueHeaders"] = json!({ "authorization": ["Bearer ANOTHER"] });
    event["multiValueQueryStringParameters"] = json!({ "access_token": ["ANOTHER"] });
    assert_eq!(token(&read_value(&event).ok().unwrap()), Ok("ACCESS_TOKEN".to_owned()));
}

#[test]
fn a_name_that_is_twice_in_one_map_is_two() {
    let once = r#""authorization": "Bearer ACCESS_TOKEN""#;
    assert!(HTTP_V2.contains(once));
    for other in [once, r#""authorization": "Basic YTpi""#, r#""Authoriz\u0061tion": "Bearer ACCESS_TOKEN""#] {
        let event = read(&HTTP_V2.replace(once, &format!("{once}, {other}"))).ok().unwrap();
        assert_eq!(token(&event), Err(Refusal::SeveralAuthorizations), "{other}");
    }
    let twice = HTTP_V2.replacen('{', r#"{ "headers": {},"#, 1);
    assert_eq!(read(&twice).err(), Some(EventError::NotAnAuthorizerEvent));
}

#[test]
fn what_is_escaped_is_read_as_what_it_means() {
    let event = HTTP_V2
        .replace(
            r#""authorization": "Bearer ACCESS_TOKEN""#,
            r#""\u0061uthorization": "B\u0065arer ACCESS\u005fTOKEN""#,
        )
        .replace(r#""REQUEST""#, r#""REQUES\u0054""#);
    let event = read(&event).ok().unwrap();
    assert_eq!((token(&event), event.kind), (Ok("ACCESS_TOKEN".to_owned()), Kind::HttpV2));
}

#[test]
fn headers_that_differ_only_in_case_are_two() {
    let mut event = value(REST_REQUEST);
    event["multiValueHeaders"]["authorization"] = json!(["Bearer ACCESS_TOKEN"]);
    assert_eq!(token(&read_value(&event).ok().unwrap()), Err(Refusal::SeveralAuthorizations));
}

#[test]
fn without_the_map_of_several_values_the_other_counts() {
    for (event, path) in [(HTTP_V1, "/headers/authorization"), (REST_REQUEST, "/headers/Authorization")] {
        let without = ("/multiValueHeaders", json!(null));
        assert_eq!(token(&with(event, std::slice::from_ref(&without))), Ok("ACCESS_TOKEN".to_owned()));
        let joined = json!("Bearer ACCESS_TOKEN,Bearer ACCESS_TOKEN");
        assert_eq!(token(&with(event, &[without, (path, joined)])), Err(Refusal::SeveralAuthorizations));
    }
}

#[test]
fn what_is_not_one_bearer_token() {
    for (authorization, refusal) in [
        ("", Refusal::NotBearer),
        ("ACCESS_TOKEN", Refusal::NotBearer),
        ("Basic YTpi", Refusal::NotBearer),
        ("Bearer  ACCESS_TOKEN", Refusal::NotBearer),
        ("Bearer ACCESS_TOKEN,Bearer ACCESS_TOKEN", Refusal::SeveralAuthorizations),
        ("Bearer ACCESS_TOKEN, Bearer ACCESS_TOKEN", Refusal::SeveralAuthorizations),
    ] {
        for (event, path, to) in [
            (HTTP_V2, "/headers/authorization", json!(authorization)),
            (HTTP_V1, "/multiValueHeaders/authorization", json!([authorization])),
            (REST_TOKEN, "/authorizationToken", json!(authorization)),
            (REST_REQUEST, "/multiValueHeaders/Authorization", json!([authorization])),
        ] {
            assert_eq!(token(&with(event, &[(path, to)])), Err(refusal), "{authorization:?} at {path}");
        }
    }
}

#[test]
fn only_a_web_socket_takes_the_token_from_the_query() {
    for event in [HTTP_V1, REST_REQUEST] {
        let query = [
            ("/queryStringParameters", json!({ "access_token": "ACCESS_TOKEN" })),
            ("/multiValueQueryStringParameters", json!({ "access_token": ["ACCESS_TOKEN"] })),
        ];
        assert_eq!(token(&with(event, &query)), Err(Refusal::SeveralAuthorizations));
        let no_headers = [("/headers", json!({})), ("/multiValueHeaders", json!({}))];
        assert_eq!(token(&with(event, &[query, no_headers].concat())), Err(Refusal::NoAuthorization));
    }
}

#[test]
fn a_web_socket_takes_one_token_from_one_place() {
    let header = ("/multiValueHeaders", json!({ "Authorization": ["Bearer FROM_HEADER"] }));
    let query = |values: Value| ("/multiValueQueryStringParameters", values);
    let of = |changes: &[(&str, Value)]| token(&with(WEB_SOCKET, changes));
    assert_eq!(
        of(&[header.clone(), query(json!(null)), ("/queryStringParameters", json!(null))]),
        Ok("FROM_HEADER".into())
    );
    assert_eq!(of(&[query(json!({ "access_token": ["FROM_QUERY"] }))]), Ok("FROM_QUERY".into()));
    assert_eq!(of(&[query(json!(null))]), Ok("ACCESS_TOKEN".into()));

    assert_eq!(of(&[header]), Err(Refusal::SeveralAuthorizations));
    assert_eq!(of(&[query(json!({ "access_token": ["a", "a"] }))]), Err(Refusal::SeveralAuthorizations));
    assert_eq!(of(&[query(json!({ "Access_Token": ["a"] }))]), Err(Refusal::NoAuthorization));
    assert_eq!(of(&[query(json!({}))]), Err(Refusal::NoAuthorization));
    // A wrong header is not replaced by the query parameter.
    let wrong = json!({ "Authorization": ["Basic YTpi"] });
    assert!(of(&[("/multiValueHeaders", wrong)]).is_err());
    // A subprotocol is not read.
    let subprotocol = json!({ "Sec-WebSocket-Protocol": ["ACCESS_TOKEN"] });
    assert_eq!(of(&[("/multiValueHeaders", subprotocol), query(json!({}))]), Err(Refusal::NoAuthorization));
}

#[test]
fn no_header_or_parameter_makes_it_another_kind() {
    let mut event = value(REST_REQUEST);
    for name in ["version", "type", "connectionId", "eventType", "methodArn"] {
        event["headers"][name] = json!("2.0");
        event["queryStringParameters"][name] = json!("CONNECT");
    }
    assert_eq!(read_value(&event).ok().unwrap().kind, Kind::RestRequest(stage("restapi/prod")));
}

#[test]
fn what_is_not_an_authorizer_event() {
    let mut events = vec![json!(null), json!([]), json!(1), json!("text"), json!({}), json!({ "Records": [] })];
    for event in ALL {
        let mut change = |path: &str, to: Value| {
            let mut event = value(event);
            if let Some(place) = event.pointer_mut(path) {
                *place = to;
                events.push(event);
            }
        };
        change("/type", json!(null));
        change("/type", json!("request"));
        change("/type", json!("REQUEST "));
        change("/version", json!("3.0"));
        change("/version", json!(2.0));
        change("/methodArn", json!(null));
        change("/methodArn", json!([]));
        change("/requestContext", json!(null));
        change("/requestContext", json!("text"));
        change("/requestContext/eventType", json!("MESSAGE"));
        change("/requestContext/eventType", json!(null));
        change("/requestContext/connectionId", json!(null));
        change("/headers", json!([]));
        change("/multiValueHeaders", json!({ "authorization": "Bearer ACCESS_TOKEN" }));
        change("/authorizationToken", json!({ "a": 1 }));
    }
    for event in events {
        assert_eq!(read_value(&event).err(), Some(EventError::NotAnAuthorizerEvent), "{event}");
    }
    for event in ALL {
        let mut event = value(event);
        event["type"] = json!("TOKEN");
        event["version"] = json!("2.0");
        assert_eq!(read_value(&event).err(), Some(EventError::NotAnAuthorizerEvent), "{event}");
    }
}

#[test]
fn a_malformed_arn_is_an_error_wherever_a_policy_would_need_it() {
    for event in [HTTP_V1, REST_TOKEN, REST_REQUEST, WEB_SOCKET] {
        for arn in ["", "*", "arn:aws:execute-api:eu-west-1:123456789012:api/*/GET/"] {
            let mut event = value(event);
            event["methodArn"] = json!(arn);
            assert_eq!(read_value(&event).err(), Some(EventError::MalformedArn), "{event}");
        }
    }
}
