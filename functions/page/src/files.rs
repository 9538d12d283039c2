//! The files of `web/`.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};

/// One file.
pub(crate) struct File {
    pub(crate) name: &'static str,
    /// Its media type.
    pub(crate) content_type: HeaderValue,
    pub(crate) text: &'static str,
    /// It changes with the content (RFC 9110 §8.8.3).
    pub(crate) etag: HeaderValue,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The page itself, and what it loads.
static FILES: LazyLock<[File; 6]> = LazyLock::new(|| {
    [
        file("index.html", HTML, include_str!("../../../web/index.html")),
        file("style.css", CSS, include_str!("../../../web/style.css")),
        file("app.js", JAVASCRIPT, include_str!("../../../web/app.js")),
        file("api.js", JAVASCRIPT, include_str!("../../../web/api.js")),
        file("session.js", JAVASCRIPT, include_str!("../../../web/session.js")),
        file("token.js", JAVASCRIPT, include_str!("../../../web/token.js")),
    ]
});

fn file(name: &'static str, content_type: &'static str, text: &'static str) -> File {
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(text));
    let etag = HeaderValue::try_from(format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"\""));
    File { name, content_type: HeaderValue::from_static(content_type), text, etag }
}

/// The file of exactly this name.
pub(crate) fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}
