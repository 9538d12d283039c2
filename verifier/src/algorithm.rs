//! Signature algorithms (RFC 7518 §3.1, RFC 8037 §3.1). A key is for one of them, and the key alone decides which.

use std::fmt;
use std::str::FromStr;

use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::KeyAlgorithm;

/// A signature algorithm of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// ECDSA with P-256 and SHA-256 (RFC 7518 §3.4). The default: short signatures, and every verifier knows it.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3), 2048 bits: for verifiers that know nothing newer.
    Rs256,
    /// Ed25519 (RFC 8037 §3.1).
    EdDsa,
    /// HMAC with SHA-256 (RFC 7518 §3.2). There is no public key: a verifier can also sign.
    Hs256,
}

/// The name is not that of a supported algorithm.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the algorithm is not one of ES256, RS256, EdDSA, HS256")]
pub struct UnknownAlgorithm;

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Es256, Self::Rs256, Self::EdDsa, Self::Hs256];

    /// `alg`, in its exact case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    /// Whether a key of this algorithm has a public half.
    #[must_use]
    pub const fn has_public_key(self) -> bool {
        !matches!(self, Self::Hs256)
    }
}

impl FromStr for SigningAlgorithm {
    type Err = UnknownAlgorithm;

    /// The algorithm with exactly this name.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or(UnknownAlgorithm)
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::Es256 => Self::ES256,
            SigningAlgorithm::Rs256 => Self::RS256,
            SigningAlgorithm::EdDsa => Self::EdDSA,
            SigningAlgorithm::Hs256 => Self::HS256,
        }
    }
}

impl From<SigningAlgorithm> for KeyAlgorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::Es256 => Self::ES256,
            SigningAlgorithm::Rs256 => Self::RS256,
            SigningAlgorithm::EdDsa => Self::EdDSA,
            SigningAlgorithm::Hs256 => Self::HS256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_has_one_name_in_one_spelling() {
        for algorithm in SigningAlgorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
        for name in ["", "none", "None", "es256", "ES384", "HS512", "PS256", "Ed25519", " ES256", "ES256 "] {
            assert_eq!(name.parse::<SigningAlgorithm>(), Err(UnknownAlgorithm), "{name}");
        }
    }
}
