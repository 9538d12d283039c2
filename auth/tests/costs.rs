//! The DynamoDB calls of each operation, in order, and the capacity units that they consume.
//!
//! The table is that of docs/ARCHITECTURE.md. DynamoDB Local counts transactions and empty reads
//! differently from DynamoDB, so units are only tested where both agree.
//!
//! `cargo xtask test -- --test costs -- --nocapture` prints it.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::print_stdout, reason = "it prints a table")]

use auth::authentication::Authenticated;
use auth::device::DeviceToken;
use auth::network::SourceNetwork;
use auth::password::Password;
use auth::session::SignedIn;
use aws_lc_rs::rand::SystemRandom;
use test_support::fixture::{Fixture, NOW, PASSWORD};
use test_support::proxy::Proxy;

const HOME: &str = "192.0.2.10";

struct Cost {
    calls: Vec<String>,
    read: f64,
    write: f64,
}

/// The calls since the previous call of this function.
fn cost_of_calls(proxy: &Proxy) -> Cost {
    let is_read = |operation: &str| ["GetItem", "Query", "BatchGetItem"].contains(&operation);
    let calls = proxy.calls();
    let units = |read: bool| -> f64 {
        calls.iter().filter(|call| is_read(&call.operation) == read).map(|call| call.units).fold(0.0, |a, b| a + b)
    };
    let calls_made = calls.iter().map(|call| call.operation.clone()).collect();
    let cost = Cost { calls: calls_made, read: units(true), write: units(false) };
    proxy.pass();
    cost
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table")]
async fn what_operations_cost() {
    let outer = Fixture::create("costs").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    let network = SourceNetwork::of(HOME);
    fixture.login.warm_up(NOW).await.unwrap();
    fixture.authorizer().warm_up(NOW).await.unwrap();
    let mut costs = Vec::new();
    proxy.pass();
    let mut note = |operation: &'static str| costs.push((operation, cost_of_calls(&proxy)));

    let password = Password::new(PASSWORD.to_owned());
    fixture.registration.register("alice", &password, network.as_ref(), NOW).await.unwrap();
    note("registration");

    let Authenticated { user, device } = fixture.authenticate_on(None, "alice", PASSWORD, HOME, NOW).await.unwrap();
    let held = fixture.begin(&user, NOW).await.unwrap();
    note("login");
    let user = fixture.authenticate_on(Some(&device), "alice", PASSWORD, HOME, NOW + 45).await.unwrap().user;
    fixture.begin(&user, NOW).await.unwrap();
    note("login, known device");
    // Functions of their own, because keys are read again once a minute.
    let later = Fixture::on(outer.tables.through(&proxy.endpoint));
    later.login.warm_up(NOW + 90).await.unwrap();
    cost_of_calls(&proxy);
    let mut note = |operation: &'static str| costs.push((operation, cost_of_calls(&proxy)));
    let unknown = DeviceToken::random(&SystemRandom::new()).unwrap();
    let user = later.authenticate_on(Some(&unknown), "alice", PASSWORD, HOME, NOW + 90).await.unwrap().user;
    later.begin(&user, NOW + 90).await.unwrap();
    note("login, unknown device");
    fixture.authenticate("alice", "wrong", HOME, NOW).await.unwrap_err();
    note("login, wrong password");
    fixture.authenticate("nobody", "wrong", HOME, NOW).await.unwrap_err();
    note("login, unknown user");
    fixture.authenticate_on(Some(&device), "alice", "wrong", HOME, NOW).await.unwrap_err();
    note("login, wrong password, known device");
    fixture.authenticate_on(Some(&unknown), "nobody", "wrong", HOME, NOW).await.unwrap_err();
    note("login, unknown user, unknown device");
    fixture.authenticate("nobody", "wrong", HOME, NOW).await.unwrap_err();
    cost_of_calls(&proxy);
    let mut note = |operation: &'static str| costs.push((operation, cost_of_calls(&proxy)));
    fixture.authenticate("nobody", "wrong", HOME, NOW).await.unwrap_err();
    note("login, the account has to wait");
    while outer.throttle.count("login", network.as_ref(), NOW).await.is_ok() {}
    fixture.authenticate("alice", PASSWORD, HOME, NOW).await.unwrap_err();
    note("login, the address has to wait");

    fixture.authorize(&format!("{}x", held.access), NOW).await.unwrap_err();
    note("request, token refused");
    let caller = fixture.authorize(&held.access, NOW).await.unwrap();
    note("request, token accepted");

    let next = fixture.refresh(&held.refresh, NOW).await.unwrap();
    note("refresh");
    fixture.refresh(&format!("{}x", held.refresh), NOW).await.unwrap_err();
    note("refresh, not ours");
    fixture.throttle.count("refresh", network.as_ref(), NOW).await.unwrap();
    note("counting a failed refresh");

    fixture.list(&caller, NOW).await;
    note("list of one session");
    fixture.states.introspect(&next.access, None, NOW).await.unwrap();
    note("introspection, access token");
    fixture.states.introspect(&next.refresh, None, NOW).await.unwrap();
    note("introspection, refresh token");
    fixture.states.revoke(&held.access, NOW).await.unwrap();
    note("revocation, access token");
    let other = fixture.begin(&user, NOW).await.unwrap();
    cost_of_calls(&proxy);
    let mut note = |operation: &'static str| costs.push((operation, cost_of_calls(&proxy)));
    fixture.states.revoke(&other.refresh, NOW).await.unwrap();
    note("revocation, refresh token");

    let password = Password::new(PASSWORD.to_owned());
    let user = fixture
        .authenticator()
        .authenticate_again(&SignedIn::from(&caller), &password, None, NOW + 135)
        .await
        .unwrap()
        .user;
    let held = fixture.change_password(user, "a horse of quite another colour", NOW).await.unwrap();
    note("change of the password");
    let caller = outer.authorize(&held.access, NOW).await.unwrap();
    fixture.end_own(&caller, &held.sid, NOW).await.unwrap();
    note("end of one session");
    fixture.logout(&caller, NOW).await.unwrap();
    note("logout, repeated");
    let held = fixture.begin(&outer.user("alice").await, NOW).await.unwrap();
    let caller = outer.authorize(&held.access, NOW).await.unwrap();
    cost_of_calls(&proxy);
    let mut note = |operation: &'static str| costs.push((operation, cost_of_calls(&proxy)));
    fixture.logout(&caller, NOW).await.unwrap();
    note("logout");
    fixture.logout_everywhere(&caller, NOW).await.unwrap();
    note("logout everywhere");

    let cost_of = |operation: &str| &costs.iter().find(|(name, _)| *name == operation).unwrap().1;
    for (operation, calls) in [
        ("registration", "UpdateItem UpdateItem GetItem PutItem"),
        ("login", "GetItem UpdateItem UpdateItem PutItem PutItem"),
        ("login, wrong password", "GetItem UpdateItem UpdateItem UpdateItem UpdateItem"),
        ("login, unknown user", "GetItem UpdateItem UpdateItem UpdateItem UpdateItem"),
        ("login, known device", "GetItem UpdateItem PutItem PutItem"),
        ("login, unknown device", "GetItem UpdateItem UpdateItem UpdateItem PutItem PutItem"),
        ("login, wrong password, known device", "GetItem UpdateItem UpdateItem"),
        ("login, unknown user, unknown device", "GetItem UpdateItem UpdateItem UpdateItem UpdateItem UpdateItem"),
        ("login, the account has to wait", "GetItem UpdateItem UpdateItem"),
        ("login, the address has to wait", "GetItem UpdateItem GetItem"),
        ("request, token refused", ""),
        ("request, token accepted", "Query"),
        ("refresh", "UpdateItem GetItem"),
        ("refresh, not ours", ""),
        ("counting a failed refresh", "UpdateItem UpdateItem"),
        ("list of one session", "Query BatchGetItem"),
        ("introspection, access token", "Query"),
        ("introspection, refresh token", "GetItem GetItem"),
        ("revocation, access token", "Query PutItem"),
        ("revocation, refresh token", "GetItem Query TransactWriteItems"),
        ("change of the password", "GetItem UpdateItem PutItem Query TransactWriteItems"),
        ("end of one session", "GetItem Query TransactWriteItems"),
        ("logout, repeated", "Query TransactWriteItems"),
        ("logout", "Query TransactWriteItems"),
        ("logout everywhere", "GetItem Query TransactWriteItems"),
    ] {
        let Cost { calls: made, read, write } = cost_of(operation);
        println!("| {operation} | {} | {read} | {write} |", made.join(", "));
        assert_eq!(made.join(" "), calls, "{operation}");
    }
    let units = |operation| (cost_of(operation).read, cost_of(operation).write);
    assert_eq!(units("login"), (1.0, 5.0), "the session's row and its index");
    assert_eq!(units("refresh"), (1.0, 1.0), "no write to the index");
    assert_eq!(units("request, token refused"), (0.0, 0.0));
}
