//! The real gateway in front of a real Invoke API: status and whole body of every case, as a client sees them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by it")]

mod authorizers;
mod client;
mod command_line;
mod concurrency;
mod connections;
mod cors;
mod events;
mod integrations;
mod invoke_api;
mod policies;
mod process;
mod reload;
mod rest;
mod routing;
