//! Where things are in this checkout.

use std::path::{Path, PathBuf};

/// The checkout.
#[must_use]
pub fn root() -> &'static Path {
    // The directory of this package is two levels below.
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

/// What is installed, stored and logged on this machine. Git ignores it.
#[must_use]
pub fn local() -> PathBuf {
    root().join(".local")
}

/// The template of the deployment.
#[must_use]
pub fn template() -> PathBuf {
    root().join("template.yaml")
}

/// A binary that `cargo build` made.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    // This very program, or a test of it, lies in the directory of the profile or one below.
    let target = std::env::current_exe().unwrap_or_default();
    let profile = target.ancestors().find(|directory| directory.join(".fingerprint").is_dir());
    profile.map_or_else(|| root().join("target/debug"), Path::to_path_buf).join(name)
}
