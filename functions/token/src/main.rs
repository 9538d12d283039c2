//! The OAuth endpoints: `POST /token` (RFC 6749 §6), `POST /revoke` (RFC 7009), `POST /introspect` (RFC 7662).

mod client;
mod grants;
mod handler;
mod introspect;
mod revoke;

use std::process::ExitCode;

use handler::TokenEndpoints;
use shared::http::Http;

fn main() -> ExitCode {
    shared::start::<Http<TokenEndpoints>>()
}
