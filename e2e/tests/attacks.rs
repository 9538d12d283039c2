//! Known attacks on JWTs, as requests through gateway and authorizer: rejected, without an internal error and without
//! data.
//!
//! The same list for the verifier, with the reason of each, is in `verifier/src/verify/tests.rs`.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use e2e::{ALICE, Answer, Client, unverified};
use serde_json::{Value, json};

fn encode(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

/// The parts of a valid token, to be changed.
struct Victim {
    client: Client,
    token: String,
    header: Value,
    claims: Value,
}

impl Victim {
    fn new() -> Self {
        let client = Client::from_env();
        let token = client.access_token(ALICE);
        let (header, claims) = unverified(&token);
        Self { client, token, header, claims }
    }

    fn part(&self, number: usize) -> &str {
        self.token.split('.').nth(number).unwrap()
    }

    /// The token with another header.
    fn with_header(&self, header: &str) -> String {
        format!("{}.{}.{}", encode(header), self.part(1), self.part(2))
    }

    /// The token with a member of the header changed or added.
    fn with_header_member(&self, name: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[name] = value;
        self.with_header(&header.to_string())
    }

    /// The token with a claim changed or added.
    fn with_claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.with_claims(&claims.to_string())
    }

    fn with_claims(&self, claims: &str) -> String {
        format!("{}.{}.{}", self.part(0), encode(claims), self.part(2))
    }

    fn with_signature(&self, signature: &str) -> String {
        format!("{}.{}.{signature}", self.part(0), self.part(1))
    }

    fn refused(&self, attack: &str, token: &str) {
        assert_ne!(token, self.token, "{attack}: nothing was changed");
        let answer = self.client.get("/me", token);
        assert_eq!(answer.status_and_json(), (403, json!({ "message": "Forbidden" })), "{attack}");
    }

    /// The public key of the token, from the key set.
    fn public_key(&self) -> Value {
        let jwks = self.client.send("GET", "/.well-known/jwks.json", &[], "").json();
        jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == self.header["kid"]).unwrap().clone()
    }
}

#[test]
fn alg_none_in_every_spelling() {
    let token = Victim::new();
    for alg in ["none", "None", "nOnE", "NONE", "", "es256", "ES384", "HS256", "RS256", "EdDSA"] {
        let spoilt = token.with_header_member("alg", json!(alg));
        token.refused(alg, &spoilt);
        let (message, _) = spoilt.rsplit_once('.').unwrap();
        token.refused(alg, &format!("{message}."));
    }
    for alg in [json!(null), json!(1), json!(["ES256"]), json!({})] {
        token.refused(&alg.to_string(), &token.with_header_member("alg", alg.clone()));
    }
    let header = token.header.to_string();
    for member in [r#""alg":"none""#, r#""alg":"ES256""#, r#""\u0061lg":"none""#] {
        token.refused("alg twice", &token.with_header(&header.replacen('{', &format!("{{{member},"), 1)));
        token.refused("alg twice", &token.with_header(&header.replace('}', &format!(",{member}}}"))));
    }
}

#[test]
fn an_hmac_under_the_public_key() {
    let token = Victim::new();
    let jwk = token.public_key();
    let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let point = [&[4][..], &number("x"), &number("y")].concat();
    // SubjectPublicKeyInfo of P-256 (RFC 5480 §2).
    let prefix = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
    let prefix: Vec<u8> =
        (0..prefix.len()).step_by(2).map(|i| u8::from_str_radix(&prefix[i..i + 2], 16).unwrap()).collect();
    let der = [prefix, point.clone()].concat();
    let base64 = STANDARD.encode(&der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n", &base64[..64], &base64[64..]);
    let blob = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let ssh = [blob(b"ecdsa-sha2-nistp256"), blob(b"nistp256"), blob(&point)].concat();
    let ssh = format!("ecdsa-sha2-nistp256 {}", STANDARD.encode(ssh));
    for (form, key) in [
        ("PEM", pem.as_bytes().to_vec()),
        ("PEM without its last line end", pem.trim_end().as_bytes().to_vec()),
        ("DER", der),
        ("point", point),
        ("JWK", jwk.to_string().into_bytes()),
        ("SSH", ssh.into_bytes()),
        ("kid", token.header["kid"].as_str().unwrap().as_bytes().to_vec()),
        ("nothing", Vec::new()),
    ] {
        let mut header = token.header.clone();
        header["alg"] = json!("HS256");
        let message = format!("{}.{}", encode(&header.to_string()), token.part(1));
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), message.as_bytes());
        token.refused(form, &format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac)));
    }
}

#[test]
fn signatures_that_are_none() {
    let token = Victim::new();
    let good = token.part(2);
    for (attack, signature) in [
        ("empty", String::new()),
        ("r = s = 0", URL_SAFE_NO_PAD.encode([0; 64])),
        ("r = s = n", URL_SAFE_NO_PAD.encode([order(), order()].concat())),
        ("null of JSON", encode("null")),
        ("all ones", URL_SAFE_NO_PAD.encode([255; 64])),
        ("null", "null".to_owned()),
        ("cut", good[..good.len() - 2].to_owned()),
        ("longer", format!("{good}AA")),
        ("twice", format!("{good}{good}")),
        ("DER", URL_SAFE_NO_PAD.encode([0x30, 6, 2, 1, 0, 2, 1, 0])),
        ("padded", format!("{good}=")),
        ("another's", Victim::new().part(2).to_owned()),
    ] {
        token.refused(attack, &token.with_signature(&signature));
    }
    // Only two bits of the last character are significant: a lenient decoder accepts 15 other characters for the same
    // signature.
    let (rest, last) = good.split_at(good.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for other in alphabet.split_once(last).unwrap().1.chars().take(15) {
        token.refused("stray bits", &token.with_signature(&format!("{rest}{other}")));
    }
}

/// A key that is not Latchkey's.
struct Foreign(EcdsaKeyPair);

impl Foreign {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(&header.to_string()), encode(&claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn jwk(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
    }
}

#[test]
fn a_foreign_key_under_our_kid() {
    let token = Victim::new();
    let foreign = Foreign::new();
    let mut admin = token.claims.clone();
    admin["roles"] = json!(["admin"]);
    for claims in [&token.claims, &admin] {
        token.refused("our kid", &foreign.sign(&token.header, claims));
        for (name, value) in [
            ("jwk", foreign.jwk()),
            ("jku", json!("https://attacker.example/keys")),
            ("x5u", json!("https://attacker.example/certificate")),
            ("kid", json!("A".repeat(43))),
            ("kid", json!("../../dev/null")),
        ] {
            let mut header = token.header.clone();
            header[name] = value;
            token.refused(name, &foreign.sign(&header, claims));
        }
    }
}

#[test]
fn keys_of_the_senders_choice() {
    let token = Victim::new();
    let jwk = token.public_key();
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("https://attacker.example/keys")),
        ("x5u", json!("https://attacker.example/certificate")),
        ("x5c", json!(["AAAA"])),
        ("x5t", json!("AAAA")),
        ("jwk", json!(null)),
    ] {
        token.refused(name, &token.with_header_member(name, value));
    }
    for kid in [
        json!("../../dev/null"),
        json!("' OR 1=1 --"),
        json!("|cat /etc/passwd"),
        json!(format!("../../dev/null{}", "A".repeat(29))),
        json!(format!("' OR 1=1 --{}", "A".repeat(32))),
        json!(format!("{} ", token.header["kid"].as_str().unwrap())),
        json!(""),
        json!(1),
        json!(null),
        json!(["a"]),
        json!("A".repeat(43)),
        json!("x".repeat(5000)),
    ] {
        token.refused("kid", &token.with_header_member("kid", kid));
    }
    let mut header = token.header.clone();
    header.as_object_mut().unwrap().shift_remove("kid");
    token.refused("no kid", &token.with_header(&header.to_string()));
}

#[test]
fn extensions_and_types_that_are_not_understood() {
    let token = Victim::new();
    for (name, value) in [
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!("exp")),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("p2c", json!(2_000_000_000)),
        ("cty", json!("JWT")),
        ("unknown", json!(1)),
        ("typ", json!("JWT")),
        ("typ", json!("at+JWT")),
        ("typ", json!("application/at+jwt")),
        ("typ", json!(null)),
    ] {
        token.refused(name, &token.with_header_member(name, value));
    }
    // RFC 7797: the payload is not encoded, and `crit` says so.
    let unencoded = token.header.to_string().replacen('{', r#"{"b64":false,"crit":["b64"],"#, 1);
    token.refused("b64 and crit", &token.with_header(&unencoded));
    for header in ["[]", "null", "1", "\"\"", "{}", "{", "\u{feff}{}", "{} {}", "{\"alg\":\"ES256\"}x"] {
        token.refused(header, &token.with_header(header));
    }
}

#[test]
fn forms_that_are_none() {
    let token = Victim::new();
    let good = &token.token;
    let jwe = |header: &str| format!("{}.AAAA.AAAA.AAAA.AAAA", encode(header));
    let deep_crit = format!("{{\"crit\":{}{},", "[".repeat(1500), "]".repeat(1500));
    for (attack, spoilt) in [
        ("JWE", format!("{good}.AAAA.AAAA")),
        ("JWE, p2c", jwe(r#"{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647,"p2s":"AAAA"}"#)),
        ("JWE, zip", jwe(r#"{"alg":"dir","enc":"A256GCM","zip":"DEF"}"#)),
        ("four parts", format!("{good}.")),
        ("two parts", good.rsplit_once('.').unwrap().0.to_owned()),
        ("dots", ".".repeat(7000)),
        ("deep", token.with_header(&"[".repeat(4000))),
        ("deep and skipped", token.with_header(&token.header.to_string().replacen('{', &deep_crit, 1))),
        ("too long", format!("{good}{}", "A".repeat(8192))),
        ("plus and slash", format!("{}+/", &good[..good.len() - 2])),
        ("no token at all", "null".to_owned()),
    ] {
        token.refused(attack, &spoilt);
    }
    // API Gateway accepts no header of that size: it answers an error, or closes the connection.
    let long_kid = token.with_header_member("kid", json!("A".repeat(64 * 1024)));
    for value in [long_kid, ".".repeat(1_000_000)] {
        too_large(&value);
    }
    assert_eq!(token.client.get("/me", good).status, 200, "it goes on");
}

/// A request with a token that no gateway passes on.
fn too_large(token: &str) {
    let host = e2e::local::variable("LATCHKEY_BASE_URL").strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&host).unwrap();
    let sent = write!(stream, "GET /me HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n");
    let mut status = [0; 10];
    let answered = sent.and_then(|()| stream.read_exact(&mut status));
    assert!(answered.is_err() || status.starts_with(b"HTTP/1.1 4"), "{status:?}");
}

#[test]
fn claims_of_the_senders_choice() {
    let token = Victim::new();
    for (name, value) in [
        ("exp", json!("4000000000")),
        ("exp", json!(null)),
        ("exp", json!(-1)),
        ("exp", json!(1e30)),
        ("exp", json!(4_000_000_000.5)),
        ("exp", json!(u64::MAX)),
        ("iat", json!(4_000_000_000_u64)),
        ("nbf", json!("0")),
        ("nbf", json!(null)),
        ("nbf", json!(4_000_000_000_u64)),
        ("aud", json!(123)),
        ("aud", json!(null)),
        ("aud", json!({})),
        ("aud", json!(["latchkey"])),
        ("iss", json!([token.claims["iss"]])),
        ("iss", json!(format!("{}.attacker.example", token.claims["iss"].as_str().unwrap()))),
        ("roles", json!(["admin"])),
        ("username", json!("admin")),
        ("epoch", json!(1_000_000)),
        ("scope", json!("admin")),
    ] {
        token.refused(name, &token.with_claim(name, value));
    }
    for name in ["exp", "iat", "nbf", "aud", "iss", "sub", "jti", "sid", "epoch"] {
        let mut claims = token.claims.clone();
        claims.as_object_mut().unwrap().shift_remove(name);
        token.refused(name, &token.with_claims(&claims.to_string()));
    }
    let text = token.claims.to_string();
    for (name, value) in token.claims.as_object().unwrap() {
        token.refused(name, &token.with_claims(&text.replacen('{', &format!("{{\"{name}\":{value},"), 1)));
    }
    let not_utf_8 = [&text.as_bytes()[..text.len() - 1], b",\"\xff\":1}"].concat();
    let not_utf_8 = format!("{}.{}.{}", token.part(0), URL_SAFE_NO_PAD.encode(not_utf_8), token.part(2));
    token.refused("not UTF-8", &not_utf_8);
    for claims in
        [format!("[{text}]"), format!("\u{feff}{text}"), format!("{text} "), format!("{text}{text}"), "[]".to_owned()]
    {
        token.refused(&claims, &token.with_claims(&claims));
    }
}

#[test]
fn a_refresh_token_as_an_access_token_and_the_reverse() {
    let token = Victim::new();
    token.refused("a refresh token", &token.client.tokens(ALICE).refresh);
    let answer = token.client.refresh(&token.token);
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_grant")), "{answer:?}");
}

/// The order of P-256 (FIPS 186-5).
fn order() -> Vec<u8> {
    URL_SAFE_NO_PAD.decode("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE").unwrap()
}

/// The order of P-256, less a number below it.
fn negated(number: &[u8]) -> Vec<u8> {
    let order = order();
    let mut borrow = 0;
    let mut result = vec![0; 32];
    for i in (0..32).rev() {
        let difference = i16::from(order[i]) - i16::from(number[i]) - borrow;
        borrow = i16::from(difference < 0);
        result[i] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    result
}

#[test]
fn a_revoked_token_with_the_other_signature_that_fits_is_revoked_too() {
    let token = Victim::new();
    let signature = URL_SAFE_NO_PAD.decode(token.part(2)).unwrap();
    let (r, s) = signature.split_at(32);
    // If (r, s) fits, (r, n - s) does too: it is the same token in another spelling.
    let other = token.with_signature(&URL_SAFE_NO_PAD.encode([r, &negated(s)].concat()));
    assert_eq!(token.client.get("/me", &other).status, 200);
    assert_eq!(token.client.post("/logout", &token.token).status, 204);
    token.refused("(r, n - s)", &other);
}

#[test]
fn authorizations_that_are_not_exactly_one() {
    let token = Victim::new();
    let good = &token.token;
    let send = |headers: &[(&str, &str)], path: &str| -> Answer { token.client.send("GET", path, headers, "") };
    let bearer = format!("Bearer {good}");
    for (name, value) in [("AUTHORIZATION", bearer.clone()), ("authorization", format!("bearer {good}"))] {
        assert_eq!(send(&[(name, &value)], "/me").status, 200, "{name}: {value}");
    }
    let forbidden = (403, json!({ "message": "Forbidden" }));
    for value in [
        format!("Bearer  {good}"),
        format!("Bearer\t{good}"),
        format!("Bearer {good},Bearer {good}"),
        format!("Bearer {good}, Bearer {good}"),
        format!("Basic {good}"),
        format!("Bearer{good}"),
        good.clone(),
    ] {
        assert_eq!(send(&[("authorization", &value)], "/me").status_and_json(), forbidden, "{value:?}");
    }
    let twice = send(&[("authorization", &bearer), ("authorization", &bearer)], "/me");
    assert_eq!(twice.status_and_json(), forbidden, "two headers");
    let query = send(&[("authorization", &bearer)], &format!("/me?access_token={good}"));
    assert_eq!(query.status_and_json(), forbidden, "in the query as well");
    let unauthorized = (401, json!({ "message": "Unauthorized" }));
    assert_eq!(send(&[], &format!("/me?access_token={good}")).status_and_json(), unauthorized, "in the query alone");
    for name in ["x-authorization", "x-forwarded-authorization", "cookie"] {
        assert_eq!(send(&[(name, &bearer)], "/me").status_and_json(), unauthorized, "{name}");
    }
}

#[test]
fn other_spellings_of_a_path_reach_nothing_without_a_token() {
    let token = Victim::new();
    for path in
        ["/me/", "//me", "/%6de", "/me;x", "/ME", "/me%2f", "/./me", "/x/../me", "/me%00", "/$default/me", "/prod/me"]
    {
        let without = token.client.send("GET", path, &[], "");
        assert!([400, 401, 403, 404].contains(&without.status), "{path}: {without:?}");
        assert!(!without.body.contains("alice"), "{path}");
    }
}
