//! `GET /.well-known/jwks.json`: the public keys that verify access tokens (RFC 7517).
//! `GET /.well-known/oauth-authorization-server`: the server's metadata (RFC 8414).

mod handler;

use std::process::ExitCode;

use handler::Discovery;
use shared::http::Http;

fn main() -> ExitCode {
    shared::start::<Http<Discovery>>()
}
