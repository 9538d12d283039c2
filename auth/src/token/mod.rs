//! Tokens: how access tokens are issued, and what refresh tokens are made of. Which access tokens are valid is decided
//! by `latchkey-verifier`.

pub mod issuer;
pub mod refresh;
