//! Stored hashes: which are accepted, and how they are read.
//!
//! New hashes are Argon2id. The others are imported by `latchkey user import`, and are replaced at the first
//! login:
//! - bcrypt in its own format, `$2a$`, `$2b$`, `$2y$`. As everywhere, it sees the first 72 bytes of a password;
//! - scrypt, `$scrypt$ln=14,r=8,p=1$<salt>$<hash>`, and PBKDF2, `$pbkdf2-sha256$i=600000,l=32$<salt>$<hash>` or
//!   `$pbkdf2-sha512$…`, as PHC strings.
//!
//! The parameters of a hash are its cost. A hash over the limits ([`limits`]) is rejected before anything is computed
//! or allocated.

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Params, Version};
use secrecy::ExposeSecret as _;
use sha2::{Sha256, Sha512};

use super::Password;
use super::error::HashError;
use super::limits::{self, Purpose, within};

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
    pub(super) fn parse(stored: &str, purpose: Purpose) -> Result<Self, HashError> {
        if stored.starts_with("$2") {
            return bcrypt(stored, purpose);
        }
        let hash = PasswordHash::new(stored)?;
        match hash.algorithm.as_str() {
            "scrypt" => scrypt(&hash, purpose),
            "pbkdf2-sha256" => pbkdf2(&hash, Digest::Sha256, purpose),
            "pbkdf2-sha512" => pbkdf2(&hash, Digest::Sha512, purpose),
            _ => argon2(&hash, purpose).map(Self::Argon2),
        }
    }
}

fn argon2(hash: &PasswordHash, purpose: Purpose) -> Result<Argon2Hash, HashError> {
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).map_err(|_| HashError::Unsupported)?;
    let version = match hash.version {
        // As the reference implementation reads it: versions are written since there was a second one.
        None => Version::V0x10,
        Some(version) => Version::try_from(version).map_err(|_| HashError::Unsupported)?,
    };
    let params = Params::try_from(hash).map_err(|_| HashError::Unsupported)?;
    let (memory, passes) = (u64::from(params.m_cost()), u64::from(params.t_cost()));
    within("m of Argon2", memory, limits::MAX_ARGON2_MEMORY_KIB.into())?;
    within("m × t of Argon2", memory.saturating_mul(passes), purpose.most(limits::MAX_ARGON2_WORK))?;
    within("p of Argon2", params.p_cost().into(), limits::MAX_ARGON2_LANES.into())?;
    let (salt, output) = salt_and_output(hash)?;
    Ok(Argon2Hash { algorithm, version, params, salt, output })
}

fn bcrypt(stored: &str, purpose: Purpose) -> Result<StoredHash, HashError> {
    // `$2x$` is the mark of hashes that a faulty implementation made.
    if !["$2a$", "$2b$", "$2y$"].iter().any(|prefix| stored.starts_with(prefix)) {
        return Err(HashError::Unsupported);
    }
    let parts: bcrypt::HashParts = stored.parse().map_err(HashError::Bcrypt)?;
    if parts.get_cost() < 4 {
        return Err(HashError::Unsupported);
    }
    within("the cost of bcrypt", parts.get_cost().into(), purpose.most_bcrypt_cost().into())?;
    Ok(StoredHash::Bcrypt(stored.to_owned()))
}

fn scrypt(hash: &PasswordHash, purpose: Purpose) -> Result<StoredHash, HashError> {
    has_only(hash, &["ln", "r", "p"])?;
    let number = |name: &str| hash.params.get_decimal(name).ok_or(HashError::Unsupported);
    let (log_n, r, p) = (number("ln")?, number("r")?, number("p")?);
    if r == 0 || p == 0 {
        return Err(HashError::Unsupported);
    }
    let log_n = u8::try_from(log_n).ok().filter(|log_n| (1..64).contains(log_n)).ok_or(HashError::Unsupported)?;
    let (n, r_wide, p_wide) = (1_u64 << log_n, u64::from(r), u64::from(p));
    let blocks = r_wide.saturating_mul(p_wide);
    within("r × p of scrypt", blocks, limits::MAX_SCRYPT_BLOCKS)?;
    within("N × r × p of scrypt", n.saturating_mul(blocks), purpose.most(limits::MAX_SCRYPT_WORK))?;
    within("the memory of scrypt in KiB", n.saturating_mul(r_wide) / 8, limits::MAX_SCRYPT_MEMORY_KIB)?;
    let params = scrypt::Params::new(log_n, r, p).map_err(|_| HashError::Unsupported)?;
    let (salt, output) = salt_and_output(hash)?;
    Ok(StoredHash::Scrypt { params, salt, output })
}

fn pbkdf2(hash: &PasswordHash, digest: Digest, purpose: Purpose) -> Result<StoredHash, HashError> {
    has_only(hash, &["i", "l"])?;
    let iterations = hash.params.get_decimal("i").ok_or(HashError::Unsupported)?;
    let (salt, output) = salt_and_output(hash)?;
    let says_another_length =
        hash.params.get_decimal("l").is_some_and(|length| usize::try_from(length) != Ok(output.len()));
    if iterations == 0 || says_another_length {
        return Err(HashError::Unsupported);
    }
    let (parameter, block_bytes, limit) = match digest {
        Digest::Sha256 => ("iterations × blocks of PBKDF2-SHA-256", 32, limits::MAX_PBKDF2_SHA256_WORK),
        Digest::Sha512 => ("iterations × blocks of PBKDF2-SHA-512", 64, limits::MAX_PBKDF2_SHA512_WORK),
    };
    let blocks = output.len().div_ceil(block_bytes) as u64;
    within(parameter, u64::from(iterations).saturating_mul(blocks), purpose.most(limit))?;
    Ok(StoredHash::Pbkdf2 { digest, iterations, salt, output })
}

/// Any other content of a hash could have a meaning, so such a hash is rejected. Neither scheme has versions.
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
