//! Sessions: `sid` (key), the user, the current `generation` of the refresh token, and what people want to know of a
//! session when they list theirs. A session that has ended has no item.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};

use super::StoreError;
use super::denylist::{DenylistTable, Revocation};
use super::item::{Item, number, string};
use crate::clock::EpochSeconds;

const TABLE: &str = "Sessions";

/// A session as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id, 128 random bits.
    pub sid: String,
    /// The user's id.
    pub sub: String,
    /// The user's name, by which the user is read at a refresh.
    pub username: String,
    /// The user's epoch when the session began.
    pub epoch: u64,
    /// Which refresh token is the current one.
    pub generation: u64,
    /// When it began.
    pub created_at: EpochSeconds,
    /// When it was last used to get tokens.
    pub refreshed_at: EpochSeconds,
    /// When it ends unless it is used: the attribute of DynamoDB's time to live. Code compares it too, because DynamoDB
    /// deletes late.
    pub expires_at: EpochSeconds,
    /// From which address the login came, as API Gateway saw it.
    pub source_address: Option<String>,
    /// The client's `User-Agent`, shortened.
    pub user_agent: Option<String>,
}

/// The table of sessions.
#[derive(Clone, Debug)]
pub struct SessionsTable {
    client: Client,
    name: String,
}

impl SessionsTable {
    /// The table with this name.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// Writes a new session.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn add(&self, session: &Session) -> Result<(), StoreError> {
        let mut item = HashMap::from([
            ("sid".to_owned(), string(&session.sid)),
            ("sub".to_owned(), string(&session.sub)),
            ("username".to_owned(), string(&session.username)),
            ("epoch".to_owned(), number(session.epoch)),
            ("generation".to_owned(), number(session.generation)),
            ("created_at".to_owned(), number(session.created_at)),
            ("refreshed_at".to_owned(), number(session.refreshed_at)),
            ("expires_at".to_owned(), number(session.expires_at)),
        ]);
        let source_address =
            session.source_address.as_ref().map(|address| ("source_address".to_owned(), string(address)));
        let user_agent = session.user_agent.as_ref().map(|agent| ("user_agent".to_owned(), string(agent)));
        item.extend(source_address.into_iter().chain(user_agent));
        self.client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(sid)")
            .send()
            .await
            .map_err(|error| StoreError::call("writing a session", error))?;
        Ok(())
    }

    /// The session with this id, read consistently.
    ///
    /// # Errors
    /// The table did not answer, or the item is malformed.
    pub async fn find(&self, sid: &str) -> Result<Option<Session>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("sid", string(sid))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::call("reading a session", error))?;
        answer.item.as_ref().map(|attributes| session(&Item { table: TABLE, attributes })).transpose()
    }

    /// Opens the connection, with a call that the policy of functions that end sessions allows: it would delete a session
    /// that no session is called.
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

    /// Ends a session and denies its access tokens, both or neither. Ending a session that has ended is no error.
    ///
    /// # Errors
    /// The tables did not answer. Then nothing is known to have happened, and the caller must not say that it has.
    pub async fn end(
        &self,
        denylist: &DenylistTable,
        sub: &str,
        sid: &str,
        expires_at: EpochSeconds,
    ) -> Result<(), StoreError> {
        let end = Delete::builder()
            .table_name(&self.name)
            .key("sid", string(sid))
            .build()
            .map_err(|error| StoreError::call("ending a session", error))?;
        let deny: Put = denylist.put(sub, &Revocation::Session(sid.to_owned()), expires_at)?;
        self.client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().delete(end).build())
            .transact_items(TransactWriteItem::builder().put(deny).build())
            .send()
            .await
            .map_err(|error| StoreError::call("ending a session", error))?;
        Ok(())
    }
}

fn session(item: &Item<'_>) -> Result<Session, StoreError> {
    let optional = |name| item.has(name).then(|| item.string(name)).transpose();
    Ok(Session {
        sid: item.string("sid")?,
        sub: item.string("sub")?,
        username: item.string("username")?,
        epoch: item.number("epoch")?,
        generation: item.number("generation")?,
        created_at: item.number("created_at")?,
        refreshed_at: item.number("refreshed_at")?,
        expires_at: item.number("expires_at")?,
        source_address: optional("source_address")?,
        user_agent: optional("user_agent")?,
    })
}
