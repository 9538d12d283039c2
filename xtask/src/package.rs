//! `cargo xtask package`: builds the deployment packages and checks their sizes.

use clap::Args;
use local_stack::package::{self, Architecture, PackageError};
use local_stack::process;

/// What `package` is to do.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The processor of the functions; the template says arm64
    #[arg(long, value_enum, default_value_t = Architecture::DEPLOYED)]
    arch: Architecture,
}

/// Builds an archive of each function of the template below `target/package`, and prints its size beside its budget.
pub(crate) fn run(options: &Options) -> Result<(), PackageError> {
    process::listen_to_signals()?;
    package::package_all(options.arch)?.must_be_small()
}
