//! Progress of long commands: a line when a step begins, its time when it ends.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Instant;

const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

fn coloured(colour: &str, text: &str) -> String {
    if io::stderr().is_terminal() { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
}

fn line(text: &str) {
    // A closed standard error is not an error.
    let _ = writeln!(io::stderr(), "{text}");
}

/// A step that has begun.
pub struct Step {
    name: String,
    started: Instant,
}

/// Begins a step.
#[must_use]
pub fn step(name: &str) -> Step {
    line(&format!("{} {name}", coloured(BOLD, "==>")));
    Step { name: name.to_owned(), started: Instant::now() }
}

impl Step {
    /// Ends the step well.
    pub fn done(self) {
        let seconds = self.started.elapsed().as_secs_f64();
        line(&format!("    {} {} ({seconds:.1} s)", coloured(GREEN, "done"), self.name));
    }

    /// Marks the step as failed; the next steps still run.
    pub fn failed(self) {
        line(&format!("    {} {}", coloured(RED, "FAILED"), self.name));
    }
}

/// A line of information.
pub fn print(text: &str) {
    line(text);
}

/// Something that a person must not overlook.
pub fn warn(text: &str) {
    line(&coloured(YELLOW, text));
}

/// An error with its causes.
pub fn failure(error: &(dyn Error + 'static)) {
    line(&format!("{} {error}", coloured(RED, "error:")));
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        line(&format!("  because {cause}"));
    }
}
