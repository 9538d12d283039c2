//! Which web pages may make a request that changes something.
//!
//! A browser sends a request for any page, even if the page may not read the response: a form, an image, a `fetch` in
//! the mode `no-cors`. Such a request carries no access token, but a login and a registration need none. So a page of
//! another origin could sign a visitor in as somebody else, create accounts, and use up the attempts of the visitor's
//! address. CORS does not prevent that, because it concerns responses.
//!
//! Every browser states the origin of a request, and no script can change it: in `Sec-Fetch-Site` (Fetch Metadata
//! Request Headers §2.3), or else in `Origin` (RFC 6454 §7). Other clients send neither, and pass.
//!
//! The rule applies to every method that is not safe (RFC 9110 §9.2.1), before anything else: the body is not read, and
//! nothing is counted.

use http::{HeaderMap, HeaderName, Method};
use lambda_http::Request;

use super::request;
use crate::config::{AllowedOrigins, PageOrigins};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const ORIGIN: HeaderName = http::header::ORIGIN;

/// Whether a request is from a page that may not make it.
#[must_use]
pub fn is_from_a_foreign_page(request: &Request, pages: &PageOrigins) -> bool {
    let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let domain_name = request::context(request).and_then(|context| context.domain_name.as_deref());
    !is_safe && is_foreign(request.headers(), pages, domain_name)
}

fn is_foreign(headers: &HeaderMap, pages: &PageOrigins, domain_name: Option<&str>) -> bool {
    let AllowedOrigins::Listed(listed) = &pages.allowed else { return false };
    let origin = only(headers, &ORIGIN);
    if origin.is_some_and(|origin| listed.iter().any(|listed| listed == origin)) {
        return false;
    }
    match (only(headers, &SEC_FETCH_SITE), origin) {
        // `same-site` too: a sibling subdomain may belong to anybody.
        (Some(site), _) => site != "same-origin" && site != "none",
        (None, Some(origin)) => {
            let is_issuer = pages.issuer.as_deref() == Some(origin);
            !is_issuer && origin.strip_prefix("https://").is_none_or(|host| Some(host) != domain_name)
        }
        (None, None) => false,
    }
}

/// The single value of a header. A repeated or unreadable header becomes the empty string, which matches no
/// page.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    Some(value.to_str().ok().filter(|_| values.next().is_none()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const SITE: &str = "sec-fetch-site";

    fn pages(allowed: &str) -> PageOrigins {
        PageOrigins::new(allowed, "https://Login.example.com:443/tenant")
    }

    fn foreign(allowed: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        is_foreign(&map, &pages(allowed), Some("abc.execute-api.eu-west-1.amazonaws.com"))
    }

    #[test]
    fn what_is_no_browser_passes() {
        assert!(!foreign("", &[]));
        assert!(!foreign("https://app.example.com", &[("user-agent", "curl/8.5.0")]));
    }

    #[test]
    fn a_page_of_the_same_origin_and_a_person_pass() {
        for site in ["same-origin", "none"] {
            assert!(!foreign("", &[(SITE, site)]), "{site}");
            // Whatever it is called: an API may have names that the function does not know.
            assert!(!foreign("", &[(SITE, site), ("origin", "https://another-name.example.com")]), "{site}");
            assert!(!foreign("", &[(SITE, site), ("origin", "null")]), "{site}");
        }
    }

    #[test]
    fn a_page_of_another_origin_is_foreign() {
        for site in ["cross-site", "same-site", "", "Same-Origin", "same-origin, cross-site", "new-value"] {
            for origin in ["https://evil.example", "null", "", "https://login.example.com"] {
                assert!(foreign("https://app.example.com", &[(SITE, site), ("origin", origin)]), "{site} {origin}");
            }
            assert!(foreign("https://app.example.com", &[(SITE, site)]), "{site}");
        }
        assert!(foreign("", &[(SITE, "same-origin"), (SITE, "same-origin")]), "there is one of it");
    }

    #[test]
    fn a_listed_origin_passes_and_is_compared_whole() {
        let allowed = "https://App.example.com:443,http://localhost:5173";
        for origin in ["https://app.example.com", "http://localhost:5173"] {
            for site in ["cross-site", "same-site"] {
                assert!(!foreign(allowed, &[(SITE, site), ("origin", origin)]), "{origin}");
            }
            assert!(!foreign(allowed, &[("origin", origin)]), "{origin}");
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://evil.example,https://app.example.com",
            "https://app.example.com, https://app.example.com",
            "https://app.example.com/",
            "http://localhost",
            "HTTPS://APP.EXAMPLE.COM",
        ] {
            assert!(foreign(allowed, &[("origin", origin)]), "{origin}");
        }
        assert!(foreign(allowed, &[("origin", "https://app.example.com"), ("origin", "https://app.example.com")]));
    }

    #[test]
    fn without_sec_fetch_site_the_origin_must_be_the_api_s_own() {
        for origin in ["https://login.example.com", "https://abc.execute-api.eu-west-1.amazonaws.com"] {
            assert!(!foreign("", &[("origin", origin)]), "{origin}");
        }
        for origin in [
            "https://evil.example",
            "null",
            "",
            "http://login.example.com",
            "https://login.example.com/tenant",
            "http://abc.execute-api.eu-west-1.amazonaws.com",
            "abc.execute-api.eu-west-1.amazonaws.com",
        ] {
            assert!(foreign("", &[("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn with_every_origin_allowed_nothing_is_foreign() {
        assert!(!foreign("*", &[(SITE, "cross-site"), ("origin", "https://evil.example")]));
        assert!(!foreign("*", &[("origin", "null")]));
    }

    #[test]
    fn a_header_that_is_no_text_is_no_origin() {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_bytes(b"https://\xff").unwrap());
        assert!(is_foreign(&headers, &pages(""), None));
    }

    #[test]
    fn only_methods_that_change_nothing_are_not_asked() {
        for (method, is_asked) in [
            ("GET", false),
            ("HEAD", false),
            ("OPTIONS", false),
            ("POST", true),
            ("DELETE", true),
            ("PUT", true),
            ("ANY", true),
        ] {
            let mut request = Request::default();
            *request.method_mut() = method.parse().unwrap();
            request.headers_mut().insert(SITE, HeaderValue::from_static("cross-site"));
            assert_eq!(is_from_a_foreign_page(&request, &pages("")), is_asked, "{method}");
        }
    }
}
