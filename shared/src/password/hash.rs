//! Argon2id, stored as PHC strings.
//!
//! The parameters are one constant. A hash made with others still verifies, because a PHC string carries its own.
//! A hash is computed for an unknown user too, with [`Hasher::absent_user`], so that time tells nobody which names exist.

use std::sync::{Mutex, PoisonError};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::Password;
use crate::random::{self, Random, RandomError};

/// Memory in KiB. OWASP's Password Storage Cheat Sheet (2026): m=19 MiB, t=2, p=1 is the least; on one full Lambda CPU
/// (1769 MB) it takes about 20 ms.
pub const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over the memory.
pub const ITERATIONS: u32 = 2;
/// Lanes. A Lambda function has one CPU for them.
pub const PARALLELISM: u32 = 1;
/// Bytes of hash.
const OUTPUT_BYTES: usize = 32;
/// Bytes of salt; RFC 9106 §4 recommends 16.
const SALT_BYTES: usize = 16;
/// A stored hash asking for more memory than this is refused, not computed: it would take the function down.
const MAX_STORED_MEMORY_KIB: u32 = 256 * 1024;

/// A hash could not be made or not be read.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// What is stored for the user is no Argon2 hash that can be computed here.
    #[error("the stored password hash cannot be read")]
    Unreadable(#[source] argon2::password_hash::phc::Error),
    /// The stored parameters are outside of what is computed here, or the algorithm is another.
    #[error("the stored password hash has an algorithm or parameters that are not accepted")]
    Unsupported,
    /// Argon2 refused its input.
    #[error("the password could not be hashed")]
    Argon2(#[source] argon2::Error),
    /// No salt could be made.
    #[error("no salt for the password hash")]
    Random(#[from] RandomError),
}

impl From<argon2::password_hash::phc::Error> for HashError {
    fn from(error: argon2::password_hash::phc::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Hashes passwords, keeping Argon2's memory between calls: a quarter of a call's time would otherwise go into page faults.
#[derive(Default)]
pub struct Hasher {
    memory: Mutex<Vec<Block>>,
}

impl Hasher {
    /// A hasher that has not taken its memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new hash as a PHC string, `$argon2id$v=19$m=19456,t=2,p=1$…`.
    ///
    /// # Errors
    /// The generator failed, or Argon2 refused the input (longer than 4 GiB).
    pub fn hash(&self, password: &Password, random: &Random) -> Result<String, HashError> {
        let salt = Salt::new(&random::bytes::<SALT_BYTES>(random)?)?;
        let params = current_params()?;
        let output = self.compute(password, &salt, Algorithm::Argon2id, Version::V0x13, &params, OUTPUT_BYTES)?;
        Ok(phc(&params, salt, output)?.to_string())
    }

    /// Whether `password` is the one that `stored` was made from. A wrong password is an answer, not an error.
    ///
    /// # Errors
    /// `stored` is no hash that can be computed here.
    pub fn verify(&self, password: &Password, stored: &str) -> Result<bool, HashError> {
        let stored = PasswordHash::new(stored)?;
        let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(|_| HashError::Unsupported)?;
        let version = match stored.version {
            None => Version::V0x13,
            Some(version) => Version::try_from(version).map_err(|_| HashError::Unsupported)?,
        };
        let params = Params::try_from(&stored).map_err(|_| HashError::Unsupported)?;
        if params.m_cost() > MAX_STORED_MEMORY_KIB {
            return Err(HashError::Unsupported);
        }
        let (Some(salt), Some(expected)) = (stored.salt, stored.hash) else { return Err(HashError::Unsupported) };
        // `Output` compares in constant time.
        Ok(self.compute(password, &salt, algorithm, version, &params, expected.len())? == expected)
    }

    /// Spends what [`Hasher::verify`] spends on a current hash, and finds no match: for a user that does not exist.
    ///
    /// # Errors
    /// As for [`Hasher::verify`].
    pub fn absent_user(&self, password: &Password) -> Result<(), HashError> {
        let nobody = phc(&current_params()?, Salt::new(&[0; SALT_BYTES])?, Output::new(&[0; OUTPUT_BYTES])?)?;
        self.verify(password, &nobody.to_string()).map(|_| ())
    }

    fn compute(
        &self,
        password: &Password,
        salt: &Salt,
        algorithm: Algorithm,
        version: Version,
        params: &Params,
        output_bytes: usize,
    ) -> Result<Output, HashError> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() < params.block_count() {
            memory.resize(params.block_count(), Block::default());
        }
        let mut buffer = [0; Output::MAX_LENGTH];
        let output = buffer.get_mut(..output_bytes).ok_or(HashError::Unsupported)?;
        Argon2::new(algorithm, version, params.clone())
            .hash_password_into_with_memory(password.as_bytes(), salt, output, memory.as_mut_slice())
            .map_err(HashError::Argon2)?;
        Ok(Output::new(output)?)
    }
}

fn current_params() -> Result<Params, HashError> {
    Params::new(MEMORY_KIB, ITERATIONS, PARALLELISM, Some(OUTPUT_BYTES)).map_err(HashError::Argon2)
}

fn phc(params: &Params, salt: Salt, hash: Output) -> Result<PasswordHash, HashError> {
    Ok(PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).map_err(|_| HashError::Unsupported)?,
        salt: Some(salt),
        hash: Some(hash),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;

    /// Made by the C reference implementation: `printf %s "correct horse" | argon2 somesaltsomesalt -id -t 2 -k 19456 -p 1 -l 32 -e`.
    const REFERENCE: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$k9ohroejZy1PN5E1SbHNPug6vB8eQAahb5SOAp6iGF4";

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[test]
    fn a_hash_verifies_its_password_and_no_other() {
        let hasher = Hasher::new();
        let hash = hasher.hash(&password("correct horse"), &SystemRandom::new()).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.verify(&password("correct horse"), &hash).unwrap());
        assert!(!hasher.verify(&password("correct horsf"), &hash).unwrap());
        assert!(!hasher.verify(&password(""), &hash).unwrap());
    }

    #[test]
    fn a_hash_of_the_reference_implementation_verifies() {
        assert!(Hasher::new().verify(&password("correct horse"), REFERENCE).unwrap());
    }

    #[test]
    fn hashes_with_other_parameters_verify_with_one_memory() {
        let hasher = Hasher::new();
        for (memory, iterations) in [(64, 1), (1024, 3), (64, 2)] {
            let params = Params::new(memory, iterations, 1, Some(OUTPUT_BYTES)).unwrap();
            let salt = Salt::new(b"sixteen bytes!!!").unwrap();
            let mut output = [0; OUTPUT_BYTES];
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
                .hash_password_into(b"x", &salt, &mut output)
                .unwrap();
            let stored = phc(&params, salt, Output::new(&output).unwrap()).unwrap().to_string();
            assert!(hasher.verify(&password("x"), &stored).unwrap(), "m={memory} t={iterations}");
        }
    }

    #[test]
    fn a_stored_hash_that_is_broken_or_greedy_is_an_error_and_no_panic() {
        let hasher = Hasher::new();
        for stored in [
            "",
            "plaintext",
            "$argon2id$",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
            "$argon2id$v=19$m=4294967295,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=7$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$md5$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(hasher.verify(&password("x"), stored).is_err(), "{stored:?}");
        }
    }

    #[test]
    fn an_absent_user_costs_a_hash_and_matches_nothing() {
        Hasher::new().absent_user(&password("")).unwrap();
    }
}
