//! `cargo xtask up` while it runs: every function answers, many concurrent requests are answered, a function that hangs
//! is restarted, and no web page can invoke functions.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::local::{invoke_at, sample_event};
use e2e::{ALICE, Answer, Client};
use local_stack::health::{Health, all_answer};
use local_stack::install::Tools;
use local_stack::port;
use local_stack::stack::{Options, Stack};
use serde_json::json;

#[test]
fn up_keeps_its_promises() {
    let mut options = Options::for_test("up");
    options.invoke_port = Some(port::free().unwrap());
    let mut stack = Stack::start(&Tools::find_or_install().unwrap(), &options).unwrap();
    all_answer(&mut stack).unwrap();
    let mut names = stack.function_names().to_vec();
    names.sort();
    assert_eq!(stack.functions().started(), names, "every function has answered");

    let client = Client::new(&stack.base_url());
    three_hundred_at_once_are_answered(&client);
    no_web_page_invokes_a_function_or_reads_a_table(&stack);
    a_function_that_hangs_is_started_again(&mut stack, &client, &options);
    stack.must_run().unwrap();
}

fn three_hundred_at_once_are_answered(client: &Client) {
    let token = client.access_token(ALICE);
    let requests: Vec<_> = (0..300)
        .map(|number| {
            let (client, token) = (client.clone(), token.clone());
            std::thread::spawn(move || match number % 3 {
                0 => client.get("/me", &token),
                1 => client.send("GET", "/", &[], ""),
                _ => client.login(ALICE.0, ALICE.1),
            })
        })
        .collect();
    let answers: Vec<Answer> = requests.into_iter().map(|request| request.join().unwrap()).collect();
    for answer in &answers {
        // Invocations over the limit are throttled: 503 for a function, 500 for the authorizer.
        assert!([200, 500, 503].contains(&answer.status), "{answer:?}");
    }
    assert!(answers.iter().filter(|answer| answer.status == 200).count() > 150);
    assert_eq!(client.get("/me", &token).status, 200, "and nothing hangs afterwards");
}

fn no_web_page_invokes_a_function_or_reads_a_table(stack: &Stack) {
    let invoke_port = stack.invoke_port().unwrap();
    let invoke = Client::new(&format!("http://127.0.0.1:{invoke_port}"));
    let event = sample_event("protected-with-context");
    let path = "/2015-03-31/functions/protected/invocations";
    let (status, answer) = invoke_at(&format!("http://127.0.0.1:{invoke_port}"), "protected", &event);
    assert_eq!((status, &answer["statusCode"]), (200, &json!(200)));
    let page = [("origin", "https://evil.example"), ("content-type", "text/plain")];
    assert_eq!(invoke.send("POST", path, &page, event.clone()).status, 403);
    // The functions' own address cannot be guessed by a page.
    if cfg!(target_os = "linux") {
        let url = stack.invoke_url();
        assert!(url.starts_with("http://127.") && !url.starts_with("http://127.0.0.1:"), "{url}");
    }
    let tables = Client::new(&stack.command_environment()["AWS_ENDPOINT_URL_DYNAMODB"]);
    for origin in ["https://evil.example", "null", "http://localhost:3000"] {
        let preflight = tables.send(
            "OPTIONS",
            "/",
            &[
                ("origin", origin),
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "x-amz-target,authorization,content-type"),
            ],
            "",
        );
        let allowed = preflight.header("access-control-allow-origin");
        assert!(allowed.is_none_or(|allowed| allowed != "*" && allowed != origin), "{preflight:?}");
    }
}

fn a_function_that_hangs_is_started_again(stack: &mut Stack, client: &Client, options: &Options) {
    let token = client.access_token(ALICE);
    let mut health = Health::from_now(stack);
    let pid = || std::fs::read_to_string(options.directory.join("environments/protected.pid")).unwrap();
    let hung = pid();
    assert!(Command::new("kill").args(["-STOP", &hung]).status().unwrap().success());
    assert_eq!(client.get("/me", &token).status, 503);
    let noticed = Instant::now();
    health.check(stack).unwrap();
    assert!(noticed.elapsed() < Duration::from_secs(30), "{:?}", noticed.elapsed());
    assert_ne!(pid(), hung);
    assert_eq!(client.get("/me", &token).status, 200);
    // There are no checks while no request waits in vain.
    let asked = |stack: &Stack| std::fs::read_to_string(stack.functions_log()).unwrap().matches("is-it-there").count();
    let before = asked(stack);
    health.check(stack).unwrap();
    assert_eq!(asked(stack), before);
}
