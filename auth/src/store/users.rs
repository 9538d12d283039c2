//! The Users table: `username` (key), `user_id`, `password_hash`, `roles`, `status`, `epoch`, `created_at`,
//! `password_epoch` (absent until the first change of the password).
//!
//! The name is the key, so that two users of one name cannot exist. The id is random and never changes; tokens carry it
//! as `sub`.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{self, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use secrecy::{ExposeSecret as _, SecretString};

use super::StoreError;
use super::denylist::DenylistTable;
use super::item::{Item, number, string, strings, time};
use super::sessions::{SessionsTable, is_conflict};
use crate::EpochSeconds;
use crate::id::UserId;
use crate::revocation::{Revocation, Revocations};
use crate::roles::Role;
use crate::session::Session;
use crate::user::{Change, Profile, User, UserEpoch, UserStatus};
use crate::username::Username;

const TABLE: &str = "Users";

/// The result of adding a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addition {
    Added,
    /// A user of this name exists, or was added concurrently.
    NameTaken,
}

/// The result of a write on condition that the user has not changed since it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    Applied,
    /// The user was changed or deleted since it was read, or is being changed; nothing was written.
    Stale,
}

#[derive(Clone, Debug)]
pub struct UsersTable {
    client: Client,
    name: String,
}

impl UsersTable {
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// The user with this name, read consistently, with the password's hash.
    ///
    /// # Errors
    /// The table did not answer, or the item is malformed.
    pub async fn find(&self, username: &Username) -> Result<Option<User>, StoreError> {
        self.read(self.get(username), user).await
    }

    /// The same without the hash. The attributes are named, because the policy of functions that verify no password
    /// allows these and no others.
    ///
    /// # Errors
    /// The table did not answer, or the item is malformed.
    pub async fn find_profile(&self, username: &Username) -> Result<Option<Profile>, StoreError> {
        let get = self
            .get(username)
            .projection_expression("username, user_id, #roles, #status, epoch")
            .expression_attribute_names("#roles", "roles")
            .expression_attribute_names("#status", "status");
        self.read(get, profile).await
    }

    /// Only the epoch, for functions that raise it; in the same way.
    ///
    /// # Errors
    /// The table did not answer, or the item is malformed.
    pub async fn find_epoch(&self, username: &Username) -> Result<Option<UserEpoch>, StoreError> {
        self.read(self.get(username).projection_expression("username, user_id, epoch"), at_epoch).await
    }

    fn get(&self, username: &Username) -> GetItemFluentBuilder {
        let get = self.client.get_item().table_name(&self.name).consistent_read(true);
        get.key("username", string(username.as_str()))
    }

    async fn read<T>(
        &self,
        get: GetItemFluentBuilder,
        read: impl FnOnce(&Item<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let answer = get.send().await.map_err(|error| StoreError::call("reading a user", error))?;
        answer.item.as_ref().map(|attributes| read(&Item { table: TABLE, attributes })).transpose()
    }

    /// Adds a user. Of two concurrent calls with the same name, one succeeds.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn add(&self, user: &User) -> Result<Addition, StoreError> {
        let answer = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("username", string(user.username.as_str()))
            .item("user_id", string(user.user_id.as_str()))
            .item("password_hash", string(user.password_hash.expose_secret()))
            .item("roles", strings(user.roles.iter().map(Role::as_str)))
            .item("status", string(user.status.as_str()))
            .item("epoch", number(user.epoch))
            .item("created_at", time(user.created_at))
            .condition_expression("attribute_not_exists(username)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Addition::Added),
            Err(error) => match error.as_service_error() {
                // The SDK repeats a write whose answer was lost: then the user found there is this one.
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    let found = failed.item().and_then(|item| item.get("user_id"));
                    let is_own = found == Some(&string(user.user_id.as_str()));
                    Ok(if is_own { Addition::Added } else { Addition::NameTaken })
                }
                _ => Err(StoreError::call("adding a user", error)),
            },
        }
    }

    /// Revokes everything the user has: raises the epoch and denies what is older, both or neither, and with it makes
    /// `change` and adds `session`, which must be of the new epoch. `found` is what was read of the denylist after the
    /// user was.
    ///
    /// # Errors
    /// The tables did not answer. Then the outcome is unknown.
    pub async fn raise_epoch(
        &self,
        (denylist, found): (&DenylistTable, &Revocations),
        user: &UserEpoch,
        change: Change<'_>,
        session: Option<(&SessionsTable, &Session)>,
        expires_at: EpochSeconds,
    ) -> Result<Update, StoreError> {
        const OPERATION: &str = "raising a user's epoch";
        let epoch = user.epoch + 1;
        let update = types::Update::builder()
            .table_name(&self.name)
            .key("username", string(user.username.as_str()))
            .condition_expression("user_id = :user_id AND epoch = :old_epoch")
            .expression_attribute_values(":epoch", number(epoch))
            .expression_attribute_values(":user_id", string(user.user_id.as_str()))
            .expression_attribute_values(":old_epoch", number(user.epoch));
        let update = match change {
            Change::Nothing => update.update_expression("SET epoch = :epoch"),
            Change::Disable => update
                .update_expression("SET epoch = :epoch, #status = :disabled")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":disabled", string(UserStatus::Disabled.as_str())),
            Change::PasswordHash(hash) => update
                .update_expression("SET epoch = :epoch, password_epoch = :epoch, password_hash = :hash")
                .expression_attribute_values(":hash", string(hash.expose_secret())),
        };
        let update = update.build().map_err(|error| StoreError::call(OPERATION, error))?;
        let deny = denylist.put(&user.user_id, &Revocation::Epoch(epoch), expires_at, found)?;
        let transaction = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().update(update).build())
            .transact_items(TransactWriteItem::builder().put(deny).build());
        let transaction = match session {
            Some((sessions, session)) => {
                transaction.transact_items(TransactWriteItem::builder().put(sessions.put(session)?).build())
            }
            None => transaction,
        };
        let answer = transaction.send().await;
        match answer {
            Ok(_) => Ok(Update::Applied),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
                    if cancelled
                        .cancellation_reasons()
                        .iter()
                        .any(|reason| reason.code() == Some("ConditionalCheckFailed")) =>
                {
                    Ok(Update::Stale)
                }
                Some(error) if is_conflict(error) => Ok(Update::Stale),
                _ => Err(StoreError::call(OPERATION, error)),
            },
        }
    }

    /// Lets a user log in again.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn enable(&self, user: &User) -> Result<Update, StoreError> {
        let update = self
            .update(user)
            .update_expression("SET #status = :enabled")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":enabled", string(UserStatus::Enabled.as_str()));
        applied("enabling a user", update).await
    }

    /// Gives a user other roles.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn set_roles(&self, user: &User, roles: &[Role]) -> Result<Update, StoreError> {
        let update = self
            .update(user)
            .update_expression("SET #roles = :roles")
            .expression_attribute_names("#roles", "roles")
            .expression_attribute_values(":roles", strings(roles.iter().map(Role::as_str)));
        applied("setting a user's roles", update).await
    }

    /// Replaces the hash of an unchanged password by a better one.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn replace_hash(&self, user: &User, hash: &SecretString) -> Result<Update, StoreError> {
        let update = self
            .update(user)
            .update_expression("SET password_hash = :hash")
            .condition_expression("user_id = :user_id AND password_hash = :old_hash")
            .expression_attribute_values(":hash", string(hash.expose_secret()))
            .expression_attribute_values(":old_hash", string(user.password_hash.expose_secret()));
        applied("replacing a password hash", update).await
    }

    /// Calls `each` with every user, page by page, in no particular order.
    ///
    /// # Errors
    /// The table did not answer completely, or an item is malformed.
    pub async fn for_each(&self, mut each: impl FnMut(User)) -> Result<(), StoreError> {
        let mut pages = self.client.scan().table_name(&self.name).consistent_read(true).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StoreError::call("listing users", error))?;
            for attributes in page.items() {
                each(user(&Item { table: TABLE, attributes })?);
            }
        }
        Ok(())
    }

    /// An update of this user, not of another who has the name by now.
    fn update(&self, user: &User) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.name)
            .key("username", string(user.username.as_str()))
            .condition_expression("user_id = :user_id")
            .expression_attribute_values(":user_id", string(user.user_id.as_str()))
    }
}

/// Whether an update's condition held.
async fn applied(operation: &'static str, update: UpdateItemFluentBuilder) -> Result<Update, StoreError> {
    match update.send().await {
        Ok(_) => Ok(Update::Applied),
        Err(error) if error.as_service_error().is_some_and(UpdateItemError::is_conditional_check_failed_exception) => {
            Ok(Update::Stale)
        }
        Err(error) => Err(StoreError::call(operation, error)),
    }
}

fn user(item: &Item<'_>) -> Result<User, StoreError> {
    let Profile { username, user_id, roles, status, epoch } = profile(item)?;
    Ok(User {
        username,
        user_id,
        password_hash: SecretString::from(item.string("password_hash")?),
        roles,
        status,
        epoch,
        created_at: item.number("created_at")?,
        password_epoch: if item.has("password_epoch") { item.number("password_epoch")? } else { 0 },
    })
}

fn profile(item: &Item<'_>) -> Result<Profile, StoreError> {
    let UserEpoch { username, user_id, epoch } = at_epoch(item)?;
    Ok(Profile {
        username,
        user_id,
        roles: item.strings("roles")?.into_iter().map(Role::from_stored).collect(),
        status: UserStatus::named(&item.string("status")?)
            .ok_or(StoreError::MalformedItem { table: TABLE, attribute: "status" })?,
        epoch,
    })
}

fn at_epoch(item: &Item<'_>) -> Result<UserEpoch, StoreError> {
    Ok(UserEpoch {
        username: Username::from_stored(item.string("username")?),
        user_id: UserId::new(item.string("user_id")?),
        epoch: item.number("epoch")?,
    })
}
