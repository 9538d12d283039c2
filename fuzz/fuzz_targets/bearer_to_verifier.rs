//! Any value of an `Authorization` header, up to the verifier: no panic, and it never counts.
#![no_main]

use latchkey_fuzz::{encode, header_must_be_refused};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = str::from_utf8(data) {
        header_must_be_refused(value);
    }
    // A change of one byte rarely leaves base64url of JSON, so the same bytes are taken for the lines header, claims,
    // signature too, before they are encoded.
    let parts: Vec<String> = data.splitn(3, |byte| *byte == b'\n').map(encode).collect();
    header_must_be_refused(&format!("Bearer {}", parts.join(".")));
});
