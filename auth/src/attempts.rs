//! The rules by which attempts are counted: which buckets there are, how many attempts each holds, and when it opens.
//!
//! An account has a [`Counter`]. Its attempts are in buckets, so that those from elsewhere cannot use up the owner's:
//!
//! | Bucket | Holds | All of them hold |
//! |---|---|---|
//! | each of the last four known devices | 5 | 20 |
//! | each source network without a known device | 5 | 25 |
//! | `POST /password`, of the signed-in user | 5 | 5 |
//!
//! So an account holds 50 attempts. A success clears them, and waiting does not, until the counter expires a year after
//! its last attempt. After three failures of a bucket the next attempt has to wait, and longer after the fourth.
//!
//! An attempt is reserved before it is made, and marked as failed afterwards. A success clears the failures of all
//! buckets. It clears every reservation too, and with them those that never ended because their function was killed,
//! unless another success did so in the last 40 seconds: it is written up to 20 seconds after its own time, and what was
//! reserved until then may be in progress for 20 more. So of the attempts in progress at a clearing, 50 at the most,
//! none was cleared before, and at most 50 more follow: NIST SP 800-63B-4 §3.2.2 allows no more than 100 consecutive
//! failures.
//!
//! A source address has a counter of its own, over all names, which time does open.

use std::collections::BTreeMap;

use crate::EpochSeconds;
use crate::device::DeviceId;
use crate::network::SourceNetwork;

/// Attempts that a bucket of an account holds.
pub const MAX_PER_BUCKET: u64 = 5;
/// Attempts that all networks of an account hold together.
pub const MAX_OF_NETWORKS: u64 = 25;
/// Attempts that all devices of an account hold together, also while concurrent logins make more than four known.
const MAX_OF_DEVICES: u64 = MAX_PER_BUCKET * KNOWN_DEVICES as u64;
/// How many devices of an account are known: those of the latest logins.
pub const KNOWN_DEVICES: usize = 4;
/// How long a device is known after a login, in seconds: 180 days.
pub const DEVICE_KNOWN_FOR_SECONDS: u64 = 180 * 24 * 60 * 60;
/// When the counter of an account expires, in seconds after its last attempt: 365 days.
pub const ACCOUNT_EXPIRES_AFTER_SECONDS: u64 = 365 * 24 * 60 * 60;
/// When the counter of a source address expires, in seconds after its first attempt: an hour.
pub const ADDRESS_WINDOW_SECONDS: u64 = 60 * 60;
/// The longest wait of a source address, in seconds: 15 minutes.
pub const MAX_WAIT_SECONDS: u64 = 15 * 60;

/// The waits in a bucket of an account: after so many failures, so many seconds after the last attempt.
const ACCOUNT_WAITS: [(u64, u64); 2] = [(3, 2), (4, 10)];
/// The waits of a source address double this often before they are at their longest.
const DOUBLINGS: u32 = 10;
/// How long an attempt can be in progress, in seconds: the timeout of the functions that hash, in `template.yaml`.
pub const IN_PROGRESS_SECONDS: u64 = 20;

/// Which attempts of a counter are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// Those of a known device.
    Device(DeviceId),
    /// Those of a source network, without a known device.
    Network(String),
    /// Those of the signed-in user at `POST /password`.
    Password,
    /// The only bucket of a source address.
    Address,
}

impl Bucket {
    /// The bucket of a network. Requests without a readable source address share one.
    #[must_use]
    pub fn of_network(network: Option<&SourceNetwork>) -> Self {
        Self::Network(network.map_or("unknown", SourceNetwork::as_str).to_owned())
    }

    /// As it is stored.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Device(device) => format!("device:{}", device.as_str()),
            Self::Network(network) => format!("network:{network}"),
            Self::Password => "password".to_owned(),
            Self::Address => "all".to_owned(),
        }
    }

    /// The buckets with which it shares a limit.
    #[must_use]
    pub const fn group(&self) -> Option<Group> {
        match self {
            Self::Device(_) => Some(Group::Devices),
            Self::Network(_) => Some(Group::Networks),
            Self::Password | Self::Address => None,
        }
    }

    /// The bucket that is stored by this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.split_once(':') {
            Some(("device", device)) => Some(Self::Device(DeviceId::from_stored(device))),
            Some(("network", network)) => Some(Self::Network(network.to_owned())),
            None if name == "password" => Some(Self::Password),
            None if name == "all" => Some(Self::Address),
            _ => None,
        }
    }
}

/// Buckets that share a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Devices,
    Networks,
}

impl Group {
    /// As it is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Networks => "networks",
        }
    }

    /// Most attempts in all its buckets.
    #[must_use]
    pub const fn max_reserved(self) -> u64 {
        match self {
            Self::Devices => MAX_OF_DEVICES,
            Self::Networks => MAX_OF_NETWORKS,
        }
    }
}

/// What a bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts that failed or are in progress.
    pub reserved: u64,
    /// Those that failed.
    pub failures: u64,
    /// When the last one began or failed.
    pub attempted_at: EpochSeconds,
}

impl Tally {
    /// Attempts in progress. After [`IN_PROGRESS_SECONDS`] none is: the function that made it has ended.
    fn in_progress(&self, now: EpochSeconds) -> u64 {
        if self.attempted_at + IN_PROGRESS_SECONDS > now { self.reserved.saturating_sub(self.failures) } else { 0 }
    }
}

/// The limits of a bucket. They become the condition of one write, so that concurrent attempts cannot exceed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most attempts in the bucket.
    pub max_reserved: u64,
    /// Pairs of a number of failures and the seconds that must then have passed since the last attempt; ascending.
    /// The last pair applies to all higher numbers.
    pub waits: Vec<(u64, u64)>,
    /// The device of the bucket must have logged in later than this.
    pub known_after: Option<EpochSeconds>,
}

impl Limits {
    /// Those of a bucket of an account.
    #[must_use]
    pub fn of_account(bucket: &Bucket, now: EpochSeconds) -> Self {
        Self {
            max_reserved: MAX_PER_BUCKET,
            waits: ACCOUNT_WAITS.to_vec(),
            known_after: matches!(bucket, Bucket::Device(_)).then(|| now - DEVICE_KNOWN_FOR_SECONDS),
        }
    }

    /// Those of a source address: after `free_attempts` failures a wait, which doubles with each further one.
    #[must_use]
    pub fn of_address(free_attempts: u64) -> Self {
        let waits =
            (0..=DOUBLINGS).map(|doubling| (free_attempts + u64::from(doubling), MAX_WAIT_SECONDS.min(1 << doubling)));
        Self { max_reserved: u64::MAX, waits: waits.collect(), known_after: None }
    }

    /// The seconds that must have passed since the last attempt, after so many failures.
    fn wait_seconds(&self, failures: u64) -> u64 {
        self.waits.iter().rev().find(|(least, _)| failures >= *least).map_or(0, |(_, seconds)| *seconds)
    }
}

/// When a bucket takes another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    Now,
    /// When an attempt in progress succeeds.
    AfterThoseInProgress,
    At(EpochSeconds),
    /// By a success of the account, and not by time.
    NotByTime,
    /// Never: it is the bucket of a device that is not known.
    UnknownDevice,
}

/// The attempts of an account or of a source address since its last success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    pub buckets: BTreeMap<Bucket, Tally>,
    /// The known devices, and when each last logged in.
    pub devices: BTreeMap<DeviceId, EpochSeconds>,
    /// When every reservation was last cleared: the time of the request that did.
    pub cleared_at: Option<EpochSeconds>,
    /// How often it was cleared, in whole or in part.
    pub clearings: u64,
}

/// What a success takes out of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    pub bucket: Bucket,
    /// All its failures.
    pub failures: u64,
    /// Of its reservations: one for each failure, and that of the success itself.
    pub reserved: u64,
}

impl Counter {
    #[must_use]
    pub fn tally(&self, bucket: &Bucket) -> Tally {
        self.buckets.get(bucket).copied().unwrap_or_default()
    }

    fn tallies(&self, group: Group) -> impl Iterator<Item = &Tally> {
        self.buckets.iter().filter(move |(bucket, _)| bucket.group() == Some(group)).map(|(_, tally)| tally)
    }

    /// Attempts in all buckets of a group.
    #[must_use]
    pub fn reserved(&self, group: Group) -> u64 {
        self.tallies(group).map(|tally| tally.reserved).sum()
    }

    /// Whether the attempts of all networks are used up.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.tallies(Group::Networks).map(|tally| tally.failures).sum::<u64>() >= MAX_OF_NETWORKS
    }

    /// The known devices on which the password of this epoch was used, and when each last logged in.
    pub fn devices_since(&self, password_epoch: u64) -> impl Iterator<Item = (&DeviceId, EpochSeconds)> {
        let devices = self.devices.iter().map(|(device, known_at)| (device, *known_at));
        devices.filter(move |(device, _)| device.password_epoch() == Some(password_epoch))
    }

    /// When a bucket takes another attempt.
    #[must_use]
    pub fn opening(&self, bucket: &Bucket, limits: &Limits, now: EpochSeconds) -> Opening {
        let tally = self.tally(bucket);
        let is_full = |count: fn(&Tally) -> u64| {
            let in_group = |group: Group| self.tallies(group).map(count).sum::<u64>() >= group.max_reserved();
            count(&tally) >= limits.max_reserved || bucket.group().is_some_and(in_group)
        };
        if let (Bucket::Device(device), Some(known_after)) = (bucket, limits.known_after)
            && self.devices.get(device).is_none_or(|known_at| *known_at <= known_after)
        {
            return Opening::UnknownDevice;
        }
        if is_full(|tally| tally.failures) {
            return Opening::NotByTime;
        }
        if is_full(|tally| tally.reserved) {
            let in_progress: u64 = match bucket.group() {
                Some(group) => self.tallies(group).map(|tally| tally.in_progress(now)).sum(),
                None => tally.in_progress(now),
            };
            return if in_progress > 0 { Opening::AfterThoseInProgress } else { Opening::NotByTime };
        }
        let opens_at = tally.attempted_at + limits.wait_seconds(tally.failures);
        if opens_at > now { Opening::At(opens_at) } else { Opening::Now }
    }

    /// Whether a success clears every reservation. If one did so a moment ago, attempts from before it may still be in
    /// progress, and those from after it have to stay counted.
    #[must_use]
    pub fn is_clearing_due(&self, now: EpochSeconds) -> bool {
        self.cleared_at.is_none_or(|cleared_at| cleared_at + 2 * IN_PROGRESS_SECONDS <= now)
    }

    /// Without any attempt. Known devices stay known.
    #[must_use]
    pub fn unlocked(&self, now: EpochSeconds) -> Self {
        Self {
            buckets: BTreeMap::new(),
            devices: self.devices.clone(),
            cleared_at: Some(now),
            clearings: self.clearings + 1,
        }
    }

    /// After a success: without any attempt, and with the device that it was made on.
    #[must_use]
    pub fn cleared(&self, device: &DeviceId, now: EpochSeconds) -> Self {
        let mut cleared = self.unlocked(now);
        for (other, _) in self.forgotten_devices(device, now) {
            cleared.devices.remove(&other);
        }
        cleared.devices.insert(device.clone(), now);
        cleared
    }

    /// What a success in `bucket` takes out of the buckets, where others are in progress. `is_counted` says whether its
    /// own reservation still is.
    #[must_use]
    pub fn forgotten(&self, bucket: &Bucket, is_counted: bool) -> Vec<Forgotten> {
        let own = |other: &Bucket| u64::from(is_counted && other == bucket);
        let forgotten = self.buckets.iter().map(|(bucket, tally)| Forgotten {
            bucket: bucket.clone(),
            failures: tally.failures,
            reserved: tally.reserved.min(tally.failures + own(bucket)),
        });
        forgotten.filter(|forgotten| forgotten.reserved > 0).collect()
    }

    /// The devices that are not known any more after a success on `device`, and when each last logged in: those that
    /// are too old, and of the others all but the latest.
    #[must_use]
    pub fn forgotten_devices(&self, device: &DeviceId, now: EpochSeconds) -> Vec<(DeviceId, EpochSeconds)> {
        let mut others: Vec<_> = self.devices.iter().filter(|(other, _)| *other != device).collect();
        others.sort_unstable_by_key(|(other, known_at)| (std::cmp::Reverse(**known_at), *other));
        let is_known = |position: usize, known_at: EpochSeconds| {
            position < KNOWN_DEVICES - 1 && known_at + DEVICE_KNOWN_FOR_SECONDS > now
        };
        let others = others.into_iter().enumerate();
        let forgotten = others.filter(|(position, (_, known_at))| !is_known(*position, **known_at));
        forgotten.map(|(_, (other, known_at))| (other.clone(), *known_at)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EpochSeconds = EpochSeconds::new(1_800_000_000);

    fn network(number: u64) -> Bucket {
        Bucket::Network(format!("192.0.2.{number}"))
    }

    fn device(name: &str) -> DeviceId {
        DeviceId::from_stored(name)
    }

    fn tally(reserved: u64, failures: u64, attempted_at: EpochSeconds) -> Tally {
        Tally { reserved, failures, attempted_at }
    }

    fn counter(buckets: impl IntoIterator<Item = (Bucket, Tally)>) -> Counter {
        Counter { buckets: buckets.into_iter().collect(), ..Counter::default() }
    }

    fn opening(counter: &Counter, bucket: &Bucket, now: EpochSeconds) -> Opening {
        counter.opening(bucket, &Limits::of_account(bucket, now), now)
    }

    #[test]
    fn the_limits_are_those_that_are_documented() {
        assert_eq!([MAX_PER_BUCKET, MAX_OF_NETWORKS, MAX_OF_DEVICES], [5, 25, 20]);
        assert_eq!([ADDRESS_WINDOW_SECONDS, MAX_WAIT_SECONDS], [3600, 900]);
        assert_eq!([DEVICE_KNOWN_FOR_SECONDS, ACCOUNT_EXPIRES_AFTER_SECONDS], [180, 365].map(|days| days * 86_400));
    }

    #[test]
    fn a_bucket_is_stored_by_its_name() {
        for (bucket, name) in [
            (Bucket::Device(device("abc")), "device:abc"),
            (Bucket::Network("2001:db8:1:2::/64".to_owned()), "network:2001:db8:1:2::/64"),
            (Bucket::of_network(None), "network:unknown"),
            (Bucket::Password, "password"),
            (Bucket::Address, "all"),
        ] {
            assert_eq!(bucket.name(), name);
            assert_eq!(Bucket::named(name), Some(bucket));
        }
        assert_eq!([Group::Devices, Group::Networks].map(Group::name), ["devices", "networks"]);
        for name in ["networks", "devices", "strangers", "signed-in", "192.0.2.7", "password:x", "all:x"] {
            assert_eq!(Bucket::named(name), None, "{name}");
        }
    }

    #[test]
    fn the_third_and_the_fourth_failure_make_the_next_attempt_wait() {
        let of = |failures, now| opening(&counter([(network(1), tally(failures, failures, NOW))]), &network(1), now);
        for failures in 0..3 {
            assert_eq!(of(failures, NOW), Opening::Now, "{failures}");
        }
        assert_eq!(
            (of(3, NOW), of(3, NOW + 1), of(3, NOW + 2)),
            (Opening::At(NOW + 2), Opening::At(NOW + 2), Opening::Now)
        );
        assert_eq!((of(4, NOW + 9), of(4, NOW + 10)), (Opening::At(NOW + 10), Opening::Now));
        assert_eq!((of(5, NOW), of(5, NOW + 364 * 24 * 60 * 60)), (Opening::NotByTime, Opening::NotByTime));
    }

    #[test]
    fn an_address_waits_twice_as_long_each_time_and_15_minutes_at_the_most() {
        let limits = Limits::of_address(100);
        let wait = |failures| {
            let counter = counter([(Bucket::Address, tally(failures, failures, NOW))]);
            match counter.opening(&Bucket::Address, &limits, NOW) {
                Opening::At(opens_at) => opens_at.seconds_since(NOW),
                Opening::Now => None,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([0, 99].map(wait), [None, None]);
        assert_eq!(
            [100, 101, 102, 108, 109, 110].map(wait),
            [Some(1), Some(2), Some(4), Some(256), Some(512), Some(900)]
        );
        assert_eq!([111, 5000].map(wait), [Some(900), Some(900)]);
    }

    #[test]
    fn a_full_bucket_waits_for_those_in_progress_as_long_as_they_can_be() {
        let full = counter([(network(1), tally(5, 4, NOW))]);
        assert_eq!(opening(&full, &network(1), NOW + 19), Opening::AfterThoseInProgress);
        assert_eq!(opening(&full, &network(1), NOW + 20), Opening::NotByTime, "its function was killed");
        assert_eq!(opening(&full, &network(2), NOW), Opening::Now);
        assert_eq!(opening(&full, &Bucket::Password, NOW), Opening::Now);
    }

    #[test]
    fn five_networks_use_up_what_all_of_them_have() {
        let networks = |count, failures| counter((0..count).map(|number| (network(number), tally(5, failures, NOW))));
        assert_eq!(opening(&networks(4, 5), &network(9), NOW), Opening::Now);
        assert_eq!(opening(&networks(5, 5), &network(9), NOW), Opening::NotByTime);
        assert_eq!(opening(&networks(5, 4), &network(9), NOW + 19), Opening::AfterThoseInProgress);
        assert_eq!(opening(&networks(5, 4), &network(9), NOW + 20), Opening::NotByTime);
        assert_eq!(
            [networks(5, 5), networks(5, 4), networks(4, 5)].map(|counter| counter.is_shut()),
            [true, false, false]
        );
        assert_eq!(networks(5, 5).reserved(Group::Networks), MAX_OF_NETWORKS);
        assert_eq!(networks(5, 5).reserved(Group::Devices), 0);
        for bucket in [Bucket::Password, Bucket::Device(device("a"))] {
            let mut counter = networks(5, 5);
            counter.devices.insert(device("a"), NOW);
            assert_eq!(opening(&counter, &bucket, NOW), Opening::Now, "{bucket:?}");
        }
    }

    #[test]
    fn devices_together_have_as_many_attempts_as_four() {
        let names = ["a", "b", "c", "d", "e"];
        let mut counter = counter(names[..4].iter().map(|name| (Bucket::Device(device(name)), tally(5, 5, NOW))));
        counter.devices.extend(names.map(|name| (device(name), NOW)));
        assert_eq!(opening(&counter, &Bucket::Device(device("e")), NOW), Opening::NotByTime);
        assert_eq!(opening(&counter, &network(1), NOW), Opening::Now);
        counter.buckets.remove(&Bucket::Device(device("a")));
        assert_eq!(opening(&counter, &Bucket::Device(device("e")), NOW), Opening::Now);
    }

    #[test]
    fn a_device_is_known_for_180_days() {
        let mut counter = Counter::default();
        let bucket = Bucket::Device(device("a"));
        assert_eq!(opening(&counter, &bucket, NOW), Opening::UnknownDevice);
        counter.devices.insert(device("a"), NOW);
        assert_eq!(opening(&counter, &bucket, NOW + (DEVICE_KNOWN_FOR_SECONDS - 1)), Opening::Now);
        assert_eq!(opening(&counter, &bucket, NOW + DEVICE_KNOWN_FOR_SECONDS), Opening::UnknownDevice);
    }

    #[test]
    fn a_device_on_which_an_earlier_password_was_used_is_not_listed() {
        let devices = ["0.a", "1.b", "1.c", "2.d"].map(|name| (device(name), NOW)).into();
        let counter = Counter { devices, ..Counter::default() };
        let listed: Vec<_> = counter.devices_since(1).map(|(device, _)| device.as_str()).collect();
        assert_eq!(listed, ["1.b", "1.c"]);
    }

    #[test]
    fn of_the_devices_the_latest_three_stay_known_beside_the_one_that_logs_in() {
        let mut counter = Counter::default();
        for (name, age) in [("a", 4), ("b", 3), ("c", 2), ("d", 1), ("old", DEVICE_KNOWN_FOR_SECONDS)] {
            counter.devices.insert(device(name), NOW - age);
        }
        let forgotten = |name| {
            let forgotten = counter.forgotten_devices(&device(name), NOW).into_iter();
            let mut names: Vec<_> = forgotten.map(|(forgotten, _)| forgotten).collect();
            names.sort();
            names
        };
        assert_eq!(forgotten("new"), [device("a"), device("old")]);
        assert_eq!(forgotten("a"), [device("old")]);
        assert_eq!(forgotten("d"), [device("old")]);
        let cleared = counter.cleared(&device("new"), NOW);
        let known: Vec<_> = cleared.devices.into_iter().collect();
        let expected = [("b", NOW - 3), ("c", NOW - 2), ("d", NOW - 1), ("new", NOW)];
        assert_eq!(known, expected.map(|(name, known_at)| (device(name), known_at)));
        // Too old, although there are few.
        counter.devices.retain(|other, _| *other == device("old"));
        let old = (device("old"), NOW - DEVICE_KNOWN_FOR_SECONDS);
        assert_eq!(counter.forgotten_devices(&device("new"), NOW), [old]);
        assert_eq!(counter.forgotten_devices(&device("new"), NOW - 1), []);
        assert_eq!(counter.unlocked(NOW), Counter { cleared_at: Some(NOW), clearings: 1, ..counter });
    }

    #[test]
    fn every_reservation_is_cleared_when_no_attempt_of_the_previous_clearing_is_in_progress() {
        let at = |cleared_at| Counter { cleared_at, ..Counter::default() };
        assert!(at(None).is_clearing_due(NOW));
        assert!(!at(Some(NOW)).is_clearing_due(NOW));
        assert!(!at(Some(NOW)).is_clearing_due(NOW + 39));
        assert!(at(Some(NOW)).is_clearing_due(NOW + 40));
        let held = counter([(network(1), tally(5, 3, NOW)), (Bucket::Password, tally(1, 0, NOW))]);
        assert_eq!(held.unlocked(NOW).buckets, BTreeMap::new());
        assert_eq!(held.cleared(&device("a"), NOW).buckets, BTreeMap::new());
    }

    #[test]
    fn a_success_among_others_takes_out_all_failures_and_itself() {
        let held = counter([
            (network(1), tally(5, 3, NOW)),
            (network(2), tally(4, 4, NOW)),
            (network(3), tally(2, 0, NOW)),
            (Bucket::Password, tally(1, 1, NOW)),
        ]);
        let forgotten = |bucket: &Bucket, is_counted| {
            let forgotten = held.forgotten(bucket, is_counted).into_iter();
            forgotten.map(|it| (it.bucket, it.reserved, it.failures)).collect::<Vec<_>>()
        };
        assert_eq!(
            forgotten(&network(3), true),
            [(network(1), 3, 3), (network(2), 4, 4), (network(3), 1, 0), (Bucket::Password, 1, 1)]
        );
        assert_eq!(forgotten(&network(1), true)[0], (network(1), 4, 3));
        // Another success has taken it out.
        let others = [(network(1), 3, 3), (network(2), 4, 4), (Bucket::Password, 1, 1)];
        assert_eq!(forgotten(&network(3), false), others);
        assert_eq!(forgotten(&network(2), true)[1], (network(2), 4, 4), "no more than there are");
    }
}
