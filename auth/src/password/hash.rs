//! Argon2id, stored as PHC strings.
//!
//! The parameters are one constant. A hash made with others, or by another scheme (`stored.rs`), still verifies,
//! because it carries its own; [`Hasher::needs_rehash`] detects it. A hash is computed for an unknown user too, with
//! [`Hasher::verify_dummy`], so that the response time does not reveal which names exist.

use std::sync::{Mutex, PoisonError};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use super::Password;
use super::error::HashError;
use super::limits::Purpose;
use super::stored::{self, Argon2Hash, StoredHash};
use crate::random::{self, Random};

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

/// Whether a password is the one that a hash was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    Matches,
    Differs,
}

impl From<bool> for PasswordCheck {
    fn from(matches: bool) -> Self {
        if matches { Self::Matches } else { Self::Differs }
    }
}

/// Hashes passwords. Argon2's memory is kept between calls and overwritten after each.
///
/// It is kept because glibc, which Lambda has, does not reuse freed memory of this size and alignment: the process
/// would grow by 19 MiB with each hash. It is overwritten because its blocks would let somebody who reads the process's
/// memory test guesses, after an imported hash with one pass at the cost of a BLAKE2b each. Overwriting takes 0.8 ms.
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
    pub fn verify(&self, password: &Password, stored: &str) -> Result<PasswordCheck, HashError> {
        // `Output` and bcrypt compare in constant time.
        let matches = match StoredHash::parse(stored, Purpose::Login)? {
            StoredHash::Argon2(Argon2Hash { algorithm, version, params, salt, output }) => {
                self.compute(password, &salt, algorithm, version, &params, output.len())? == output
            }
            StoredHash::Bcrypt(stored) => stored::verify_bcrypt(password, &stored)?,
            StoredHash::Scrypt { params, salt, output } => {
                stored::compute_scrypt(password, &params, &salt, output.len())? == output
            }
            StoredHash::Pbkdf2 { digest, iterations, salt, output } => {
                stored::compute_pbkdf2(password, digest, iterations, &salt, output.len())? == output
            }
        };
        Ok(matches.into())
    }

    /// Whether a hash is not exactly as [`Hasher::hash`] makes them: of another scheme or version, with other
    /// parameters, with a salt or output of another length, or unreadable.
    #[must_use]
    pub fn needs_rehash(&self, stored: &str) -> bool {
        let (Ok(StoredHash::Argon2(hash)), Ok(current)) = (StoredHash::parse(stored, Purpose::Login), current_params())
        else {
            return true;
        };
        hash.algorithm != Algorithm::Argon2id
            || hash.version != Version::V0x13
            // They have the length of the output in them.
            || hash.params != current
            || hash.salt.len() != SALT_BYTES
    }

    /// Makes sure that a hash from elsewhere is one that [`Hasher::verify`] can compute, within the limits on work
    /// ([`super::limits`]). Nothing is computed.
    ///
    /// # Errors
    /// It is none.
    pub fn check_importable(stored: &str) -> Result<(), HashError> {
        StoredHash::parse(stored, Purpose::Import).map(|_| ())
    }

    /// A dummy verification, for a user who does not exist: it takes as long as [`Hasher::verify`] takes for a current
    /// hash.
    ///
    /// # Errors
    /// As for [`Hasher::verify`].
    pub fn verify_dummy(&self, password: &Password) -> Result<(), HashError> {
        let dummy = phc(&current_params()?, Salt::new(&[0; SALT_BYTES])?, Output::new(&[0; OUTPUT_BYTES])?)?;
        self.verify(password, &dummy.to_string()).map(|_| ())
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
        let mut kept = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        // The larger memory of an imported hash is not kept.
        let mut larger = Vec::new();
        let memory = if params.block_count() <= MEMORY_KIB as usize {
            kept.resize(MEMORY_KIB as usize, Block::default());
            &mut *kept
        } else {
            larger.resize(params.block_count(), Block::default());
            &mut larger
        };
        let mut buffer = [0; Output::MAX_LENGTH];
        let output = buffer.get_mut(..output_bytes).ok_or(HashError::Unsupported)?;
        let result = Argon2::new(algorithm, version, params.clone()).hash_password_into_with_memory(
            password.as_bytes(),
            salt,
            output,
            memory.as_mut_slice(),
        );
        for block in memory.iter_mut() {
            block.as_mut().fill(0);
        }
        // So that the compiler does not leave out writes to memory that is freed next.
        std::hint::black_box(memory.as_mut_slice());
        result.map_err(HashError::Argon2)?;
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

    /// Made by the C reference implementation: `printf %s "correct horse" | argon2 somesaltsomesalt -id -t 2 -k 19456
    /// -p 1 -l 32 -e`.
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
        assert!(hasher.verify(&password("correct horse"), &hash).unwrap() == PasswordCheck::Matches);
        assert!(hasher.verify(&password("correct horsf"), &hash).unwrap() == PasswordCheck::Differs);
        assert!(hasher.verify(&password(""), &hash).unwrap() == PasswordCheck::Differs);
    }

    #[test]
    fn a_hash_of_the_reference_implementation_verifies() {
        assert!(Hasher::new().verify(&password("correct horse"), REFERENCE).unwrap() == PasswordCheck::Matches);
    }

    #[test]
    fn a_hash_from_before_versions_were_written_is_of_the_first_one() {
        // `hash_secret(b"correct horse", b"somesaltsomesalt", 1, 64, 1, 32, Type.I, version=16)` of Python's
        // argon2-cffi.
        let named = "$argon2i$v=16$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$pYGiorOulP17VZFOBTEaBknB/fVXauA01z5djsAJMts";
        let hasher = Hasher::new();
        for stored in [named.to_owned(), named.replace("$v=16", "")] {
            assert!(hasher.verify(&password("correct horse"), &stored).unwrap() == PasswordCheck::Matches, "{stored}");
            assert!(hasher.verify(&password("correct horsf"), &stored).unwrap() == PasswordCheck::Differs, "{stored}");
            assert!(hasher.needs_rehash(&stored), "{stored}");
        }
        assert!(
            hasher.verify(&password("correct horse"), &named.replace("v=16", "v=19")).unwrap()
                == PasswordCheck::Differs
        );
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
            assert!(
                hasher.verify(&password("x"), &stored).unwrap() == PasswordCheck::Matches,
                "m={memory} t={iterations}"
            );
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

    /// Each made by Python, from `correct horse battery staple`: the first three by its package `bcrypt`, the others by
    /// the function of `hashlib` that stands beside them, with the salt `sixteen bytes!!!`.
    const FOREIGN: [(&str, &str); 7] = [
        ("bcrypt 2a, Python's bcrypt", "$2a$05$O5hSPh8fvnve.A2hOa9u9eFnrDEVA2ReVpsOKdQx6tne5oFzjyg/q"),
        ("bcrypt 2b, Python's bcrypt", "$2b$05$17.ocqo8qtToE1km1jawSe5rbJ1guLHjzIEp0VWTgGCiALxvmm.N2"),
        ("bcrypt 2y, Python's bcrypt", "$2y$05$m1dyAKh4aiGhD/CIJrRtx.i.uV4/Mo.ULJ18mGIRcoAn72zmkHhge"),
        (
            "hashlib.scrypt(n=1024, r=8, p=1, dklen=32)",
            "$scrypt$ln=10,r=8,p=1$c2l4dGVlbiBieXRlcyEhIQ$4LVKB0kpXb/Ns77HB1VMHZNXPPU+oxjAgyU74Hx49zI",
        ),
        (
            "hashlib.scrypt(n=256, r=4, p=2, dklen=64)",
            "$scrypt$ln=8,r=4,p=2$c2l4dGVlbiBieXRlcyEhIQ$/We9/34eYz75xVL8uoDpGnwE5M3j0lC3YWvtDdY3CJa8RoJQy0j5HOBzO/M6hyeoYREBph/GCVPzNkeRdFpUMA",
        ),
        (
            "hashlib.pbkdf2_hmac('sha256', 1000, 32)",
            "$pbkdf2-sha256$i=1000,l=32$c2l4dGVlbiBieXRlcyEhIQ$J0FzJGWuqjXuae6ulJUEyUbotTZMuwI35S4xFOQVBlc",
        ),
        (
            "hashlib.pbkdf2_hmac('sha512', 1000, 64)",
            "$pbkdf2-sha512$i=1000$c2l4dGVlbiBieXRlcyEhIQ$t2sMwTLw8WoSNauR6mSc9dsVF8AhnEnnDJ8I95pfq+N+fwaLnZwM10GI0AWiiMl9wPW1b1BIxJZNfviCbVLi4Q",
        ),
    ];

    #[test]
    fn imported_hashes_verify_their_password_and_no_other() {
        let hasher = Hasher::new();
        for (scheme, stored) in FOREIGN {
            assert!(
                hasher.verify(&password("correct horse battery staple"), stored).unwrap() == PasswordCheck::Matches,
                "{scheme}"
            );
            for other in
                ["", "correct horse battery stapl", "correct horse battery staple ", "Correct horse battery staple"]
            {
                assert!(hasher.verify(&password(other), stored).unwrap() == PasswordCheck::Differs, "{scheme} {other}");
            }
            assert!(Hasher::check_importable(stored).is_ok(), "{scheme}");
            assert!(hasher.needs_rehash(stored), "{scheme}");
        }
    }

    #[test]
    fn bcrypt_sees_72_bytes_and_a_zero_byte_is_no_end() {
        let hasher = Hasher::new();
        // Python's bcrypt, cost 4, of 72 times `a`.
        let stored = "$2b$04$ue8vIM0PIXMl/WqdCwJ7ceyqzzC4afc.uPhZnuI3WBvE1JJDf4BVC";
        assert!(hasher.verify(&password(&"a".repeat(72)), stored).unwrap() == PasswordCheck::Matches);
        assert!(hasher.verify(&password(&format!("{}b", "a".repeat(72))), stored).unwrap() == PasswordCheck::Matches);
        assert!(hasher.verify(&password(&"a".repeat(71)), stored).unwrap() == PasswordCheck::Differs);
        assert!(hasher.verify(&password(&format!("{}\0", "a".repeat(71))), stored).unwrap() == PasswordCheck::Differs);
        assert!(hasher.verify(&password("\0"), stored).unwrap() == PasswordCheck::Differs);
        // The limit may lie within a character: `bcrypt.hashpw(('a' + 'é' * 36).encode()[:72], bcrypt.gensalt(4))`.
        let stored = "$2b$04$jKMQMQd6wCVnk1iAlRJdb.WlHK3xuXf9ef5aXiS6KUYpE6DMT.ahO";
        assert!(
            hasher.verify(&password(&format!("a{}", "\u{e9}".repeat(36))), stored).unwrap() == PasswordCheck::Matches
        );
        assert!(
            hasher.verify(&password(&format!("a{}", "\u{e9}".repeat(35))), stored).unwrap() == PasswordCheck::Differs
        );
    }

    #[test]
    fn only_current_hashes_need_no_rehash() {
        let hasher = Hasher::new();
        let current = hasher.hash(&password("correct horse"), &SystemRandom::new()).unwrap();
        assert!(!hasher.needs_rehash(&current));
        assert!(!hasher.needs_rehash(REFERENCE));
        for other in [
            current.replace("m=19456", "m=19457"),
            current.replace("t=2", "t=3"),
            current.replace("argon2id", "argon2i"),
            current.replace("v=19", "v=16"),
            current.replace("$v=19", ""),
            // An output of 24 bytes, and salts of 8 and of 20.
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Be/rDk3EobsySwn8jVF6OTlDb6W1shFg".to_owned(),
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$YcJRdAHXGYvVS9oxrmGE2PWNls1pxO2wCxHyCPxEXAY".to_owned(),
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdHNvbWU$VaO4AF+ZuxvrU4t127yaR9VZN33W+tnJUo0mWbnECs4"
                .to_owned(),
            "no hash".to_owned(),
        ] {
            assert!(hasher.needs_rehash(&other), "{other}");
        }
    }

    #[test]
    fn a_foreign_hash_that_is_broken_or_greedy_is_an_error_and_no_panic() {
        let (salt, hash) = ("c2FsdHNhbHRzYWx0c2FsdA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        for stored in [
            "$2b$".to_owned(),
            "$2b$04$tooshort".to_owned(),
            format!("$2b$04${}", "\u{e9}".repeat(26)),
            FOREIGN[0].1.replace("$2a$", "$2x$"),
            FOREIGN[0].1.replace("$2a$", "$2$"),
            FOREIGN[0].1.replace("$05$", "$15$"),
            FOREIGN[0].1.replace("$05$", "$31$"),
            FOREIGN[0].1.replace("$05$", "$99$"),
            FOREIGN[0].1.replace("$05$", "$00$"),
            format!("$scrypt$ln=14,r=8${salt}${hash}"),
            format!("$scrypt$ln=0,r=8,p=1${salt}${hash}"),
            format!("$scrypt$ln=31,r=8,p=1${salt}${hash}"),
            format!("$scrypt$ln=63,r=8,p=1${salt}${hash}"),
            format!("$scrypt$ln=64,r=8,p=1${salt}${hash}"),
            format!("$scrypt$ln=14,r=4294967295,p=4294967295${salt}${hash}"),
            format!("$scrypt$ln=1,r=1048576,p=2${salt}${hash}"),
            // Within the work that a login may take, not within the memory.
            format!("$scrypt$ln=18,r=16,p=1${salt}${hash}"),
            format!("$scrypt$ln=14,r=8,p=1,x=1${salt}${hash}"),
            format!("$scrypt$v=1$ln=14,r=8,p=1${salt}${hash}"),
            format!("$scrypt$ln=14,r=8,p=1${salt}"),
            format!("$scrypt$ln=10,r=0,p=1${salt}${hash}"),
            format!("$pbkdf2-sha256$i=0,l=32${salt}${hash}"),
            format!("$pbkdf2-sha256$i=4294967295,l=32${salt}${hash}"),
            format!("$pbkdf2-sha256$i=1000,l=64${salt}${hash}"),
            format!("$pbkdf2-sha256$i=1000,x=1${salt}${hash}"),
            format!("$pbkdf2-sha256$v=1$i=1000${salt}${hash}"),
            format!("$pbkdf2-sha256$l=32${salt}${hash}"),
            format!("$pbkdf2-sha1$i=1000,l=32${salt}${hash}"),
            format!("$argon2id$v=19$m=262144,t=1000,p=1${salt}${hash}"),
        ] {
            assert!(Hasher::new().verify(&password("x"), &stored).is_err(), "{stored}");
            assert!(Hasher::check_importable(&stored).is_err(), "{stored}");
        }
    }

    const SALT: &str = "c2FsdHNhbHRzYWx0c2FsdA";

    /// A hash of 32 bytes in a PHC string, and one of 64.
    fn of_32(parameters: &str) -> String {
        format!("${parameters}${SALT}${}", "A".repeat(43))
    }

    fn of_64(parameters: &str) -> String {
        format!("${parameters}${SALT}${}", "A".repeat(86))
    }

    #[test]
    fn real_exports_are_within_the_limits() {
        for stored in [
            FOREIGN[0].1.replace("$05$", "$10$"),
            FOREIGN[0].1.replace("$05$", "$12$"),
            FOREIGN[0].1.replace("$05$", "$13$"),
            // Django 5.2 and 6.0, Keycloak with a hash of 64 bytes, Passlib, OWASP.
            of_32("pbkdf2-sha256$i=1000000"),
            of_32("pbkdf2-sha256$i=1200000"),
            of_64("pbkdf2-sha256$i=600000"),
            of_32("pbkdf2-sha256$i=29000"),
            of_32("pbkdf2-sha256$i=600000"),
            of_64("pbkdf2-sha512$i=210000"),
            of_64("pbkdf2-sha512$i=25000"),
            // Werkzeug, Passlib, Django, and all that OWASP names.
            of_64("scrypt$ln=15,r=8,p=1"),
            of_32("scrypt$ln=16,r=8,p=1"),
            of_64("scrypt$ln=14,r=8,p=5"),
            of_32("scrypt$ln=17,r=8,p=1"),
            of_32("scrypt$ln=16,r=8,p=2"),
            of_32("scrypt$ln=15,r=8,p=3"),
            of_32("scrypt$ln=13,r=8,p=10"),
            // PHP, Keycloak, Spring, argon2-cffi and RFC 9106 §4, Django, OWASP, libsodium's interactive and moderate.
            of_32("argon2id$v=19$m=65536,t=4,p=1"),
            of_32("argon2id$v=19$m=7168,t=5,p=1"),
            of_32("argon2id$v=19$m=16384,t=2,p=1"),
            of_32("argon2id$v=19$m=65536,t=3,p=4"),
            of_32("argon2id$v=19$m=102400,t=2,p=8"),
            of_32("argon2id$v=19$m=47104,t=1,p=1"),
            of_32("argon2id$v=19$m=65536,t=2,p=1"),
            of_32("argon2id$v=19$m=262144,t=3,p=1"),
        ] {
            assert!(Hasher::check_importable(&stored).is_ok(), "{stored}: {:?}", Hasher::check_importable(&stored));
        }
    }

    #[test]
    fn one_over_a_limit_is_refused_by_its_name() {
        for (most, over, reason) in [
            (
                FOREIGN[0].1.replace("$05$", "$13$"),
                FOREIGN[0].1.replace("$05$", "$14$"),
                "the cost of bcrypt is 14; the limit is 13",
            ),
            (
                of_32("scrypt$ln=16,r=8,p=3"),
                of_32("scrypt$ln=16,r=8,p=4"),
                "N × r × p of scrypt is 2097152; the limit is 1572864",
            ),
            (
                of_32("scrypt$ln=10,r=1,p=1024"),
                of_32("scrypt$ln=10,r=1,p=1025"),
                "r × p of scrypt is 1025; the limit is 1024",
            ),
            (
                of_32("scrypt$ln=1,r=1024,p=1"),
                of_32("scrypt$ln=1,r=4294967295,p=4294967295"),
                "r × p of scrypt is 18446744065119617025; the limit is 1024",
            ),
            (
                of_32("scrypt$ln=15,r=1,p=48"),
                of_32("scrypt$ln=63,r=8,p=1"),
                "N × r × p of scrypt is 18446744073709551615; the limit is 1572864",
            ),
            (
                of_32("pbkdf2-sha256$i=4000000"),
                of_32("pbkdf2-sha256$i=4000001"),
                "iterations × blocks of PBKDF2-SHA-256 is 4000001; the limit is 4000000",
            ),
            (
                of_64("pbkdf2-sha256$i=2000000"),
                of_64("pbkdf2-sha256$i=2000001"),
                "iterations × blocks of PBKDF2-SHA-256 is 4000002; the limit is 4000000",
            ),
            (
                of_64("pbkdf2-sha512$i=1000000"),
                of_32("pbkdf2-sha512$i=1000001"),
                "iterations × blocks of PBKDF2-SHA-512 is 1000001; the limit is 1000000",
            ),
            (
                of_32("argon2id$v=19$m=262144,t=3,p=1"),
                of_32("argon2id$v=19$m=262145,t=1,p=1"),
                "m of Argon2 is 262145; the limit is 262144",
            ),
            (
                of_32("argon2id$v=19$m=8,t=98304,p=1"),
                of_32("argon2id$v=19$m=8,t=98305,p=1"),
                "m × t of Argon2 is 786440; the limit is 786432",
            ),
            (
                of_32("argon2i$v=19$m=512,t=1,p=64"),
                of_32("argon2i$v=19$m=520,t=1,p=65"),
                "p of Argon2 is 65; the limit is 64",
            ),
        ] {
            assert!(Hasher::check_importable(&most).is_ok(), "{most}: {:?}", Hasher::check_importable(&most));
            assert_eq!(Hasher::check_importable(&over).unwrap_err().to_string(), reason, "{over}");
        }
    }

    /// What could be imported before there were these limits verifies, and what would take minutes does not.
    #[test]
    fn a_login_computes_what_was_imported_before_and_nothing_without_end() {
        // As in `FOREIGN`: `hashlib.scrypt(n=2**17, r=8, p=2, dklen=32)`.
        let dear = "$scrypt$ln=17,r=8,p=2$c2l4dGVlbiBieXRlcyEhIQ$eoU8JOO0bIMlxJtUDoKdJxoCKVnCBQjd99edeivqsZg";
        assert!(Hasher::check_importable(dear).is_err());
        assert!(
            Hasher::new().verify(&password("correct horse battery staple"), dear).unwrap() == PasswordCheck::Matches
        );
        for endless in [
            of_32("scrypt$ln=17,r=8,p=5"),
            of_32("scrypt$ln=1,r=1,p=1048576"),
            of_64("pbkdf2-sha256$i=4294967295"),
            of_64("pbkdf2-sha512$i=3000001"),
            of_32("argon2id$v=19$m=8,t=4294967295,p=1"),
            FOREIGN[0].1.replace("$05$", "$31$"),
        ] {
            let error = Hasher::new().verify(&password("x"), &endless).unwrap_err();
            assert!(matches!(error, HashError::TooCostly { .. }), "{endless}: {error}");
        }
    }

    /// 14 could be imported before.
    #[test]
    fn a_login_reads_bcrypt_of_a_cost_of_14_and_no_more() {
        let of_cost = |cost: &str| StoredHash::parse(&FOREIGN[0].1.replace("$05$", cost), Purpose::Login);
        assert!(matches!(of_cost("$14$"), Ok(StoredHash::Bcrypt(_))));
        assert!(matches!(of_cost("$15$"), Err(HashError::TooCostly { value: 15, limit: 14, .. })));
    }

    #[test]
    fn scrypt_without_blocks_is_no_hash_whatever_its_other_numbers() {
        for parameters in ["ln=1,r=1048580,p=0", "ln=1,r=0,p=1048580", "ln=1,r=0,p=0"] {
            let refused = Hasher::check_importable(&of_32(&format!("scrypt${parameters}")));
            assert!(matches!(refused, Err(HashError::Unsupported)), "{parameters}: {refused:?}");
        }
    }

    #[test]
    fn the_memory_of_a_large_hash_is_not_kept() {
        let hasher = Hasher::new();
        hasher.verify(&password("x"), &of_32("argon2id$v=19$m=65536,t=1,p=1")).unwrap();
        assert!(hasher.memory.lock().unwrap().capacity() <= MEMORY_KIB as usize);
    }

    #[test]
    fn the_memory_is_overwritten_after_each_hash() {
        let hasher = Hasher::new();
        for stored in [REFERENCE.to_owned(), of_32("argon2id$v=19$m=1024,t=1,p=1")] {
            hasher.verify(&password("correct horse"), &stored).unwrap();
            let memory = hasher.memory.lock().unwrap();
            assert_eq!(memory.len(), MEMORY_KIB as usize);
            assert!(memory.iter().all(|block| block.as_ref().iter().all(|word| *word == 0)), "{stored}");
        }
    }

    #[test]
    fn a_dummy_verification_computes_a_hash() {
        let hasher = Hasher::new();
        hasher.verify_dummy(&password("")).unwrap();
        // A hasher takes its memory for the first hash that it computes.
        assert_eq!(hasher.memory.lock().unwrap().len(), MEMORY_KIB as usize);
    }
}
