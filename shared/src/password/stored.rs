//! Stored hashes: which are accepted, how they are read, and what they may cost.
//!
//! Argon2 is what is made here. The others come from elsewhere, by `latchkey user import`, and are replaced at the first login:
//! - bcrypt in its own format, `$2a$`, `$2b$`, `$2y$`. As everywhere, it sees the first 72 bytes of a password;
//! - scrypt, `$scrypt$ln=14,r=8,p=1$<salt>$<hash>`, and PBKDF2, `$pbkdf2-sha256$i=600000,l=32$<salt>$<hash>` or
//!   `$pbkdf2-sha512$…`, as PHC strings.
//!
//! A hash says what computing it costs. One that would take a function down is not accepted.

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Params, Version};
use secrecy::ExposeSecret as _;
use sha2::{Sha256, Sha512};

use super::Password;
use super::hash::HashError;

/// Most memory in KiB.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
/// Most passes of Argon2 over all of its memory, as KiB × passes: 16 times what is made here.
const MAX_ARGON2_WORK: u64 = 16 * 2 * 19 * 1024;
/// Highest cost of bcrypt: about a second on a full Lambda CPU.
const MAX_BCRYPT_COST: u32 = 14;
/// Most work of scrypt, as N × r × p: about a second.
const MAX_SCRYPT_WORK: u64 = 1 << 22;
/// Most iterations of PBKDF2: about a second.
const MAX_PBKDF2_ITERATIONS: u32 = 2_000_000;

/// A stored hash that can be computed here.
#[derive(Debug)]
pub(super) enum StoredHash {
    Argon2(Argon2Hash),
    /// The text as it is, of a scheme and a cost that are accepted.
    Bcrypt(String),
    Scrypt {
        params: scrypt::Params,
        salt: Salt,
        output: Output,
    },
    Pbkdf2 {
        digest: Digest,
        iterations: u32,
        salt: Salt,
        output: Output,
    },
}

#[derive(Debug)]
pub(super) struct Argon2Hash {
    pub(super) algorithm: Algorithm,
    pub(super) version: Version,
    pub(super) params: Params,
    pub(super) salt: Salt,
    pub(super) output: Output,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Digest {
    Sha256,
    Sha512,
}

impl StoredHash {
    /// Reads a hash without computing anything.
    pub(super) fn parse(stored: &str) -> Result<Self, HashError> {
        if stored.starts_with("$2") {
            return bcrypt(stored);
        }
        let hash = PasswordHash::new(stored)?;
        match hash.algorithm.as_str() {
            "scrypt" => scrypt(&hash),
            "pbkdf2-sha256" => pbkdf2(&hash, Digest::Sha256),
            "pbkdf2-sha512" => pbkdf2(&hash, Digest::Sha512),
            _ => argon2(&hash).map(Self::Argon2),
        }
    }
}

fn argon2(hash: &PasswordHash) -> Result<Argon2Hash, HashError> {
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| HashError::Unsupported)?;
    let version = match hash.version {
        // As the reference implementation reads it: versions are written since there was a second one.
        None => Version::V0x10,
        Some(version) => Version::try_from(version).map_err(|_| HashError::Unsupported)?,
    };
    let params = Params::try_from(hash).map_err(|_| HashError::Unsupported)?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > MAX_MEMORY_KIB || work > MAX_ARGON2_WORK {
        return Err(HashError::Unsupported);
    }
    let (salt, output) = salt_and_output(hash)?;
    Ok(Argon2Hash { algorithm, version, params, salt, output })
}

fn bcrypt(stored: &str) -> Result<StoredHash, HashError> {
    // `$2x$` is the mark of hashes that a faulty implementation made.
    if !["$2a$", "$2b$", "$2y$"].iter().any(|prefix| stored.starts_with(prefix)) {
        return Err(HashError::Unsupported);
    }
    let parts: bcrypt::HashParts = stored.parse().map_err(HashError::Bcrypt)?;
    if !(4..=MAX_BCRYPT_COST).contains(&parts.get_cost()) {
        return Err(HashError::Unsupported);
    }
    Ok(StoredHash::Bcrypt(stored.to_owned()))
}

fn scrypt(hash: &PasswordHash) -> Result<StoredHash, HashError> {
    has_only(hash, &["ln", "r", "p"])?;
    let number = |name: &str| hash.params.get_decimal(name).ok_or(HashError::Unsupported);
    let (log_n, r, p) = (number("ln")?, number("r")?, number("p")?);
    let log_n = u8::try_from(log_n).ok().filter(|log_n| (1..32).contains(log_n)).ok_or(HashError::Unsupported)?;
    // All of it is checked before anything is allocated: p blocks to mix, and N to mix one with.
    let (n, r_bytes) = (1_u64 << log_n, u64::from(r) * 128);
    let work = n.saturating_mul(r.into()).saturating_mul(p.into());
    let memory = (n + u64::from(p)).saturating_mul(r_bytes);
    if work > MAX_SCRYPT_WORK || memory > u64::from(MAX_MEMORY_KIB) * 1024 {
        return Err(HashError::Unsupported);
    }
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| HashError::Unsupported)?;
    let (salt, output) = salt_and_output(hash)?;
    Ok(StoredHash::Scrypt { params, salt, output })
}

fn pbkdf2(hash: &PasswordHash, digest: Digest) -> Result<StoredHash, HashError> {
    has_only(hash, &["i", "l"])?;
    let iterations = hash.params.get_decimal("i").ok_or(HashError::Unsupported)?;
    let (salt, output) = salt_and_output(hash)?;
    let says_another_length =
        hash.params.get_decimal("l").is_some_and(|length| usize::try_from(length) != Ok(output.len()));
    if !(1..=MAX_PBKDF2_ITERATIONS).contains(&iterations) || says_another_length {
        return Err(HashError::Unsupported);
    }
    Ok(StoredHash::Pbkdf2 { digest, iterations, salt, output })
}

/// What else stands in a hash could mean something: it would then verify nobody. Neither scheme has versions.
fn has_only(hash: &PasswordHash, names: &[&str]) -> Result<(), HashError> {
    let known = hash.version.is_none() && hash.params.iter().all(|(name, _)| names.contains(&name.as_str()));
    if known { Ok(()) } else { Err(HashError::Unsupported) }
}

fn salt_and_output(hash: &PasswordHash) -> Result<(Salt, Output), HashError> {
    Ok((hash.salt.ok_or(HashError::Unsupported)?, hash.hash.ok_or(HashError::Unsupported)?))
}

/// Whether `password` is the one that a hash of bcrypt was made from.
pub(super) fn verify_bcrypt(password: &Password, stored: &str) -> Result<bool, HashError> {
    bcrypt::verify(password.0.expose_secret(), stored).map_err(HashError::Bcrypt)
}

/// The hash of `password` by scrypt.
pub(super) fn compute_scrypt(
    password: &Password,
    params: &scrypt::Params,
    salt: &Salt,
    length: usize,
) -> Result<Output, HashError> {
    let mut failed = false;
    let output = Output::init_with(length, |output| {
        failed = scrypt::scrypt(password.as_bytes(), salt, params, output).is_err();
        Ok(())
    })?;
    if failed { Err(HashError::Unsupported) } else { Ok(output) }
}

/// The hash of `password` by PBKDF2.
pub(super) fn compute_pbkdf2(
    password: &Password,
    digest: Digest,
    iterations: u32,
    salt: &Salt,
    length: usize,
) -> Result<Output, HashError> {
    Ok(Output::init_with(length, |output| {
        match digest {
            Digest::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, output),
            Digest::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password.as_bytes(), salt, iterations, output),
        }
        Ok(())
    })?)
}
