//! Each call of an operation fails once, on a real DynamoDB behind a proxy that drops requests or responses.
//!
//! After a success, what should be revoked is revoked. After a failure, a retry finishes the job.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use auth::EpochSeconds;
use auth::authorization::AuthorizationError;
use auth::password::Password;
use auth::sessions::refresh::RefreshError;
use latchkey_verifier::AccessTokenClaims;
use test_support::fixture::{Fixture, Held, NOW, PASSWORD, alice};
use test_support::proxy::{Fate, Proxy};

const HOME: &str = "192.0.2.10";
const NEW_PASSWORD: &str = "a horse of quite another colour";

/// An operation of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Logout,
    LogoutEverywhere,
    EndSession,
    RevokeRefreshToken,
    RevokeAccessToken,
    ChangePassword,
    Disable,
    Reuse,
}

impl Operation {
    const ALL: [Self; 8] = [
        Self::Logout,
        Self::LogoutEverywhere,
        Self::EndSession,
        Self::RevokeRefreshToken,
        Self::RevokeAccessToken,
        Self::ChangePassword,
        Self::Disable,
        Self::Reuse,
    ];

    /// The calls it makes, once the authorizer has let it through.
    const fn calls(self) -> &'static [&'static str] {
        match self {
            Self::Logout => &["Query", "TransactWriteItems"],
            Self::LogoutEverywhere | Self::Disable | Self::EndSession | Self::RevokeRefreshToken => {
                &["GetItem", "Query", "TransactWriteItems"]
            }
            Self::RevokeAccessToken => &["Query", "PutItem"],
            Self::ChangePassword => &["GetItem", "UpdateItem", "PutItem", "Query", "TransactWriteItems"],
            Self::Reuse => &["UpdateItem", "Query", "TransactWriteItems"],
        }
    }

    /// Performs it, and returns whether the response was a success. Something that does not exist any more is a success
    /// too.
    async fn run(self, fixture: &Fixture, caller: &AccessTokenClaims, held: &Held, now: EpochSeconds) -> bool {
        match self {
            Self::Logout => fixture.logout(caller, now).await.is_ok(),
            Self::LogoutEverywhere => fixture.logout_everywhere(caller, now).await.is_ok(),
            Self::EndSession => fixture.end_own(caller, &held.sid, now).await.is_ok(),
            Self::RevokeRefreshToken => fixture.states.revoke(&held.refresh, now).await.is_ok(),
            Self::RevokeAccessToken => fixture.states.revoke(&held.access, now).await.is_ok(),
            Self::ChangePassword => {
                let password = Password::new(PASSWORD.to_owned());
                match fixture.authenticator().authenticate_again(&caller.into(), &password, None, now).await {
                    Ok(current) => fixture.change_password(current.user, NEW_PASSWORD, now).await.is_ok(),
                    Err(_) => false,
                }
            }
            Self::Disable => fixture.accounts().disable(&alice(), now).await.is_ok(),
            // The token was used before: the refusal, and not a success, reports that the session was ended.
            Self::Reuse => fixture.refresh(&held.refresh, now).await.is_err_and(|error| {
                matches!(error, RefreshError::Reused | RefreshError::SessionEnded | RefreshError::SessionExpired)
            }),
        }
    }
}

/// The session's access token is refused.
async fn is_revoked(fixture: &Fixture, access_token: &str, now: EpochSeconds) -> bool {
    let authorized = fixture.authorize(access_token, now).await;
    matches!(authorized, Err(AuthorizationError::Refused(_) | AuthorizationError::Revoked(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn success_means_revoked_and_failure_means_that_a_retry_finishes_the_job() {
    let outer = Fixture::create("faults").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    let mut minute = NOW;
    for operation in Operation::ALL {
        for broken in 0..operation.calls().len() {
            for fate in [Fate::Lost, Fate::AnswerLost] {
                let context = format!("{operation:?}, call {broken} {fate:?}");
                minute += 1;
                let now = minute;
                proxy.pass();
                let table = outer.tables.name_of("UsersTable");
                let key = aws_sdk_dynamodb::types::AttributeValue::S("alice".to_owned());
                outer.tables.client.delete_item().table_name(table).key("username", key).send().await.unwrap();
                let user = outer.add_user("alice").await;
                let mut held = fixture.begin(&user, now).await.unwrap();
                let caller = fixture.authorize(&held.access, now).await.unwrap();
                if operation == Operation::Reuse {
                    let mut next = fixture.refresh(&held.refresh, now).await.unwrap();
                    next = fixture.refresh(&next.refresh, now).await.unwrap();
                    held = Held { access: next.access, ..held };
                }
                // The keys are read again once a minute: not in between.
                fixture.authorize(&held.access, now).await.unwrap();
                fixture.tokens().ready(now).await.unwrap();

                proxy.decide(move |_, index| if index == broken { fate } else { Fate::Pass });
                let is_success = operation.run(&fixture, &caller, &held, now).await;
                let made = proxy.operations();
                assert_eq!(made[broken], operation.calls()[broken], "{context}: {made:?}");
                proxy.pass();

                let is_done = is_revoked(&outer, &held.access, now).await;
                assert!(!is_success || is_done, "{context}: success, and the token is valid");
                if !is_success && !is_done {
                    assert!(operation.run(&fixture, &caller, &held, now).await, "{context}: the retry fails");
                    assert!(
                        is_revoked(&outer, &held.access, now).await,
                        "{context}: the retry does not finish the job"
                    );
                }
                if operation != Operation::RevokeAccessToken && operation != Operation::Disable {
                    // And no new tokens can be obtained.
                    assert!(outer.refresh(&held.refresh, now).await.is_err(), "{context}");
                }
                if operation == Operation::ChangePassword {
                    // For every response, exactly one of the two passwords is valid.
                    let old = outer.authenticate("alice", PASSWORD, HOME, now).await.is_ok();
                    let new = outer.authenticate("alice", NEW_PASSWORD, HOME, now).await.is_ok();
                    assert_eq!((old, new), (false, true), "{context}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_makes_the_calls_that_are_written_down() {
    let outer = Fixture::create("faults-calls").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    for operation in Operation::ALL {
        let table = outer.tables.name_of("UsersTable");
        let key = aws_sdk_dynamodb::types::AttributeValue::S("alice".to_owned());
        outer.tables.client.delete_item().table_name(table).key("username", key).send().await.unwrap();
        let user = outer.add_user("alice").await;
        let mut held = fixture.begin(&user, NOW).await.unwrap();
        let caller = fixture.authorize(&held.access, NOW).await.unwrap();
        if operation == Operation::Reuse {
            let next = fixture.refresh(&held.refresh, NOW).await.unwrap();
            held.access = fixture.refresh(&next.refresh, NOW).await.unwrap().access;
        }
        proxy.pass();
        assert!(operation.run(&fixture, &caller, &held, NOW).await, "{operation:?}");
        assert_eq!(proxy.operations(), operation.calls(), "{operation:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_was_not_answered_leaves_no_session_that_anybody_holds_and_can_be_repeated() {
    let outer = Fixture::create("faults-login").await;
    outer.add_user("alice").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    let calls = ["GetItem", "UpdateItem", "UpdateItem", "PutItem", "PutItem"];
    let mut now = NOW;
    for broken in 0..calls.len() {
        for fate in [Fate::Lost, Fate::AnswerLost] {
            now += 60;
            fixture.login.warm_up(now).await.unwrap();
            fixture.authorizer().warm_up(now).await.unwrap();
            proxy.decide(move |_, index| if index == broken { fate } else { Fate::Pass });
            let login = match fixture.authenticate("alice", PASSWORD, HOME, now).await {
                Ok(user) => fixture.begin(&user, now).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            assert_eq!(proxy.operations(), calls[..=broken], "{broken} {fate:?}");
            // A lost response is detected by the condition of the repeated write.
            assert!(login.is_err(), "{broken} {fate:?}");
            proxy.pass();
            let user = fixture.authenticate("alice", PASSWORD, HOME, now).await.unwrap();
            let held = fixture.begin(&user, now).await.unwrap();
            assert_eq!(fixture.rejection(&held.access, now).await, None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_the_sdk_repeats_does_not_stumble_over_itself() {
    let outer = Fixture::create("faults-repeated").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    fixture.tokens().ready(NOW).await.unwrap();
    proxy.decide(|call, _| if call.attempt == 1 { Fate::AnswerLost } else { Fate::Pass });
    let user = fixture.add_user("alice").await;
    let held = fixture.begin(&user, NOW).await.unwrap();
    let next = fixture.refresh(&held.refresh, NOW).await.unwrap();
    let changed = fixture.change_password(user, NEW_PASSWORD, NOW).await.unwrap();
    assert!(is_revoked(&outer, &next.access, NOW).await);
    let caller = outer.authorize(&changed.access, NOW).await.unwrap();
    fixture.logout_everywhere(&caller, NOW).await.unwrap();
    assert_eq!(outer.user("alice").await.epoch, 2);
    assert!(is_revoked(&outer, &changed.access, NOW).await);
    assert!(proxy.calls().iter().filter(|call| call.attempt == 2).count() >= 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_in_the_way_is_waited_for_and_no_failure() {
    let outer = Fixture::create("faults-conflict").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    let user = fixture.add_user("alice").await;
    let (one, other) = (fixture.begin(&user, NOW).await.unwrap(), fixture.begin(&user, NOW).await.unwrap());
    let callers =
        [fixture.authorize(&one.access, NOW).await.unwrap(), fixture.authorize(&other.access, NOW).await.unwrap()];
    // Each write is refused once.
    proxy.decide(|call, index| {
        let is_write = ["UpdateItem", "TransactWriteItems"].contains(&call.operation.as_str());
        if is_write && index.is_multiple_of(2) { Fate::Conflict } else { Fate::Pass }
    });
    let next = fixture.refresh(&one.refresh, NOW).await.unwrap();
    proxy.decide(|_, index| if index == 1 { Fate::Conflict } else { Fate::Pass });
    fixture.logout(&callers[0], NOW).await.unwrap();
    assert!(is_revoked(&outer, &next.access, NOW).await);
    proxy.decide(|_, index| if index == 2 { Fate::Conflict } else { Fate::Pass });
    fixture.logout_everywhere(&callers[1], NOW).await.unwrap();
    assert!(is_revoked(&outer, &other.access, NOW).await);
    assert_eq!(outer.user("alice").await.epoch, 1);
    // And if the conflict never ends, the error says so.
    proxy.decide(|call, _| if call.operation == "TransactWriteItems" { Fate::Conflict } else { Fate::Pass });
    assert!(fixture.logout(&callers[0], NOW).await.is_err());
    assert!(fixture.accounts().revoke(&alice(), NOW).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_was_not_answered_can_be_repeated_within_the_grace_window() {
    let outer = Fixture::create("faults-refresh").await;
    let user = outer.add_user("alice").await;
    let proxy = Proxy::start().await;
    let fixture = Fixture::on(outer.tables.through(&proxy.endpoint));
    fixture.tokens().ready(NOW).await.unwrap();
    for broken in 0..2 {
        for fate in [Fate::Lost, Fate::AnswerLost] {
            let held = outer.begin(&user, NOW).await.unwrap();
            proxy.decide(move |_, index| if index == broken { fate } else { Fate::Pass });
            assert!(fixture.refresh(&held.refresh, NOW).await.is_err(), "{broken} {fate:?}");
            proxy.pass();
            let next = fixture.refresh(&held.refresh, NOW + 9).await.unwrap();
            assert!(fixture.refresh(&next.refresh, NOW + 60).await.is_ok(), "{broken} {fate:?}");
        }
    }
}
