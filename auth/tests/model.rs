//! A session's whole life against a small model, in random orders, on a real DynamoDB.
//!
//! After every step each token that was ever issued is verified. None may be valid that the model calls invalid, and
//! none may be rejected that the model calls valid.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use auth::EpochSeconds;
use auth::accounts::Effect;
use auth::session::{ABSOLUTE_LIFETIME_SECONDS, IDLE_LIFETIME_SECONDS};
use auth::sessions::Ending;
use auth::username::Username;
use latchkey_verifier::LEEWAY_SECONDS;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use test_support::fixture::{Fixture, GRACE_SECONDS, Held, LIFETIME_SECONDS, NOW};

const DAY: u64 = 24 * 60 * 60;
/// How long the end of a session is remembered.
const KEPT_SECONDS: u64 = 3600 + 2 * LEEWAY_SECONDS;

/// A step. A number selects one of the tokens that exist by then.
#[derive(Clone, Debug)]
enum Step {
    Login,
    /// With any refresh token that was ever issued: the current one, one within the grace window, or an old one.
    Refresh(usize),
    Logout(usize),
    LogoutEverywhere(usize),
    EndSession(usize, usize),
    ChangePassword(usize),
    RevokeRefreshToken(usize),
    RevokeAccessToken(usize),
    Disable,
    Enable,
    /// This number of sessions end, one by one.
    EndMany(usize),
    /// This number of seconds pass.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let seconds = prop::sample::select(vec![
        1,
        GRACE_SECONDS - 1,
        GRACE_SECONDS,
        LIFETIME_SECONDS - 1,
        LIFETIME_SECONDS,
        2 * 60 * 60,
        3 * DAY,
        IDLE_LIFETIME_SECONDS - 1,
        IDLE_LIFETIME_SECONDS,
    ]);
    prop_oneof![
        4 => Just(Step::Login),
        // Mostly the newest token, as clients do.
        4 => Just(Step::Refresh(usize::MAX)),
        4 => any::<usize>().prop_map(Step::Refresh),
        1 => any::<usize>().prop_map(Step::Logout),
        1 => any::<usize>().prop_map(Step::LogoutEverywhere),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(by, which)| Step::EndSession(by, which)),
        1 => any::<usize>().prop_map(Step::ChangePassword),
        1 => any::<usize>().prop_map(Step::RevokeRefreshToken),
        1 => any::<usize>().prop_map(Step::RevokeAccessToken),
        1 => Just(Step::Disable),
        1 => Just(Step::Enable),
        1 => prop::sample::select(vec![30, 65]).prop_map(Step::EndMany),
        4 => seconds.prop_map(Step::Pass),
    ]
}

/// The model: the expected state, as simple as possible.
#[derive(Default)]
struct Model {
    epoch: u64,
    is_disabled: bool,
    sessions: BTreeMap<String, Known>,
    /// Until when each revocation since the last raise of the epoch is kept.
    single: Vec<EpochSeconds>,
    /// Until when the item of the last raise is kept, and any item at all.
    raise_kept_until: EpochSeconds,
    any_kept_until: EpochSeconds,
    /// Sessions that ended and were never stored.
    never_stored: usize,
}

/// A session in the model.
struct Known {
    epoch: u64,
    generation: u64,
    began_at: EpochSeconds,
    refreshed_at: EpochSeconds,
    is_ended: bool,
}

/// A pair of issued tokens, in the model.
struct Pair {
    held: Held,
    generation: u64,
    epoch: u64,
    issued_at: EpochSeconds,
    is_revoked: bool,
}

/// What presenting a refresh token should return.
#[derive(Debug, PartialEq, Eq)]
enum Expectation {
    Successor,
    Nothing,
    NothingAndTheEndOfTheSession,
}

impl Model {
    fn add(&mut self, held: Held, now: EpochSeconds) -> Pair {
        let session = Known { epoch: self.epoch, generation: 0, began_at: now, refreshed_at: now, is_ended: false };
        self.sessions.insert(held.sid.clone(), session);
        Pair { held, generation: 0, epoch: self.epoch, issued_at: now, is_revoked: false }
    }

    fn is_access_token_valid(&self, token: &Pair, now: EpochSeconds) -> bool {
        now < token.issued_at + LIFETIME_SECONDS
            && !token.is_revoked
            && !self.sessions[&token.held.sid].is_ended
            && token.epoch == self.epoch
    }

    fn expectation(&self, token: &Pair, now: EpochSeconds) -> Expectation {
        let session = &self.sessions[&token.held.sid];
        let has_expired =
            now >= session.refreshed_at + IDLE_LIFETIME_SECONDS || now >= session.began_at + ABSOLUTE_LIFETIME_SECONDS;
        if session.is_ended || has_expired {
            return Expectation::Nothing;
        }
        let is_current = token.generation == session.generation;
        let is_in_grace = token.generation + 1 == session.generation && now < session.refreshed_at + GRACE_SECONDS;
        if !is_current && !is_in_grace {
            return Expectation::NothingAndTheEndOfTheSession;
        }
        if self.is_disabled || session.epoch != self.epoch {
            return Expectation::Nothing;
        }
        Expectation::Successor
    }

    /// A refresh token of the current generation was presented: the next one is current, even if nobody receives it.
    fn rotate(&mut self, token: &Pair, now: EpochSeconds) {
        let session = self.sessions.get_mut(&token.held.sid).unwrap();
        let is_live = !session.is_ended
            && now < session.refreshed_at + IDLE_LIFETIME_SECONDS
            && now < session.began_at + ABSOLUTE_LIFETIME_SECONDS;
        if is_live && token.generation == session.generation {
            session.generation += 1;
            session.refreshed_at = now;
        }
    }

    /// Ends a single session or token of this epoch. After too many, all of the epoch end instead; `false`
    /// then.
    fn is_revoked_alone(&mut self, epoch: u64, kept_until: EpochSeconds, now: EpochSeconds) -> bool {
        self.single.retain(|kept_until| *kept_until > now);
        if self.single.len() > 64 {
            if epoch == self.epoch {
                self.raise(now);
            }
            return false;
        }
        let kept_until =
            kept_until.max(if self.raise_kept_until > now { self.raise_kept_until } else { EpochSeconds::default() });
        self.single.push(kept_until);
        self.any_kept_until = self.any_kept_until.max(kept_until);
        true
    }

    fn raise(&mut self, now: EpochSeconds) {
        self.epoch += 1;
        self.single.clear();
        let latest = if self.any_kept_until > now { self.any_kept_until + 1 } else { EpochSeconds::default() };
        self.raise_kept_until = (now + KEPT_SECONDS).max(latest);
        self.any_kept_until = self.raise_kept_until;
    }

    fn end(&mut self, sid: &str, now: EpochSeconds) {
        let epoch = self.sessions[sid].epoch;
        if self.is_revoked_alone(epoch, now + KEPT_SECONDS, now) {
            self.sessions.get_mut(sid).unwrap().is_ended = true;
        }
    }
}

/// Plays the steps with a user of their own, and compares after each.
#[allow(clippy::too_many_lines, reason = "a list of all steps")]
async fn play(fixture: &Fixture, username: &str, steps: &[Step]) -> Result<(), TestCaseError> {
    let name = Username::parse(username).unwrap();
    fixture.add_user(username).await;
    let (mut model, mut issued, mut now) = (Model::default(), Vec::<Pair>::new(), NOW);
    for step in steps {
        let chosen = |number: usize| {
            if number == usize::MAX { issued.len().checked_sub(1) } else { number.checked_rem(issued.len()) }
        };
        match step {
            Step::Pass(seconds) => now += *seconds,
            Step::Login => {
                let user = fixture.user(username).await;
                // Other tests verify the password, and that a disabled user is rejected there.
                if !model.is_disabled {
                    let held = fixture.begin(&user, now).await.unwrap();
                    issued.push(model.add(held, now));
                }
            }
            Step::Refresh(number) => {
                let Some(index) = chosen(*number) else { continue };
                let expected = model.expectation(&issued[index], now);
                let refreshed = fixture.refresh(&issued[index].held.refresh, now).await;
                prop_assert_eq!(
                    refreshed.is_ok(),
                    expected == Expectation::Successor,
                    "{:?}: {:?}",
                    expected,
                    refreshed
                );
                model.rotate(&issued[index], now);
                let sid = issued[index].held.sid.clone();
                match refreshed {
                    Ok(held) => {
                        let generation = model.sessions[&sid].generation;
                        // A single line of tokens: a generation has exactly one token.
                        for other in issued.iter().filter(|other| other.held.sid == sid) {
                            prop_assert_eq!(other.generation == generation, other.held.refresh == held.refresh);
                        }
                        let epoch = model.epoch;
                        issued.push(Pair { held, generation, epoch, issued_at: now, is_revoked: false });
                    }
                    Err(_) if expected == Expectation::NothingAndTheEndOfTheSession => model.end(&sid, now),
                    Err(_) => {}
                }
            }
            Step::RevokeRefreshToken(number) => {
                let Some(index) = chosen(*number) else { continue };
                fixture.states.revoke(&issued[index].held.refresh, now).await.unwrap();
                let sid = issued[index].held.sid.clone();
                if !model.sessions[&sid].is_ended {
                    model.end(&sid, now);
                }
            }
            Step::RevokeAccessToken(number) => {
                let Some(index) = chosen(*number) else { continue };
                fixture.states.revoke(&issued[index].held.access, now).await.unwrap();
                if model.is_access_token_valid(&issued[index], now) {
                    let expires_at = issued[index].issued_at + LIFETIME_SECONDS;
                    let epoch = issued[index].epoch;
                    issued[index].is_revoked = model.is_revoked_alone(epoch, expires_at + LEEWAY_SECONDS, now);
                }
            }
            Step::Disable => {
                if fixture.accounts().disable(&name, now).await.unwrap() == Effect::Changed {
                    model.raise(now);
                    model.is_disabled = true;
                }
            }
            Step::Enable => {
                fixture.accounts().enable(&name).await.unwrap();
                model.is_disabled = false;
            }
            Step::EndMany(number) => end_many(fixture, username, &mut model, *number, now).await,
            // What a caller does passes the authorizer first.
            Step::Logout(number)
            | Step::LogoutEverywhere(number)
            | Step::EndSession(number, _)
            | Step::ChangePassword(number) => {
                let Some(index) = chosen(*number) else { continue };
                let Ok(caller) = fixture.authorize(&issued[index].held.access, now).await else { continue };
                match step {
                    Step::Logout(_) => {
                        fixture.logout(&caller, now).await.unwrap();
                        model.end(&caller.sid, now);
                    }
                    Step::LogoutEverywhere(_) => {
                        fixture.logout_everywhere(&caller, now).await.unwrap();
                        model.raise(now);
                    }
                    Step::EndSession(_, other) => {
                        let other = issued[chosen(*other).unwrap()].held.sid.clone();
                        let listed = fixture.list(&caller, now).await;
                        let is_listed = listed.iter().any(|session| session.sid == *other.as_str());
                        let ending = fixture.end_own(&caller, &other, now).await.unwrap();
                        prop_assert_eq!(ending == Ending::Ended, is_listed);
                        if ending == Ending::Ended {
                            model.end(&other, now);
                        }
                    }
                    _ => {
                        let user = fixture.user(username).await;
                        let held = fixture.change_password(user, "a horse of quite another colour", now).await.unwrap();
                        model.raise(now);
                        issued.push(model.add(held, now));
                    }
                }
            }
        }
        compare(fixture, &model, &issued, step, now).await?;
    }
    Ok(())
}

/// Ends this number of sessions, one by one. They need not be stored.
async fn end_many(fixture: &Fixture, username: &str, model: &mut Model, number: usize, now: EpochSeconds) {
    let user = fixture.user(username).await;
    for _ in 0..number {
        model.never_stored += 1;
        let sid = format!("never-stored-{}", model.never_stored);
        fixture.end(&user, model.epoch, &sid, now).await.unwrap();
        model.is_revoked_alone(model.epoch, now + KEPT_SECONDS, now);
    }
}

/// Verifies every token.
async fn compare(
    fixture: &Fixture,
    model: &Model,
    issued: &[Pair],
    step: &Step,
    now: EpochSeconds,
) -> Result<(), TestCaseError> {
    for (number, token) in issued.iter().enumerate() {
        let refusal = fixture.rejection(&token.held.access, now).await;
        let is_valid = model.is_access_token_valid(token, now);
        prop_assert_eq!(refusal.is_none(), is_valid, "access token {} after {:?}: {:?}", number, step, refusal);
        let is_active = fixture.states.introspect(&token.held.refresh, None, now).await.unwrap().is_some();
        let expected = model.expectation(token, now);
        prop_assert_eq!(is_active, expected == Expectation::Successor, "refresh token {} after {:?}", number, step);
    }
    Ok(())
}

#[test]
fn no_token_is_valid_that_the_model_calls_invalid_and_none_is_rejected_that_it_calls_valid() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fixture = runtime.block_on(Fixture::create("model"));
    let users = AtomicU64::new(0);
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let played = TestRunner::new(config).run(&prop::collection::vec(step(), 1..30), |steps| {
        let username = format!("user{}", users.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(play(&fixture, &username, &steps))
    });
    if let Err(failure) = played {
        panic!("{failure}");
    }
}
