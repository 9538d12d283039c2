//! The Sessions table: `sid` (key), the user, the current `generation` of the refresh token, and what the list of
//! sessions shows. A session that has ended has no item.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, KeysAndAttributes, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};

use super::StoreError;
use super::denylist::DenylistTable;
use super::item::{Item, number, string, time};
use super::retry::Attempts;
use crate::EpochSeconds;
use crate::id::{SessionId, UserId};
use crate::revocation::{Revocation, Revocations};
use crate::session::{ABSOLUTE_LIFETIME_SECONDS, IDLE_LIFETIME_SECONDS, Session};
use crate::username::Username;

const TABLE: &str = "Sessions";
/// The index of sessions by `sub` and `created_at`. Neither changes, so a refresh does not write to it.
const BY_SUB: &str = "BySub";

/// How many sessions of a user are listed at most: what one BatchGetItem reads.
pub const MAX_LISTED: i32 = 100;

/// The result of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The session, with the next generation as its current one.
    Rotated(Session),
    /// Nothing was written. The current session, if there is one.
    Refused(Option<Session>),
}

#[derive(Clone, Debug)]
pub struct SessionsTable {
    client: Client,
    name: String,
}

impl SessionsTable {
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Writes a new session. Session ids are unique: if the item exists, the SDK has repeated this write after a lost
    /// or late response, and later changes of the session must be kept.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn add(&self, session: &Session) -> Result<(), StoreError> {
        let answer = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(attributes(session)))
            .condition_expression("attribute_not_exists(sid)")
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) => {
                Ok(())
            }
            Err(error) => Err(StoreError::call("writing a session", error)),
        }
    }

    /// The same as a part of a transaction.
    pub(super) fn put(&self, session: &Session) -> Result<Put, StoreError> {
        Put::builder()
            .table_name(&self.name)
            .set_item(Some(attributes(session)))
            .build()
            .map_err(|error| StoreError::call("writing a session", error))
    }

    /// The session with this id, read consistently.
    ///
    /// # Errors
    /// The table did not answer, or the item is malformed.
    pub async fn find(&self, sid: &SessionId) -> Result<Option<Session>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("sid", string(sid.as_str()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::call("reading a session", error))?;
        answer.item.as_ref().map(|attributes| session(&Item { table: TABLE, attributes })).transpose()
    }

    /// Makes the next generation the current one, if `presented` still is it and the session has not expired: one
    /// conditional write, so that one of several concurrent calls succeeds.
    ///
    /// The SDK repeats a write when its response is lost. The repeated write finds the condition broken by the first
    /// one. So each rotation stores the id of its call in the item, and a call that finds its own id has succeeded.
    ///
    /// # Errors
    /// The table did not answer, or the item is malformed.
    pub async fn rotate(
        &self,
        sid: &SessionId,
        presented: u64,
        call_id: &str,
        now: EpochSeconds,
    ) -> Result<Rotation, StoreError> {
        const OPERATION: &str = "rotating a session's refresh token";
        // While a transaction on the session is in progress, most likely its end, there is no answer.
        let mut attempts = Attempts::at(OPERATION);
        loop {
            if let Some(rotation) = self.try_rotate(OPERATION, sid, presented, call_id, now).await? {
                return Ok(rotation);
            }
            attempts.pause().await?;
        }
    }

    /// `None` if a transaction is in progress.
    async fn try_rotate(
        &self,
        operation: &'static str,
        sid: &SessionId,
        presented: u64,
        call_id: &str,
        now: EpochSeconds,
    ) -> Result<Option<Rotation>, StoreError> {
        let answer = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("sid", string(sid.as_str()))
            .update_expression(
                "SET generation = :next, refreshed_at = :now, refreshed_by = :call_id, expires_at = :expires_at",
            )
            .condition_expression("generation = :presented AND expires_at > :now AND created_at > :oldest")
            .expression_attribute_values(":presented", number(presented))
            .expression_attribute_values(":next", number(presented.saturating_add(1)))
            .expression_attribute_values(":now", time(now))
            .expression_attribute_values(":call_id", string(call_id))
            .expression_attribute_values(":expires_at", time(now + IDLE_LIFETIME_SECONDS))
            .expression_attribute_values(":oldest", time(now - ABSOLUTE_LIFETIME_SECONDS))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let attributes = answer.attributes.unwrap_or_default();
                Ok(Some(Rotation::Rotated(session(&Item { table: TABLE, attributes: &attributes })?)))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    let Some(attributes) = failed.item() else { return Ok(Some(Rotation::Refused(None))) };
                    let item = Item { table: TABLE, attributes };
                    let found = session(&item)?;
                    let is_own = item.has("refreshed_by") && item.string("refreshed_by")? == call_id;
                    Ok(Some(if is_own { Rotation::Rotated(found) } else { Rotation::Refused(Some(found)) }))
                }
                Some(UpdateItemError::TransactionConflictException(_)) => Ok(None),
                _ => Err(StoreError::call(operation, error)),
            },
        }
    }

    /// The newest sessions of a user, at most [`MAX_LISTED`] of them, newest first, those included that have expired or
    /// are of an earlier epoch. The index behind it lags by moments; the sessions it names are read consistently, so
    /// one that has ended is not among them.
    ///
    /// # Errors
    /// The table did not answer completely, or an item is malformed.
    pub async fn of_user(&self, sub: &UserId) -> Result<Vec<Session>, StoreError> {
        const OPERATION: &str = "listing a user's sessions";
        let named = self
            .client
            .query()
            .table_name(&self.name)
            .index_name(BY_SUB)
            .key_condition_expression("#sub = :sub")
            .expression_attribute_names("#sub", "sub")
            .expression_attribute_values(":sub", string(sub.as_str()))
            .scan_index_forward(false)
            .limit(MAX_LISTED)
            .send()
            .await
            .map_err(|error| StoreError::call(OPERATION, error))?;
        let mut keys = Vec::new();
        for attributes in named.items() {
            let sid = Item { table: TABLE, attributes }.string("sid")?;
            keys.push(HashMap::from([("sid".to_owned(), string(sid))]));
        }
        let mut sessions = Vec::new();
        // DynamoDB returns keys for which it has no capacity, to be requested again after a pause.
        let mut attempts = Attempts::at(OPERATION);
        while !keys.is_empty() {
            let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
            let wanted = wanted.map_err(|error| StoreError::call(OPERATION, error))?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.name, wanted)
                .send()
                .await
                .map_err(|error| StoreError::call(OPERATION, error))?;
            for attributes in answer.responses().into_iter().flat_map(HashMap::values).flatten() {
                sessions.push(session(&Item { table: TABLE, attributes })?);
            }
            let rest = answer.unprocessed_keys.unwrap_or_default().into_values();
            keys = rest.flat_map(|rest| rest.keys).collect();
            if !keys.is_empty() {
                attempts.pause().await?;
            }
        }
        sessions.sort_by(|a, b| (b.created_at, &b.sid).cmp(&(a.created_at, &a.sid)));
        Ok(sessions)
    }

    /// Opens the connection, with a call that the policy of functions that end sessions allows: it would delete a
    /// session whose id does not exist.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn warm_up(&self) -> Result<(), StoreError> {
        let answer = self
            .client
            .delete_item()
            .table_name(&self.name)
            .key("sid", string("warm-up"))
            .condition_expression("attribute_exists(sid)")
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(DeleteItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(StoreError::call("opening the connection", error)),
        }
    }

    /// Ends a session and revokes its access tokens until `expires_at` at least, both or neither. `found` is what was
    /// read of the denylist. Ending a session that has ended is no error.
    ///
    /// # Errors
    /// The tables did not answer. Then the outcome is unknown, and the caller must not report success.
    pub async fn end(
        &self,
        (denylist, found): (&DenylistTable, &Revocations),
        sub: &UserId,
        sid: &SessionId,
        expires_at: EpochSeconds,
    ) -> Result<(), StoreError> {
        const OPERATION: &str = "ending a session";
        let end = Delete::builder().table_name(&self.name).key("sid", string(sid.as_str())).build();
        let end = end.map_err(|error| StoreError::call(OPERATION, error))?;
        let deny = denylist.put(sub, &Revocation::Session(sid.clone()), expires_at, found)?;
        let mut attempts = Attempts::at(OPERATION);
        loop {
            let answer = self
                .client
                .transact_write_items()
                .transact_items(TransactWriteItem::builder().delete(end.clone()).build())
                .transact_items(TransactWriteItem::builder().put(deny.clone()).build())
                .send()
                .await;
            match answer {
                Ok(_) => return Ok(()),
                // Another request is writing to the session: it must end nevertheless.
                Err(error) if error.as_service_error().is_some_and(is_conflict) => attempts.pause().await?,
                Err(error) => return Err(StoreError::call(OPERATION, error)),
            }
        }
    }
}

/// Whether a transaction was cancelled because another one, or a write, was at the same item.
pub(super) fn is_conflict(error: &TransactWriteItemsError) -> bool {
    matches!(error, TransactWriteItemsError::TransactionCanceledException(cancelled)
        if cancelled.cancellation_reasons().iter().any(|reason| reason.code() == Some("TransactionConflict")))
}

fn attributes(session: &Session) -> HashMap<String, AttributeValue> {
    let mut attributes = HashMap::from([
        ("sid".to_owned(), string(session.sid.as_str())),
        ("sub".to_owned(), string(session.sub.as_str())),
        ("username".to_owned(), string(session.username.as_str())),
        ("epoch".to_owned(), number(session.epoch)),
        ("generation".to_owned(), number(session.generation)),
        ("created_at".to_owned(), time(session.created_at)),
        ("refreshed_at".to_owned(), time(session.refreshed_at)),
        ("expires_at".to_owned(), time(session.expires_at)),
    ]);
    let source_address = session.source_address.as_ref().map(|address| ("source_address".to_owned(), string(address)));
    let user_agent = session.user_agent.as_ref().map(|agent| ("user_agent".to_owned(), string(agent)));
    attributes.extend(source_address.into_iter().chain(user_agent));
    attributes
}

fn session(item: &Item<'_>) -> Result<Session, StoreError> {
    let optional = |name| item.has(name).then(|| item.string(name)).transpose();
    Ok(Session {
        sid: SessionId::new(item.string("sid")?),
        sub: UserId::new(item.string("sub")?),
        username: Username::from_stored(item.string("username")?),
        epoch: item.number("epoch")?,
        generation: item.number("generation")?,
        created_at: item.number("created_at")?,
        refreshed_at: item.number("refreshed_at")?,
        expires_at: item.number("expires_at")?,
        source_address: optional("source_address")?,
        user_agent: optional("user_agent")?,
    })
}
