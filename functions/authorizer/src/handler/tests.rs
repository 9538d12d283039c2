use auth::revocation::Revoked;
use auth::store::StoreError;
use serde::Serialize;
use serde_json::json;

use super::*;

fn caller(roles: &[&str]) -> Caller {
    Caller {
        sub: "ZNvqBjS3nUwm0TCRI0bKtg".to_owned(),
        username: "alice".to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        sid: "wzrVrBYV2EvgI9lvhtUvWA".to_owned(),
        jti: "NQ2gNCk0sPjBmRNxE_ytRA".to_owned(),
        exp: 1_795_436_100,
        epoch: 3,
    }
}

fn kind(event: &str) -> Kind {
    Event::read(&RawValue::from_string(event.trim().to_owned()).unwrap()).ok().unwrap().kind
}

fn http_v1() -> Kind {
    kind(include_str!("../../../../events/authorizer-http-v1.json"))
}

/// The kinds that a REST or a WebSocket API has, each with the stage of its sample.
fn rest_and_web_socket() -> [(Kind, &'static str); 3] {
    [
        (kind(include_str!("../../../../events/authorizer-rest-token.json")), "restapi/prod"),
        (kind(include_str!("../../../../events/authorizer-rest-request.json")), "restapi/prod"),
        (kind(include_str!("../../../../events/authorizer-websocket-connect.json")), "wsapi/prod"),
    ]
}

fn text(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).unwrap()
}

fn allow(stage: &str) -> String {
    let resource = format!("arn:aws:execute-api:eu-west-1:123456789012:{stage}/*");
    let statement = format!(r#"{{"Action":"execute-api:Invoke","Effect":"Allow","Resource":"{resource}"}}"#);
    let context = concat!(
        r#"{"sub":"ZNvqBjS3nUwm0TCRI0bKtg","username":"alice","roles":"user admin","sid":"wzrVrBYV2EvgI9lvhtUvWA","#,
        r#""jti":"NQ2gNCk0sPjBmRNxE_ytRA","exp":"1795436100","epoch":"3"}"#,
    );
    format!(
        r#"{{"principalId":"ZNvqBjS3nUwm0TCRI0bKtg","policyDocument":{{"Version":"2012-10-17","Statement":[{statement}]}},"context":{context}}}"#
    )
}

fn deny(stage: &str) -> String {
    let resource = format!("arn:aws:execute-api:eu-west-1:123456789012:{stage}/*");
    let statement = format!(r#"{{"Action":"execute-api:Invoke","Effect":"Deny","Resource":"{resource}"}}"#);
    format!(
        r#"{{"principalId":"unauthenticated","policyDocument":{{"Version":"2012-10-17","Statement":[{statement}]}}}}"#
    )
}

const REJECTIONS: [Rejection; 2] = [Rejection::NotValid, Rejection::Revoked];

#[test]
fn http_v2_gets_simple_responses() {
    assert_eq!(
        text(&allowed(Kind::HttpV2, caller(&["user", "admin"])).ok().unwrap()),
        concat!(
            r#"{"isAuthorized":true,"context":{"sub":"ZNvqBjS3nUwm0TCRI0bKtg","username":"alice","#,
            r#""roles":["user","admin"],"sid":"wzrVrBYV2EvgI9lvhtUvWA","jti":"NQ2gNCk0sPjBmRNxE_ytRA","#,
            r#""exp":1795436100,"epoch":3}}"#,
        )
    );
    for rejection in REJECTIONS {
        assert_eq!(text(&rejected(Kind::HttpV2, rejection).ok().unwrap()), r#"{"isAuthorized":false}"#);
    }
}

#[test]
fn http_v1_gets_policies() {
    let answer = allowed(http_v1(), caller(&["user", "admin"])).ok().unwrap();
    assert_eq!(text(&answer), allow("localapi/$default"));
    for rejection in REJECTIONS {
        assert_eq!(text(&rejected(http_v1(), rejection).ok().unwrap()), deny("localapi/$default"), "{rejection:?}");
    }
}

#[test]
fn rest_and_web_socket_get_a_policy_or_unauthorized() {
    for (kind, stage) in rest_and_web_socket() {
        let answer = allowed(kind.clone(), caller(&["user", "admin"])).ok().unwrap();
        assert_eq!(text(&answer), allow(stage));
        assert_eq!(text(&rejected(kind.clone(), Rejection::Revoked).ok().unwrap()), deny(stage));
        let error = rejected(kind, Rejection::NotValid).unwrap_err();
        assert_eq!(text(&error), r#"{"errorType":"Unauthorized","errorMessage":"Unauthorized"}"#);
    }
}

#[test]
fn a_revoked_token_is_distinguished_from_an_invalid_one() {
    let of = |error| DecisionError::Authorization(error).rejection();
    assert_eq!(of(Refusal::Expired.into()), Some(Rejection::NotValid));
    for revoked in [Revoked::Token, Revoked::Session, Revoked::Epoch, Revoked::TooMany] {
        assert_eq!(of(revoked.into()), Some(Rejection::Revoked), "{revoked:?}");
    }
    assert_eq!(of(StoreError::MalformedItem { table: "denylist", attribute: "jti" }.into()), None);
    assert_eq!(DecisionError::NoIssuer.rejection(), None);
}

#[test]
fn a_policy_of_another_partition_stays_there() {
    let arn = "arn:aws-cn:execute-api:cn-north-1:123456789012:api/prod/GET/";
    let event = json!({ "type": "TOKEN", "methodArn": arn }).to_string();
    let answer = serde_json::to_value(rejected(kind(&event), Rejection::Revoked).ok().unwrap()).unwrap();
    assert_eq!(
        answer["policyDocument"]["Statement"][0]["Resource"],
        "arn:aws-cn:execute-api:cn-north-1:123456789012:api/prod/*"
    );
}

#[test]
fn no_roles_are_an_empty_string() {
    let answer = serde_json::to_value(allowed(http_v1(), caller(&[])).ok().unwrap()).unwrap();
    assert_eq!(answer["context"]["roles"], "");
}

#[test]
fn a_role_that_would_become_two_is_an_error() {
    for role in ["user admin", "", " ", "a\tb", "a\u{a0}b"] {
        let error = allowed(http_v1(), caller(&["user", role])).unwrap_err();
        assert_eq!(error.error_message, "a role of the token is empty or has a space", "{role:?}");
    }
}

#[test]
fn what_is_not_known_is_an_error_and_not_the_word_that_makes_a_401() {
    let store = StoreError::MalformedItem { table: "denylist", attribute: "jti" };
    for error in [AuthorizationError::from(store).into(), DecisionError::NoIssuer] {
        for kind in rest_and_web_socket().into_iter().map(|(kind, _)| kind).chain([Kind::HttpV2, http_v1()]) {
            let told = failed(&kind, &error);
            assert_eq!(told.error_type, "AuthorizationError");
            let expected = match (&error, &kind) {
                (DecisionError::NoIssuer, Kind::RestToken(_)) => {
                    "the issuer is not known: an event of type TOKEN has no domain name, so LATCHKEY_ISSUER must be set"
                        .to_owned()
                }
                _ => error.to_string(),
            };
            assert_eq!(told.error_message, expected);
        }
    }
}

#[test]
fn an_event_that_cannot_be_used_is_not_repeated() {
    let secret = "eyJSECRET";
    for event in [
        json!(secret),
        json!({ "type": secret }),
        json!({ "type": "TOKEN", "methodArn": secret, "authorizationToken": secret }),
        json!({ "type": "TOKEN", "methodArn": 1, "authorizationToken": secret }),
        json!({ "version": secret, "type": "REQUEST", "requestContext": {} }),
        json!({ "type": "REQUEST", "methodArn": "arn:", "headers": { secret: secret }, "requestContext": {} }),
        json!({ "type": "REQUEST", "methodArn": "arn:", "headers": secret, "requestContext": secret }),
    ] {
        let payload = RawValue::from_string(event.to_string()).unwrap();
        let error = unusable(Event::read(&payload).err().unwrap());
        assert_eq!(error.error_type, "EventError");
        assert!(!error.error_message.contains(secret), "{}", error.error_message);
        assert_ne!(error.error_message, "Unauthorized");
    }
}
