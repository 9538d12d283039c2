//! Fixtures that more than one test file needs.
//!
//! - [`tables`]: the tables of the template, named for one test, on the DynamoDB Local that the environment names.
//! - [`fixture`]: the services of `auth` on such tables, with a clock of the test.
//! - [`proxy`]: a TCP proxy in front of DynamoDB Local, which records calls and drops them on demand.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test may fail")]
#![allow(
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "these are fixtures"
)]

pub mod fixture;
pub mod proxy;
pub mod tables;
