//! The authorizer with the events of other kinds of API: HTTP API 1.0, REST and WebSocket. Payload format
//! 2.0 is what every other test uses.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use e2e::local::{sample_event, variable};
use e2e::{ALICE, Client, unverified};
use local_stack::install::Tools;
use local_stack::stack::{Options, Stack};
use serde_json::{Value, json};
use ureq::Agent;

/// The samples whose events have a domain name, with the stage of each.
const WITH_DOMAIN_NAME: [(&str, &str); 3] = [
    ("authorizer-http-v1", "localapi/$default"),
    ("authorizer-rest-request", "restapi/prod"),
    ("authorizer-websocket-connect", "wsapi/prod"),
];

/// Asks the authorizer behind this Invoke API.
fn ask_at(invoke_url: &str, event: &str) -> (u16, Value) {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(40)))
        .proxy(None)
        .build()
        .into();
    let url = format!("{invoke_url}/2015-03-31/functions/authorizer/invocations");
    let mut answer = agent.post(&url).send(event).unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap())
}

/// Asks the authorizer of the tests' own stack.
fn ask(event: &str) -> (u16, Value) {
    ask_at(&variable("LATCHKEY_INVOKE_URL"), event)
}

fn sample(name: &str, token: &str) -> String {
    sample_event(name).replace("ACCESS_TOKEN", token)
}

fn policy(effect: &str, stage: &str) -> Value {
    let resource = format!("arn:aws:execute-api:eu-west-1:123456789012:{stage}/*");
    let statement = json!({ "Action": "execute-api:Invoke", "Effect": effect, "Resource": resource });
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

fn allow(stage: &str, token: &str) -> (u16, Value) {
    let (_, claims) = unverified(token);
    let context = json!({
        "sub": claims["sub"], "username": "alice", "roles": "user", "sid": claims["sid"], "jti": claims["jti"],
        "exp": claims["exp"].to_string(), "epoch": claims["epoch"].to_string(),
    });
    (200, json!({ "principalId": claims["sub"], "policyDocument": policy("Allow", stage), "context": context }))
}

fn deny(stage: &str) -> (u16, Value) {
    (200, json!({ "principalId": "unauthenticated", "policyDocument": policy("Deny", stage) }))
}

fn error(error_type: &str, message: &str) -> (u16, Value) {
    (500, json!({ "errorType": error_type, "errorMessage": message }))
}

/// The response for an invalid token, by kind of API.
fn not_good(name: &str, stage: &str) -> (u16, Value) {
    if name == "authorizer-http-v1" { deny(stage) } else { error("Unauthorized", "Unauthorized") }
}

/// A token that expired long ago, of a key that is not in the key set.
fn expired_token() -> String {
    let event: Value = serde_json::from_str(&sample_event("authorizer-expired")).unwrap();
    event["identitySource"][0].as_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
}

#[test]
fn a_good_token_passes_on_the_whole_stage() {
    let token = Client::from_env().access_token(ALICE);
    for (name, stage) in WITH_DOMAIN_NAME {
        assert_eq!(ask(&sample(name, &token)), allow(stage, &token), "{name}");
    }
}

#[test]
fn a_token_that_is_not_good() {
    let token = Client::from_env().access_token(ALICE);
    for (name, stage) in WITH_DOMAIN_NAME {
        for bad in ["garbage", "", &expired_token(), &format!("{token}A"), &format!("{token},{token}")] {
            assert_eq!(ask(&sample(name, bad)), not_good(name, stage), "{name} {bad}");
        }
    }
}

#[test]
fn a_revoked_token_is_denied() {
    let client = Client::from_env();
    let token = client.access_token(ALICE);
    assert_eq!(client.post("/logout", &token).status, 204);
    for (name, stage) in WITH_DOMAIN_NAME {
        assert_eq!(ask(&sample(name, &token)), deny(stage), "{name}");
    }
}

#[test]
fn two_authorizations_are_refused_even_if_both_are_good() {
    let token = Client::from_env().access_token(ALICE);
    let bearer = format!("Bearer {token}");
    for (name, stage) in WITH_DOMAIN_NAME {
        let mut event: Value = serde_json::from_str(&sample(name, &token)).unwrap();
        let headers = event["multiValueHeaders"].as_object_mut().unwrap();
        headers.retain(|name, _| !name.eq_ignore_ascii_case("authorization"));
        headers.insert("Authorization".to_owned(), json!([bearer, bearer]));
        assert_eq!(ask(&event.to_string()), not_good(name, stage), "{name}");
        // One in a header and one in the query.
        event["multiValueHeaders"]["Authorization"] = json!([bearer]);
        event["multiValueQueryStringParameters"] = json!({ "access_token": [token] });
        assert_eq!(ask(&event.to_string()), not_good(name, stage), "{name}");
        event["multiValueQueryStringParameters"] = json!(null);
        event["queryStringParameters"] = json!(null);
        assert_eq!(ask(&event.to_string()), allow(stage, &token), "{name}: the one that is left is good");
    }
}

#[test]
fn an_event_that_cannot_be_used_is_an_error_that_repeats_nothing() {
    let token = Client::from_env().access_token(ALICE);
    for name in
        ["authorizer-http-v1", "authorizer-rest-token", "authorizer-rest-request", "authorizer-websocket-connect"]
    {
        let event: Value = serde_json::from_str(&sample(name, &token)).unwrap();
        for arn in ["*", "arn:aws:execute-api:eu-west-1:123456789012:*/*/GET/", &token] {
            let mut event = event.clone();
            event["methodArn"] = json!(arn);
            let message = "the event's methodArn is not the ARN of a method or route of API Gateway";
            assert_eq!(ask(&event.to_string()), error("EventError", message), "{name}");
        }
        let mut event = event.clone();
        event["type"] = json!(token);
        let message = "the event is not one that API Gateway sends to a Lambda authorizer";
        assert_eq!(ask(&event.to_string()), error("EventError", message), "{name}");
    }
}

#[test]
fn a_token_event_without_a_configured_issuer_is_an_error_that_says_so() {
    let token = Client::from_env().access_token(ALICE);
    let message = "the issuer is not known: an event of type TOKEN has no domain name, so LATCHKEY_ISSUER must be set";
    assert_eq!(ask(&sample("authorizer-rest-token", &token)), error("AuthorizationError", message));
    // A malformed token is rejected without an issuer.
    let event = sample("authorizer-rest-token", &token).replace("Bearer ", "Basic ");
    assert_eq!(ask(&event), error("Unauthorized", "Unauthorized"));
}

#[test]
fn a_token_event_with_a_configured_issuer() {
    let mut options = Options::for_test("issuer");
    options.parameters.insert("Issuer".to_owned(), "https://issuer.example".to_owned());
    let stack = Stack::start(&Tools::find_or_install().unwrap(), &options).unwrap();
    let client = Client::new(&stack.base_url());
    let ask = |token: &str| ask_at(&stack.invoke_url(), &sample("authorizer-rest-token", token));

    let token = client.access_token(ALICE);
    assert_eq!(unverified(&token).1["iss"], "https://issuer.example");
    assert_eq!(ask(&token), allow("restapi/prod", &token));
    for bad in ["garbage", "", &expired_token(), &format!("{token}A"), &format!("{token},Bearer {token}")] {
        assert_eq!(ask(bad), error("Unauthorized", "Unauthorized"), "{bad}");
    }
    assert_eq!(client.post("/logout", &token).status, 204);
    assert_eq!(ask(&token), deny("restapi/prod"));
}
