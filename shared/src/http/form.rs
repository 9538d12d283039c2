//! Bodies of OAuth requests: `application/x-www-form-urlencoded` (RFC 6749 appendix B).

use std::collections::HashMap;

use http::header::CONTENT_TYPE;
use lambda_http::Request;

use super::body::{BodyError, MAX_BODY_BYTES};

const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// The parameters of a form. It cannot be printed: there are tokens in it.
pub struct Form(HashMap<String, String>);

impl Form {
    /// Reads the body of a request. A parameter without a value is treated as omitted, and an unknown one is ignored
    /// (RFC 6749 §3.2).
    ///
    /// # Errors
    /// The body is no form, or has a parameter twice.
    pub fn read(request: &Request) -> Result<Self, BodyError> {
        let content_type =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case(MEDIA_TYPE) {
            return Err(BodyError::NotForm);
        }
        let body: &[u8] = request.body();
        if body.len() > MAX_BODY_BYTES {
            return Err(BodyError::TooLarge);
        }
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            // A parameter without a value is treated as omitted, so it is not a repetition either.
            if value.is_empty() {
                continue;
            }
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(BodyError::RepeatedParameter);
            }
        }
        Ok(Self(parameters))
    }

    /// A parameter, if it was sent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// It was not sent.
    pub fn required(&self, name: &'static str) -> Result<&str, BodyError> {
        self.get(name).ok_or(BodyError::MissingParameter(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::Body;

    fn read(content_type: &str, body: impl Into<Body>) -> Result<Form, BodyError> {
        Form::read(&http::Request::builder().header(CONTENT_TYPE, content_type).body(body.into()).unwrap())
    }

    #[test]
    fn parameters_are_decoded() {
        let form = read(MEDIA_TYPE, "a=1&b=x+y%2Bz&c=%C3%A4").unwrap();
        assert_eq!((form.get("a"), form.get("b"), form.get("c")), (Some("1"), Some("x y+z"), Some("\u{e4}")));
        assert_eq!(form.required("a"), Ok("1"));
    }

    #[test]
    fn the_media_type_compares_in_any_case_and_may_have_parameters() {
        assert!(read("Application/X-WWW-Form-Urlencoded; charset=UTF-8", "a=1").is_ok());
        for content_type in ["", "application/json", "text/plain", "multipart/form-data"] {
            assert_eq!(read(content_type, "a=1").err(), Some(BodyError::NotForm), "{content_type}");
        }
    }

    #[test]
    fn a_parameter_without_a_value_was_not_sent() {
        let form = read(MEDIA_TYPE, "a=&b&c=3&c=").unwrap();
        assert_eq!((form.get("a"), form.get("b"), form.get("c")), (None, None, Some("3")));
        assert_eq!(form.required("a"), Err(BodyError::MissingParameter("a")));
    }

    #[test]
    fn a_repeated_parameter_is_refused_known_or_not() {
        assert_eq!(read(MEDIA_TYPE, "a=1&a=1").err(), Some(BodyError::RepeatedParameter));
        assert_eq!(read(MEDIA_TYPE, "a=1&a=2&token=x").err(), Some(BodyError::RepeatedParameter));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        assert!(read(MEDIA_TYPE, "").is_ok());
        assert!(read(MEDIA_TYPE, &b"\xff\xfe=%ff&%%%&=&&&=1"[..]).is_ok());
        assert_eq!(read(MEDIA_TYPE, "x".repeat(MAX_BODY_BYTES + 1)).err(), Some(BodyError::TooLarge));
    }
}
