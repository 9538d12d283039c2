//! The LoginAttempts table: `counter` (key), and per bucket of it `reserved`, `failures`, `attempted_at` and
//! `succeeded_at`.
//!
//! A counter is the number of attempts since the last success. Its buckets are counted separately: untrusted attempts
//! must not block those from the owner's known addresses. [`crate::throttle`] decides the limits; here
//! they become one conditional write, so that concurrent attempts cannot exceed the limit.
//!
//! An attempt is reserved before it is made and marked as failed afterwards. Reservations are bounded, and waits grow
//! with failures, so that logins that succeed concurrently do not wait for each other.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};

use super::StoreError;
use super::item::{Item, number, string, time};
use super::retry::Attempts;
use crate::EpochSeconds;

const TABLE: &str = "LoginAttempts";

/// A bucket of a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The counter: whose attempts these are.
    pub counter: String,
    /// The name of the bucket within it.
    pub name: String,
}

impl Bucket {
    fn attribute(&self, kind: &str) -> String {
        attribute(kind, &self.name)
    }
}

fn attribute(kind: &str, bucket: &str) -> String {
    format!("{kind}@{bucket}")
}

/// What a bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Attempts reserved since the last success.
    pub reserved: u64,
    /// Those that are known to have failed.
    pub failures: u64,
    /// When the last one began or failed.
    pub attempted_at: EpochSeconds,
    /// When an attempt from here last succeeded, if one did.
    pub succeeded_at: Option<EpochSeconds>,
}

/// A counter as it is stored: its buckets by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter(pub BTreeMap<String, Tally>);

impl Counter {
    /// In which buckets there were successes, and when.
    #[must_use]
    pub fn successes(&self) -> BTreeMap<String, EpochSeconds> {
        self.0.iter().filter_map(|(bucket, tally)| Some((bucket.clone(), tally.succeeded_at?))).collect()
    }
}

/// When a bucket is open for one more attempt.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most attempts that can be reserved without a success.
    pub max_reserved: u64,
    /// Pairs of a number of failures and the seconds that must then have passed since the last attempt; ascending.
    /// The last pair applies to all higher numbers.
    pub waits: Vec<(u64, u64)>,
    /// The bucket must have seen a success later than this.
    pub succeeded_after: Option<EpochSeconds>,
}

/// How a reserved attempt is counted until its outcome is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    AsInProgress,
    /// A failure already: nothing more is written when it fails.
    AsFailure,
}

/// The result of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// The attempt may be made. The counter after it.
    Reserved(Counter),
    /// It may not. The current counter.
    Refused(Counter),
}

#[derive(Clone, Debug)]
pub struct LoginAttemptsTable {
    client: Client,
    name: String,
}

impl LoginAttemptsTable {
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Reserves one attempt in a bucket, if it is open. A new counter expires at `lapses_at`; without that it stays
    /// until a success. With [`Reserve::AsFailure`] it is counted as a failure until it succeeds.
    ///
    /// # Errors
    /// The table did not answer. The attempt must not be made.
    pub async fn reserve(
        &self,
        bucket: &Bucket,
        limits: &Limits,
        reserve: Reserve,
        now: EpochSeconds,
        lapses_at: Option<EpochSeconds>,
    ) -> Result<Reservation, StoreError> {
        const OPERATION: &str = "counting an attempt";
        let mut attempts = Attempts::at(OPERATION);
        loop {
            let answer = reserving(self.update(bucket), bucket, limits, reserve, now, lapses_at).send().await;
            let error = match answer {
                Ok(answer) => return counter(&answer.attributes.unwrap_or_default()).map(Reservation::Reserved),
                Err(error) => error,
            };
            let Some(UpdateItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
                return Err(StoreError::call(OPERATION, error));
            };
            let found = failed.item().cloned().unwrap_or_default();
            let item = Item { table: TABLE, attributes: &found };
            // DynamoDB deletes late: an expired item is treated as deleted.
            if !item.has("expires_at") || item.number::<EpochSeconds>("expires_at")? > now {
                return counter(&found).map(Reservation::Refused);
            }
            self.delete_lapsed(&bucket.counter, now).await?;
            attempts.pause().await?;
        }
    }

    /// Marks a reserved attempt as failed.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn fail(
        &self,
        bucket: &Bucket,
        now: EpochSeconds,
        lapses_at: Option<EpochSeconds>,
    ) -> Result<(), StoreError> {
        let update = self
            .update(bucket)
            .expression_attribute_names("#failures", bucket.attribute("failures"))
            .expression_attribute_names("#attempted_at", bucket.attribute("attempted_at"))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":now", time(now));
        let set = "SET #failures = if_not_exists(#failures, :zero) + :one, #attempted_at = :now";
        let update = expiring(update, set, lapses_at);
        update.send().await.map_err(|error| StoreError::call("counting a failure", error))?;
        Ok(())
    }

    /// Forgets every attempt of a counter, and keeps in which buckets there were successes.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn succeed(&self, counter: &str, successes: &BTreeMap<String, EpochSeconds>) -> Result<(), StoreError> {
        let mut item = HashMap::from([("counter".to_owned(), string(counter))]);
        item.extend(successes.iter().map(|(bucket, at)| (attribute("succeeded_at", bucket), time(*at))));
        self.client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .send()
            .await
            .map_err(|error| StoreError::call("forgetting failures", error))?;
        Ok(())
    }

    /// The counter, if there is one, read consistently.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn find(&self, counter: &str) -> Result<Option<Counter>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("counter", string(counter))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::call("reading a counter", error))?;
        answer.item.as_ref().map(self::counter).transpose()
    }

    async fn delete_lapsed(&self, counter: &str, now: EpochSeconds) -> Result<(), StoreError> {
        let answer = self
            .client
            .delete_item()
            .table_name(&self.name)
            .key("counter", string(counter))
            .condition_expression("expires_at <= :now")
            .expression_attribute_values(":now", time(now))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            // Another attempt has already restarted it.
            Err(error)
                if error.as_service_error().is_some_and(DeleteItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(StoreError::call("forgetting a lapsed counter", error)),
        }
    }

    fn update(&self, bucket: &Bucket) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.name).key("counter", string(&bucket.counter))
    }
}

/// The write of [`LoginAttemptsTable::reserve`]: one attempt more, on condition that the bucket is open.
fn reserving(
    update: UpdateItemFluentBuilder,
    bucket: &Bucket,
    limits: &Limits,
    reserve: Reserve,
    now: EpochSeconds,
    lapses_at: Option<EpochSeconds>,
) -> UpdateItemFluentBuilder {
    let mut update = update
        .expression_attribute_names("#reserved", bucket.attribute("reserved"))
        .expression_attribute_names("#failures", bucket.attribute("failures"))
        .expression_attribute_names("#attempted_at", bucket.attribute("attempted_at"))
        .expression_attribute_values(":zero", number(0))
        .expression_attribute_values(":one", number(1))
        .expression_attribute_values(":now", time(now))
        .expression_attribute_values(":max", number(limits.max_reserved))
        .return_values(ReturnValue::AllNew)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);

    // Each step: its number of failures, and its wait is over.
    let mut waited = vec!["attribute_not_exists(#failures)".to_owned()];
    if let Some((first, _)) = limits.waits.first() {
        waited.push("#failures < :failures0".to_owned());
        update = update.expression_attribute_values(":failures0", number(*first));
    }
    for (step, (failures, wait_seconds)) in limits.waits.iter().enumerate() {
        let upper = limits.waits.get(step + 1);
        let range = upper.map_or_else(String::new, |_| format!(" AND #failures < :failures{}", step + 1));
        waited.push(format!("(#failures >= :failures{step}{range} AND #attempted_at <= :waited{step})"));
        update = update
            .expression_attribute_values(format!(":failures{step}"), number(*failures))
            .expression_attribute_values(format!(":waited{step}"), time(now - *wait_seconds));
    }
    let mut condition = format!(
        "(attribute_not_exists(expires_at) OR expires_at > :now) \
         AND (attribute_not_exists(#reserved) OR #reserved < :max) AND ({})",
        waited.join(" OR ")
    );
    if let Some(after) = limits.succeeded_after {
        condition.push_str(" AND #succeeded_at > :succeeded_after");
        update = update
            .expression_attribute_names("#succeeded_at", bucket.attribute("succeeded_at"))
            .expression_attribute_values(":succeeded_after", time(after));
    }
    let set = match reserve {
        Reserve::AsInProgress => "SET #reserved = if_not_exists(#reserved, :zero) + :one, #attempted_at = :now",
        Reserve::AsFailure => {
            "SET #reserved = if_not_exists(#reserved, :zero) + :one, #attempted_at = :now, \
             #failures = if_not_exists(#failures, :zero) + :one"
        }
    };
    expiring(update, set, lapses_at).condition_expression(condition)
}

/// Lets a counter expire at a time that does not change once it is set, or never.
fn expiring(update: UpdateItemFluentBuilder, set: &str, lapses_at: Option<EpochSeconds>) -> UpdateItemFluentBuilder {
    match lapses_at {
        Some(lapses_at) => update
            .update_expression(format!("{set}, expires_at = if_not_exists(expires_at, :lapses_at)"))
            .expression_attribute_values(":lapses_at", time(lapses_at)),
        None => update.update_expression(format!("{set} REMOVE expires_at")),
    }
}

fn counter(attributes: &HashMap<String, AttributeValue>) -> Result<Counter, StoreError> {
    let mut buckets: BTreeMap<String, Tally> = BTreeMap::new();
    for (name, value) in attributes {
        let Some((kind, bucket)) = name.split_once('@') else { continue };
        let malformed = StoreError::MalformedItem { table: TABLE, attribute: "of a bucket" };
        let value: u64 = value.as_n().ok().and_then(|text| text.parse().ok()).ok_or(malformed)?;
        let tally = buckets.entry(bucket.to_owned()).or_default();
        match kind {
            "reserved" => tally.reserved = value,
            "failures" => tally.failures = value,
            "attempted_at" => tally.attempted_at = EpochSeconds::new(value),
            "succeeded_at" => tally.succeeded_at = Some(EpochSeconds::new(value)),
            _ => {}
        }
    }
    Ok(Counter(buckets))
}
