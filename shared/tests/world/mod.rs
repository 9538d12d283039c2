//! Everything the functions are made of, on tables of a test's own, with a clock that the test holds.
#![allow(dead_code, reason = "each test file uses some of it")]

use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use secrecy::{ExposeSecret as _, SecretString};
use shared::account::{self, AccountError, Accounts, PasswordChange};
use shared::authentication::{AuthenticationError, Authenticator};
use shared::authorization::{AccessTokenAuthorizer, AuthorizationError};
use shared::identity::Identity;
use shared::introspection::TokenStates;
use shared::keys::KeyKind;
use shared::keys::active::ActiveKeyCache;
use shared::keys::algorithm::SigningAlgorithm;
use shared::keys::generation::generate;
use shared::keys::sealing::Sealer;
use shared::keys::verification::VerificationKeys;
use shared::password::Password;
use shared::password::hash::Hasher;
use shared::password::policy::PasswordPolicy;
use shared::roles::Roles;
use shared::session::rotation::{Refresh, RefreshError, refresh};
use shared::session::{self, Issuance, Origin, SessionError};
use shared::store::StoreError;
use shared::store::denylist::DenylistTable;
use shared::store::sessions::SessionsTable;
use shared::store::users::{User, UsersTable};
use shared::throttle::{SourceNetwork, Throttle};
use shared::token::issuer::Issuer;
use shared::token::verifier::{Expected, ExpectedIssuer, Refusal};
use shared::username::Username;

use crate::tables::Tables;

/// When tests begin, in epoch seconds.
pub(crate) const NOW: u64 = 1_800_000_000;
/// The lifetime of access tokens.
pub(crate) const LIFETIME_SECONDS: u64 = 900;
/// The grace window, unless a test sets another.
pub(crate) const GRACE_SECONDS: u64 = 10;
/// The password of users that [`World::add_user`] adds.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

const ISSUER: &str = "https://api.example.com";
const AUDIENCE: &str = "latchkey";
/// Longer than any test's clock runs.
const KEY_SECONDS: u64 = 400 * 24 * 60 * 60;

/// Tokens as a client has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) access: String,
    pub(crate) refresh: String,
    pub(crate) sid: String,
}

impl From<session::Tokens> for Held {
    fn from(tokens: session::Tokens) -> Self {
        Self {
            access: tokens.access_token.expose_secret().to_owned(),
            refresh: tokens.refresh_token.expose_secret().to_owned(),
            sid: tokens.sid,
        }
    }
}

pub(crate) struct World {
    pub(crate) tables: Tables,
    pub(crate) users: UsersTable,
    pub(crate) sessions: SessionsTable,
    pub(crate) denylist: DenylistTable,
    pub(crate) throttle: Throttle,
    pub(crate) keys: ActiveKeyCache,
    pub(crate) authorizer: AccessTokenAuthorizer,
    pub(crate) hasher: Hasher,
    pub(crate) grace_seconds: u64,
    issuer: Issuer,
    random: SystemRandom,
}

pub(crate) fn sealer() -> Sealer {
    let sealing_key = base64::engine::general_purpose::STANDARD.encode([1; 32]);
    Sealer::local(&SecretString::from(sealing_key)).unwrap()
}

pub(crate) fn alice() -> Username {
    Username::parse("alice").unwrap()
}

impl World {
    /// New tables with keys in them.
    pub(crate) async fn create(test: &str) -> Self {
        let tables = Tables::create(test);
        for kind in [KeyKind::AccessToken(SigningAlgorithm::Es256), KeyKind::RefreshToken] {
            let key = generate(kind, NOW - 10, NOW + KEY_SECONDS, &sealer()).await.unwrap();
            tables.signing_keys().add(kind.purpose(), &key, NOW + 2 * KEY_SECONDS).await.unwrap();
        }
        Self::on(tables)
    }

    /// Functions that have just started, on tables that are there.
    pub(crate) fn on(tables: Tables) -> Self {
        Self {
            users: tables.users(),
            sessions: tables.sessions(),
            denylist: tables.denylist(),
            throttle: Throttle::new(tables.login_attempts(), 100),
            keys: ActiveKeyCache::new(tables.signing_keys(), sealer()),
            authorizer: AccessTokenAuthorizer::new(
                VerificationKeys::new(tables.signing_keys(), None),
                tables.denylist(),
            ),
            hasher: Hasher::new(),
            grace_seconds: GRACE_SECONDS,
            issuer: Issuer { audience: AUDIENCE.to_owned(), lifetime_seconds: LIFETIME_SECONDS },
            random: SystemRandom::new(),
            tables,
        }
    }

    pub(crate) fn accounts(&self) -> Accounts<'_> {
        Accounts { users: &self.users, denylist: &self.denylist }
    }

    pub(crate) fn authenticator(&self) -> Authenticator<'_> {
        Authenticator { users: &self.users, throttle: &self.throttle, hasher: &self.hasher, random: &self.random }
    }

    pub(crate) fn token_states(&self) -> TokenStates<'_> {
        TokenStates {
            authorizer: &self.authorizer,
            keys: &self.keys,
            sessions: &self.sessions,
            users: &self.users,
            denylist: &self.denylist,
            audience: AUDIENCE,
            grace_seconds: self.grace_seconds,
        }
    }

    /// Adds a user with [`PASSWORD`] and the role `user`.
    pub(crate) async fn add_user(&self, username: &str) -> User {
        let username = Username::parse(username).unwrap();
        let password = Password::new(PASSWORD.to_owned());
        let roles = Roles::registered();
        let user = account::new_user(&self.hasher, &self.random, &username, &password, roles, NOW).unwrap();
        assert!(self.users.add(&user).await.unwrap());
        user
    }

    pub(crate) async fn authenticate(
        &self,
        username: &str,
        password: &str,
        address: &str,
        now: u64,
    ) -> Result<User, AuthenticationError> {
        let network = SourceNetwork::of(address);
        self.authenticator().authenticate(username, &Password::new(password.to_owned()), network.as_ref(), now).await
    }

    /// A session for a user who was authenticated: what a login does after the password.
    pub(crate) async fn begin(&self, user: &User, now: u64) -> Result<Held, SessionError> {
        let keys = self.keys.get(now).await.unwrap();
        let with = Issuance { keys: &keys, issuer: &self.issuer, iss: ISSUER, random: &self.random };
        session::begin(&self.sessions, with, user, Origin::default(), now).await.map(Held::from)
    }

    pub(crate) async fn refresh(&self, refresh_token: &str, now: u64) -> Result<Held, RefreshError> {
        let with = Refresh {
            sessions: &self.sessions,
            denylist: &self.denylist,
            users: &self.users,
            keys: &self.keys,
            issuer: &self.issuer,
            iss: ISSUER,
            random: &self.random,
            grace_seconds: self.grace_seconds,
        };
        refresh(with, refresh_token, now).await.map(Held::from)
    }

    /// Why an access token does not pass, if it does not.
    pub(crate) async fn refusal(&self, access_token: &str, now: u64) -> Option<Refusal> {
        match self.authorize(access_token, now).await {
            Ok(_) => None,
            Err(AuthorizationError::Refused(refusal)) => Some(refusal),
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }

    /// What the authorizer says.
    pub(crate) async fn authorize(&self, access_token: &str, now: u64) -> Result<Identity, AuthorizationError> {
        let expected = Expected { issuer: ExpectedIssuer::Exactly(ISSUER), audience: AUDIENCE };
        self.authorizer.authorize(access_token, expected, now).await.map(Identity::from)
    }

    pub(crate) async fn logout(&self, caller: &Identity, now: u64) -> Result<(), StoreError> {
        self.accounts().end_session(&self.sessions, caller.into(), &caller.sid, now).await
    }

    pub(crate) async fn logout_everywhere(&self, caller: &Identity, now: u64) -> Result<(), StoreError> {
        self.accounts().revoke_own(caller.into(), now).await
    }

    /// What `POST /password` does once the current password was proved by `user`.
    pub(crate) async fn change_password(&self, user: User, password: &str, now: u64) -> Result<Held, AccountError> {
        let keys = self.keys.get(now).await.unwrap();
        let change = PasswordChange {
            accounts: self.accounts(),
            sessions: &self.sessions,
            hasher: &self.hasher,
            policy: PasswordPolicy::new(15).unwrap(),
            issuance: Issuance { keys: &keys, issuer: &self.issuer, iss: ISSUER, random: &self.random },
        };
        change.make(user, &Password::new(password.to_owned()), Origin::default(), now).await.map(Held::from)
    }

    pub(crate) async fn user(&self, username: &str) -> User {
        self.users.find(&Username::parse(username).unwrap()).await.unwrap().unwrap()
    }
}
