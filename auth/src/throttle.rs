//! Throttling: how often a password may be guessed.
//!
//! Every attempt is counted before anything is hashed, per account and per source address. [`crate::attempts`] has the
//! limits. Here is the order in which an attempt at a login is counted:
//!
//! 1. From a known device, in the device's bucket, and nowhere else. So nobody behind the same address and no number of
//!    attempts from elsewhere can lock the owner out there.
//! 2. From a device that is not known: at the source address, over all names, and then in the account's bucket of the
//!    source network. A client whose device's attempts are used up can log in as one that is not known.
//!
//! Only a known device passes an address whose attempts are used up. Everybody else gets the same refusal there, for
//! every name, before and after a guess: it tells nobody who has an account. A name that no user has is counted like
//! an account, so that a 429 does not tell it either.
//!
//! An attempt that is only blocked by attempts in progress waits for them a little: scripts that log in concurrently
//! have not failed.

use std::time::Duration;

use tokio::time::Instant;

use crate::EpochSeconds;
use crate::attempts::{ACCOUNT_EXPIRES_AFTER_SECONDS, ADDRESS_WINDOW_SECONDS, Bucket, Counter, Limits, Opening};
use crate::device::{DeviceId, DeviceToken};
use crate::id::UserId;
use crate::keys::login_attempts::LoginAttemptsKey;
use crate::network::SourceNetwork;
use crate::store::StoreError;
use crate::store::login_attempts::{Cleared, Expiry, LoginAttemptsTable, Reservation};
use crate::store::retry::{Attempts, pauses};
use crate::username::Username;

/// For how long an attempt waits for those in progress.
const WAIT_TIMEOUT: Duration = Duration::from_secs(2);
/// What an attempt is told that has waited for those in progress in vain.
const RETRY_AFTER_SECONDS: u64 = 1;

/// An attempt may not be made.
#[derive(Debug, thiserror::Error)]
pub enum ThrottleError {
    /// Another may be made later.
    #[error("too many attempts; the next one in {retry_after_seconds} s")]
    TooMany {
        /// After how many seconds another may be made.
        retry_after_seconds: u64,
    },
    /// No other may be made from this network without a known device, or again by the signed-in user: time does not
    /// open the bucket.
    #[error("the attempts of this account from here are used up")]
    UsedUp,
    /// No other may be made from this known device.
    #[error("the attempts of this account on this device are used up")]
    DeviceUsedUp,
    /// They could not be counted.
    #[error("the attempt could not be counted")]
    Store(#[from] StoreError),
}

/// Whose attempts are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// A user, since the password of this epoch.
    User { sub: UserId, password_epoch: u64 },
    /// A name that no user has, by its HMAC.
    Unknown(String),
}

impl Account {
    /// The account that a name stands for if no user has it.
    #[must_use]
    pub fn of_unknown_name(username: &Username, key: &LoginAttemptsKey) -> Self {
        Self::Unknown(key.of_name(username))
    }

    /// The key of its counter. The two kinds cannot meet.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::User { sub, .. } => format!("user#{sub}"),
            Self::Unknown(name) => format!("name#{name}"),
        }
    }

    /// What stands for a device in its counter.
    #[must_use]
    pub fn device(&self, token: &DeviceToken) -> DeviceId {
        let password_epoch = match self {
            Self::User { password_epoch, .. } => *password_epoch,
            Self::Unknown(_) => 0,
        };
        DeviceId::new(&self.key(), password_epoch, token)
    }
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
    /// The address where it is counted.
    address: Option<String>,
    /// The account, its bucket where it is counted, and the account's counter after it was.
    account: Option<(&'a Account, Bucket, Counter)>,
}

/// What the throttle holds of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    pub counter: Counter,
    /// Each bucket in use, and when it takes another attempt.
    pub openings: Vec<(Bucket, Opening)>,
    /// When a network that has made no attempt yet may make one.
    pub new_network: Opening,
}

impl Throttle {
    /// A throttle on this table.
    #[must_use]
    pub fn new(attempts: LoginAttemptsTable, free_attempts_per_address: u64) -> Self {
        Self { attempts, free_attempts_per_address }
    }

    /// Counts an attempt to log in. It comes before the hash is computed. `account` is `None` if the input cannot be a
    /// name: then it is counted for the address alone.
    ///
    /// # Errors
    /// It may not be made, or could not be counted.
    pub async fn admit_login<'a>(
        &'a self,
        account: Option<&'a Account>,
        device: Option<&DeviceToken>,
        network: Option<&SourceNetwork>,
        now: EpochSeconds,
    ) -> Result<Admission<'a>, ThrottleError> {
        let admission = |address, account| Admission { throttle: self, address, account };
        // What is known of the account's counter.
        let mut found = None;
        if let (Some(account), Some(device)) = (account, device) {
            let bucket = Bucket::Device(account.device(device));
            match self.reserve(account, &bucket, now).await? {
                Ok(counter) => return Ok(admission(None, Some((account, bucket, counter)))),
                Err((Opening::UnknownDevice, counter)) => found = Some(counter),
                Err((Opening::NotByTime, _)) => return Err(ThrottleError::DeviceUsedUp),
                Err((opening, _)) => return Err(refusal([opening], now)),
            }
        }
        let bucket = Bucket::of_network(network);
        let address = match self.reserve_address("login", network, now).await? {
            Ok(address) => address,
            // When the address takes another attempt, the account may not.
            Err(opening) => {
                let of_account = match (account, found) {
                    (None, _) => Opening::Now,
                    (Some(_), Some(counter)) => opening_of(&counter, &bucket, now),
                    (Some(account), None) => opening_of(&self.attempts.find(&account.key(), now).await?, &bucket, now),
                };
                return Err(refusal([opening, of_account], now));
            }
        };
        let (key, of_address) = address.unzip();
        let Some(account) = account else { return Ok(admission(key, None)) };
        match self.reserve(account, &bucket, now).await? {
            Ok(counter) => Ok(admission(key, Some((account, bucket, counter)))),
            Err((opening, _)) => Err(refusal([opening, of_address.unwrap_or(Opening::Now)], now)),
        }
    }

    /// Counts an attempt of a signed-in user to enter the password again. It has a bucket of its own, whatever the
    /// source address is.
    ///
    /// # Errors
    /// It may not be made, or could not be counted.
    pub async fn admit_again<'a>(
        &'a self,
        account: &'a Account,
        now: EpochSeconds,
    ) -> Result<Admission<'a>, ThrottleError> {
        match self.reserve(account, &Bucket::Password, now).await? {
            Ok(counter) => {
                Ok(Admission { throttle: self, address: None, account: Some((account, Bucket::Password, counter)) })
            }
            Err((opening, _)) => Err(refusal([opening], now)),
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
        let counted = self.reserve_address(what, network, now).await?;
        let counted = counted.map_err(|opening| refusal([opening], now))?;
        if let Some((key, _)) = counted {
            self.attempts.fail(&key, &Bucket::Address, of_address(now), now).await?;
        }
        Ok(())
    }

    /// Clears the attempts of a user, and keeps the known devices.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn unlock(&self, sub: &UserId, now: EpochSeconds) -> Result<(), StoreError> {
        let key = user_key(sub);
        let mut attempts = Attempts::at("clearing failures");
        let mut found = self.attempts.find(&key, now).await?;
        while found != Counter::default() {
            match self.attempts.replace(&key, &found, &found.unlocked(now), expires_at(now)).await? {
                Cleared::Written => break,
                Cleared::Changed(changed) => found = changed,
            }
            attempts.pause().await?;
        }
        Ok(())
    }

    /// What is held of a user.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn holding(&self, sub: &UserId, now: EpochSeconds) -> Result<Holding, StoreError> {
        let counter = self.attempts.find(&user_key(sub), now).await?;
        let openings = counter.buckets.keys().map(|bucket| (bucket.clone(), opening_of(&counter, bucket, now)));
        let new_network = opening_of(&counter, &Bucket::Network(String::new()), now);
        Ok(Holding { openings: openings.collect(), new_network, counter })
    }

    /// Reserves an attempt at a source address; returns the address's key, and when it takes the next one.
    async fn reserve_address(
        &self,
        what: &'static str,
        network: Option<&SourceNetwork>,
        now: EpochSeconds,
    ) -> Result<Result<Option<(String, Opening)>, Opening>, StoreError> {
        let Some(network) = network else { return Ok(Ok(None)) };
        let key = format!("{what}#{}", network.as_str());
        let limits = Limits::of_address(self.free_attempts_per_address);
        let opening = |counter: &Counter| counter.opening(&Bucket::Address, &limits, now);
        Ok(match self.attempts.reserve(&key, &Bucket::Address, &limits, of_address(now), now).await? {
            Reservation::Reserved(counter) => Ok(Some((key, opening(&counter)))),
            Reservation::Refused(counter) => Err(opening(&counter)),
        })
    }

    /// Reserves an attempt in a bucket of an account. One that is only blocked by attempts in progress waits for them.
    async fn reserve(
        &self,
        account: &Account,
        bucket: &Bucket,
        now: EpochSeconds,
    ) -> Result<Result<Counter, (Opening, Counter)>, StoreError> {
        let (key, limits) = (account.key(), Limits::of_account(bucket, now));
        let waits_until = Instant::now() + WAIT_TIMEOUT;
        let mut pauses = pauses();
        loop {
            let counter = match self.attempts.reserve(&key, bucket, &limits, of_account(now), now).await? {
                Reservation::Reserved(counter) => return Ok(Ok(counter)),
                Reservation::Refused(counter) => counter,
            };
            let opening = counter.opening(bucket, &limits, now);
            let pause = pauses.next().filter(|_| matches!(opening, Opening::AfterThoseInProgress | Opening::Now));
            let next_at = pause.map(|pause| Instant::now() + pause).filter(|next_at| *next_at < waits_until);
            let Some(next_at) = next_at else { return Ok(Err((opening, counter))) };
            tokio::time::sleep_until(next_at).await;
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
                Some(key) => attempts.fail(key, &Bucket::Address, of_address(now), now).await,
                None => Ok(None),
            }
        };
        let account = async {
            match &self.account {
                Some((account, bucket, _)) => attempts.fail(&account.key(), bucket, of_account(now), now).await,
                None => Ok(None),
            }
        };
        let (_, counter) = tokio::try_join!(address, account)?;
        // One failure is the last one. Nothing more is counted after it, so this happens once.
        if let (Some((Account::User { sub, .. }, Bucket::Network(_), _)), Some(counter)) = (&self.account, counter)
            && counter.is_shut()
        {
            shut(sub);
        }
        Ok(())
    }

    /// The attempt succeeded: the account's failures are forgotten, and the device is known from now on.
    ///
    /// # Errors
    /// The table did not answer. The attempt must be taken as failed.
    pub async fn succeeded(self, device: &DeviceId, now: EpochSeconds) -> Result<(), StoreError> {
        let Some((account, bucket, counter)) = self.account else { return Ok(()) };
        let (table, key, expires_at) = (&self.throttle.attempts, account.key(), expires_at(now));
        let mut attempts = Attempts::at("clearing failures");
        let mut found = counter.clone();
        loop {
            let cleared = if found.is_clearing_due(now) {
                table.replace(&key, &found, &found.cleared(device, now), expires_at).await?
            } else {
                // Another success may have cleared this reservation.
                let forgotten = found.forgotten(&bucket, found.cleared_at == counter.cleared_at);
                table.forget(&key, &found, &forgotten, device, expires_at, now).await?
            };
            match cleared {
                Cleared::Written => return Ok(()),
                Cleared::Changed(changed) => found = changed,
            }
            attempts.pause().await?;
        }
    }
}

/// The audit event: until a success on a known device, a change of the password or an operator, nobody can log in to
/// this account from anywhere else. The span's field makes the metric.
fn shut(sub: &UserId) {
    tracing::Span::current().record("account_shut", true);
    tracing::warn!(
        event = "account_shut",
        outcome = "shut",
        sub = sub.as_str(),
        "the attempts of all networks are used up; only known devices and open sessions can clear them, or an operator"
    );
}

fn user_key(sub: &UserId) -> String {
    Account::User { sub: sub.clone(), password_epoch: 0 }.key()
}

fn expires_at(now: EpochSeconds) -> EpochSeconds {
    now + ACCOUNT_EXPIRES_AFTER_SECONDS
}

fn of_account(now: EpochSeconds) -> Expiry {
    Expiry::At(expires_at(now))
}

fn of_address(now: EpochSeconds) -> Expiry {
    Expiry::IfNew(now + ADDRESS_WINDOW_SECONDS)
}

fn opening_of(counter: &Counter, bucket: &Bucket, now: EpochSeconds) -> Opening {
    counter.opening(bucket, &Limits::of_account(bucket, now), now)
}

/// The refusal of an attempt that needs every one of these openings.
fn refusal(openings: impl IntoIterator<Item = Opening>, now: EpochSeconds) -> ThrottleError {
    let mut retry_after_seconds = 0;
    for opening in openings {
        let seconds = match opening {
            Opening::NotByTime | Opening::UnknownDevice => return ThrottleError::UsedUp,
            Opening::Now => 0,
            Opening::AfterThoseInProgress => RETRY_AFTER_SECONDS,
            Opening::At(opens_at) => opens_at.seconds_since(now).unwrap_or_default(),
        };
        retry_after_seconds = seconds.max(retry_after_seconds);
    }
    ThrottleError::TooMany { retry_after_seconds: retry_after_seconds.max(RETRY_AFTER_SECONDS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_attempt_may_be_made_when_everything_is_open() {
        let now = EpochSeconds::new(1000);
        let seconds = |openings: &[Opening]| match refusal(openings.iter().copied(), now) {
            ThrottleError::TooMany { retry_after_seconds } => Some(retry_after_seconds),
            ThrottleError::UsedUp | ThrottleError::DeviceUsedUp => None,
            ThrottleError::Store(error) => panic!("{error}"),
        };
        assert_eq!(seconds(&[Opening::At(now + 8), Opening::Now]), Some(8));
        assert_eq!(seconds(&[Opening::At(now + 8), Opening::At(now + 9)]), Some(9));
        assert_eq!(seconds(&[Opening::AfterThoseInProgress, Opening::Now]), Some(1));
        assert_eq!(seconds(&[Opening::Now, Opening::Now]), Some(1), "it opened while it was asked");
        assert_eq!(seconds(&[Opening::At(now + 8), Opening::NotByTime]), None);
        assert_eq!(seconds(&[Opening::NotByTime, Opening::At(now + 8)]), None);
    }
}
