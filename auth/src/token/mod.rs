//! Tokens: how access tokens are issued, and the format of refresh tokens. `latchkey-verifier` decides which access
//! tokens are valid.

pub mod issuer;
pub mod refresh;
