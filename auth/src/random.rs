//! Identifiers that cannot be guessed.
//!
//! OWASP ASVS 5.0, 11.5.1 asks for at least 128 random bits and says that UUIDs do not qualify (a version 4
//! UUID has 122).

use aws_lc_rs::rand::SecureRandom;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A source of randomness. It is an argument, so that a signature shows who needs randomness.
pub type Random = dyn SecureRandom + Send + Sync;

/// Random bytes in an identifier.
const IDENTIFIER_BYTES: usize = 16;

/// The system's generator failed, so no secret can be created.
#[derive(Debug, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct RandomError;

/// Fills an array with random bytes.
///
/// # Errors
/// The generator failed.
pub fn bytes<const N: usize>(random: &Random) -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    random.fill(&mut bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}

/// A new identifier: 128 random bits in base64url, 22 characters.
///
/// # Errors
/// The generator failed.
pub fn identifier(random: &Random) -> Result<String, RandomError> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<IDENTIFIER_BYTES>(random)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;

    #[test]
    fn an_identifier_carries_128_bits_and_differs_each_time() {
        let random = SystemRandom::new();
        let (one, other) = (identifier(&random).unwrap(), identifier(&random).unwrap());
        assert_eq!(URL_SAFE_NO_PAD.decode(&one).unwrap().len() * 8, 128);
        assert_ne!(one, other);
    }
}
