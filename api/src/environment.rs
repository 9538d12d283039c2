//! The tables and services of a function, as the environment names and configures them.

use auth::accounts::Accounts;
use auth::authorization::AccessTokenAuthorizer;
use auth::keys::active::ActiveKeyCache;
use auth::keys::login_attempts::LoginAttemptsKeyCache;
use auth::keys::verification::VerificationKeys;
use auth::keys::wrapping::KeyWrapper;
use auth::sessions::{Sessions, TokenIssuer};
use auth::store::client;
use auth::store::denylist::DenylistTable;
use auth::store::login_attempts::LoginAttemptsTable;
use auth::store::sessions::SessionsTable;
use auth::store::signing_keys::SigningKeysTable;
use auth::store::users::UsersTable;
use auth::throttle::Throttle;
use auth::token::issuer::Issuer;
use aws_config::SdkConfig;
use aws_lc_rs::rand::SystemRandom;
use aws_sdk_dynamodb::Client;
use shared::StartError;
use shared::config::{ConfigError, table_name};

use crate::config;

/// The AWS clients of a function. They connect at their first call.
pub struct Environment {
    sdk_config: SdkConfig,
    client: Client,
}

impl Environment {
    /// The clients of a Lambda function, with the credentials that Lambda gives it.
    #[must_use]
    pub fn of_lambda() -> Self {
        let sdk_config = client::lambda_config();
        let client = Client::new(&sdk_config);
        Self { sdk_config, client }
    }

    /// # Errors
    /// The table is not named.
    pub fn users(&self) -> Result<UsersTable, ConfigError> {
        Ok(UsersTable::new(self.client.clone(), table_name("USERS_TABLE_NAME")?))
    }

    /// # Errors
    /// The table is not named.
    pub fn sessions_table(&self) -> Result<SessionsTable, ConfigError> {
        Ok(SessionsTable::new(self.client.clone(), table_name("SESSIONS_TABLE_NAME")?))
    }

    /// # Errors
    /// The table is not named.
    pub fn signing_keys(&self) -> Result<SigningKeysTable, ConfigError> {
        Ok(SigningKeysTable::new(self.client.clone(), table_name("SIGNING_KEYS_TABLE_NAME")?))
    }

    fn denylist(&self) -> Result<DenylistTable, ConfigError> {
        Ok(DenylistTable::new(self.client.clone(), table_name("DENYLIST_TABLE_NAME")?))
    }

    /// # Errors
    /// A table is not named.
    pub fn accounts(&self) -> Result<Accounts, ConfigError> {
        Ok(Accounts::new(self.users()?, self.denylist()?))
    }

    /// # Errors
    /// A table is not named.
    pub fn sessions(&self) -> Result<Sessions, ConfigError> {
        Ok(Sessions { accounts: self.accounts()?, table: self.sessions_table()? })
    }

    /// # Errors
    /// The table is not named, or the limit is missing or wrong.
    pub fn throttle(&self) -> Result<Throttle, ConfigError> {
        let attempts = LoginAttemptsTable::new(self.client.clone(), table_name("LOGIN_ATTEMPTS_TABLE_NAME")?);
        Ok(Throttle::new(attempts, config::free_attempts_per_address()?))
    }

    /// The key by which names that no user has are counted.
    ///
    /// # Errors
    /// A setting is missing or wrong.
    pub fn login_attempts_key(&self) -> Result<LoginAttemptsKeyCache, StartError> {
        Ok(LoginAttemptsKeyCache::new(self.signing_keys()?, self.key_wrapper()?))
    }

    /// # Errors
    /// No wrapping key is configured, or it is malformed.
    pub fn key_wrapper(&self) -> Result<KeyWrapper, StartError> {
        Ok(KeyWrapper::new(&config::wrapping_key()?, &self.sdk_config)?)
    }

    /// What issues the tokens of sessions, for this audience.
    ///
    /// # Errors
    /// A setting is missing or wrong.
    pub fn token_issuer(&self, audience: &str) -> Result<TokenIssuer, StartError> {
        let lifetime_seconds = config::access_token_lifetime_seconds()?;
        let access_tokens = Issuer { audience: audience.to_owned(), lifetime_seconds };
        let keys = ActiveKeyCache::new(self.signing_keys()?, self.key_wrapper()?);
        Ok(TokenIssuer::new(keys, access_tokens, SystemRandom::new()))
    }

    /// What authorizes requests. Public keys need no unwrapping; the secrets of HS256 do.
    ///
    /// # Errors
    /// A setting is missing or wrong.
    pub fn authorizer(&self) -> Result<AccessTokenAuthorizer, StartError> {
        let wrapper = if config::accepts_hs256()? { Some(self.key_wrapper()?) } else { None };
        let keys = VerificationKeys::new(self.signing_keys()?, wrapper);
        Ok(AccessTokenAuthorizer::new(keys, self.denylist()?))
    }
}
