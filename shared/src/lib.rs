//! What Latchkey's Lambda functions have in common.
//!
//! A function's `main.rs` wires, its `handler.rs` translates, and what is decided is decided here:
//! who a caller is ([`authentication`]), whether a token counts ([`authorization`], [`token::verifier`]),
//! what a session is ([`session`]), which key signs ([`keys`]), and what is stored ([`store`]).
//!
//! Two rules hold everywhere. Time and randomness are arguments, never read deep inside; and an error
//! enum of a module knows nothing of HTTP, which only [`http`] speaks.

#[cfg(feature = "store")]
pub mod account;
#[cfg(feature = "store")]
pub mod authentication;
#[cfg(feature = "store")]
pub mod authorization;
pub mod clock;
pub mod config;
#[cfg(feature = "events")]
pub mod event_loop;
pub mod http;
pub mod identity;
#[cfg(feature = "store")]
pub mod introspection;
#[cfg(feature = "store")]
pub mod keys;
#[cfg(feature = "store")]
pub mod password;
#[cfg(feature = "store")]
pub mod random;
#[cfg(feature = "store")]
pub mod roles;
#[cfg(feature = "store")]
pub mod session;
#[cfg(feature = "store")]
pub mod store;
pub mod telemetry;
#[cfg(feature = "store")]
pub mod throttle;
#[cfg(feature = "store")]
pub mod token;
#[cfg(feature = "store")]
pub mod username;
