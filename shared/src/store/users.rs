//! Users: `username` (key), `user_id`, `password_hash`, `roles`, `status`, `epoch`, `created_at`.
//!
//! The name is the key, so that two users of one name cannot exist. The id is random and never changes; tokens carry it
//! as `sub`.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use secrecy::{ExposeSecret as _, SecretString};

use super::StoreError;
use super::denylist::{DenylistTable, Revocation};
use super::item::{Item, number, string, strings};
use crate::clock::EpochSeconds;
use crate::username::Username;

const TABLE: &str = "Users";

/// Whether a user may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserStatus {
    /// May log in.
    Enabled,
    /// May not.
    Disabled,
}

impl UserStatus {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

/// A user as stored.
#[derive(Clone, Debug)]
pub struct User {
    /// The name, canonical.
    pub username: String,
    /// The immutable random id: `sub` of every token.
    pub user_id: String,
    /// The hash of the password, a PHC string.
    pub password_hash: SecretString,
    /// What the user may do.
    pub roles: Vec<String>,
    /// Whether the user may log in.
    pub status: UserStatus,
    /// Tokens of an earlier epoch are dead.
    pub epoch: u64,
    /// When the user was added.
    pub created_at: EpochSeconds,
}

/// The table of users.
#[derive(Clone, Debug)]
pub struct UsersTable {
    client: Client,
    name: String,
}

impl UsersTable {
    /// The table with this name.
    #[must_use]
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }

    /// The user with this name, read consistently.
    ///
    /// # Errors
    /// The table did not answer, or the item is malformed.
    pub async fn find(&self, username: &Username) -> Result<Option<User>, StoreError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .key("username", string(username.as_str()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::call("reading a user", error))?;
        answer.item.as_ref().map(|attributes| user(&Item { table: TABLE, attributes })).transpose()
    }

    /// Adds a user. `false` where the name is taken, also when two add it at once.
    ///
    /// # Errors
    /// The table did not answer.
    pub async fn add(&self, user: &User) -> Result<bool, StoreError> {
        let answer = self
            .client
            .put_item()
            .table_name(&self.name)
            .item("username", string(&user.username))
            .item("user_id", string(&user.user_id))
            .item("password_hash", string(user.password_hash.expose_secret()))
            .item("roles", strings(&user.roles))
            .item("status", string(user.status.as_str()))
            .item("epoch", number(user.epoch))
            .item("created_at", number(user.created_at))
            .condition_expression("attribute_not_exists(username)")
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) if error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) => {
                Ok(false)
            }
            Err(error) => Err(StoreError::call("adding a user", error)),
        }
    }

    /// Disables a user and denies every access token of the user's so far, both or neither: the epoch is raised, and what
    /// is older is dead. `false` where the user was changed since it was read; then nothing was done.
    ///
    /// # Errors
    /// The tables did not answer.
    pub async fn disable(
        &self,
        denylist: &DenylistTable,
        user: &User,
        expires_at: EpochSeconds,
    ) -> Result<bool, StoreError> {
        const OPERATION: &str = "disabling a user";
        let epoch = user.epoch + 1;
        let disable = Update::builder()
            .table_name(&self.name)
            .key("username", string(&user.username))
            .update_expression("SET #status = :disabled, epoch = :epoch")
            .condition_expression("user_id = :user_id AND epoch = :old_epoch")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":disabled", string(UserStatus::Disabled.as_str()))
            .expression_attribute_values(":epoch", number(epoch))
            .expression_attribute_values(":user_id", string(&user.user_id))
            .expression_attribute_values(":old_epoch", number(user.epoch))
            .build()
            .map_err(|error| StoreError::call(OPERATION, error))?;
        let deny = denylist.put(&user.user_id, &Revocation::Epoch(epoch), expires_at)?;
        let answer = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().update(disable).build())
            .transact_items(TransactWriteItem::builder().put(deny).build())
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled))
                    if cancelled
                        .cancellation_reasons()
                        .iter()
                        .any(|reason| reason.code() == Some("ConditionalCheckFailed")) =>
                {
                    Ok(false)
                }
                _ => Err(StoreError::call(OPERATION, error)),
            },
        }
    }
}

fn user(item: &Item<'_>) -> Result<User, StoreError> {
    Ok(User {
        username: item.string("username")?,
        user_id: item.string("user_id")?,
        password_hash: SecretString::from(item.string("password_hash")?),
        roles: item.strings("roles")?,
        status: match item.string("status")?.as_str() {
            "enabled" => UserStatus::Enabled,
            "disabled" => UserStatus::Disabled,
            _ => return Err(StoreError::MalformedItem { table: TABLE, attribute: "status" }),
        },
        epoch: item.number("epoch")?,
        created_at: item.number("created_at")?,
    })
}
