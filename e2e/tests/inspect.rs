//! `latchkey token inspect`: the content of a token, and the result of each check.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::local::{latchkey, variable};
use e2e::{ALICE, Client, unverified};
use serde_json::{Value, json};

fn inspect(arguments: &[&str], token: &str) -> (bool, Value) {
    let output = latchkey(&[&["token", "inspect", "--json"][..], arguments].concat(), token);
    let seen = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.success(), seen)
}

/// The checks by their state, in order.
fn states(seen: &Value) -> BTreeMap<&str, Vec<&str>> {
    let mut states: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for check in seen["checks"].as_array().unwrap() {
        states.entry(check["state"].as_str().unwrap()).or_default().push(check["check"].as_str().unwrap());
    }
    states
}

const ALL: [&str; 12] = [
    "authorization",
    "form",
    "header",
    "type",
    "key",
    "algorithm",
    "signature",
    "claims",
    "issuer",
    "audience",
    "time",
    "revocation",
];

#[test]
fn a_good_token_passes_every_check_and_a_revoked_one_all_but_the_last() {
    let client = Client::from_env();
    let token = client.access_token(ALICE);
    let (header, claims) = unverified(&token);
    let (counts, seen) = inspect(&[], &token);
    assert!(counts);
    assert_eq!((&seen["header"], &seen["claims"]), (&header, &claims));
    assert_eq!(states(&seen), BTreeMap::from([("passed", ALL.to_vec())]));

    assert_eq!(client.post("/logout", &token).status, 204);
    let (counts, seen) = inspect(&[&token], "");
    assert!(!counts);
    assert_eq!(states(&seen), BTreeMap::from([("passed", ALL[..11].to_vec()), ("refused", vec!["revocation"])]));
    assert_eq!(seen["checks"][11]["reason"], "revoked_session");
}

#[test]
fn the_first_check_that_a_token_does_not_pass_is_named() {
    let token = Client::from_env().access_token(ALICE);
    // Another signature of the right length.
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (counts, seen) = inspect(&[], &format!("{message}.{}", "A".repeat(signature.len())));
    assert!(!counts);
    assert_eq!(
        states(&seen),
        BTreeMap::from([
            ("passed", ALL[..6].to_vec()),
            ("refused", vec!["signature"]),
            ("not_reached", ALL[7..].to_vec())
        ])
    );
    let (_, seen) = inspect(&["--issuer", "https://other.example"], &token);
    assert_eq!(states(&seen)["refused"], ["issuer"]);
    let (_, seen) = inspect(&["--audience", "other"], &token);
    assert_eq!(states(&seen)["refused"], ["audience"]);
}

#[test]
fn a_key_set_is_enough() {
    let token = Client::from_env().access_token(ALICE);
    let url = format!("{}/.well-known/jwks.json", variable("LATCHKEY_BASE_URL"));
    let (counts, seen) = inspect(&["--jwks", &url], &token);
    assert!(counts);
    assert_eq!(states(&seen)["passed"], ALL);
    let output = latchkey(&["token", "inspect", "--jwks", "http://127.0.0.1:1/keys"], &token);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && error.contains("the key set http://127.0.0.1:1/keys could not be fetched"),
        "{error}"
    );
}

#[test]
fn reading_a_token_needs_no_network_and_no_configuration() {
    let tokens = Client::from_env().tokens(ALICE);
    let plain = |token: &str| {
        let mut child = Command::new(local_stack::workspace::binary("latchkey"))
            .args(["token", "inspect"])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (read, printed, _) = plain(&tokens.access);
    assert!(
        read && printed.contains("  alg         ES256\n") && printed.contains("  username    alice\n"),
        "{printed}"
    );
    assert!(printed.contains(" GMT, in 14 min)") || printed.contains(" GMT, in 15 min)"), "{printed}");
    assert!(printed.contains("  ok        type\n  -         key\n"), "{printed}");
    assert!(
        printed
            .ends_with("the signature cannot be checked without keys: give --jwks, or set SIGNING_KEYS_TABLE_NAME\n"),
        "{printed}"
    );

    let (read, printed, _) = plain(&tokens.refresh);
    assert!(read && printed.contains("generation  0"), "{printed}");
    let (read, _, error) = plain("garbage");
    assert!(!read);
    assert_eq!(error, "latchkey: this is neither an access token (three parts) nor a refresh token (five)\n");
    // Characters that would deceive the reader of a terminal are escaped.
    let (_, printed, _) = plain("eyJhbGciOiJcdTAwMWJbMm0ifQ.e30.x");
    assert!(printed.contains("\\u{1b}[2m") && !printed.contains('\u{1b}'), "{printed:?}");
}

#[test]
fn nothing_of_a_token_reaches_the_terminal_that_it_could_obey() {
    let treacherous = "\u{1b}[2Jroot\u{7}\u{7f}\u{9b}31m\u{202e}nimda\u{2066}\u{200b}";
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = encode(&json!({ "alg": "ES256", "typ": "at+jwt", "kid": treacherous }));
    let claims = encode(&json!({ "sub": treacherous, "roles": [treacherous], treacherous: { treacherous: 1 } }));
    let refresh = format!("1.{treacherous}.sid\nnext.0.mac");
    for token in [format!("{header}.{claims}.c2ln"), refresh] {
        for arguments in [&["token", "inspect"][..], &["token", "inspect", "--json"]] {
            let output = latchkey(arguments, &token);
            let written = [output.stdout.clone(), output.stderr.clone()].concat();
            let written = String::from_utf8(written).unwrap();
            let obeyed = written.chars().find(|character| {
                *character != '\n' && (character.is_control() || "\u{202e}\u{2066}\u{200b}".contains(*character))
            });
            assert_eq!(obeyed, None, "{written}");
            assert!(written.contains("nimda"), "{written}");
        }
    }
    // In JSON it is escaped, with the same value.
    let (_, seen) = inspect(&[], &format!("{header}.{claims}.c2ln"));
    assert_eq!(seen["claims"]["sub"], treacherous);
}

#[test]
fn a_token_is_taken_as_it_is_copied_and_an_argument_is_warned_of() {
    let token = Client::from_env().access_token(ALICE);
    for copied in [
        format!("Bearer {token}"),
        format!("  bearer   {token}\r\n"),
        format!("Authorization: Bearer {token}"),
        format!("\n{token}\n\n"),
    ] {
        let output = latchkey(&["token", "inspect"], &copied);
        assert!(output.status.success(), "{copied:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        let output = latchkey(&["token", "inspect", "-"], &copied);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    let message = "a token that is given as an argument stands in the shell's history and in the list of processes; \
                   leave it out, and paste it or pipe it in";
    let output = latchkey(&["token", "inspect", &format!("Bearer {token}")], "");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("latchkey: {message}\n"));
    let output = latchkey(&["token", "inspect", "--json", &token], "");
    let warning: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(warning, json!({ "warning": "token_argument", "message": message }));
}
