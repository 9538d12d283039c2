//! The access token of a request (RFC 6750 §2.1).
//!
//! ```
//! use latchkey_verifier::{Refusal, bearer};
//!
//! let headers = [("Authorization".into(), "Bearer abc.def.ghi".into())];
//! assert_eq!(bearer::token(&headers, &[]), Ok("abc.def.ghi"));
//! assert_eq!(bearer::token(&[], &[]), Err(Refusal::NoAuthorization));
//! ```

use std::borrow::Cow;

use crate::refusal::Refusal;

/// A name and one of its values: of a header, or of a query parameter.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The token of the `Authorization` header. Header names are case-insensitive (RFC 9110 §5.1), and so is the scheme
/// (§11.1). API Gateway joins repeated headers with a comma, which no token contains.
///
/// # Errors
/// There is not exactly one Bearer token.
pub fn token<'a>(headers: &'a [Pair<'_>], query: &[Pair<'_>]) -> Result<&'a str, Refusal> {
    let mut values =
        headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, value)| value);
    let value = values.next().ok_or(Refusal::NoAuthorization)?;
    // RFC 6750 §2: one method for each request. A token in a URL would be in logs and histories as well.
    if values.next().is_some() || query.iter().any(|(name, _)| name == "access_token") {
        return Err(Refusal::SeveralAuthorizations);
    }
    let (scheme, token) = value.split_once(' ').ok_or(Refusal::NotBearer)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.starts_with(' ') {
        return Err(Refusal::NotBearer);
    }
    if token.contains(',') {
        return Err(Refusal::SeveralAuthorizations);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<Pair<'a>> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn of_header(value: &str) -> Result<String, Refusal> {
        token(&pairs(&[("authorization", value)]), &pairs(&[])).map(str::to_owned)
    }

    #[test]
    fn name_and_scheme_compare_in_any_case() {
        for (name, scheme) in [("authorization", "Bearer"), ("Authorization", "bearer"), ("AUTHORIZATION", "BEARER")] {
            assert_eq!(token(&pairs(&[(name, &format!("{scheme} a.b.c"))]), &pairs(&[])), Ok("a.b.c"));
        }
    }

    #[test]
    fn no_authorization() {
        assert_eq!(token(&pairs(&[("x-authorization", "Bearer a.b.c")]), &pairs(&[])), Err(Refusal::NoAuthorization));
    }

    #[test]
    fn several_authorizations() {
        let twice = pairs(&[("authorization", "Bearer a.b.c"), ("Authorization", "Bearer a.b.c")]);
        assert_eq!(token(&twice, &pairs(&[])), Err(Refusal::SeveralAuthorizations));
        assert_eq!(of_header("Bearer a.b.c,Bearer a.b.c"), Err(Refusal::SeveralAuthorizations));
        let once = pairs(&[("authorization", "Bearer a.b.c")]);
        assert_eq!(token(&once, &pairs(&[("access_token", "a.b.c")])), Err(Refusal::SeveralAuthorizations));
    }

    #[test]
    fn not_bearer() {
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "Bearer  a.b.c",
            "Bearer\ta.b.c",
            "a.b.c",
            "BearerX a.b.c",
            " Bearer a",
        ] {
            assert_eq!(of_header(value), Err(Refusal::NotBearer), "{value:?}");
        }
    }
}
