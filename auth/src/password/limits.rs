//! The limits on the cost of a stored hash.
//!
//! The parameters of a hash decide how much work its verification takes, and `latchkey user import` accepts hashes of
//! other systems. One verification may take at most a second of the one CPU of a function with 1769 MB, and at most
//! 256 MiB.
//!
//! Measured on one core of an x86-64 server (November 2026, release profile, CPU time):
//!
//! | At the limit | Seconds | The most expensive real default below it |
//! |---|---|---|
//! | bcrypt, cost 13 | 0.6 | PHP, Spring and Devise: 10 to 12, 0.3 s |
//! | scrypt, 2^16 × 8 × 3 | 0.44 to 0.5 | OWASP: 2^17 × 8 × 1, 0.34 s |
//! | PBKDF2-SHA-256, 4,000,000 | 0.53 | Django 6.0: 1,200,000, 0.15 s; Keycloak: 600,000 × 2, 0.15 s |
//! | PBKDF2-SHA-512, 1,000,000 | 0.6 | OWASP: 210,000, 0.11 s |
//! | Argon2, 256 MiB × 3 | 0.7 | libsodium's `MODERATE`: 256 MiB × 3, 0.7 s; PHP: 64 MiB × 4, 0.2 s |
//!
//! The work of bcrypt doubles from one cost to the next: 14 takes 1.2 s. Whatever it is, a hash is replaced at the
//! first login.

use super::error::HashError;

/// Highest cost of bcrypt.
pub const MAX_BCRYPT_COST: u32 = 13;
/// Most work of scrypt, N × r × p.
pub const MAX_SCRYPT_WORK: u64 = 3 << 19;
/// Most r × p of scrypt: 128 bytes each are hashed once before and once after the work above, by PBKDF2.
pub const MAX_SCRYPT_BLOCKS: u64 = 1024;
/// Most work of PBKDF2 with SHA-256: iterations × blocks of 32 bytes in the hash, because each block takes all
/// iterations (RFC 8018 §5.2).
pub const MAX_PBKDF2_SHA256_WORK: u64 = 4_000_000;
/// Most work of PBKDF2 with SHA-512: iterations × blocks of 64 bytes in the hash. Few CPUs have instructions for
/// SHA-512.
pub const MAX_PBKDF2_SHA512_WORK: u64 = 1_000_000;
/// Most memory of Argon2, in KiB.
pub const MAX_ARGON2_MEMORY_KIB: u32 = 256 * 1024;
/// Most work of Argon2, m × t.
pub const MAX_ARGON2_WORK: u64 = 3 * 256 * 1024;
/// Most lanes of Argon2: each computes addresses of its own, which m × t does not include.
pub const MAX_ARGON2_LANES: u32 = 64;

/// Most memory of scrypt, in KiB.
pub(super) const MAX_SCRYPT_MEMORY_KIB: u64 = 256 * 1024;

/// What a hash is read for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// To be stored.
    Import,
    /// To verify a password. The hash may have been stored before there were these limits, when scrypt and PBKDF2 could
    /// take two to three times as much. Such a user signs in once more and then has a hash that is made here. More work
    /// than that would keep a function until its timeout.
    Login,
}

impl Purpose {
    /// The most work for this purpose.
    pub(super) const fn most(self, limit: u64) -> u64 {
        match self {
            Self::Import => limit,
            Self::Login => 3 * limit,
        }
    }

    /// The highest cost of bcrypt for this purpose: 14 could be imported before.
    pub(super) const fn most_bcrypt_cost(self) -> u32 {
        match self {
            Self::Import => MAX_BCRYPT_COST,
            Self::Login => MAX_BCRYPT_COST + 1,
        }
    }
}

/// Makes sure that a parameter is within its limit.
pub(super) const fn within(parameter: &'static str, value: u64, limit: u64) -> Result<(), HashError> {
    if value > limit { Err(HashError::TooCostly { parameter, value, limit }) } else { Ok(()) }
}
