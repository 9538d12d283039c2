//! Roles: what a role may be called, and how many a user may have.
//!
//! A token carries the roles, and is sent with every request. So all roles of one user have one limit, which is
//! enforced here, when they are set. A user who had more before keeps them: stored roles are not checked again.

use std::fmt;

use serde::Serialize;

/// Most bytes of one role.
const MAX_ROLE_BYTES: usize = 64;

/// Most bytes of all roles of a user, as they stand in a token: a JSON array in UTF-8. Base64 makes 1366 characters of
/// them. A token with them, the longest name and an RSA signature then fits into a cookie of 4096 bytes (RFC 6265
/// §6.1), and is far below what the verifier reads ([`latchkey_verifier::MAX_TOKEN_BYTES`]).
pub const MAX_ROLES_BYTES: usize = 1024;

/// The roles cannot be a user's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RolesError {
    /// One of them has no name that a role may have.
    #[error("a role has 1 to {MAX_ROLE_BYTES} ASCII letters, digits and characters of . _ - :")]
    Name,
    /// All of them are longer than [`MAX_ROLES_BYTES`].
    #[error("the roles take {0} bytes as a JSON array, as a token carries them; the limit is {MAX_ROLES_BYTES} bytes")]
    TooLong(usize),
}

/// What a user may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Role(String);

impl Role {
    /// A role as a person types it.
    ///
    /// # Errors
    /// It cannot be a role.
    pub fn parse(typed: &str) -> Result<Self, RolesError> {
        check_name(typed).map(|()| Self(typed.to_owned()))
    }

    /// A role that was stored. It may be from before roles had rules.
    pub fn from_stored(role: impl Into<String>) -> Self {
        Self(role.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Roles that a user may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

impl Roles {
    /// Checks each role, and all of them together.
    ///
    /// # Errors
    /// One cannot be a role, or they are too long.
    pub fn new(roles: Vec<Role>) -> Result<Self, RolesError> {
        roles.iter().try_for_each(|role| check_name(role.as_str()))?;
        match json_bytes(&roles) {
            bytes if bytes > MAX_ROLES_BYTES => Err(RolesError::TooLong(bytes)),
            _ => Ok(Self(roles)),
        }
    }

    /// The role of users who registered themselves.
    #[must_use]
    pub fn registered() -> Self {
        Self(vec![Role("user".to_owned())])
    }

    /// The roles, in the order they were given.
    #[must_use]
    pub fn as_slice(&self) -> &[Role] {
        &self.0
    }

    /// The roles, to be stored.
    #[must_use]
    pub fn into_inner(self) -> Vec<Role> {
        self.0
    }
}

fn check_name(role: &str) -> Result<(), RolesError> {
    let is_name = (1..=MAX_ROLE_BYTES).contains(&role.len())
        && role.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte));
    if is_name { Ok(()) } else { Err(RolesError::Name) }
}

/// The length of a JSON array of names that need no escapes: brackets, quotation marks, and commas between them.
fn json_bytes(roles: &[Role]) -> usize {
    let names: usize = roles.iter().map(|role| role.as_str().len() + 2).sum();
    2 + names + roles.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(count: usize, length: usize) -> Vec<Role> {
        (0..count).map(|number| Role::from_stored(format!("{number:0length$}"))).collect()
    }

    #[test]
    fn a_role_has_a_name_of_few_ascii_characters() {
        for name in ["a", "orders:read", "A-1_b.c", &"x".repeat(64)] {
            let role = Role::parse(name).unwrap();
            assert_eq!(role.as_str(), name);
            assert!(Roles::new(vec![role]).is_ok());
        }
        for name in ["", " ", "a b", "a,b", "\"", "\u{e9}", &"x".repeat(65)] {
            assert_eq!(Role::parse(name), Err(RolesError::Name), "{name:?}");
            let roles = ["user", name].map(Role::from_stored);
            assert_eq!(Roles::new(roles.to_vec()), Err(RolesError::Name), "{name:?}");
        }
    }

    #[test]
    fn all_roles_of_a_user_have_a_limit_in_bytes() {
        assert!(Roles::new(roles(33, 28)).is_ok());
        assert_eq!(Roles::new(roles(32, 29)), Err(RolesError::TooLong(1025)));
        assert_eq!(Roles::new(roles(88, 64)), Err(RolesError::TooLong(5897)));
        assert_eq!(Roles::new(Vec::new()).unwrap().into_inner(), Vec::new());
    }

    #[test]
    fn the_bytes_are_those_of_json() {
        for roles in [Vec::new(), roles(1, 1), roles(2, 5), roles(33, 28)] {
            assert_eq!(json_bytes(&roles), serde_json::to_string(&roles).unwrap().len());
        }
    }
}
