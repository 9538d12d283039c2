//! Any value of an `Authorization` header, up to the verifier: no panic, and it is never valid.
#![no_main]

use latchkey_fuzz::{encode, header_must_be_rejected};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = str::from_utf8(data) {
        header_must_be_rejected(value);
    }
    // A change of one byte rarely leaves base64url of JSON, so the same bytes are also read as the lines header,
    // claims, signature, before they are encoded.
    let parts: Vec<String> = data.splitn(3, |byte| *byte == b'\n').map(encode).collect();
    header_must_be_rejected(&format!("Bearer {}", parts.join(".")));
});
