//! Why keys were not created.

use auth::keys::rotation::RotationError;
use shared::config::ConfigError;

/// Not all due keys were created.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotateKeysError {
    /// The purposes of the keys are unknown.
    #[error(transparent)]
    Purposes(#[from] ConfigError),
    /// A key could not be created.
    #[error(transparent)]
    Rotation(#[from] RotationError),
}

impl RotateKeysError {
    /// Whether the role lacks a permission that key creation needs.
    pub(crate) fn is_access_denied(&self) -> bool {
        matches!(self, Self::Rotation(error) if error.is_access_denied())
    }
}
