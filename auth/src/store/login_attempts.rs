//! The LoginAttempts table: `counter` (key), `expires_at`, `cleared_at`, `clearings`; for each
//! bucket `reserved@…`, `failures@…` and
//! `attempted_at@…`; for each group of buckets `reserved@…`, the sum over them; for each known device `known_at@…`.
//!
//! The keys are `user#` and a `sub`, `name#` and the HMAC of a name that no user has, or what is counted for a source
//! address, such as `login#192.0.2.7`. [`crate::attempts`] has the rules; here they become one conditional write, so
//! that concurrent attempts cannot exceed a limit.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, DeleteRequest, ReturnValue, ReturnValuesOnConditionCheckFailure, WriteRequest,
};

use super::StoreError;
use super::item::{Item, number, string, time};
use super::retry::Attempts;
use crate::EpochSeconds;
use crate::attempts::{Bucket, Counter, Forgotten, Group, Limits};
use crate::device::DeviceId;

const TABLE: &str = "LoginAttempts";
/// The attribute of a known device.
const KNOWN_AT: &str = "known_at";
const CLEARING: &str = "clearing failures";
/// Items in one BatchWriteItem.
const MAX_BATCH: usize = 25;
/// How the keys of counters by name began in an earlier release.
const FORMER_KEY_PREFIX: &str = "account#";

/// When a counter expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At this time if it is new, and else as it was.
    IfNew(EpochSeconds),
    /// At this time from now on.
    At(EpochSeconds),
}

/// The result of a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// The attempt may be made. The counter after it.
    Reserved(Counter),
    /// It may not. The current counter.
    Refused(Counter),
}

/// The result of clearing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cleared {
    Written,
    /// The counter is not as it was read. The current one; nothing was written.
    Changed(Counter),
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

    /// Reserves one attempt in a bucket, if it is open.
    ///
    /// # Errors
    /// The table did not answer. The attempt must not be made.
    pub async fn reserve(
        &self,
        key: &str,
        bucket: &Bucket,
        limits: &Limits,
        expiry: Expiry,
        now: EpochSeconds,
    ) -> Result<Reservation, StoreError> {
        const OPERATION: &str = "counting an attempt";
        let mut attempts = Attempts::at(OPERATION);
        loop {
            let answer = reserving(self.update(key), bucket, limits, expiry, now).send().await;
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
            self.delete_expired(key, now).await?;
            attempts.pause().await?;
        }
    }

    /// Marks a reserved attempt as failed, unless a success or an operator has cleared it in the meantime. Returns the
    /// counter after it, or `None` if it was cleared.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn fail(
        &self,
        key: &str,
        bucket: &Bucket,
        expiry: Expiry,
        now: EpochSeconds,
    ) -> Result<Option<Counter>, StoreError> {
        let update = self
            .update(key)
            .return_values(ReturnValue::AllNew)
            .condition_expression(
                "attribute_exists(#reserved) AND (attribute_not_exists(#failures) OR #failures < #reserved)",
            )
            .expression_attribute_names("#reserved", attribute("reserved", bucket));
        let set = "#failures = if_not_exists(#failures, :zero) + :one";
        match setting(update, set, bucket, expiry, now).send().await {
            Ok(answer) => counter(&answer.attributes.unwrap_or_default()).map(Some),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(None),
                _ => Err(StoreError::call("counting a failure", error)),
            },
        }
    }

    /// Replaces a counter by one without attempts, unless it was cleared since it was read. Attempts that were reserved
    /// since then are gone too.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn replace(
        &self,
        key: &str,
        old: &Counter,
        new: &Counter,
        expires_at: EpochSeconds,
    ) -> Result<Cleared, StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item_without_attempts(key, new, expires_at)))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match old.clearings {
            0 => put.condition_expression("attribute_not_exists(clearings)"),
            clearings => put
                .condition_expression("clearings = :clearings")
                .expression_attribute_values(":clearings", number(clearings)),
        };
        match put.send().await {
            Ok(_) => Ok(Cleared::Written),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Cleared::Changed(counter(&failed.item().cloned().unwrap_or_default())?))
                }
                _ => Err(StoreError::call(CLEARING, error)),
            },
        }
    }

    /// Takes `forgotten` out of a counter, makes `device` known, and forgets devices. Nothing is done if every
    /// reservation was cleared since the counter was read, if it has other failures, or if one of the forgotten devices
    /// has logged in. Attempts in progress do not stand in the way.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn forget(
        &self,
        key: &str,
        old: &Counter,
        forgotten: &[Forgotten],
        device: &DeviceId,
        expires_at: EpochSeconds,
        now: EpochSeconds,
    ) -> Result<Cleared, StoreError> {
        let mut update = self
            .update(key)
            .expression_attribute_names("#device", known_at(device))
            .expression_attribute_values(":now", time(now))
            .expression_attribute_values(":expires_at", time(expires_at))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":one", number(1))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut set = "#device = :now, expires_at = :expires_at, \
                       clearings = if_not_exists(clearings, :zero) + :one"
            .to_owned();
        let mut condition = match old.cleared_at {
            Some(cleared_at) => {
                update = update.expression_attribute_values(":cleared_at", time(cleared_at));
                "cleared_at = :cleared_at".to_owned()
            }
            None => "attribute_not_exists(cleared_at)".to_owned(),
        };
        for (index, Forgotten { bucket, failures, reserved }) in forgotten.iter().enumerate() {
            let _ = write!(set, ", #r{index} = #r{index} - :r{index}, #f{index} = :zero");
            let no_failure =
                if *failures == 0 { format!("attribute_not_exists(#f{index}) OR ") } else { String::new() };
            let _ = write!(condition, " AND #r{index} >= :r{index} AND ({no_failure}#f{index} = :f{index})");
            update = update
                .expression_attribute_names(format!("#r{index}"), attribute("reserved", bucket))
                .expression_attribute_names(format!("#f{index}"), attribute("failures", bucket))
                .expression_attribute_values(format!(":r{index}"), number(*reserved))
                .expression_attribute_values(format!(":f{index}"), number(*failures));
        }
        for group in [Group::Devices, Group::Networks] {
            let of_group = forgotten.iter().filter(|forgotten| forgotten.bucket.group() == Some(group));
            let reserved: u64 = of_group.map(|forgotten| forgotten.reserved).sum();
            if reserved > 0 {
                let name = group.name();
                let _ = write!(set, ", #{name} = #{name} - :{name}");
                update = update
                    .expression_attribute_names(format!("#{name}"), sum(group))
                    .expression_attribute_values(format!(":{name}"), number(reserved));
            }
        }
        let mut expression = format!("SET {set}");
        for (index, (device, logged_in_at)) in old.forgotten_devices(device, now).iter().enumerate() {
            expression.push_str(if index == 0 { " REMOVE " } else { ", " });
            let _ = write!(expression, "#d{index}");
            let _ = write!(condition, " AND (attribute_not_exists(#d{index}) OR #d{index} = :d{index})");
            update = update
                .expression_attribute_names(format!("#d{index}"), known_at(device))
                .expression_attribute_values(format!(":d{index}"), time(*logged_in_at));
        }
        match update.update_expression(expression).condition_expression(condition).send().await {
            Ok(_) => Ok(Cleared::Written),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Cleared::Changed(counter(&failed.item().cloned().unwrap_or_default())?))
                }
                _ => Err(StoreError::call(CLEARING, error)),
            },
        }
    }

    /// The counter, read consistently. One that does not exist is empty.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn find(&self, key: &str, now: EpochSeconds) -> Result<Counter, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("counter", string(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::call("reading a counter", error))?;
        let found = answer.item.unwrap_or_default();
        let item = Item { table: TABLE, attributes: &found };
        let is_expired = item.has("expires_at") && item.number::<EpochSeconds>("expires_at")? <= now;
        if is_expired { Ok(Counter::default()) } else { counter(&found) }
    }

    /// Deletes the counters that an earlier release kept, with names in the clear. Calls `each` with their number so
    /// far, after each page of the table.
    ///
    /// # Errors
    /// The table did not answer completely. It can be repeated.
    pub async fn delete_former(&self, mut each: impl FnMut(u64)) -> Result<u64, StoreError> {
        let scan = self
            .client
            .scan()
            .table_name(&self.name)
            .projection_expression("#counter")
            .expression_attribute_names("#counter", "counter")
            .filter_expression("begins_with(#counter, :prefix)")
            .expression_attribute_values(":prefix", string(FORMER_KEY_PREFIX));
        let mut pages = scan.into_paginator().send();
        let mut deleted = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StoreError::call("listing counters", error))?;
            for items in page.items().chunks(MAX_BATCH) {
                self.delete_batch(items).await?;
                deleted += items.len() as u64;
            }
            each(deleted);
        }
        Ok(deleted)
    }

    /// Deletes items of which only the key is known.
    async fn delete_batch(&self, items: &[HashMap<String, AttributeValue>]) -> Result<(), StoreError> {
        const OPERATION: &str = "deleting counters";
        let delete = |item: &HashMap<String, AttributeValue>| {
            let request = DeleteRequest::builder().set_key(Some(item.clone())).build()?;
            Ok(WriteRequest::builder().delete_request(request).build())
        };
        let requests: Result<Vec<_>, BuildError> = items.iter().map(delete).collect();
        let mut requests = requests.map_err(|error| StoreError::call(OPERATION, error))?;
        let mut attempts = Attempts::at(OPERATION);
        loop {
            let batch = self.client.batch_write_item().request_items(&self.name, requests);
            let answer = batch.send().await.map_err(|error| StoreError::call(OPERATION, error))?;
            // DynamoDB leaves out what it has no capacity for at the moment.
            requests = answer.unprocessed_items.unwrap_or_default().remove(&self.name).unwrap_or_default();
            if requests.is_empty() {
                return Ok(());
            }
            attempts.pause().await?;
        }
    }

    async fn delete_expired(&self, key: &str, now: EpochSeconds) -> Result<(), StoreError> {
        let answer = self
            .client
            .delete_item()
            .table_name(&self.name)
            .key("counter", string(key))
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
            Err(error) => Err(StoreError::call("deleting an expired counter", error)),
        }
    }

    fn update(&self, key: &str) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.name).key("counter", string(key))
    }
}

/// The write of [`LoginAttemptsTable::reserve`]: one attempt more, on condition that the bucket is open.
fn reserving(
    update: UpdateItemFluentBuilder,
    bucket: &Bucket,
    limits: &Limits,
    expiry: Expiry,
    now: EpochSeconds,
) -> UpdateItemFluentBuilder {
    let mut update = update
        .expression_attribute_names("#reserved", attribute("reserved", bucket))
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
    let mut set = "#reserved = if_not_exists(#reserved, :zero) + :one".to_owned();
    let mut condition = format!(
        "(attribute_not_exists(expires_at) OR expires_at > :now) \
         AND (attribute_not_exists(#reserved) OR #reserved < :max) AND ({})",
        waited.join(" OR ")
    );
    if let Some(group) = bucket.group() {
        condition.push_str(" AND (attribute_not_exists(#group) OR #group < :max_of_group)");
        set.push_str(", #group = if_not_exists(#group, :zero) + :one");
        update = update
            .expression_attribute_names("#group", sum(group))
            .expression_attribute_values(":max_of_group", number(group.max_reserved()));
    }
    if let Some(after) = limits.known_after {
        condition.push_str(" AND #known_at > :known_after");
        update = update
            .expression_attribute_names("#known_at", attribute(KNOWN_AT, bucket))
            .expression_attribute_values(":known_after", time(after));
    }
    setting(update, &set, bucket, expiry, now).condition_expression(condition)
}

/// What every update sets besides `set`.
fn setting(
    update: UpdateItemFluentBuilder,
    set: &str,
    bucket: &Bucket,
    expiry: Expiry,
    now: EpochSeconds,
) -> UpdateItemFluentBuilder {
    let (expires_at, value) = match expiry {
        Expiry::IfNew(expires_at) => (expires_at, "if_not_exists(expires_at, :expires_at)"),
        Expiry::At(expires_at) => (expires_at, ":expires_at"),
    };
    update
        .update_expression(format!("SET {set}, #attempted_at = :now, expires_at = {value}"))
        .expression_attribute_names("#failures", attribute("failures", bucket))
        .expression_attribute_names("#attempted_at", attribute("attempted_at", bucket))
        .expression_attribute_values(":zero", number(0))
        .expression_attribute_values(":one", number(1))
        .expression_attribute_values(":now", time(now))
        .expression_attribute_values(":expires_at", time(expires_at))
}

fn attribute(kind: &str, bucket: &Bucket) -> String {
    format!("{kind}@{}", bucket.name())
}

/// The sum of the reservations in the buckets of a group.
fn sum(group: Group) -> String {
    format!("reserved@{}", group.name())
}

fn known_at(device: &DeviceId) -> String {
    attribute(KNOWN_AT, &Bucket::Device(device.clone()))
}

/// A counter as an item, without its buckets.
fn item_without_attempts(key: &str, counter: &Counter, expires_at: EpochSeconds) -> HashMap<String, AttributeValue> {
    let devices = counter.devices.iter().map(|(device, at)| (known_at(device), time(*at)));
    let cleared_at = counter.cleared_at.map(|cleared_at| ("cleared_at".to_owned(), time(cleared_at)));
    let rest = [
        ("counter".to_owned(), string(key)),
        ("expires_at".to_owned(), time(expires_at)),
        ("clearings".to_owned(), number(counter.clearings)),
    ];
    devices.chain(cleared_at).chain(rest).collect()
}

fn counter(attributes: &HashMap<String, AttributeValue>) -> Result<Counter, StoreError> {
    let item = Item { table: TABLE, attributes };
    let cleared_at = if item.has("cleared_at") { Some(item.number("cleared_at")?) } else { None };
    let clearings = if item.has("clearings") { item.number("clearings")? } else { 0 };
    let mut counter = Counter { cleared_at, clearings, ..Counter::default() };
    for (name, value) in attributes {
        let Some((kind, bucket)) = name.split_once('@') else { continue };
        let Some(bucket) = Bucket::named(bucket) else { continue };
        let malformed = StoreError::MalformedItem { table: TABLE, attribute: "with a number for a bucket" };
        let value: u64 = value.as_n().ok().and_then(|text| text.parse().ok()).ok_or(malformed)?;
        match (kind, bucket) {
            (KNOWN_AT, Bucket::Device(device)) => {
                counter.devices.insert(device, EpochSeconds::new(value));
            }
            ("reserved", bucket) => counter.buckets.entry(bucket).or_default().reserved = value,
            ("failures", bucket) => counter.buckets.entry(bucket).or_default().failures = value,
            ("attempted_at", bucket) => {
                counter.buckets.entry(bucket).or_default().attempted_at = EpochSeconds::new(value);
            }
            _ => {}
        }
    }
    // A success leaves the names of the buckets.
    counter.buckets.retain(|_, tally| tally.reserved > 0);
    Ok(counter)
}
