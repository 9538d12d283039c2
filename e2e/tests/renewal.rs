//! A process that has answered many events replaces itself, and clients do not notice.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use lambda_host::{Environment, Function};
use local_stack::workspace;
use shared::event_loop::EVENTS_OF_A_PROCESS;

#[tokio::test]
async fn a_process_begins_anew_after_many_events_and_every_event_is_answered() {
    let function = Function {
        name: "protected".to_owned(),
        program: workspace::binary("protected"),
        arguments: Vec::new(),
        variables: [("AWS_REGION".to_owned(), "eu-west-1".to_owned())].into(),
        memory_megabytes: 128,
        timeout_seconds: 10,
    };
    let event = e2e::local::sample_event("protected-without-context");
    let mut environment = Environment::start_silently(&function).await.unwrap();
    let first = environment.invoke(event.clone().into()).await.unwrap();
    assert!(!first.is_error, "{first:?}");
    for _ in 2..EVENTS_OF_A_PROCESS {
        assert_eq!(environment.invoke(event.clone().into()).await.unwrap().payload, first.payload);
    }
    let before = environment.usage().unwrap();
    // This returns when the process asks for the next event, under the same process id.
    assert_eq!(environment.invoke(event.clone().into()).await.unwrap().payload, first.payload);
    let renewed = environment.usage().unwrap();
    assert!(renewed.peak_rss_bytes < before.peak_rss_bytes, "it is still the old one: {before:?}, then {renewed:?}");
    for _ in 0..10 {
        assert_eq!(environment.invoke(event.clone().into()).await.unwrap().payload, first.payload);
    }
    environment.end().await.unwrap();
}
