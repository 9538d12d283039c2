//! The one access token of a request (RFC 6750 §2.1).

use std::collections::HashMap;

use crate::token::verifier::Refusal;

/// The token of the `Authorization` header. Header names compare in any case (RFC 9110 §5.1), and so does the scheme
/// (§11.1). API Gateway joins two headers of one name by a comma, which no token has.
///
/// # Errors
/// There is not exactly one Bearer token.
pub fn token<'a>(headers: &'a HashMap<String, String>, query: &HashMap<String, String>) -> Result<&'a str, Refusal> {
    let mut values =
        headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, value)| value);
    let value = values.next().ok_or(Refusal::NoAuthorization)?;
    // RFC 6750 §2: a client uses one method a request. A token in a URL would be in logs and histories as well.
    if values.next().is_some() || query.contains_key("access_token") {
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

    fn map(entries: &[(&str, &str)]) -> HashMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn of_header(value: &str) -> Result<String, Refusal> {
        token(&map(&[("authorization", value)]), &map(&[])).map(str::to_owned)
    }

    #[test]
    fn name_and_scheme_compare_in_any_case() {
        for (name, scheme) in [("authorization", "Bearer"), ("Authorization", "bearer"), ("AUTHORIZATION", "BEARER")] {
            assert_eq!(token(&map(&[(name, &format!("{scheme} a.b.c"))]), &map(&[])), Ok("a.b.c"));
        }
    }

    #[test]
    fn no_authorization() {
        assert_eq!(token(&map(&[("x-authorization", "Bearer a.b.c")]), &map(&[])), Err(Refusal::NoAuthorization));
    }

    #[test]
    fn several_authorizations() {
        let twice = map(&[("authorization", "Bearer a.b.c"), ("Authorization", "Bearer a.b.c")]);
        assert_eq!(token(&twice, &map(&[])), Err(Refusal::SeveralAuthorizations));
        assert_eq!(of_header("Bearer a.b.c,Bearer a.b.c"), Err(Refusal::SeveralAuthorizations));
        let once = map(&[("authorization", "Bearer a.b.c")]);
        assert_eq!(token(&once, &map(&[("access_token", "a.b.c")])), Err(Refusal::SeveralAuthorizations));
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
