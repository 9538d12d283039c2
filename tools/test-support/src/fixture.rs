//! The services of `auth` on tables of the test's own, with a clock of the test.

use auth::EpochSeconds;
use auth::accounts::{AccountError, Accounts, new_user};
use auth::authentication::{Authenticated, AuthenticationError, Authenticator, Credentials};
use auth::authorization::{AccessTokenAuthorizer, AuthorizationError};
use auth::device::DeviceToken;
use auth::id::SessionId;
use auth::introspection::TokenStates;
use auth::keys::active::ActiveKeyCache;
use auth::keys::generation::generate;
use auth::keys::login_attempts::LoginAttemptsKeyCache;
use auth::keys::verification::VerificationKeys;
use auth::keys::wrapping::KeyWrapper;
use auth::login::{ChangePasswordError, Login, LoginError, RequestSource};
use auth::network::SourceNetwork;
use auth::password::Password;
use auth::password::hash::Hasher;
use auth::password::policy::PasswordPolicy;
use auth::registration::{Registration, RegistrationError};
use auth::revocation::Revoked;
use auth::roles::Roles;
use auth::session::{Session, SignedIn};
use auth::sessions::refresh::{RefreshError, Refresher};
use auth::sessions::{Ending, Sessions, TokenIssuer, Tokens};
use auth::signing_key::{KeyKind, KeyPurpose};
use auth::store::StoreError;
use auth::store::sessions::SessionsTable;
use auth::store::users::{Addition, UsersTable};
use auth::throttle::Throttle;
use auth::token::issuer::Issuer;
use auth::user::User;
use auth::username::Username;
use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latchkey_verifier::{AccessTokenClaims, Expected, ExpectedIssuer, Refusal, SigningAlgorithm};
use secrecy::{ExposeSecret as _, SecretString};

use crate::tables::Tables;

/// When tests begin.
pub const NOW: EpochSeconds = EpochSeconds::new(1_800_000_000);
/// The lifetime of access tokens.
pub const LIFETIME_SECONDS: u64 = 900;
/// The grace window, unless a test sets another.
pub const GRACE_SECONDS: u64 = 10;
/// The password of users that [`Fixture::add_user`] adds.
pub const PASSWORD: &str = "correct horse battery staple";

const ISSUER: &str = "https://api.example.com";
const AUDIENCE: &str = "latchkey";
/// Longer than the clock of any test.
const KEY_SECONDS: u64 = 400 * 24 * 60 * 60;

/// Tokens as a client has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub access: String,
    pub refresh: String,
    pub sid: String,
}

impl From<Tokens> for Held {
    fn from(tokens: Tokens) -> Self {
        Self {
            access: tokens.access_token.expose_secret().to_owned(),
            refresh: tokens.refresh_token.expose_secret().to_owned(),
            sid: tokens.sid.into_inner(),
        }
    }
}

/// Why an access token is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    Refused(Refusal),
    Revoked(Revoked),
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Revoked> for Rejection {
    fn from(revoked: Revoked) -> Self {
        Self::Revoked(revoked)
    }
}

impl Rejection {
    /// The rejection in what an authorizer answers, if it is one.
    ///
    /// # Panics
    /// It is not known whether the token is valid.
    pub fn of<T>(result: Result<T, AuthorizationError>) -> Option<Self> {
        match result {
            Ok(_) => None,
            Err(AuthorizationError::Refused(refusal)) => Some(refusal.into()),
            Err(AuthorizationError::Revoked(revoked)) => Some(revoked.into()),
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }
}

/// Every service, as the functions have them.
pub struct Fixture {
    pub tables: Tables,
    pub users: UsersTable,
    pub sessions: SessionsTable,
    pub throttle: Throttle,
    pub login: Login,
    pub registration: Registration,
    pub refresher: Refresher,
    pub states: TokenStates,
}

/// The wrapper of the tests' keys.
pub fn wrapper() -> KeyWrapper {
    KeyWrapper::local(&SecretString::from(STANDARD.encode([1; 32]))).unwrap()
}

pub fn alice() -> Username {
    Username::parse("alice").unwrap()
}

fn policy() -> PasswordPolicy {
    PasswordPolicy::new(15).unwrap()
}

impl Fixture {
    /// New tables with keys in them.
    pub async fn create(test: &str) -> Self {
        let tables = Tables::create(test);
        for kind in KeyPurpose::ALL.map(|purpose| KeyKind::of(purpose, SigningAlgorithm::Es256)) {
            let key = generate(kind, NOW - 10, NOW + KEY_SECONDS, &wrapper()).await.unwrap();
            tables.signing_keys().add(kind.purpose(), &key, NOW + 2 * KEY_SECONDS).await.unwrap();
        }
        Self::on(tables)
    }

    /// Functions that have just started, on existing tables.
    pub fn on(tables: Tables) -> Self {
        Self::with_free_attempts(tables, 100)
    }

    /// The same with another limit of source addresses.
    pub fn with_free_attempts(tables: Tables, per_address: u64) -> Self {
        let random = SystemRandom::new();
        let throttle = Throttle::new(tables.login_attempts(), per_address);
        let accounts = Accounts::new(tables.users(), tables.denylist());
        let sessions = Sessions { table: tables.sessions(), accounts: accounts.clone() };
        let access_tokens = Issuer { audience: AUDIENCE.to_owned(), lifetime_seconds: LIFETIME_SECONDS };
        let tokens =
            TokenIssuer::new(ActiveKeyCache::new(tables.signing_keys(), wrapper()), access_tokens, random.clone());
        let keys = VerificationKeys::new(tables.signing_keys(), None);
        Self {
            users: tables.users(),
            sessions: tables.sessions(),
            throttle: throttle.clone(),
            login: Login {
                authenticator: Authenticator {
                    users: tables.users(),
                    throttle: throttle.clone(),
                    unknown_names: LoginAttemptsKeyCache::new(tables.signing_keys(), wrapper()),
                    hasher: Hasher::new(),
                    random: random.clone(),
                },
                accounts,
                sessions: tables.sessions(),
                tokens: tokens.clone(),
                policy: policy(),
            },
            registration: Registration {
                users: tables.users(),
                throttle: throttle.clone(),
                hasher: Hasher::new(),
                policy: policy(),
                random,
            },
            refresher: Refresher {
                sessions: sessions.clone(),
                users: tables.users(),
                tokens: tokens.clone(),
                throttle,
                grace_seconds: GRACE_SECONDS,
            },
            states: TokenStates {
                authorizer: AccessTokenAuthorizer::new(keys, tables.denylist()),
                tokens,
                sessions,
                users: tables.users(),
                audience: AUDIENCE.to_owned(),
                grace_seconds: GRACE_SECONDS,
            },
            tables,
        }
    }

    /// Another grace window.
    pub fn set_grace_seconds(&mut self, seconds: u64) {
        self.refresher.grace_seconds = seconds;
        self.states.grace_seconds = seconds;
    }

    pub fn accounts(&self) -> &Accounts {
        &self.login.accounts
    }

    pub fn authenticator(&self) -> &Authenticator {
        &self.login.authenticator
    }

    pub fn authorizer(&self) -> &AccessTokenAuthorizer {
        &self.states.authorizer
    }

    pub fn tokens(&self) -> &TokenIssuer {
        &self.login.tokens
    }

    /// Adds a user with [`PASSWORD`] and the role `user`.
    pub async fn add_user(&self, username: &str) -> User {
        let username = Username::parse(username).unwrap();
        let password = Password::new(PASSWORD.to_owned());
        let (hasher, random) = (&self.authenticator().hasher, SystemRandom::new());
        let user = new_user(hasher, &random, username, &password, Roles::registered(), NOW).unwrap();
        assert_eq!(self.users.add(&user).await.unwrap(), Addition::Added);
        user
    }

    /// Registers a user, without a source address.
    pub async fn register(&self, username: &str, password: &str) -> Result<User, AccountError> {
        let password = Password::new(password.to_owned());
        match self.registration.register(username, &password, None, NOW).await {
            Ok(user) => Ok(user),
            Err(RegistrationError::Account(error)) => Err(error),
            Err(RegistrationError::Throttle(error)) => panic!("{error}"),
        }
    }

    /// A login up to the session, from a device that is not known.
    pub async fn authenticate(
        &self,
        username: &str,
        password: &str,
        address: &str,
        now: EpochSeconds,
    ) -> Result<User, AuthenticationError> {
        Ok(self.authenticate_on(None, username, password, address, now).await?.user)
    }

    /// The same with what an earlier one returned.
    pub async fn authenticate_on(
        &self,
        device: Option<&DeviceToken>,
        username: &str,
        password: &str,
        address: &str,
        now: EpochSeconds,
    ) -> Result<Authenticated, AuthenticationError> {
        let network = SourceNetwork::of(address);
        let password = Password::new(password.to_owned());
        let credentials = Credentials { username, password: &password, device };
        self.authenticator().authenticate(credentials, network.as_ref(), now).await
    }

    /// A session for a user who was authenticated: what a login does after the password.
    pub async fn begin(&self, user: &User, now: EpochSeconds) -> Result<Held, LoginError> {
        self.login.begin(user, &source(), now).await.map(Held::from)
    }

    pub async fn refresh(&self, refresh_token: &str, now: EpochSeconds) -> Result<Held, RefreshError> {
        self.refresher.refresh(refresh_token, ISSUER, || None, now).await.map(Held::from)
    }

    /// Why an access token is rejected, if it is.
    pub async fn rejection(&self, access_token: &str, now: EpochSeconds) -> Option<Rejection> {
        Rejection::of(self.authorize(access_token, now).await)
    }

    /// The authorizer's result.
    pub async fn authorize(
        &self,
        access_token: &str,
        now: EpochSeconds,
    ) -> Result<AccessTokenClaims, AuthorizationError> {
        let expected = Expected { issuer: ExpectedIssuer::Exactly(ISSUER), audience: AUDIENCE };
        self.authorizer().authorize(access_token, expected, now).await
    }

    pub async fn logout(&self, caller: &AccessTokenClaims, now: EpochSeconds) -> Result<(), StoreError> {
        self.states.sessions.end(&caller.into(), now).await
    }

    pub async fn logout_everywhere(&self, caller: &AccessTokenClaims, now: EpochSeconds) -> Result<(), StoreError> {
        self.accounts().revoke_own(&caller.into(), now).await
    }

    /// The caller's sessions.
    pub async fn list(&self, caller: &AccessTokenClaims, now: EpochSeconds) -> Vec<Session> {
        self.states.sessions.list(&caller.into(), now).await.unwrap()
    }

    /// `DELETE /sessions/{sid}`.
    pub async fn end_own(
        &self,
        caller: &AccessTokenClaims,
        sid: &str,
        now: EpochSeconds,
    ) -> Result<Ending, StoreError> {
        match SessionId::parse(sid) {
            Some(sid) => self.states.sessions.end_own(&caller.into(), &sid, now).await,
            None => Ok(Ending::NotFound),
        }
    }

    /// Ends a session of a user, whether it was ever stored or not.
    pub async fn end(&self, user: &User, epoch: u64, sid: &str, now: EpochSeconds) -> Result<(), StoreError> {
        let (sub, username, sid) = (user.user_id.clone(), user.username.clone(), SessionId::new(sid));
        self.states.sessions.end(&SignedIn { sub, username, sid, epoch }, now).await
    }

    /// What `POST /password` does once the current password is verified for `user`.
    pub async fn change_password(&self, user: User, password: &str, now: EpochSeconds) -> Result<Held, AccountError> {
        let password = Password::new(password.to_owned());
        match self.login.replace_password(user, &password, &source(), now).await {
            Ok(tokens) => Ok(tokens.into()),
            Err(ChangePasswordError::Account(error)) => Err(error),
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }

    pub async fn user(&self, username: &str) -> User {
        self.users.find(&Username::parse(username).unwrap()).await.unwrap().unwrap()
    }
}

/// The source of a login, without an address.
pub fn source() -> RequestSource {
    RequestSource { issuer: ISSUER.to_owned(), ..RequestSource::default() }
}
