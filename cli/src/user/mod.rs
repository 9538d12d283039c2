//! `latchkey user`.

mod attempts;
mod import;

use std::env;
use std::fmt::Write as _;

use api::config;
use auth::EpochSeconds;
use auth::accounts::{self, AccountError, Accounts, Effect};
use auth::password::Password;
use auth::password::hash::Hasher;
use auth::password::policy::{DEFAULT_MIN_CODE_POINTS, PasswordPolicy, PolicyError, Weakness};
use auth::roles::{Role, Roles, RolesError};
use auth::store::StoreError;
use auth::store::client::config_loader;
use auth::store::denylist::DenylistTable;
use auth::store::login_attempts::LoginAttemptsTable;
use auth::store::users::{Addition, UsersTable};
use auth::throttle::Throttle;
use auth::user::{User, UserStatus};
use auth::username::{Username, UsernameError};
use aws_lc_rs::rand::SystemRandom;
use clap::{Args, Subcommand};
use latchkey_verifier::MAX_ACCESS_TOKEN_LIFETIME_SECONDS;
use serde_json::{Value, json};
use shared::config::{ConfigError, table_name};

use crate::terminal::{self, Output, PasswordError, shell_word};
use import::ImportError;

#[derive(Args)]
pub(crate) struct UserArguments {
    /// Print JSON, for scripts: an object for each result, and errors as `{"error": code, "message": text}` on standard
    /// error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Add a user. Prompts for the password, or reads it as a line from standard input
    Add {
        /// The user's name: letters, digits and the punctuation of an e-mail address, in any case; at most 256 bytes
        name: String,
        /// A role of the user; may be given more than once. All of them take at most 1 KiB of a token
        #[arg(long = "role", value_name = "ROLE", value_parser = Role::parse)]
        roles: Vec<Role>,
    },
    /// Show a user, the devices that the user has logged in from, and failed attempts
    ///
    /// Attempts are counted for each known device, for each source network and for POST /password, and each says when it
    /// opens. Without LOGIN_ATTEMPTS_TABLE_NAME they are left out.
    Show {
        /// The user's name
        name: String,
    },
    /// List all users, in no particular order
    List,
    /// Set a user's password; revokes every earlier session and token
    ///
    /// Prompts for the password, or reads it as a line from standard input. Clears failed attempts, and no device is
    /// known any more.
    SetPassword {
        /// The user's name
        name: String,
    },
    /// Replace the roles of a user. The new ones take effect at the next login or refresh
    SetRoles {
        /// The user's name
        name: String,
        /// A role; may be given more than once. All of them take at most 1 KiB of a token
        #[arg(long = "role", value_name = "ROLE", value_parser = Role::parse, required_unless_present = "none")]
        roles: Vec<Role>,
        /// No roles
        #[arg(long, conflicts_with = "roles")]
        none: bool,
    },
    /// Let a disabled user log in again. Revoked sessions and tokens stay revoked, and failed attempts are cleared
    Enable {
        /// The user's name
        name: String,
    },
    /// Disable a user, who then cannot log in; revokes every session and token
    Disable {
        /// The user's name
        name: String,
    },
    /// Revoke every session and token of a user, who may log in again
    Revoke {
        /// The user's name
        name: String,
    },
    /// Clear the failed login attempts of a user: every device and network may try again
    ///
    /// Known devices stay known, and the attempts of source addresses, over all names, are not cleared.
    Unlock {
        /// The user's name
        name: String,
    },
    /// Delete the login attempts that an earlier release counted by user name, with the names in the clear
    ///
    /// Run it once after the update that counts by user id. It reads the whole table LOGIN_ATTEMPTS_TABLE_NAME, and can be
    /// interrupted and repeated.
    PruneAttempts,
    /// Add users whose passwords were hashed elsewhere, from a file of JSON lines
    ///
    /// A line is `{"username": "alice", "hash": "$2b$12$…", "roles": ["user"]}`; `roles` may be left out. Hashes are
    /// Argon2, scrypt and PBKDF2 (SHA-256, SHA-512) as PHC strings, and bcrypt ($2a$, $2b$, $2y$). They are replaced by
    /// Argon2id at each user's first login.
    ///
    /// An existing user is not changed, so you can run an interrupted import again. Rejected lines are reported by
    /// their number, and the others are imported; the exit code is then 1.
    #[command(after_long_help = import::limits())]
    Import {
        /// The file; - is standard input
        file: String,
    },
}

/// A command about a user failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("LATCHKEY_MIN_PASSWORD_LENGTH is invalid")]
    Policy(#[from] PolicyError),
    #[error("{name:?} is not a valid user name")]
    Name { name: String, source: UsernameError },
    #[error("there is no user {0}")]
    Unknown(Username),
    #[error("there is a user {0} already; nothing was changed")]
    Taken(Username),
    #[error("the roles of {username} cannot be set")]
    Roles { username: Username, source: RolesError },
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("{0} Nothing was changed.")]
    Weak(Weakness),
    #[error(
        "{username} has the new password, and every earlier session and token is revoked, but failed attempts could not be \
         cleared; `latchkey user unlock {}` clears them",
        shell_word(username.as_str())
    )]
    AttemptsNotForgotten { username: Username, source: StoreError },
    #[error("the user could not be changed")]
    Account(#[source] AccountError),
    #[error("a table did not answer")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl UserError {
    /// The stable name, for scripts.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Config(_) | Self::Policy(_) => "configuration",
            Self::Name { .. } => "invalid_username",
            Self::Unknown(_) => "unknown_user",
            Self::Taken(_) => "username_taken",
            Self::Roles { .. } => "invalid_roles",
            Self::Password(_) => "no_password",
            Self::Weak(_) => "weak_password",
            Self::AttemptsNotForgotten { .. } => "attempts_not_forgotten",
            Self::Account(_) => "failed",
            Self::Store(_) => "store_failed",
            Self::Import(error) => error.code(),
        }
    }
}

/// The tables, once a command asks for them.
struct Tables {
    client: aws_sdk_dynamodb::Client,
    users: UsersTable,
}

impl Tables {
    async fn open() -> Result<Self, ConfigError> {
        let name = table_name("USERS_TABLE_NAME")?;
        let client = client().await;
        Ok(Self { users: UsersTable::new(client.clone(), name), client })
    }

    fn accounts(&self) -> Result<Accounts, ConfigError> {
        let denylist = DenylistTable::new(self.client.clone(), table_name("DENYLIST_TABLE_NAME")?);
        Ok(Accounts::new(self.users.clone(), denylist))
    }

    fn login_attempts(&self) -> Result<LoginAttemptsTable, ConfigError> {
        Ok(LoginAttemptsTable::new(self.client.clone(), table_name("LOGIN_ATTEMPTS_TABLE_NAME")?))
    }

    /// Only for accounts, so the limit of addresses does not matter.
    fn throttle(&self) -> Result<Throttle, ConfigError> {
        Ok(Throttle::new(self.login_attempts()?, 1))
    }

    async fn find(&self, username: Username) -> Result<User, UserError> {
        self.users.find(&username).await?.ok_or(UserError::Unknown(username))
    }
}

pub(crate) async fn run(arguments: UserArguments) -> Result<(), UserError> {
    let output = Output { json: arguments.json };
    let tables = Tables::open().await?;
    match arguments.command {
        UserCommand::Add { name, roles } => add(&tables, &name, roles, output).await,
        UserCommand::Show { name } => {
            let username = existing_name(&name)?;
            let user = tables.find(username).await?;
            show(&tables, &user, output).await
        }
        UserCommand::List => {
            let each = |user| {
                output.result(&summary(&user), &record(&user));
            };
            Ok(tables.users.for_each(each).await?)
        }
        UserCommand::SetPassword { name } => set_password(&tables, &name, output).await,
        UserCommand::SetRoles { name, roles, none: _ } => set_roles(&tables, &name, roles, output).await,
        UserCommand::Enable { name } => enable(&tables, &name, output).await,
        UserCommand::Disable { name } => {
            let username = existing_name(&name)?;
            let accounts = tables.accounts()?;
            let effect =
                accounts.disable(&username, EpochSeconds::now()).await.map_err(|error| of(error, &username))?;
            let text = match effect {
                Effect::Changed => {
                    format!("disabled {username}: logins are rejected, and every session and token is revoked")
                }
                Effect::Unchanged => format!("{username} was disabled already"),
            };
            output.action(&text, &username, "disable", effect);
            Ok(())
        }
        UserCommand::Revoke { name } => {
            let username = existing_name(&name)?;
            let accounts = tables.accounts()?;
            accounts.revoke(&username, EpochSeconds::now()).await.map_err(|error| of(error, &username))?;
            let text = format!("every session and token of {username} is revoked; {username} may log in again");
            output.action(&text, &username, "revoke", Effect::Changed);
            Ok(())
        }
        UserCommand::Unlock { name } => {
            let username = existing_name(&name)?;
            let throttle = tables.throttle()?;
            let user = tables.find(username.clone()).await?;
            throttle.unlock(&user.user_id, EpochSeconds::now()).await?;
            let text =
                format!("failed attempts to log in as {username} are cleared; those of source addresses are not");
            output.action(&text, &username, "unlock", Effect::Changed);
            Ok(())
        }
        UserCommand::PruneAttempts => prune_attempts(&tables, output).await,
        UserCommand::Import { file } => Ok(import::run(&tables.users, &file, output).await?),
    }
}

async fn show(tables: &Tables, user: &User, output: Output) -> Result<(), UserError> {
    let (mut text, mut object) = (describe(user), record(user));
    match tables.throttle() {
        Ok(throttle) => {
            let now = EpochSeconds::now();
            let holding = throttle.holding(&user.user_id, now).await?;
            let _ = write!(text, "\n{}", attempts::describe(&holding, user, now));
            object["throttle"] = attempts::record(&holding, user);
        }
        Err(error) => {
            let _ = write!(text, "\nattempts    unknown: {error}");
            object["throttle"] = Value::Null;
        }
    }
    output.result(&text, &object);
    Ok(())
}

async fn prune_attempts(tables: &Tables, output: Output) -> Result<(), UserError> {
    let progress = |deleted| output.progress(&format!("{deleted} counters deleted so far"));
    let deleted = tables.login_attempts()?.delete_former(progress).await?;
    let text = match deleted {
        0 => "no login attempts are counted by name".to_owned(),
        deleted => format!("deleted {deleted} counters of login attempts by name"),
    };
    output.result(&text, &json!({ "action": "prune-attempts", "deleted": deleted }));
    Ok(())
}

async fn add(tables: &Tables, name: &str, roles: Vec<Role>, output: Output) -> Result<(), UserError> {
    let username = new_name(name)?;
    let policy = policy()?;
    let roles = roles_of(&username, roles)?;
    // Before the user types a password in vain.
    if tables.users.find(&username).await?.is_some() {
        return Err(UserError::Taken(username));
    }
    let password = terminal::new_password()?;
    policy.check(&password, &username).map_err(UserError::Weak)?;
    let user = new_user(&username, &password, roles)?;
    match tables.users.add(&user).await? {
        Addition::Added => {}
        Addition::NameTaken => return Err(UserError::Taken(username)),
    }
    let text = format!("added {username}, id {}, roles {}", user.user_id, roles_text(&user.roles));
    output.result(&text, &record(&user));
    Ok(())
}

async fn set_password(tables: &Tables, name: &str, output: Output) -> Result<(), UserError> {
    let username = existing_name(name)?;
    let policy = policy()?;
    let (accounts, throttle) = (tables.accounts()?, tables.throttle()?);
    let user = tables.find(username.clone()).await?;
    let password = terminal::new_password()?;
    accounts
        .set_password(&Hasher::new(), policy, &SystemRandom::new(), &username, &password, EpochSeconds::now())
        .await
        .map_err(|error| of(error, &username))?;
    if let Err(source) = throttle.unlock(&user.user_id, EpochSeconds::now()).await {
        return Err(UserError::AttemptsNotForgotten { username, source });
    }
    let text = format!(
        "{username} has the new password: every earlier session and token is revoked, and failed attempts are cleared"
    );
    output.action(&text, &username, "set-password", Effect::Changed);
    Ok(())
}

async fn set_roles(tables: &Tables, name: &str, roles: Vec<Role>, output: Output) -> Result<(), UserError> {
    let username = existing_name(name)?;
    let new = roles_of(&username, roles)?;
    let roles = new.as_slice();
    let accounts = tables.accounts()?;
    let user = tables.users.find(&username).await?.ok_or_else(|| UserError::Unknown(username.clone()))?;
    let changed = user.roles != roles;
    let text = if changed {
        accounts.set_roles(&username, &new).await.map_err(|error| of(error, &username))?;
        let minutes = MAX_ACCESS_TOKEN_LIFETIME_SECONDS / 60;
        format!(
            "{username} now has the roles: {}. They take effect at the next login or refresh. Earlier access tokens keep the old \
             ones until they expire, after at most {minutes} minutes; `latchkey user revoke {}` revokes them now",
            roles_text(roles),
            shell_word(username.as_str())
        )
    } else {
        format!("{username} already had these roles: {}", roles_text(roles))
    };
    let object = json!({ "username": username.as_str(), "action": "set-roles", "changed": changed, "roles": roles });
    output.result(&text, &object);
    Ok(())
}

async fn enable(tables: &Tables, name: &str, output: Output) -> Result<(), UserError> {
    let username = existing_name(name)?;
    let (accounts, throttle) = (tables.accounts()?, tables.throttle()?);
    let user = tables.users.find(&username).await?.ok_or_else(|| UserError::Unknown(username.clone()))?;
    if user.status == UserStatus::Disabled {
        // Attempts by others must not lock the user out. First, so that a repeated command makes up for a failure
        // here.
        throttle.unlock(&user.user_id, EpochSeconds::now()).await?;
    }
    let effect = accounts.enable(&username).await.map_err(|error| of(error, &username))?;
    let text = match effect {
        Effect::Changed => format!(
            "enabled {username}, who may log in again; failed attempts are cleared, and earlier sessions and tokens stay revoked"
        ),
        Effect::Unchanged => format!("{username} was enabled already"),
    };
    output.action(&text, &username, "enable", effect);
    Ok(())
}

/// The table of users, with the caller's own credentials.
pub(crate) async fn table() -> Result<UsersTable, ConfigError> {
    Ok(Tables::open().await?.users)
}

/// A client with the operator's credentials.
pub(crate) async fn client() -> aws_sdk_dynamodb::Client {
    aws_sdk_dynamodb::Client::new(&config_loader().load().await)
}

/// A user of the first epoch who may log in.
pub(crate) fn new_user(username: &Username, password: &Password, roles: Roles) -> Result<User, UserError> {
    let made = accounts::new_user(
        &Hasher::new(),
        &SystemRandom::new(),
        username.clone(),
        password,
        roles,
        EpochSeconds::now(),
    );
    made.map_err(|error| of(error, username))
}

/// The policy for new passwords. The variable is optional in an operator's shell.
fn policy() -> Result<PasswordPolicy, UserError> {
    let is_set = env::var_os("LATCHKEY_MIN_PASSWORD_LENGTH").is_some_and(|value| !value.is_empty());
    let min_code_points = if is_set { config::min_password_length()? } else { DEFAULT_MIN_CODE_POINTS };
    Ok(PasswordPolicy::new(min_code_points)?)
}

fn of(error: AccountError, username: &Username) -> UserError {
    match error {
        AccountError::Unknown => UserError::Unknown(username.clone()),
        AccountError::Taken => UserError::Taken(username.clone()),
        AccountError::Password(weakness) => UserError::Weak(weakness),
        AccountError::Store(error) => UserError::Store(error),
        error => UserError::Account(error),
    }
}

/// The name of a new user.
fn new_name(name: &str) -> Result<Username, UserError> {
    Username::parse(name).map_err(|source| UserError::Name { name: name.to_owned(), source })
}

/// A name that a user may have, also one that today's rules reject.
fn existing_name(name: &str) -> Result<Username, UserError> {
    Username::canonicalize(name).map_err(|source| UserError::Name { name: name.to_owned(), source })
}

fn roles_of(username: &Username, roles: Vec<Role>) -> Result<Roles, UserError> {
    Roles::new(roles).map_err(|source| UserError::Roles { username: username.clone(), source })
}

fn roles_text(roles: &[Role]) -> String {
    let roles: Vec<_> = roles.iter().map(Role::as_str).collect();
    if roles.is_empty() { "none".to_owned() } else { roles.join(", ") }
}

/// A user for a script. Never the hash.
fn record(user: &User) -> Value {
    json!({
        "username": user.username,
        "user_id": user.user_id,
        "roles": user.roles,
        "status": user.status.as_str(),
        "epoch": user.epoch,
        "created_at": user.created_at,
    })
}

fn describe(user: &User) -> String {
    let mut text = format!(
        "username    {}\nid          {}\nroles       {}\nstatus      {}\nepoch       {}\ncreated_at  {} (epoch seconds)",
        user.username,
        user.user_id,
        roles_text(&user.roles),
        user.status.as_str(),
        user.epoch,
        user.created_at
    );
    // Roles from before the limit. With many of them no token can be issued.
    if let Err(error) = Roles::new(user.roles.clone()) {
        let name = &user.username;
        let _ = write!(text, "\nwarning     {error}; `latchkey user set-roles {name}` sets fewer");
    }
    text
}

fn summary(user: &User) -> String {
    let disabled = if user.status == UserStatus::Disabled { "  (disabled)" } else { "" };
    format!("{}  {}  {}{disabled}", user.username, user.user_id, roles_text(&user.roles))
}
