//! Sessions: the caller's list, how they end, and their tokens.

pub mod refresh;
mod tokens;

pub use tokens::{TokenIssuer, Tokens};

use crate::EpochSeconds;
use crate::accounts::Accounts;
use crate::id::SessionId;
use crate::random::RandomError;
use crate::session::{Session, SignedIn};
use crate::store::StoreError;
use crate::store::sessions::SessionsTable;
use crate::token::issuer::IssueError;

/// A session could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("no id for the session")]
    Random(#[from] RandomError),
    #[error("no token for the session")]
    Issue(#[from] IssueError),
    #[error("the session could not be stored")]
    Store(#[from] StoreError),
}

/// The result of ending a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Ended,
    /// The caller has no such session; another user may have it.
    NotFound,
}

/// Lists and ends sessions.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub table: SessionsTable,
    pub accounts: Accounts,
}

impl Sessions {
    /// The caller's valid sessions, newest first, at most a hundred.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn list(&self, caller: &SignedIn, now: EpochSeconds) -> Result<Vec<Session>, StoreError> {
        let mut sessions = self.table.of_user(&caller.sub).await?;
        sessions.retain(|session| is_callers(session, caller, now));
        Ok(sessions)
    }

    /// Ends one of the caller's own sessions.
    ///
    /// # Errors
    /// It is not known to have ended.
    pub async fn end_own(&self, caller: &SignedIn, sid: &SessionId, now: EpochSeconds) -> Result<Ending, StoreError> {
        match self.table.find(sid).await? {
            Some(session) if is_callers(&session, caller, now) => {
                self.end(&(&session).into(), now).await?;
                Ok(Ending::Ended)
            }
            _ => Ok(Ending::NotFound),
        }
    }

    /// Ends a session and revokes its access tokens; or, after too many single revocations, everything the owner has.
    /// Ending it twice is not an error.
    ///
    /// # Errors
    /// It is not known to have ended.
    pub async fn end(&self, owner: &SignedIn, now: EpochSeconds) -> Result<(), StoreError> {
        self.accounts.end_session(&self.table, owner, now).await
    }
}

/// A session of an earlier epoch is revoked, and the caller's own token is of the current one.
fn is_callers(session: &Session, caller: &SignedIn, now: EpochSeconds) -> bool {
    session.sub == caller.sub && session.epoch == caller.epoch && session.is_live_at(now)
}
