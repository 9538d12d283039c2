//! Every decision of Latchkey, and the tables behind them. There is no HTTP here.
//!
//! Three layers, each of which uses only those before it:
//!
//! 1. **Types** of the domain: [`id`], [`username`], [`roles`], [`user`], [`session`], [`revocation`], [`signing_key`],
//!    [`password`], [`token`], [`device`], [`network`] and [`attempts`].
//! 2. **[`store`]**: one file for each DynamoDB table. It maps the types to items and makes conditional writes.
//! 3. **Services**, which decide: [`login`], [`registration`], [`authentication`], [`throttle`], [`accounts`],
//!    [`sessions`], [`authorization`], [`introspection`] and [`keys`].
//!
//! Two rules hold everywhere. Time and randomness are arguments, never read deep inside. Each module has an error enum
//! of its own, which knows nothing of HTTP; the crate `api` turns them into responses.

pub mod accounts;
pub mod attempts;
pub mod authentication;
pub mod authorization;
pub mod device;
pub mod id;
pub mod introspection;
pub mod keys;
pub mod login;
pub mod network;
pub mod password;
pub mod random;
pub mod registration;
pub mod revocation;
pub mod roles;
pub mod session;
pub mod sessions;
pub mod signing_key;
pub mod store;
pub mod throttle;
pub mod token;
pub mod user;
pub mod username;

pub use latchkey_verifier::EpochSeconds;
