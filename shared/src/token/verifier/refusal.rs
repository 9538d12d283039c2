//! Why a request is not let through. Logs and metrics name these; a client never learns which it was.

use std::fmt;

/// One variant for each rule. [`Refusal::reason`] is the name that logs and metrics carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no `Authorization` header.
    #[error("there is no Authorization header")]
    NoAuthorization,
    /// There is more than one `Authorization` header, or a token in the query as well (RFC 6750 §2).
    #[error("there is more than one authorization")]
    SeveralAuthorizations,
    /// The header is not `Bearer`, one space, and a token (RFC 6750 §2.1).
    #[error("the Authorization header is not a Bearer token")]
    NotBearer,
    /// Longer than [`super::MAX_TOKEN_BYTES`].
    #[error("the token is too long")]
    TooLong,
    /// A character that compact serialization does not have.
    #[error("the token has a character that no token has")]
    ForbiddenCharacter,
    /// Not header, claims and signature.
    #[error("the token does not have three parts")]
    NotThreeParts,
    /// The header is not base64url of a JSON object with just `alg`, `typ` and `kid`, once each.
    #[error("the header is malformed")]
    MalformedHeader,
    /// `crit jku jwk x5u x5c b64 zip enc`.
    #[error("the header has a parameter that is never accepted")]
    ForbiddenHeaderParameter,
    /// `typ` is not `at+jwt`.
    #[error("the token is of another type")]
    WrongType,
    /// `kid` is not as long as a thumbprint.
    #[error("the key id is malformed")]
    MalformedKid,
    /// No key of the ring has this `kid`.
    #[error("the key is not known")]
    UnknownKid,
    /// The key's time is over.
    #[error("the key is retired")]
    RetiredKey,
    /// `alg` is not the algorithm of the key.
    #[error("the algorithm is not the key's")]
    WrongAlgorithm,
    /// The signature is not the key's over these bytes.
    #[error("the signature is wrong")]
    WrongSignature,
    /// The claims are not base64url of a JSON object with just the claims of an access token, each of its type.
    #[error("the claims are malformed")]
    MalformedClaims,
    /// `iss`.
    #[error("the issuer is another")]
    WrongIssuer,
    /// `aud`.
    #[error("the audience is another")]
    WrongAudience,
    /// `exp` is not later than now.
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
    /// The token itself was revoked, by its `jti`.
    #[error("the token was revoked")]
    RevokedToken,
    /// The token's session was ended, by its `sid`.
    #[error("the session was ended")]
    RevokedSession,
    /// All tokens of the user up to an epoch were revoked.
    #[error("the user's earlier tokens were revoked")]
    RevokedEpoch,
    /// More revocations of the user were found than are read: whether the token is one of them is not known.
    #[error("the user has more revocations than are read")]
    TooManyRevocations,
}

/// The checks in the order in which they are made. A token that does not pass one is not looked at further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Where the token is in the request (RFC 6750 §2).
    Authorization,
    /// Length, characters, three parts (RFC 7515 §7.1).
    Form,
    /// The header is closed, and has no parameter that is never accepted (RFC 8725 §3.10).
    Header,
    /// `typ` (RFC 8725 §3.11).
    Type,
    /// `kid` names a key that verifies.
    Key,
    /// `alg` is the key's (RFC 8725 §3.1).
    Algorithm,
    /// The signature is the key's.
    Signature,
    /// The claims are closed, and each is of its type.
    Claims,
    /// `iss` (RFC 8725 §3.8).
    Issuer,
    /// `aud` (RFC 8725 §3.9).
    Audience,
    /// `exp`, `nbf`, `iat` and the lifetime (RFC 7519 §4.1).
    Time,
    /// The denylist.
    Revocation,
}

impl Check {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Authorization,
        Self::Form,
        Self::Header,
        Self::Type,
        Self::Key,
        Self::Algorithm,
        Self::Signature,
        Self::Claims,
        Self::Issuer,
        Self::Audience,
        Self::Time,
        Self::Revocation,
    ];
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Authorization => "authorization",
            Self::Form => "form",
            Self::Header => "header",
            Self::Type => "type",
            Self::Key => "key",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Time => "time",
            Self::Revocation => "revocation",
        })
    }
}

impl Refusal {
    /// All of them, in the order of their checks.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 25] = [
        Self::NoAuthorization,
        Self::SeveralAuthorizations,
        Self::NotBearer,
        Self::TooLong,
        Self::ForbiddenCharacter,
        Self::NotThreeParts,
        Self::MalformedHeader,
        Self::ForbiddenHeaderParameter,
        Self::WrongType,
        Self::MalformedKid,
        Self::UnknownKid,
        Self::RetiredKey,
        Self::WrongAlgorithm,
        Self::WrongSignature,
        Self::MalformedClaims,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::Expired,
        Self::NotYetValid,
        Self::IssuedInTheFuture,
        Self::LifetimeOutOfPolicy,
        Self::RevokedToken,
        Self::RevokedSession,
        Self::RevokedEpoch,
        Self::TooManyRevocations,
    ];

    /// The name in logs and metrics. It is stable.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NoAuthorization => "no_authorization",
            Self::SeveralAuthorizations => "several_authorizations",
            Self::NotBearer => "not_bearer",
            Self::TooLong => "too_long",
            Self::ForbiddenCharacter => "forbidden_character",
            Self::NotThreeParts => "not_three_parts",
            Self::MalformedHeader => "malformed_header",
            Self::ForbiddenHeaderParameter => "forbidden_header_parameter",
            Self::WrongType => "wrong_type",
            Self::MalformedKid => "malformed_kid",
            Self::UnknownKid => "unknown_kid",
            Self::RetiredKey => "retired_key",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::WrongSignature => "wrong_signature",
            Self::MalformedClaims => "malformed_claims",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInTheFuture => "issued_in_the_future",
            Self::LifetimeOutOfPolicy => "lifetime_out_of_policy",
            Self::RevokedToken => "revoked_token",
            Self::RevokedSession => "revoked_session",
            Self::RevokedEpoch => "revoked_epoch",
            Self::TooManyRevocations => "too_many_revocations",
        }
    }

    /// The check that a token did not pass.
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
            Self::RevokedToken | Self::RevokedSession | Self::RevokedEpoch | Self::TooManyRevocations => {
                Check::Revocation
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `WrongType` as `wrong_type`.
    fn snake_case(name: &str) -> String {
        name.chars().fold(String::new(), |text, character| {
            let separator = if character.is_uppercase() && !text.is_empty() { "_" } else { "" };
            text + separator + &character.to_lowercase().to_string()
        })
    }

    #[test]
    fn a_reason_is_the_name_of_its_refusal() {
        for refusal in Refusal::ALL {
            assert_eq!(refusal.reason(), snake_case(&format!("{refusal:?}")));
        }
    }

    #[test]
    fn a_check_is_shown_by_its_name() {
        for check in Check::ALL {
            assert_eq!(check.to_string(), snake_case(&format!("{check:?}")));
        }
    }

    #[test]
    fn refusals_are_listed_in_the_order_of_their_checks() {
        assert!(Refusal::ALL.is_sorted_by_key(|refusal| refusal.check()));
    }
}
