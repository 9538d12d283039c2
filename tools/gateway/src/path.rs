//! The path of a request, and its canonical form.
//!
//! In that form only characters that must be encoded are, and `/` separates segments while `%2F` is within one. All
//! spellings of a path have the same canonical form, and so the same route, authorizer and ARN. Nothing is collapsed or
//! resolved: `/me/`, `//me` and `/x/../me` are not `/me`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sam_template::ApiKind;

/// Characters that must be encoded in a segment (RFC 3986, section 3.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Reads the path of a request to an API of this kind; `None` if an HTTP API answers 400.
///
/// An HTTP API decodes a path before it looks for a route, cuts it at a `?` that was encoded, and decodes it again for
/// the function: so `%2F` separates segments, `%252F` is a slash within one, and `100%25` cannot be decoded.
/// Source: events that its users have captured in AWS, <https://github.com/hotsock/voker/pull/8>.
pub(crate) fn read(kind: ApiKind, received: &str) -> Option<String> {
    match kind {
        ApiKind::Rest => Some(normalized(received)),
        ApiKind::Http => {
            let once = strictly_decoded(received)?;
            let path = once.split('?').next().unwrap_or_default();
            strictly_decoded(path)?;
            Some(normalized(path))
        }
    }
}

/// The canonical form of a path.
pub(crate) fn normalized(path: &str) -> String {
    let segment = |text| percent_encode(&percent_decode_str(text).collect::<Vec<_>>(), ENCODED).to_string();
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// A path, or a part of it, with nothing encoded.
pub(crate) fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// `None` where a `%` is not followed by two hexadecimal digits, or what comes out is not UTF-8.
fn strictly_decoded(text: &str) -> Option<String> {
    let is_encoded = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
    if !text.split('%').skip(1).all(is_encoded) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use sam_template::ApiKind;

    use super::{decoded, normalized, read};

    #[test]
    fn an_http_api_decodes_twice_and_cuts_at_a_question_mark_in_between() {
        for (received, told) in [
            ("/a/plain", "/a/plain"),
            ("/a/b%20c", "/a/b c"),
            ("/a/b%3Fc", "/a/b"),
            ("/a/b%23c", "/a/b#c"),
            ("/a/b%2Fc", "/a/b/c"),
            ("/a/%CE%BB-%E4%B8%96", "/a/λ-世"),
            ("/a/b%252Fc", "/a/b/c"),
            ("/a/b%253Fc", "/a/b?c"),
            ("/a/b%2525c", "/a/b%c"),
            ("/%6de", "/me"),
            ("/a//b/./../c/", "/a//b/./../c/"),
            ("/%00", "/\0"),
            ("*", "*"),
        ] {
            assert_eq!(read(ApiKind::Http, received).map(|path| decoded(&path)).as_deref(), Some(told), "{received}");
        }
        for received in ["/a/b%25c", "/%", "/%6", "/%zz", "/%6z", "/%%36de", "/%ff", "/%C3%28", "/%25ff", "/%é6"] {
            assert_eq!(read(ApiKind::Http, received), None, "{received}");
        }
    }

    #[test]
    fn a_slash_separates_segments_and_an_encoded_one_does_not() {
        assert_eq!(read(ApiKind::Http, "/a/b%2Fc").as_deref(), Some("/a/b/c"));
        assert_eq!(read(ApiKind::Http, "/a/b%252fc").as_deref(), Some("/a/b%2Fc"));
        assert_eq!(read(ApiKind::Rest, "/a/b%2fc").as_deref(), Some("/a/b%2Fc"));
        assert_eq!(read(ApiKind::Rest, "/a/b%252Fc").as_deref(), Some("/a/b%252Fc"));
    }

    #[test]
    fn all_spellings_have_one_form() {
        for (spelling, form) in [
            ("/%6d%65", "/me"),
            ("/a b", "/a%20b"),
            ("/é", "/%C3%A9"),
            ("/%c3%a9", "/%C3%A9"),
            ("/a!$&'()*+,;=:@-._~", "/a!$&'()*+,;=:@-._~"),
            ("/%21%7E", "/!~"),
            ("/100%", "/100%25"),
            ("/%zz", "/%25zz"),
            ("/%ff", "/%FF"),
            ("//a/./../b/", "//a/./../b/"),
            ("/", "/"),
        ] {
            assert_eq!(normalized(spelling), form, "{spelling}");
            assert_eq!(normalized(form), form);
        }
    }
}
