//! The part of Lambda that a function sees: the Runtime API, by which it asks for events and answers them.
//!
//! `cargo lambda watch` has it too, for a function that Cargo builds. This is for bootstraps that are built already:
//! the very files that are deployed. Each has a Runtime API of its own, so that time, CPU and memory can be measured
//! for each process.

mod environment;
mod limit;
mod process;
mod runtime_api;

pub use environment::{Answer, Environment, EnvironmentError, Function};
pub use limit::Share;
pub use process::{ProcessError, Usage, rss_bytes};
