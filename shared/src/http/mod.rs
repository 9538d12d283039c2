//! HTTP: what of a request is read, and how answers and errors look (DESIGN: the HTTP contract).
//!
//! Only this module knows status codes.

#[cfg(feature = "store")]
pub mod bearer;
#[cfg(feature = "http")]
pub mod error;
#[cfg(feature = "http")]
pub mod form;
#[cfg(feature = "http")]
pub mod origin;
#[cfg(feature = "http")]
pub mod request;
#[cfg(feature = "http")]
pub mod response;
#[cfg(feature = "http")]
pub mod serve;
