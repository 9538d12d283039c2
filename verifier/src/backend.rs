//! The cryptography that `jsonwebtoken` uses.

#[cfg(feature = "aws-lc-rs")]
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
compile_error!("latchkey-verifier needs one of its features `aws-lc-rs` and `rust-crypto`");

/// Chooses the backend, unless the process has one already. `jsonwebtoken` selects it by its own features and panics
/// if both are on, which happens if another crate of the program enables the other one.
pub(crate) fn install() {
    // An error means that a backend is already installed.
    let _ = DEFAULT_PROVIDER.install_default();
}
