//! Access tokens and refresh tokens: what is in them, how they are made, and when they count.

pub mod claims;
pub mod issuer;
pub mod refresh;
pub mod verifier;
