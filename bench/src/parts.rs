//! The parts of the bench. `cargo xtask bench --only` has the same names.

use clap::ValueEnum;

/// A part of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Cold starts
    Cold,
    /// Warm calls of authorizers
    Warm,
    /// Warm logins
    Hashing,
    /// Signatures, keys and tokens
    Primitives,
    /// The whole path under load
    Load,
}
