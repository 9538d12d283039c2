//! `latchkey user`.

use aws_lc_rs::rand::SystemRandom;
use clap::Subcommand;
use secrecy::SecretString;
use shared::account::{AccountError, Accounts};
use shared::clock;
use shared::config::{self, ConfigError};
use shared::password::Password;
use shared::password::hash::{HashError, Hasher};
use shared::random::{self, RandomError};
use shared::store::StoreError;
use shared::store::denylist::DenylistTable;
use shared::store::users::{User, UserStatus, UsersTable};
use shared::username::{Username, UsernameError};

use crate::terminal::{self, PasswordError, say};

/// Fewest code points of a password: NIST SP 800-63B-4 where it is the only factor.
const MIN_PASSWORD_CODE_POINTS: usize = 15;
/// Most code points of a password.
const MAX_PASSWORD_CODE_POINTS: usize = 128;
/// Most characters of a role's name.
const MAX_ROLE_CHARACTERS: usize = 64;

#[derive(Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user. The password is asked for, or read as a line from standard input
    Add {
        /// The user's name: letters, digits and . _ - + @, in any case
        name: String,
        /// A role of the user; may be given more than once
        #[arg(long = "role", value_name = "ROLE", value_parser = role)]
        roles: Vec<String>,
    },
    /// Show a user
    Show {
        /// The user's name
        name: String,
    },
    /// Disable a user, who then cannot log in; every session and token is dead at once
    ///
    /// Needs DENYLIST_TABLE_NAME too.
    Disable {
        /// The user's name
        name: String,
    },
}

/// A command about a user failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{name:?} cannot be a user's name")]
    Name { name: String, source: UsernameError },
    #[error("there is no user {0}")]
    Unknown(Username),
    #[error("there is a user {0} already; nothing was changed")]
    Taken(Username),
    #[error("the password has {0} characters; it needs {MIN_PASSWORD_CODE_POINTS} to {MAX_PASSWORD_CODE_POINTS}")]
    PasswordLength(usize),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("the password could not be hashed")]
    Hash(#[from] HashError),
    #[error("no id for the user")]
    Random(#[from] RandomError),
    #[error("the table of users did not answer")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Account(#[from] AccountError),
}

pub(crate) async fn run(command: UserCommand) -> Result<(), UserError> {
    let users = table().await?;
    match command {
        UserCommand::Add { name, roles } => {
            let username = parse(&name)?;
            // Before a password is typed for nothing.
            if users.find(&username).await?.is_some() {
                return Err(UserError::Taken(username));
            }
            let password = terminal::new_password()?;
            let length = password.code_points();
            if !(MIN_PASSWORD_CODE_POINTS..=MAX_PASSWORD_CODE_POINTS).contains(&length) {
                return Err(UserError::PasswordLength(length));
            }
            let user = new_user(&username, &password, roles)?;
            if !users.add(&user).await? {
                return Err(UserError::Taken(username));
            }
            say(&format!("added {username}, id {}, roles {}", user.user_id, roles_text(&user.roles)));
            Ok(())
        }
        UserCommand::Show { name } => {
            let username = parse(&name)?;
            let user = users.find(&username).await?.ok_or(UserError::Unknown(username))?;
            say(&format!("username    {}", user.username));
            say(&format!("id          {}", user.user_id));
            say(&format!("roles       {}", roles_text(&user.roles)));
            say(&format!("status      {}", user.status.as_str()));
            say(&format!("epoch       {}", user.epoch));
            say(&format!("created_at  {} (epoch seconds)", user.created_at));
            Ok(())
        }
        UserCommand::Disable { name } => {
            let username = parse(&name)?;
            let denylist = DenylistTable::new(client().await, config::table_name("DENYLIST_TABLE_NAME")?);
            let accounts = Accounts { users: &users, denylist: &denylist };
            match accounts.disable(&username, clock::now()).await {
                Err(AccountError::Unknown) => return Err(UserError::Unknown(username)),
                Err(error) => return Err(error.into()),
                Ok(false) => say(&format!("{username} was disabled already")),
                Ok(true) => {
                    say(&format!("disabled {username}: no login any more, and every session and token is dead"));
                }
            }
            Ok(())
        }
    }
}

/// The table of users, as the caller's own credentials reach it.
pub(crate) async fn table() -> Result<UsersTable, ConfigError> {
    let name = config::table_name("USERS_TABLE_NAME")?;
    Ok(UsersTable::new(client().await, name))
}

/// A client with a person's credentials.
pub(crate) async fn client() -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&shared::store::client::config_loader().load().await)
}

/// A user of the first epoch who may log in.
pub(crate) fn new_user(username: &Username, password: &Password, roles: Vec<String>) -> Result<User, UserError> {
    let random = SystemRandom::new();
    Ok(User {
        username: username.as_str().to_owned(),
        user_id: random::identifier(&random)?,
        password_hash: SecretString::from(Hasher::new().hash(password, &random)?),
        roles,
        status: UserStatus::Enabled,
        epoch: 0,
        created_at: clock::now(),
    })
}

fn parse(name: &str) -> Result<Username, UserError> {
    Username::parse(name).map_err(|source| UserError::Name { name: name.to_owned(), source })
}

fn role(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= MAX_ROLE_CHARACTERS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("a role has 1 to {MAX_ROLE_CHARACTERS} ASCII letters, digits and characters of . _ - :"))
    }
}

fn roles_text(roles: &[String]) -> String {
    if roles.is_empty() { "none".to_owned() } else { roles.join(", ") }
}
