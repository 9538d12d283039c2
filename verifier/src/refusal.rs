//! Why a token is rejected.
//!
//! Logs and metrics name these. A client never learns which one it was: it would help an attacker who forges tokens.

use strum::{IntoStaticStr, VariantArray};

/// One variant for each rule that a token can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray, thiserror::Error)]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// There is no `Authorization` header.
    #[error("there is no Authorization header")]
    NoAuthorization,
    /// There is more than one `Authorization` header, or a token in the query as well (RFC 6750 §2).
    #[error("there is more than one Authorization")]
    SeveralAuthorizations,
    /// The header is not `Bearer`, one space, and a token (RFC 6750 §2.1).
    #[error("the Authorization header is not a Bearer token")]
    NotBearer,
    /// Longer than [`MAX_TOKEN_BYTES`](crate::MAX_TOKEN_BYTES).
    #[error("the token is too long")]
    TooLong,
    /// A character that is not part of compact serialization (RFC 7515 §7.1).
    #[error("the token contains a character that no token contains")]
    ForbiddenCharacter,
    /// Not header, claims and signature.
    #[error("the token does not have three parts")]
    NotThreeParts,
    /// The header is not base64url of a JSON object with exactly `alg`, `typ` and `kid`, once each.
    #[error("the header is malformed")]
    MalformedHeader,
    /// One of `crit jku jwk x5u x5c b64 zip enc` (RFC 8725 §3.10, RFC 7515 §4.1.11, RFC 7797, RFC 7516).
    #[error("the header has a parameter that is never accepted")]
    ForbiddenHeaderParameter,
    /// `typ` is not `at+jwt` (RFC 8725 §3.11).
    #[error("the token is of another type")]
    WrongType,
    /// `kid` is not as long as a thumbprint.
    #[error("the key id is malformed")]
    MalformedKid,
    /// No key of the set has this `kid`. It may be newer than the set.
    #[error("the key is not known")]
    UnknownKid,
    /// The last token that the key can have signed has expired.
    #[error("the key is retired")]
    RetiredKey,
    /// `alg` is not the algorithm of the key (RFC 8725 §3.1).
    #[error("the algorithm is not the key's")]
    WrongAlgorithm,
    /// The signature is not the key's over these bytes.
    #[error("the signature is wrong")]
    WrongSignature,
    /// The claims are not base64url of a JSON object with exactly the claims of an access token, each of its type.
    #[error("the claims are malformed")]
    MalformedClaims,
    /// `iss` is another (RFC 8725 §3.8).
    #[error("the issuer is another")]
    WrongIssuer,
    /// `aud` is another (RFC 8725 §3.9).
    #[error("the audience is another")]
    WrongAudience,
    /// `exp` is not later than now (RFC 7519 §4.1.4).
    #[error("the token has expired")]
    Expired,
    /// `nbf` is later than now and the leeway.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` is later than now and the leeway.
    #[error("the token was issued in the future")]
    IssuedInTheFuture,
    /// `exp - iat` is negative or longer than any lifetime that can be configured.
    #[error("the token's lifetime is out of policy")]
    LifetimeOutOfPolicy,
}

/// The checks, in the order in which they are made. The first one that fails ends the verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::Display, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Check {
    /// The request has exactly one `Authorization`, and it is a Bearer token (RFC 6750 §2).
    Authorization,
    /// Length, characters, three parts (RFC 7515 §7.1).
    Form,
    /// The header has exactly its three parameters (RFC 8725 §3.10).
    Header,
    /// `typ` (RFC 8725 §3.11).
    Type,
    /// `kid` names a key that verifies.
    Key,
    /// `alg` is the key's (RFC 8725 §3.1).
    Algorithm,
    /// The signature is the key's.
    Signature,
    /// The claims are exactly those of an access token, each of its type.
    Claims,
    /// `iss` (RFC 8725 §3.8).
    Issuer,
    /// `aud` (RFC 8725 §3.9).
    Audience,
    /// `exp`, `nbf`, `iat` and the lifetime (RFC 7519 §4.1).
    Time,
}

impl Check {
    /// All of them, in order.
    pub const ALL: &'static [Self] = Self::VARIANTS;
}

impl Refusal {
    /// A stable name, for logs and metrics: `expired`, `wrong_signature`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.into()
    }

    /// The check that failed.
    #[must_use]
    pub const fn check(self) -> Check {
        match self {
            Self::NoAuthorization | Self::SeveralAuthorizations | Self::NotBearer => Check::Authorization,
            Self::TooLong | Self::ForbiddenCharacter | Self::NotThreeParts => Check::Form,
            Self::MalformedHeader | Self::ForbiddenHeaderParameter => Check::Header,
            Self::WrongType => Check::Type,
            Self::MalformedKid | Self::UnknownKid | Self::RetiredKey => Check::Key,
            Self::WrongAlgorithm => Check::Algorithm,
            Self::WrongSignature => Check::Signature,
            Self::MalformedClaims => Check::Claims,
            Self::WrongIssuer => Check::Issuer,
            Self::WrongAudience => Check::Audience,
            Self::Expired | Self::NotYetValid | Self::IssuedInTheFuture | Self::LifetimeOutOfPolicy => Check::Time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_stable() {
        let reasons: Vec<_> = Refusal::VARIANTS.iter().map(|refusal| refusal.reason()).collect();
        assert_eq!(
            reasons,
            [
                "no_authorization",
                "several_authorizations",
                "not_bearer",
                "too_long",
                "forbidden_character",
                "not_three_parts",
                "malformed_header",
                "forbidden_header_parameter",
                "wrong_type",
                "malformed_kid",
                "unknown_kid",
                "retired_key",
                "wrong_algorithm",
                "wrong_signature",
                "malformed_claims",
                "wrong_issuer",
                "wrong_audience",
                "expired",
                "not_yet_valid",
                "issued_in_the_future",
                "lifetime_out_of_policy",
            ]
        );
    }

    #[test]
    fn checks_are_shown_by_their_names() {
        let names: Vec<_> = Check::ALL.iter().map(ToString::to_string).collect();
        let expected = "authorization form header type key algorithm signature claims issuer audience time";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn refusals_are_listed_in_the_order_of_their_checks() {
        assert!(Refusal::VARIANTS.is_sorted_by_key(|refusal| refusal.check()));
    }
}
