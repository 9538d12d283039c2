//! Throttling: how often a password may be guessed.
//!
//! Every attempt is counted before anything is hashed, per account and per source address. After a few failures the
//! next attempt has to wait, twice as long each time, up to 15 minutes. A success clears the account's counter.
//!
//! There is a hard limit too: NIST SP 800-63B-4 allows no more than 100 consecutive failures for an account. A limit
//! that anybody can use up would let an attacker lock the owner out, so the attempts of an account are counted in
//! buckets. Untrusted attempts share one. Each of the last four source addresses from which the owner logged in has a
//! bucket of its own, which is used when the untrusted bucket is full, and so has the signed-in owner who changes the
//! password. All buckets together hold 50 attempts; attempts in progress at the moment of a success may be counted
//! again after it, so 100 is never exceeded.
//!
//! A name that no user has is counted in the same way, so that a 429 does not tell which names exist. An attempt that
//! is only allowed because of a known address gets, after a failure, the same response as everybody else at that
//! address: it must not reveal that a user of this name has logged in from there.
//!
//! An attempt that is only blocked by attempts in progress waits for them a little: scripts that log in concurrently
//! have not failed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use crate::EpochSeconds;
use crate::store::StoreError;
use crate::store::login_attempts::{Bucket, Counter, Limits, LoginAttemptsTable, Reservation, Reserve, Tally};
use crate::store::retry::pauses;
use crate::username::Username;

/// Failures of an account before the first wait.
pub const FREE_FAILURES_PER_ACCOUNT: u64 = 5;
/// The longest wait, in seconds: 15 minutes.
pub const MAX_WAIT_SECONDS: u64 = 15 * 60;
/// Untrusted attempts without a success.
const MAX_UNTRUSTED: u64 = 25;
/// Attempts from a known address, or of a signed-in user, without a success.
const MAX_KNOWN: u64 = 5;
/// How many addresses of an account are known.
const KNOWN_ADDRESSES: usize = 4;
/// How long an address stays known after a login, in seconds: 30 days.
const KNOWN_FOR_SECONDS: u64 = 30 * 24 * 60 * 60;
/// When the counter of an address expires, in seconds after its first attempt: an hour.
const ADDRESS_WINDOW_SECONDS: u64 = 60 * 60;
/// When the counter of a name without a user expires, in seconds after its first attempt: 30 days.
const NOBODY_WINDOW_SECONDS: u64 = 30 * 24 * 60 * 60;

/// Waits double this often before they are at their longest.
const DOUBLINGS: u32 = 10;

/// For how long an attempt waits for those in progress.
const WAIT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an attempt can be in progress, in seconds: the timeout of the functions that hash, in `template.yaml`.
const UNDER_WAY_SECONDS: u64 = 20;

/// The value is a stored attribute name, so it does not change.
const UNTRUSTED: &str = "strangers";
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
        retry_after_seconds: u64,
    },
    /// They could not be counted.
    #[error("the attempt could not be counted")]
    Store(#[from] StoreError),
}

/// The network of a request: an IPv4 address, or the /64 network of an IPv6 address, which usually is one
/// household's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceNetwork(String);

impl SourceNetwork {
    /// Of an address as API Gateway and what stands before it write them: with a port or without, an IPv6 address in
    /// brackets or without, with a zone or without. `None` if it is not an address: then not all requests may
    /// share one counter.
    #[must_use]
    pub fn of(address: &str) -> Option<Self> {
        let address = address.trim();
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let without_zone = bare.split_once('%').map_or(bare, |(address, _zone)| address);
        let ip = match (without_zone.parse::<IpAddr>(), address.parse::<SocketAddr>()) {
            (Ok(ip), _) => ip,
            (Err(_), Ok(with_port)) => with_port.ip(),
            (Err(_), Err(_)) => return None,
        };
        Some(Self(match ip.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        }))
    }
}

/// Who attempts to authenticate.
#[derive(Clone, Copy, Debug)]
pub enum Claimant<'a> {
    /// A client that claims this name. `exists` is whether a user has it.
    Untrusted {
        /// The name; `None` if the input cannot be a name.
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

/// A password attempt that may be made. It must be ended by [`Admission::failed`] or [`Admission::succeeded`]; one that
/// is dropped stays counted.
#[derive(Debug)]
pub struct Admission<'a> {
    throttle: &'a Throttle,
    address: Option<Bucket>,
    account: Option<Account>,
    network: Option<SourceNetwork>,
}

/// The account's part of an admission.
#[derive(Debug)]
struct Account {
    bucket: Bucket,
    counter: Counter,
    on_failure: OnFailure,
}

/// How a failed attempt of an account is counted.
#[derive(Clone, Copy, Debug)]
enum OnFailure {
    /// It is counted, in a counter that lapses or does not.
    Count { lapses_at: Option<EpochSeconds> },
    /// It was counted before it was made, and is rejected as at an unknown address.
    Refuse(TooMany),
}

/// A refusal: whose attempts are too many, and after how many seconds another may be made.
#[derive(Clone, Copy, Debug)]
struct TooMany {
    what: &'static str,
    retry_after_seconds: u64,
}

impl From<TooMany> for ThrottleError {
    fn from(TooMany { what, retry_after_seconds }: TooMany) -> Self {
        Self::TooMany { what, retry_after_seconds }
    }
}

impl Throttle {
    /// A throttle on this table.
    #[must_use]
    pub fn new(attempts: LoginAttemptsTable, free_attempts_per_address: u64) -> Self {
        Self { attempts, free_attempts_per_address }
    }

    /// Counts an attempt to authenticate. It comes before the hash is computed. Without a `network` only the
    /// account's attempts are counted.
    ///
    /// # Errors
    /// It may not be made, or could not be counted.
    pub async fn admit(
        &self,
        claimant: Claimant<'_>,
        network: Option<&SourceNetwork>,
        now: EpochSeconds,
    ) -> Result<Admission<'_>, ThrottleError> {
        let admission = |address, account| Admission { throttle: self, address, account, network: network.cloned() };
        let (username, exists) = match claimant {
            // A signed-in user has five attempts of their own, not those of the source address.
            Claimant::SignedIn(username) => {
                let account = self.admit_account(username, SIGNED_IN, MAX_KNOWN, None, now).await?;
                return account.map(|account| admission(None, Some(account))).map_err(ThrottleError::from);
            }
            Claimant::Untrusted { username, exists } => (username, exists),
        };
        let address = match network {
            Some(network) => self.count_address("login", network, now).await?.map(Some),
            None => Ok(None),
        };
        let Some(username) = username else { return Ok(admission(address?, None)) };
        let refusal = match address {
            Ok(address) => {
                let lapses_at = (!exists).then(|| now + NOBODY_WINDOW_SECONDS);
                match self.admit_account(username, UNTRUSTED, MAX_UNTRUSTED, lapses_at, now).await? {
                    Ok(account) => return Ok(admission(address, Some(account))),
                    Err(refusal) => refusal,
                }
            }
            Err(refusal) => refusal,
        };
        // Neither untrusted attempts nor others behind the owner's address must lock the owner out. Nothing more is
        // counted at the address, so that a failure makes the same calls as an attempt that is refused.
        match self.admit_known(username, network, refusal, now).await? {
            Some(account) => Ok(admission(None, Some(account))),
            None => Err(refusal.into()),
        }
    }

    /// Counts what is limited by source address, regardless of its outcome: a registration, a failed refresh.
    /// Without a `network` there is nothing to count it for.
    ///
    /// # Errors
    /// There were too many of them, or it could not be counted.
    pub async fn count(
        &self,
        what: &'static str,
        network: Option<&SourceNetwork>,
        now: EpochSeconds,
    ) -> Result<(), ThrottleError> {
        let Some(network) = network else { return Ok(()) };
        let bucket = self.count_address(what, network, now).await??;
        self.attempts.fail(&bucket, now, Some(now + ADDRESS_WINDOW_SECONDS)).await?;
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

    /// Begins the account of a new user: attempts from before the registration are forgotten, and the address that the
    /// user comes from is known.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn welcome(
        &self,
        username: &Username,
        network: Option<&SourceNetwork>,
        now: EpochSeconds,
    ) -> Result<(), StoreError> {
        let known = network.map(|network| (network.0.clone(), now)).into_iter().collect();
        self.attempts.succeed(&account_counter(username), &known).await
    }

    async fn count_address(
        &self,
        what: &'static str,
        network: &SourceNetwork,
        now: EpochSeconds,
    ) -> Result<Result<Bucket, TooMany>, StoreError> {
        let bucket = Bucket { counter: format!("{what}#{}", network.0), name: "all".to_owned() };
        let limits =
            Limits { max_reserved: u64::MAX, waits: waits(self.free_attempts_per_address), succeeded_after: None };
        let lapses_at = now + ADDRESS_WINDOW_SECONDS;
        Ok(match self.attempts.reserve(&bucket, &limits, Reserve::AsInProgress, now, Some(lapses_at)).await? {
            Reservation::Reserved(_) => Ok(bucket),
            Reservation::Refused(counter) => {
                Err(TooMany { what: "address", retry_after_seconds: wait(tally_of(&counter, &bucket), &limits, now) })
            }
        })
    }

    /// Admits an attempt in a bucket of an account. An attempt that is only blocked by attempts in progress waits for
    /// them.
    async fn admit_account(
        &self,
        username: &Username,
        bucket: &str,
        max_reserved: u64,
        lapses_at: Option<EpochSeconds>,
        now: EpochSeconds,
    ) -> Result<Result<Account, TooMany>, StoreError> {
        let bucket = Bucket { counter: account_counter(username), name: bucket.to_owned() };
        let limits = account_limits(max_reserved, None);
        let waits_until = Instant::now() + WAIT_TIMEOUT;
        let mut pauses = pauses();
        loop {
            let counter = match self.attempts.reserve(&bucket, &limits, Reserve::AsInProgress, now, lapses_at).await? {
                Reservation::Reserved(counter) => {
                    return Ok(Ok(Account { bucket, counter, on_failure: OnFailure::Count { lapses_at } }));
                }
                Reservation::Refused(counter) => counter,
            };
            let tally = tally_of(&counter, &bucket);
            let pause = pauses.next().filter(|_| has_attempts_in_progress(tally, now));
            let next_at = pause.map(|pause| Instant::now() + pause).filter(|next_at| *next_at < waits_until);
            let Some(next_at) = next_at else {
                return Ok(Err(TooMany { what: "account", retry_after_seconds: wait(tally, &limits, now) }));
            };
            tokio::time::sleep_until(next_at).await;
        }
    }

    /// Admits an attempt from an address that the user has logged in from; `None` from another one, or where its
    /// attempts are used up. It is counted as a failure immediately, so that a failed attempt makes the same calls as a
    /// rejected one.
    async fn admit_known(
        &self,
        username: &Username,
        network: Option<&SourceNetwork>,
        refusal: TooMany,
        now: EpochSeconds,
    ) -> Result<Option<Account>, StoreError> {
        let Some(network) = network else { return Ok(None) };
        let bucket = Bucket { counter: account_counter(username), name: network.0.clone() };
        let limits = account_limits(MAX_KNOWN, Some(now - KNOWN_FOR_SECONDS));
        Ok(match self.attempts.reserve(&bucket, &limits, Reserve::AsFailure, now, None).await? {
            Reservation::Reserved(counter) => Some(Account { bucket, counter, on_failure: OnFailure::Refuse(refusal) }),
            Reservation::Refused(_) => None,
        })
    }
}

impl Admission<'_> {
    /// The attempt failed.
    ///
    /// # Errors
    /// It could not be counted, or it was admitted only because the address is known: then this is the error that
    /// everybody else gets.
    pub async fn failed(self, now: EpochSeconds) -> Result<(), ThrottleError> {
        let attempts = &self.throttle.attempts;
        let address = async {
            match &self.address {
                Some(bucket) => attempts.fail(bucket, now, Some(now + ADDRESS_WINDOW_SECONDS)).await,
                None => Ok(()),
            }
        };
        let account = async {
            match &self.account {
                Some(Account { bucket, on_failure: OnFailure::Count { lapses_at }, .. }) => {
                    attempts.fail(bucket, now, *lapses_at).await
                }
                Some(Account { on_failure: OnFailure::Refuse(_), .. }) | None => Ok(()),
            }
        };
        tokio::try_join!(address, account)?;
        match self.account {
            Some(Account { on_failure: OnFailure::Refuse(refusal), .. }) => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    /// The attempt succeeded: the account's failures are forgotten, and the address is known from now on.
    ///
    /// # Errors
    /// The table did not answer. The attempt must be taken as failed.
    pub async fn succeeded(self, now: EpochSeconds) -> Result<(), StoreError> {
        let Some(Account { bucket, counter, .. }) = &self.account else { return Ok(()) };
        let successes = known_addresses(counter, self.network.as_ref(), now);
        self.throttle.attempts.succeed(&bucket.counter, &successes).await
    }
}

/// The addresses that are known after a success from `network`: it, and of the others the latest that are not too old.
fn known_addresses(
    counter: &Counter,
    network: Option<&SourceNetwork>,
    now: EpochSeconds,
) -> BTreeMap<String, EpochSeconds> {
    let here = network.map(|network| &network.0);
    let mut others: Vec<_> = counter
        .successes()
        .into_iter()
        .filter(|(name, succeeded_at)| Some(name) != here && *succeeded_at + KNOWN_FOR_SECONDS > now)
        .collect();
    others.sort_by_key(|(_, succeeded_at)| std::cmp::Reverse(*succeeded_at));
    others.truncate(KNOWN_ADDRESSES - usize::from(here.is_some()));
    others.into_iter().chain(here.map(|here| (here.clone(), now))).collect()
}

fn account_counter(username: &Username) -> String {
    format!("account#{username}")
}

/// The steps of waits after `free` failures: 1 s, 2 s, 4 s and so on.
fn waits(free: u64) -> Vec<(u64, u64)> {
    (0..=DOUBLINGS).map(|step| (free.saturating_add(step.into()), (1 << step).min(MAX_WAIT_SECONDS))).collect()
}

/// The limits of a bucket of an account.
fn account_limits(max_reserved: u64, succeeded_after: Option<EpochSeconds>) -> Limits {
    Limits { max_reserved, waits: waits(FREE_FAILURES_PER_ACCOUNT), succeeded_after }
}

fn tally_of(counter: &Counter, bucket: &Bucket) -> Tally {
    counter.0.get(&bucket.name).copied().unwrap_or_default()
}

/// Whether attempts of a bucket are in progress, according to the counter: reserved, not failed, and not so long ago
/// that the function must have timed out.
fn has_attempts_in_progress(tally: Tally, now: EpochSeconds) -> bool {
    tally.reserved > tally.failures && now <= tally.attempted_at + UNDER_WAY_SECONDS
}

/// How long to wait for a full bucket. If all its attempts failed, the longest wait: only a success in another bucket
/// clears it, not time. If attempts are in progress, it may have room in a moment.
fn wait(tally: Tally, limits: &Limits, now: EpochSeconds) -> u64 {
    if tally.reserved >= limits.max_reserved {
        return if has_attempts_in_progress(tally, now) { 1 } else { MAX_WAIT_SECONDS };
    }
    let step = limits.waits.iter().rev().find(|(failures, _)| tally.failures >= *failures);
    let wait_seconds = step.map_or(0, |(_, wait_seconds)| *wait_seconds);
    (tally.attempted_at + wait_seconds).seconds_since(now).unwrap_or_default().clamp(1, MAX_WAIT_SECONDS)
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
    fn all_buckets_together_hold_half_of_what_nist_allows() {
        let buckets = MAX_UNTRUSTED + MAX_KNOWN * (KNOWN_ADDRESSES as u64 + 1);
        assert!(buckets * 2 <= 100, "{buckets}");
    }

    #[test]
    fn an_address_is_read_however_it_is_written_and_an_ipv6_address_is_its_network() {
        for (address, network) in [
            ("192.0.2.7", "192.0.2.7"),
            (" 192.0.2.7\n", "192.0.2.7"),
            ("192.0.2.7:49152", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("[::ffff:192.0.2.7]:443", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
            ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
            ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80:0:0:0::/64"),
            ("[fe80::1%eth0]", "fe80:0:0:0::/64"),
        ] {
            assert_eq!(SourceNetwork::of(address).map(|network| network.0).as_deref(), Some(network), "{address:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in ["", "unknown", "192.0.2.7, 192.0.2.8", "192.0.2", "192.0.2.7:port", "[192.0.2.7", "example.com"] {
            assert_eq!(SourceNetwork::of(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_latest_four_addresses_are_known() {
        let tally = |succeeded_at| Tally { succeeded_at: Some(succeeded_at), ..Tally::default() };
        let now = EpochSeconds::new(100 * 24 * 60 * 60);
        let counter = Counter(BTreeMap::from([
            (UNTRUSTED.to_owned(), Tally { failures: 3, ..Tally::default() }),
            ("a".to_owned(), tally(now - 4)),
            ("b".to_owned(), tally(now - 3)),
            ("c".to_owned(), tally(now - 2)),
            ("d".to_owned(), tally(now - 1)),
            ("old".to_owned(), tally(now - KNOWN_FOR_SECONDS)),
        ]));
        let known = known_addresses(&counter, Some(&SourceNetwork("here".to_owned())), now);
        assert_eq!(known.keys().map(String::as_str).collect::<Vec<_>>(), ["b", "c", "d", "here"]);
        let known = known_addresses(&counter, None, now);
        assert_eq!(known.keys().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_wait_is_what_is_left_of_it() {
        let limits = account_limits(MAX_UNTRUSTED, None);
        let of = |reserved, failures, attempted_at| {
            let attempted_at = EpochSeconds::new(attempted_at);
            wait(Tally { reserved, failures, attempted_at, succeeded_at: None }, &limits, EpochSeconds::new(1000))
        };
        assert_eq!(of(6, 6, 1000), 2);
        assert_eq!(of(16, 15, 1000), 900);
        assert_eq!(of(25, 25, 1000), 900);
        assert_eq!(of(25, 3, 980), 1, "they are in progress");
        assert_eq!(of(25, 3, 979), 900, "they were given up");
    }
}
