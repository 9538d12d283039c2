//! Throttling: how often a password may be guessed.
//!
//! Every attempt is counted before anything is hashed, per account and per source address. After a few failures the next
//! attempt has to wait, twice as long each time, up to 15 minutes. A success clears the account's counter.
//!
//! There is a hard limit too: NIST SP 800-63B-4 allows no more than 100 consecutive failures for an account. A limit that
//! anybody can use up would let an attacker lock the owner out, so the attempts of an account are counted in lanes. Strangers
//! share one. Each of the last four source addresses from which the owner logged in has one of its own, which is used when
//! the strangers' is closed, and so has the owner who is signed in already and changes the password. All lanes together hold
//! 50 attempts; those under way at the moment of a success may be counted again after it, so 100 is never passed.
//!
//! A name that no user has is counted in the same way, so that a 429 does not tell which names exist.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::clock::EpochSeconds;
use crate::store::StoreError;
use crate::store::login_attempts::{Counter, Lane, Limits, LoginAttemptsTable, Reservation, Tally};
use crate::store::users::User;
use crate::username::Username;

/// Failures of an account before the first wait.
pub const FREE_FAILURES_PER_ACCOUNT: u64 = 5;
/// The longest wait, in seconds: 15 minutes.
pub const MAX_WAIT_SECONDS: EpochSeconds = 15 * 60;
/// Attempts of strangers without a success.
const MAX_STRANGERS: u64 = 25;
/// Attempts from a known address, or of somebody signed in, without a success.
const MAX_KNOWN: u64 = 5;
/// How many addresses of an account are known.
const KNOWN_ADDRESSES: usize = 4;
/// How long an address stays known after a login, in seconds: 30 days.
const KNOWN_FOR_SECONDS: EpochSeconds = 30 * 24 * 60 * 60;
/// When the counter of an address lapses, in seconds after its first attempt: an hour.
const ADDRESS_WINDOW_SECONDS: EpochSeconds = 60 * 60;
/// When the counter of a name that no user has lapses, in seconds after its first attempt: 30 days.
const NOBODY_WINDOW_SECONDS: EpochSeconds = 30 * 24 * 60 * 60;

/// Waits double this often before they are at their longest.
const DOUBLINGS: u32 = 10;

const STRANGERS: &str = "strangers";
const SIGNED_IN: &str = "signed-in";

/// An attempt may not be made.
#[derive(Debug, thiserror::Error)]
pub enum ThrottleError {
    /// Too many failed.
    #[error("too many attempts of this {what}; the next one in {retry_after_seconds} s")]
    TooMany {
        /// Whose attempts: `account` or `address`.
        what: &'static str,
        /// After how many seconds another may be made.
        retry_after_seconds: EpochSeconds,
    },
    /// They could not be counted.
    #[error("the attempt could not be counted")]
    Store(#[from] StoreError),
}

/// Where a request came from, as far as it matters here: an IPv4 address, or the /64 network of an IPv6 address, which one
/// household has to itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceNetwork(String);

impl SourceNetwork {
    /// Of an address as API Gateway gives it. Requests of which none is known count together.
    #[must_use]
    pub fn of(address: Option<&str>) -> Self {
        let network = match address.and_then(|address| address.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
            None => "unknown".to_owned(),
        };
        Self(network)
    }
}

/// Who attempts to prove a password.
#[derive(Clone, Copy, Debug)]
pub enum Claimant<'a> {
    /// Somebody who says that this is their name. `exists` says whether a user has it.
    Stranger {
        /// The name; none where what was typed can be no name.
        username: Option<&'a Username>,
        /// Whether there is such a user.
        exists: bool,
    },
    /// The user of this name, by an access token.
    SignedIn(&'a Username),
}

/// Counts attempts.
#[derive(Clone, Debug)]
pub struct Throttle {
    attempts: LoginAttemptsTable,
    free_attempts_per_address: u64,
}

/// A password attempt that may be made. It must be ended by [`Admission::failed`] or [`Admission::succeeded`]; one that is
/// dropped stays counted.
#[derive(Debug)]
pub struct Admission<'a> {
    throttle: &'a Throttle,
    address: Option<Lane>,
    account: Option<Account>,
    network: SourceNetwork,
}

/// The account's part of an admission.
#[derive(Debug)]
struct Account {
    lane: Lane,
    lapses_at: Option<EpochSeconds>,
    counter: Counter,
}

impl Throttle {
    /// A throttle on this table.
    #[must_use]
    pub fn new(attempts: LoginAttemptsTable, free_attempts_per_address: u64) -> Self {
        Self { attempts, free_attempts_per_address }
    }

    /// Counts an attempt to prove a password. It comes before the hash is computed.
    ///
    /// # Errors
    /// It may not be made, or could not be counted.
    pub async fn admit(
        &self,
        claimant: Claimant<'_>,
        network: &SourceNetwork,
        now: EpochSeconds,
    ) -> Result<Admission<'_>, ThrottleError> {
        // Who is signed in has five attempts, and not those of everybody behind the same address.
        let address = match claimant {
            Claimant::SignedIn(_) => None,
            Claimant::Stranger { username, .. } => match self.count_address("login", network, now).await {
                Ok(lane) => Some(lane),
                Err(refusal @ ThrottleError::TooMany { .. }) => {
                    // Others behind the owner's address must not lock the owner out either.
                    let Some(username) = username else { return Err(refusal) };
                    let account = self.admit_known(username, network, now).await?.ok_or(refusal)?;
                    return Ok(Admission {
                        throttle: self,
                        address: None,
                        account: Some(account),
                        network: network.clone(),
                    });
                }
                Err(error) => return Err(error),
            },
        };
        let account = match claimant {
            Claimant::Stranger { username: None, .. } => None,
            Claimant::Stranger { username: Some(username), exists } => {
                let lapses_at = (!exists).then(|| now.saturating_add(NOBODY_WINDOW_SECONDS));
                Some(self.admit_stranger(username, lapses_at, network, now).await?)
            }
            Claimant::SignedIn(username) => {
                let lane = Lane { counter: account_counter(username), name: SIGNED_IN.to_owned() };
                let limits = account_limits(MAX_KNOWN, None);
                match self.attempts.reserve(&lane, &limits, now, None).await? {
                    Reservation::Reserved(counter) => Some(Account { lane, lapses_at: None, counter }),
                    Reservation::Refused(counter) => {
                        return Err(refused("account", wait(&counter, &lane, &limits, now)));
                    }
                }
            }
        };
        Ok(Admission { throttle: self, address, account, network: network.clone() })
    }

    /// Counts something that is limited for a source address whatever comes of it: a registration, a failed refresh.
    ///
    /// # Errors
    /// There were too many of them, or it could not be counted.
    pub async fn count(
        &self,
        what: &'static str,
        network: &SourceNetwork,
        now: EpochSeconds,
    ) -> Result<(), ThrottleError> {
        let lane = self.count_address(what, network, now).await?;
        self.attempts.fail(&lane, now, Some(now.saturating_add(ADDRESS_WINDOW_SECONDS))).await?;
        Ok(())
    }

    /// Forgets the failed attempts of an account, and not where its user has logged in from.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn unlock(&self, username: &Username) -> Result<(), StoreError> {
        let counter = account_counter(username);
        match self.attempts.find(&counter).await? {
            Some(found) => self.attempts.succeed(&counter, &found.successes()).await,
            None => Ok(()),
        }
    }

    /// Begins the account of a new user: what strangers tried before there was one does not count, and the address that the
    /// user comes from is known.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn welcome(&self, user: &User, network: &SourceNetwork, now: EpochSeconds) -> Result<(), StoreError> {
        self.attempts.succeed(&counter_of(&user.username), &BTreeMap::from([(network.0.clone(), now)])).await
    }

    async fn count_address(
        &self,
        what: &'static str,
        network: &SourceNetwork,
        now: EpochSeconds,
    ) -> Result<Lane, ThrottleError> {
        let lane = Lane { counter: format!("{what}#{}", network.0), name: "all".to_owned() };
        let limits =
            Limits { max_reserved: u64::MAX, waits: waits(self.free_attempts_per_address), succeeded_after: None };
        let lapses_at = now.saturating_add(ADDRESS_WINDOW_SECONDS);
        match self.attempts.reserve(&lane, &limits, now, Some(lapses_at)).await? {
            Reservation::Reserved(_) => Ok(lane),
            Reservation::Refused(counter) => Err(refused("address", wait(&counter, &lane, &limits, now))),
        }
    }

    async fn admit_stranger(
        &self,
        username: &Username,
        lapses_at: Option<EpochSeconds>,
        network: &SourceNetwork,
        now: EpochSeconds,
    ) -> Result<Account, ThrottleError> {
        let strangers = Lane { counter: account_counter(username), name: STRANGERS.to_owned() };
        let limits = account_limits(MAX_STRANGERS, None);
        let counter = match self.attempts.reserve(&strangers, &limits, now, lapses_at).await? {
            Reservation::Reserved(counter) => return Ok(Account { lane: strangers, lapses_at, counter }),
            Reservation::Refused(counter) => counter,
        };
        let strangers_wait = wait(&counter, &strangers, &limits, now);
        match self.admit_known(username, network, now).await? {
            Some(account) => Ok(account),
            None => Err(refused("account", strangers_wait)),
        }
    }

    /// Admits an attempt from an address that the user has logged in from; `None` from another one, or where its attempts are
    /// used up.
    async fn admit_known(
        &self,
        username: &Username,
        network: &SourceNetwork,
        now: EpochSeconds,
    ) -> Result<Option<Account>, StoreError> {
        let own = Lane { counter: account_counter(username), name: network.0.clone() };
        let limits = account_limits(MAX_KNOWN, Some(now.saturating_sub(KNOWN_FOR_SECONDS)));
        match self.attempts.reserve(&own, &limits, now, None).await? {
            Reservation::Reserved(counter) => Ok(Some(Account { lane: own, lapses_at: None, counter })),
            Reservation::Refused(_) => Ok(None),
        }
    }
}

impl Admission<'_> {
    /// The attempt failed.
    ///
    /// # Errors
    /// It could not be counted.
    pub async fn failed(self, now: EpochSeconds) -> Result<(), StoreError> {
        let attempts = &self.throttle.attempts;
        let address = async {
            match &self.address {
                Some(lane) => attempts.fail(lane, now, Some(now.saturating_add(ADDRESS_WINDOW_SECONDS))).await,
                None => Ok(()),
            }
        };
        let account = async {
            match &self.account {
                Some(Account { lane, lapses_at, .. }) => attempts.fail(lane, now, *lapses_at).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(address, account).map(|_| ())
    }

    /// The attempt succeeded: the account's failures are forgotten, and the address is known from now on.
    ///
    /// # Errors
    /// The table did not answer. The attempt must be taken as failed.
    pub async fn succeeded(self, now: EpochSeconds) -> Result<(), StoreError> {
        let Some(Account { lane, counter, .. }) = &self.account else { return Ok(()) };
        let successes = known_addresses(counter, &self.network, now);
        self.throttle.attempts.succeed(&lane.counter, &successes).await
    }
}

/// The addresses that are known after a success from `network`: it, and of the others the latest that are not too old.
fn known_addresses(counter: &Counter, network: &SourceNetwork, now: EpochSeconds) -> BTreeMap<String, EpochSeconds> {
    let mut others: Vec<_> = counter
        .successes()
        .into_iter()
        .filter(|(name, succeeded_at)| *name != network.0 && succeeded_at.saturating_add(KNOWN_FOR_SECONDS) > now)
        .collect();
    others.sort_by_key(|(_, succeeded_at)| std::cmp::Reverse(*succeeded_at));
    others.truncate(KNOWN_ADDRESSES - 1);
    others.into_iter().chain([(network.0.clone(), now)]).collect()
}

fn account_counter(username: &Username) -> String {
    counter_of(username.as_str())
}

/// `username` is canonical.
fn counter_of(username: &str) -> String {
    format!("account#{username}")
}

/// The steps of waits after `free` failures: 1 s, 2 s, 4 s and so on.
fn waits(free: u64) -> Vec<(u64, EpochSeconds)> {
    (0..=DOUBLINGS).map(|step| (free.saturating_add(step.into()), (1 << step).min(MAX_WAIT_SECONDS))).collect()
}

/// The limits of a lane of an account.
fn account_limits(max_reserved: u64, succeeded_after: Option<EpochSeconds>) -> Limits {
    Limits { max_reserved, waits: waits(FREE_FAILURES_PER_ACCOUNT), succeeded_after }
}

/// How long to wait for a lane that is closed. One whose attempts all failed says the longest wait there is: it opens by a
/// success elsewhere, not by time. One whose attempts are under way may be open in a moment.
fn wait(counter: &Counter, lane: &Lane, limits: &Limits, now: EpochSeconds) -> EpochSeconds {
    let tally: Tally = counter.0.get(&lane.name).copied().unwrap_or_default();
    if tally.reserved >= limits.max_reserved {
        return if tally.failures >= limits.max_reserved { MAX_WAIT_SECONDS } else { 1 };
    }
    let step = limits.waits.iter().rev().find(|(failures, _)| tally.failures >= *failures);
    let wait_seconds = step.map_or(0, |(_, wait_seconds)| *wait_seconds);
    tally.attempted_at.saturating_add(wait_seconds).saturating_sub(now).clamp(1, MAX_WAIT_SECONDS)
}

fn refused(what: &'static str, retry_after_seconds: EpochSeconds) -> ThrottleError {
    ThrottleError::TooMany { what, retry_after_seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end_at_15_minutes() {
        let waits = waits(5);
        assert_eq!(waits[0], (5, 1));
        assert_eq!(waits[1], (6, 2));
        assert_eq!(waits[9], (14, 512));
        assert_eq!(waits[10], (15, 900));
        assert_eq!(waits.len(), 11);
    }

    #[test]
    fn all_lanes_together_hold_half_of_what_nist_allows() {
        let lanes = MAX_STRANGERS + MAX_KNOWN * (KNOWN_ADDRESSES as u64 + 1);
        assert!(lanes * 2 <= 100, "{lanes}");
    }

    #[test]
    fn an_ipv6_address_counts_with_its_network() {
        let of = |address| SourceNetwork::of(Some(address)).0;
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::9"), "2001:db8:1:2::/64");
        assert_eq!(of("not an address"), "unknown");
        assert_eq!(SourceNetwork::of(None).0, "unknown");
    }

    #[test]
    fn the_latest_four_addresses_are_known() {
        let tally = |succeeded_at| Tally { succeeded_at: Some(succeeded_at), ..Tally::default() };
        let now = 100 * 24 * 60 * 60;
        let counter = Counter(BTreeMap::from([
            (STRANGERS.to_owned(), Tally { failures: 3, ..Tally::default() }),
            ("a".to_owned(), tally(now - 4)),
            ("b".to_owned(), tally(now - 3)),
            ("c".to_owned(), tally(now - 2)),
            ("d".to_owned(), tally(now - 1)),
            ("old".to_owned(), tally(now - KNOWN_FOR_SECONDS)),
        ]));
        let known = known_addresses(&counter, &SourceNetwork("here".to_owned()), now);
        assert_eq!(known.keys().map(String::as_str).collect::<Vec<_>>(), ["b", "c", "d", "here"]);
    }

    #[test]
    fn a_wait_is_what_is_left_of_it() {
        let limits = account_limits(MAX_STRANGERS, None);
        let lane = Lane { counter: "account#alice".to_owned(), name: STRANGERS.to_owned() };
        let of = |reserved, failures| {
            let tally = Tally { reserved, failures, attempted_at: 1000, succeeded_at: None };
            wait(&Counter(BTreeMap::from([(STRANGERS.to_owned(), tally)])), &lane, &limits, 1000)
        };
        assert_eq!(of(6, 6), 2);
        assert_eq!(of(16, 15), 900);
        assert_eq!(of(25, 25), 900);
        assert_eq!(of(25, 3), 1, "they are under way");
    }
}
