//! Locks on what two commands must not use at the same time: the data of a stack, a running installation.
//!
//! The operating system releases a lock when its process ends. The file stays, without a meaning of its
//! own.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{self, ProcessError};
use crate::progress;

/// How often a waiting process tries the lock again.
const TICK: Duration = Duration::from_millis(200);

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is in use by {holder}; stop that first", .directory.display())]
    Held {
        /// What is locked.
        directory: PathBuf,
        /// The process.
        holder: String,
    },
    /// The file of the lock cannot be used.
    #[error("the lock {0} cannot be used")]
    Io(PathBuf, #[source] io::Error),
    /// This program was asked to stop while it waited.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// A lock on a directory; freed when this is dropped.
#[derive(Debug)]
pub struct Lock {
    /// The file is never read again; its being open is the lock.
    _file: File,
}

impl Lock {
    /// Takes the lock on a directory, which need not exist; the error names its holder.
    ///
    /// # Errors
    /// Another process has it, or its file cannot be used.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        // Beside the directory, so that the lock's holder can remove the directory.
        let path = directory.with_extension("lock");
        let failed = |error| LockError::Io(path.clone(), error);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut options = File::options();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(failed)?;
                let holder = pid.trim().parse().map_or_else(|_| "another process".to_owned(), process::describe);
                return Err(LockError::Held { directory: directory.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        file.write_all(std::process::id().to_string().as_bytes()).map_err(failed)?;
        Ok(Self { _file: file })
    }

    /// Takes the lock on a directory as soon as its holder releases it.
    ///
    /// # Errors
    /// Its file cannot be used, or this program was asked to stop.
    pub fn wait_for(directory: &Path) -> Result<Self, LockError> {
        let mut said = false;
        loop {
            match Self::take(directory) {
                Err(LockError::Held { holder, .. }) => {
                    if !said {
                        progress::print(&format!("    waiting for {holder}"));
                        said = true;
                    }
                    process::pause(TICK)?;
                }
                taken_or_failed => return taken_or_failed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder_and_its_error_names_it() {
        let directory = std::env::temp_dir().join(format!("latchkey-xtask-{}-lock", std::process::id()));
        let first = Lock::take(&directory).unwrap();
        let message = Lock::take(&directory).unwrap_err().to_string();
        assert!(message.contains(&format!("is in use by process {} (", std::process::id())), "{message}");
        drop(first);
        drop(Lock::take(&directory).unwrap());
        fs::remove_file(directory.with_extension("lock")).unwrap();
    }
}
