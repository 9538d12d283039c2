//! Registration, passwords, logout everywhere, a user's own sessions, introspection and revocation, on a real DynamoDB.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;

use auth::EpochSeconds;
use auth::accounts::AccountError;
use auth::authentication::AuthenticationError;
use auth::introspection::ActiveToken;
use auth::login::ChangePasswordError;
use auth::password::Password;
use auth::revocation::Revoked;
use auth::session::IDLE_LIFETIME_SECONDS;
use auth::sessions::Ending;
use auth::sessions::refresh::RefreshError;
use auth::store::users::{Addition, Update};
use auth::user::User;
use auth::username::{Username, UsernameError};
use aws_sdk_dynamodb::types::AttributeValue;
use secrecy::ExposeSecret as _;
use test_support::fixture::{Fixture, Held, LIFETIME_SECONDS, NOW, PASSWORD, alice, source};

const HOME: &str = "192.0.2.10";
const NEW_PASSWORD: &str = "a horse of quite another colour";

async fn register(fixture: &Fixture, username: &str) -> Result<User, AccountError> {
    fixture.register(username, PASSWORD).await
}

/// A fixture with alice in it, and two of her sessions.
async fn signed_in_twice(test: &str) -> (Fixture, Held, Held) {
    let fixture = Fixture::create(test).await;
    let user = fixture.add_user("alice").await;
    let (one, other) = (fixture.begin(&user, NOW).await.unwrap(), fixture.begin(&user, NOW + 1).await.unwrap());
    (fixture, one, other)
}

#[tokio::test]
async fn a_registered_user_logs_in_and_has_the_role_of_users() {
    let fixture = Fixture::create("register").await;
    let user = register(&fixture, "Alice").await.unwrap();
    assert_eq!((user.username.as_str(), user.roles[0].as_str(), user.roles.len()), ("alice", "user", 1));
    assert_eq!(fixture.authenticate("ALICE", PASSWORD, HOME, NOW).await.unwrap().user_id, user.user_id);
}

#[tokio::test]
async fn a_registration_is_refused_for_its_name_or_its_password() {
    let fixture = Fixture::create("register-refused").await;
    assert!(matches!(register(&fixture, "a b").await, Err(AccountError::Username(_))));
    for weak in ["short", "passwordpassword", "alicealicealicealice"] {
        let refused = fixture.register("alice", weak).await;
        assert!(matches!(refused, Err(AccountError::Password(_))), "{weak}");
    }
    assert!(fixture.users.find(&alice()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_user_whose_name_violates_a_newer_rule_signs_in_and_is_managed() {
    let fixture = Fixture::create("old-name").await;
    // A filler that is a letter to Unicode: earlier releases allowed it.
    let old = "al\u{1160}ice";
    assert!(matches!(register(&fixture, old).await, Err(AccountError::Username(UsernameError::Invisible('\u{1160}')))));
    let user = User { username: Username::from_stored(old), ..fixture.add_user("alice").await };
    assert_eq!(fixture.users.add(&user).await.unwrap(), Addition::Added);
    let authenticated = fixture.authenticate(old, PASSWORD, HOME, NOW).await.unwrap();
    assert_eq!(authenticated.username, user.username);
    let held = fixture.begin(&authenticated, NOW).await.unwrap();
    assert!(fixture.refresh(&held.refresh, NOW).await.is_ok());
    fixture.accounts().disable(&Username::canonicalize(old).unwrap(), NOW).await.unwrap();
    assert!(matches!(fixture.authenticate(old, PASSWORD, HOME, NOW).await, Err(AuthenticationError::DisabledUser)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_registrations_of_one_name_at_once_one_succeeds_however_it_is_spelt() {
    let fixture = Arc::new(Fixture::create("register-race").await);
    for names in [["zoe"; 4], ["Zo\u{eb}", "zoe\u{308}", "ZO\u{cb}", "\u{ff3a}o\u{eb}"]] {
        let attempts: Vec<_> = names
            .into_iter()
            .map(|name| {
                let fixture = Arc::clone(&fixture);
                tokio::spawn(async move { register(&fixture, name).await })
            })
            .collect();
        let (mut registered, mut taken) = (0, 0);
        for attempt in attempts {
            match attempt.await.unwrap() {
                Ok(_) => registered += 1,
                Err(AccountError::Taken) => taken += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((registered, taken), (1, 3), "{names:?}");
    }
}

#[tokio::test]
async fn a_token_of_the_same_second_as_a_logout_everywhere_is_revoked_if_it_is_older_and_valid_if_it_is_newer() {
    let (fixture, before, _) = signed_in_twice("everywhere-same-second").await;
    let caller = fixture.authorize(&before.access, NOW).await.unwrap();
    fixture.logout_everywhere(&caller, NOW).await.unwrap();
    let after = fixture.begin(&fixture.user("alice").await, NOW).await.unwrap();
    assert_eq!(fixture.rejection(&before.access, NOW).await, Some(Revoked::Epoch.into()));
    assert!(matches!(fixture.refresh(&before.refresh, NOW).await, Err(RefreshError::UserRevoked)));
    assert_eq!(fixture.rejection(&after.access, NOW).await, None);
    assert!(fixture.refresh(&after.refresh, NOW).await.is_ok());
}

#[tokio::test]
async fn a_login_that_began_before_a_logout_everywhere_returns_nothing_valid() {
    let (fixture, held, _) = signed_in_twice("everywhere-login-under-way").await;
    let authenticated = fixture.authenticate("alice", PASSWORD, HOME, NOW).await.unwrap();
    let caller = fixture.authorize(&held.access, NOW).await.unwrap();
    fixture.logout_everywhere(&caller, NOW).await.unwrap();
    let late = fixture.begin(&authenticated, NOW + 1).await.unwrap();
    assert_eq!(fixture.rejection(&late.access, NOW + 1).await, Some(Revoked::Epoch.into()));
    assert!(matches!(fixture.refresh(&late.refresh, NOW + 1).await, Err(RefreshError::UserRevoked)));
}

#[tokio::test]
async fn a_logout_everywhere_of_a_user_who_is_gone_denies_what_is_left() {
    let (fixture, held, _) = signed_in_twice("everywhere-gone").await;
    let caller = fixture.authorize(&held.access, NOW).await.unwrap();
    let table = fixture.tables.name_of("UsersTable");
    let key = AttributeValue::S("alice".to_owned());
    fixture.tables.client.delete_item().table_name(table).key("username", key).send().await.unwrap();
    let new_alice = fixture.add_user("alice").await;
    let other = fixture.begin(&new_alice, NOW).await.unwrap();
    fixture.logout_everywhere(&caller, NOW).await.unwrap();
    assert_eq!(fixture.rejection(&held.access, NOW).await, Some(Revoked::Epoch.into()));
    assert!(matches!(fixture.refresh(&held.refresh, NOW).await, Err(RefreshError::UserRevoked)));
    assert_eq!(fixture.rejection(&other.access, NOW).await, None, "another user of the same name");
}

#[tokio::test(flavor = "multi_thread")]
async fn logouts_everywhere_at_once_all_succeed() {
    let (fixture, held, _) = signed_in_twice("everywhere-race").await;
    let caller = fixture.authorize(&held.access, NOW).await.unwrap();
    let fixture = Arc::new(fixture);
    let logouts: Vec<_> = (0..8)
        .map(|_| {
            let (fixture, caller) = (Arc::clone(&fixture), caller.clone());
            tokio::spawn(async move { fixture.logout_everywhere(&caller, NOW).await })
        })
        .collect();
    for logout in logouts {
        logout.await.unwrap().unwrap();
    }
    // The first one revokes everything of the caller, and nothing is left for the others.
    assert_eq!(fixture.user("alice").await.epoch, 1);
    assert_eq!(fixture.rejection(&held.access, NOW).await, Some(Revoked::Epoch.into()));
}

#[tokio::test]
async fn a_change_of_the_password_leaves_its_own_new_session_and_nothing_else() {
    let (fixture, one, other) = signed_in_twice("password").await;
    let user = fixture.authenticate("alice", PASSWORD, HOME, NOW + 2).await.unwrap();
    let new = fixture.change_password(user, NEW_PASSWORD, NOW + 2).await.unwrap();
    for held in [one, other] {
        assert_eq!(fixture.rejection(&held.access, NOW + 2).await, Some(Revoked::Epoch.into()));
        assert!(fixture.refresh(&held.refresh, NOW + 2).await.is_err());
    }
    assert_eq!(fixture.rejection(&new.access, NOW + 2).await, None);
    assert!(fixture.refresh(&new.refresh, NOW + 2).await.is_ok());
    let old = fixture.authenticate("alice", PASSWORD, HOME, NOW + 2).await;
    assert!(matches!(old, Err(AuthenticationError::WrongPassword)));
    assert!(fixture.authenticate("alice", NEW_PASSWORD, HOME, NOW + 2).await.is_ok());
}

#[tokio::test]
async fn of_two_concurrent_password_changes_one_succeeds() {
    let (fixture, _, _) = signed_in_twice("password-race").await;
    let user = fixture.user("alice").await;
    let (one, other) = tokio::join!(
        fixture.change_password(user.clone(), NEW_PASSWORD, NOW),
        fixture.change_password(user, "yet another horse, of no colour", NOW),
    );
    assert!(one.is_ok() != other.is_ok());
    assert!(matches!(one.and(other), Err(AccountError::Unknown)));
    assert_eq!(fixture.user("alice").await.epoch, 1);
}

#[tokio::test]
async fn a_weak_new_password_changes_nothing() {
    let (fixture, one, _) = signed_in_twice("password-weak").await;
    let caller = fixture.authorize(&one.access, NOW).await.unwrap();
    let (short, current) = (Password::new("short".to_owned()), Password::new(PASSWORD.to_owned()));
    // More often than the current password may be tried.
    for _ in 0..6 {
        let changed = fixture.login.change_password(&(&caller).into(), &current, &short, None, &source(), NOW).await;
        assert!(matches!(changed, Err(ChangePasswordError::Account(AccountError::Password(_)))));
    }
    assert_eq!(fixture.rejection(&one.access, NOW).await, None);
    assert!(fixture.authenticate("alice", PASSWORD, HOME, NOW).await.is_ok());
}

#[tokio::test]
async fn a_hash_of_another_kind_is_replaced_at_login_and_never_over_a_newer_password() {
    let (fixture, _, _) = signed_in_twice("rehash").await;
    // `correct horse battery staple` by OpenBSD's bcrypt, cost 4.
    let user = fixture.user("alice").await;
    let legacy = bcrypt::hash_with_result(PASSWORD, 4).unwrap().format_for_version(bcrypt::Version::TwoB);
    let stale = User { password_hash: legacy.clone().into(), ..user.clone() };
    assert_eq!(fixture.users.replace_hash(&user, &stale.password_hash).await.unwrap(), Update::Applied);
    assert!(matches!(fixture.authenticate("alice", "wrong", HOME, NOW).await, Err(AuthenticationError::WrongPassword)));
    assert_eq!(fixture.user("alice").await.password_hash.expose_secret(), legacy);
    fixture.authenticate("alice", PASSWORD, HOME, NOW).await.unwrap();
    let replaced = fixture.user("alice").await;
    assert!(replaced.password_hash.expose_secret().starts_with("$argon2id$"));
    assert_eq!(replaced.epoch, 0, "nobody is logged out by it");
    assert_eq!(fixture.users.replace_hash(&stale, &legacy.into()).await.unwrap(), Update::Stale);
    fixture.authenticate("alice", PASSWORD, HOME, NOW).await.unwrap();
    let kept = fixture.user("alice").await;
    assert_eq!(kept.password_hash.expose_secret(), replaced.password_hash.expose_secret());
}

#[tokio::test]
async fn a_user_lists_own_live_sessions_newest_first_and_ends_no_others() {
    let (fixture, one, other) = signed_in_twice("sessions").await;
    let bob = fixture.add_user("bob").await;
    let bobs = fixture.begin(&bob, NOW).await.unwrap();
    let caller = fixture.authorize(&one.access, NOW).await.unwrap();
    let listed = async |now| {
        let sessions = fixture.list(&caller, now).await;
        sessions.into_iter().map(|session| session.sid.into_inner()).collect::<Vec<_>>()
    };
    assert_eq!(listed(NOW + 1).await, [other.sid.clone(), one.sid.clone()]);
    assert_eq!(
        listed(NOW + IDLE_LIFETIME_SECONDS).await,
        std::slice::from_ref(&other.sid),
        "one has expired, its item is there"
    );

    let end = async |sid: &str| fixture.end_own(&caller, sid, NOW + 1).await.unwrap();
    for not_own in [bobs.sid.as_str(), "", "no-such-session", &"x".repeat(5000)] {
        assert_eq!(end(not_own).await, Ending::NotFound, "{not_own}");
    }
    assert_eq!(fixture.rejection(&bobs.access, NOW + 1).await, None);
    assert_eq!(end(&other.sid).await, Ending::Ended);
    assert_eq!(end(&other.sid).await, Ending::NotFound, "it has ended");
    assert_eq!(fixture.rejection(&other.access, NOW + 1).await, Some(Revoked::Session.into()));
    assert!(matches!(fixture.refresh(&other.refresh, NOW + 1).await, Err(RefreshError::SessionEnded)));
    assert_eq!(listed(NOW + 1).await, std::slice::from_ref(&one.sid));

    fixture.logout_everywhere(&caller, NOW + 2).await.unwrap();
    let new = fixture.begin(&fixture.user("alice").await, NOW + 3).await.unwrap();
    let caller = fixture.authorize(&new.access, NOW + 3).await.unwrap();
    let sessions = fixture.list(&caller, NOW + 3).await;
    assert_eq!(sessions.len(), 1, "those of an earlier epoch are revoked, and not shown");
}

#[tokio::test]
async fn of_very_many_sessions_the_newest_hundred_are_listed() {
    let fixture = Fixture::create("sessions-many").await;
    let user = fixture.add_user("alice").await;
    let mut last = None;
    for number in 0..130 {
        last = Some(fixture.begin(&user, NOW + number).await.unwrap());
    }
    let caller = fixture.authorize(&last.unwrap().access, NOW + 130).await.unwrap();
    let sessions = fixture.list(&caller, NOW + 130).await;
    let created: Vec<_> = sessions.iter().map(|session| session.created_at).collect();
    assert_eq!(created, (30..130).rev().map(|number| NOW + number).collect::<Vec<_>>());
}

/// The result of an introspection: the kind of the token, or nothing.
async fn kind(fixture: &Fixture, token: &str, now: EpochSeconds) -> Option<&'static str> {
    fixture.states.introspect(token, None, now).await.unwrap().map(|token| match token {
        ActiveToken::Access(claims) => {
            assert_eq!(claims.username, "alice");
            "access"
        }
        ActiveToken::Refresh(session, user) => {
            assert_eq!((session.username.as_str(), user.username.as_str()), ("alice", "alice"));
            "refresh"
        }
    })
}

#[tokio::test]
async fn introspection_returns_the_current_state_of_a_token() {
    let (fixture, one, other) = signed_in_twice("introspect").await;
    assert_eq!(kind(&fixture, &one.access, NOW).await, Some("access"));
    assert_eq!(kind(&fixture, &one.refresh, NOW).await, Some("refresh"));
    for garbage in ["", "garbage", "a.b.c", "1.a.b.0.AAAA", &format!("{}x", one.access), &format!("{}x", one.refresh)] {
        assert_eq!(kind(&fixture, garbage, NOW).await, None, "{garbage}");
    }
    assert_eq!(kind(&fixture, &one.access, NOW + LIFETIME_SECONDS).await, None, "expired");
    assert_eq!(kind(&fixture, &one.refresh, NOW + IDLE_LIFETIME_SECONDS).await, None, "not used for too long");

    let next = fixture.refresh(&one.refresh, NOW).await.unwrap();
    assert_eq!(kind(&fixture, &one.refresh, NOW + 9).await, Some("refresh"), "within the grace window");
    assert_eq!(kind(&fixture, &one.refresh, NOW + 10).await, None, "after it");
    assert_eq!(kind(&fixture, &next.refresh, NOW + 10).await, Some("refresh"), "introspection is not use: no alarm");

    let caller = fixture.authorize(&next.access, NOW + 10).await.unwrap();
    fixture.logout(&caller, NOW + 10).await.unwrap();
    assert_eq!(kind(&fixture, &next.access, NOW + 10).await, None, "denylist");
    assert_eq!(kind(&fixture, &next.refresh, NOW + 10).await, None, "session");
    assert_eq!(kind(&fixture, &other.access, NOW + 10).await, Some("access"));
    fixture.accounts().disable(&alice(), NOW + 10).await.unwrap();
    assert_eq!(kind(&fixture, &other.access, NOW + 10).await, None, "epoch");
    assert_eq!(kind(&fixture, &other.refresh, NOW + 10).await, None, "user");
}

#[tokio::test]
async fn a_revoked_refresh_token_ends_its_session_and_access_tokens_whichever_generation_it_is_of() {
    for is_current in [true, false] {
        let (fixture, one, other) = signed_in_twice(&format!("revoke-refresh-{is_current}")).await;
        let next = fixture.refresh(&one.refresh, NOW).await.unwrap();
        let revoked = if is_current { &next } else { &one };
        for _ in 0..2 {
            fixture.states.revoke(&revoked.refresh, NOW + 60).await.unwrap();
        }
        for held in [&one, &next] {
            assert_eq!(fixture.rejection(&held.access, NOW + 60).await, Some(Revoked::Session.into()));
            assert!(matches!(fixture.refresh(&held.refresh, NOW + 60).await, Err(RefreshError::SessionEnded)));
        }
        assert_eq!(fixture.rejection(&other.access, NOW + 60).await, None);
    }
}

#[tokio::test]
async fn a_revoked_access_token_is_denied_alone_and_until_it_has_expired_everywhere() {
    let (fixture, one, _) = signed_in_twice("revoke-access").await;
    let next = fixture.refresh(&one.refresh, NOW).await.unwrap();
    fixture.states.revoke(&one.access, NOW).await.unwrap();
    fixture.states.revoke(&one.access, NOW).await.unwrap();
    assert_eq!(fixture.rejection(&one.access, NOW).await, Some(Revoked::Token.into()));
    assert_eq!(fixture.rejection(&one.access, NOW + LIFETIME_SECONDS - 1).await, Some(Revoked::Token.into()));
    assert_eq!(fixture.rejection(&next.access, NOW).await, None);
    assert!(fixture.refresh(&next.refresh, NOW).await.is_ok());
    let items = fixture.tables.client.scan().table_name(fixture.tables.name_of("DenylistTable")).send().await.unwrap();
    let expires_at = AttributeValue::N((NOW + LIFETIME_SECONDS + 10).to_string());
    assert_eq!(items.items().iter().map(|item| item["expires_at"].clone()).collect::<Vec<_>>(), [expires_at]);
}

#[tokio::test]
async fn revoking_what_was_not_issued_here_or_is_invalid_is_no_error_and_writes_nothing() {
    let (fixture, one, _) = signed_in_twice("revoke-unknown").await;
    for token in ["", "garbage", "a.b.c", "1.a.b.0.AAAA", &format!("{}x", one.access), &format!("{}x", one.refresh)] {
        fixture.states.revoke(token, NOW).await.unwrap();
    }
    fixture.states.revoke(&one.access, NOW + LIFETIME_SECONDS).await.unwrap();
    let items = fixture.tables.client.scan().table_name(fixture.tables.name_of("DenylistTable")).send().await.unwrap();
    assert_eq!(items.count(), 0);
}
