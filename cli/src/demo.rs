//! The two demo users. Their password is well known, so they are created on this machine only: the command refuses any
//! DynamoDB that is not at a loopback address.

use std::net::IpAddr;

use auth::password::Password;
use auth::roles::{Role, Roles, RolesError};
use auth::store::users::Addition;
use auth::username::{Username, UsernameError};

use crate::terminal::print_line;
use crate::user::{UserError, new_user, table};

const ENDPOINT: &str = "AWS_ENDPOINT_URL_DYNAMODB";

/// The demo users were not added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("demo users are for this machine only: {ENDPOINT} must be http:// and a loopback address")]
    NotLocal,
    #[error("a demo user has no name")]
    Name(#[from] UsernameError),
    #[error("a demo user has no roles")]
    Roles(#[from] RolesError),
    #[error(transparent)]
    User(#[from] UserError),
}

pub(crate) async fn run() -> Result<(), DemoError> {
    if !std::env::var(ENDPOINT).is_ok_and(|endpoint| is_loopback(&endpoint)) {
        return Err(DemoError::NotLocal);
    }
    let users = table().await.map_err(UserError::from)?;
    for (name, role) in [("alice", "user"), ("admin", "admin")] {
        let user = new_user(
            &Username::parse(name)?,
            &Password::new("password".to_owned()),
            Roles::new(vec![Role::parse(role)?])?,
        )?;
        if users.add(&user).await.map_err(UserError::from)? == Addition::Added {
            print_line(&format!("added {name} with the password `password`, role {role}, for this machine only"));
        }
    }
    Ok(())
}

/// Whether a URL is `http://`, a loopback address or `localhost`, and at most a port.
fn is_loopback(endpoint: &str) -> bool {
    let Some(authority) = endpoint.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else { return false };
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for endpoint in ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000/", "http://127.0.0.1"] {
            assert!(is_loopback(endpoint), "{endpoint}");
        }
        for endpoint in [
            "",
            "https://dynamodb.eu-west-1.amazonaws.com",
            "http://127.0.0.1.example.com:8000",
            "http://localhost@example.com",
            "http://localhost:8000@example.com",
            "http://10.0.0.1:8000",
            "http://0.0.0.0:8000",
            "127.0.0.1:8000",
        ] {
            assert!(!is_loopback(endpoint), "{endpoint}");
        }
    }
}
