//! New code and new settings while `up` runs.
//!
//! Changed sources are rebuilt, and the functions whose binary changed are restarted. The gateway reads a changed
//! template itself; here the functions get their new environment. If something cannot be built or read, the previous
//! version keeps running.

use std::path::Path;
use std::time::{Instant, SystemTime};
use std::{fs, io};

use crate::watched::Watched;
use local_stack::functions::FunctionsError;
use local_stack::process::{self, ProcessError};
use local_stack::stack::Stack;
use local_stack::{progress, workspace};

/// The sources of the functions.
const SOURCES: [&str; 8] = ["Cargo.lock", "Cargo.toml", "api", "auth", "functions", "shared", "verifier", "web"];

/// The watched files.
#[derive(Debug)]
pub(crate) struct Reload {
    sources: Watched,
    template: Watched,
}

impl Reload {
    /// The current files are the ones that run.
    #[must_use]
    pub(crate) fn from_now() -> Self {
        let sources = SOURCES.map(|name| workspace::root().join(name)).to_vec();
        Self { sources: Watched::new(sources), template: Watched::new(vec![workspace::template()]) }
    }

    /// Checks for changes, applies them, and prints one line for each.
    ///
    /// # Errors
    /// This program was asked to stop while it built.
    pub(crate) fn apply_changes(&mut self, stack: &mut Stack) -> Result<(), ProcessError> {
        if let Some(file) = self.sources.changed().first() {
            let file = in_checkout(file);
            match build_and_restart(stack) {
                Ok(line) => progress::print(&format!("{file} changed: {line}")),
                Err(ReloadError::Process(ProcessError::Failed { .. })) => {
                    progress::warn(&format!(
                        "{file} changed: it does not build, so the previous version keeps running"
                    ));
                }
                Err(ReloadError::Process(ProcessError::Interrupted)) => return Err(ProcessError::Interrupted),
                Err(error) => progress::failure(&error),
            }
        }
        if !self.template.changed().is_empty() {
            match stack.reload_template() {
                Ok(restarted) if restarted.is_empty() => {
                    progress::print("template.yaml changed: the routes are reloaded");
                }
                Ok(restarted) => progress::print(&format!(
                    "template.yaml changed: the routes are reloaded, and {} restarted with other settings",
                    restarted.join(", ")
                )),
                Err(error) => progress::failure(&error),
            }
        }
        Ok(())
    }
}

/// New binaries could not be loaded.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    /// The build.
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Functions(#[from] FunctionsError),
}

fn build_and_restart(stack: &Stack) -> Result<String, ReloadError> {
    let started = Instant::now();
    let functions = stack.functions();
    let before: Vec<_> = functions.started().into_iter().map(|name| (built_at(&name).ok(), name)).collect();
    let mut cargo = process::command("cargo");
    // `up` itself is running and is not rebuilt.
    cargo.args(["build", "--quiet", "--workspace", "--exclude", "xtask"]).current_dir(workspace::root());
    process::run("cargo build", cargo)?;
    let mut restarted = Vec::new();
    for (time, name) in before {
        if built_at(&name).ok() != time {
            functions.restart(&name)?;
            restarted.push(name);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(if restarted.is_empty() {
        format!("built in {seconds:.1} s; no running function has changed")
    } else {
        format!("built in {seconds:.1} s; restarted: {}", restarted.join(", "))
    })
}

fn built_at(binary: &str) -> io::Result<SystemTime> {
    fs::metadata(workspace::binary(binary))?.modified()
}

fn in_checkout(file: &Path) -> String {
    file.strip_prefix(workspace::root()).unwrap_or(file).display().to_string()
}
