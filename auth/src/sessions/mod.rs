//! Sessions after their begin: the caller's list, their end, and the tokens of each.

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

/// What became of a session that was to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Ended,
    /// The caller has no such session, whoever else may have it.
    NotFound,
}

/// Lists and ends sessions.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub table: SessionsTable,
    pub accounts: Accounts,
}

impl Sessions {
    /// The caller's valid sessions, newest first; of very many, the newest hundred.
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

    /// Ends a session and denies its access tokens; or, where too many were ended one by one, revokes everything the owner
    /// has. Ending it twice is no error.
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
