//! The HTTP contract between `auth`, which decides and knows no HTTP, and `shared`, which speaks HTTP and decides
//! nothing.
//!
//! - [`config`]: the settings of `auth`, from the environment.
//! - [`environment`]: the tables and services that a function is made of.
//! - [`error`]: one exhaustive match for each error of `auth`: its status, its code and its sentence.
//! - [`request`]: what `auth` needs from a request: the caller, the issuer, the source address.
//! - [`response`]: the bodies that more than one function answers.

pub mod config;
pub mod environment;
pub mod error;
pub mod request;
pub mod response;
