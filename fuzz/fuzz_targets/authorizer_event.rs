//! Any bytes as the event of the authorizer, read by the authorizer's own module: no panic, no valid token, and no
//! policy about more than one stage.
#![no_main]

use latchkey_fuzz::token_must_be_rejected;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

// The authorizer is a program, not a library: its module is compiled into this one.
#[allow(dead_code, reason = "an Allow needs a valid token")]
#[path = "../../functions/authorizer/src/event/mod.rs"]
mod event;

use event::answer::PolicyResponse;
use event::{Event, Kind};

fuzz_target!(|data: &[u8]| {
    // As lambda_runtime does it.
    let Ok(payload) = serde_json::from_slice::<Box<RawValue>>(data) else {
        return;
    };
    let Ok(event) = Event::read(&payload) else {
        return;
    };
    if let Ok(token) = event.access_token() {
        assert!(!token.contains(','), "{token}");
        token_must_be_rejected(token);
    }
    if let Kind::HttpV1(stage) | Kind::RestToken(stage) | Kind::RestRequest(stage) | Kind::WebSocketConnect(stage) =
        event.kind
    {
        let policy = serde_json::to_value(PolicyResponse::deny(stage)).expect("a policy is JSON");
        let statement = &policy["policyDocument"]["Statement"][0];
        assert_eq!(statement["Effect"], Value::from("Deny"));
        let resource = statement["Resource"].as_str().expect("a resource is text");
        let stage = resource.strip_suffix("/*").expect("a policy is about a whole stage");
        assert_eq!(stage.matches(':').count(), 5, "{resource}");
        assert_eq!(stage.matches('/').count(), 1, "{resource}");
        assert!(!stage.contains(['*', '?', '{', '}']), "{resource}");
    }
});
