//! A client that knows nothing of Latchkey but its HTTP contract.
//!
//! Tests run against the base URL in `LATCHKEY_BASE_URL`, which `cargo xtask test` sets to a stack of its own; any
//! other deployment with the users [`ALICE`] and [`ADMIN`] works too.

pub mod deployment;
pub mod local;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use ureq::http::{HeaderMap, Request};
use ureq::{Agent, RequestExt as _};

/// A user with the role `user`: name and password.
pub const ALICE: (&str, &str) = ("alice", "password");
/// A user with the role `admin`: name and password.
pub const ADMIN: (&str, &str) = ("admin", "password");

/// Longer than any response may take: a test fails instead of hanging.
const TIMEOUT: Duration = Duration::from_secs(40);

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    pub headers: HeaderMap,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Status and body, to be compared as one.
    #[must_use]
    pub fn status_and_json(&self) -> (u16, Value) {
        (self.status, self.json())
    }

    /// A header's value, if it is there once and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Talks to one deployment.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    base_url: String,
}

impl Client {
    /// The deployment that the environment names.
    ///
    /// # Panics
    /// It names none.
    #[must_use]
    pub fn from_env() -> Self {
        let base_url = std::env::var("LATCHKEY_BASE_URL")
            .expect("LATCHKEY_BASE_URL is not set: run `cargo xtask test`, or set it to the URL of a deployment");
        Self::new(&base_url)
    }

    /// The deployment at a URL.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .proxy(None)
            .build()
            .into();
        Self { agent, base_url: base_url.trim_end_matches('/').to_owned() }
    }

    /// Sends a request and reads the answer.
    ///
    /// # Panics
    /// There is no answer.
    #[must_use]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base_url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a test sent an invalid request");
        let mut response = request
            .with_agent(&self.agent)
            .configure()
            .allow_non_standard_methods(true)
            .run()
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.body_mut().read_to_string().expect("the answer's body is no text"),
        }
    }

    /// `GET` with an access token.
    #[must_use]
    pub fn get(&self, path: &str, access_token: &str) -> Answer {
        self.send("GET", path, &[("authorization", &format!("Bearer {access_token}"))], "")
    }

    /// `POST` without a body, with an access token.
    #[must_use]
    pub fn post(&self, path: &str, access_token: &str) -> Answer {
        self.send("POST", path, &[("authorization", &format!("Bearer {access_token}"))], "")
    }

    /// `POST` of a JSON body, with an access token.
    #[must_use]
    pub fn post_json(&self, path: &str, access_token: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {access_token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        self.send("POST", path, &headers, body.to_string())
    }

    /// `POST` of a form, with an access token where one is given.
    #[must_use]
    pub fn post_form(&self, path: &str, access_token: Option<&str>, parameters: &[(&str, &str)]) -> Answer {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(parameters);
        let authorization = access_token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        self.send("POST", path, &headers, form.finish())
    }

    /// `POST /token` with a refresh token.
    #[must_use]
    pub fn refresh(&self, refresh_token: &str) -> Answer {
        self.post_form("/token", None, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
    }

    /// `DELETE` with an access token.
    #[must_use]
    pub fn delete(&self, path: &str, access_token: &str) -> Answer {
        self.send("DELETE", path, &[("authorization", &format!("Bearer {access_token}"))], "")
    }

    /// `POST /login` with this body.
    #[must_use]
    pub fn login_with_body(&self, body: impl Into<Vec<u8>>) -> Answer {
        self.send("POST", "/login", &[("content-type", "application/json")], body)
    }

    /// `POST /login` with this name and password.
    #[must_use]
    pub fn login(&self, username: &str, password: &str) -> Answer {
        self.login_with_body(json!({ "username": username, "password": password }).to_string())
    }

    /// The tokens of a new session.
    ///
    /// # Panics
    /// The login is refused.
    #[must_use]
    pub fn tokens(&self, (username, password): (&str, &str)) -> Tokens {
        Tokens::of(&self.login(username, password))
    }

    /// An access token of a new session.
    ///
    /// # Panics
    /// The login is refused.
    #[must_use]
    pub fn access_token(&self, credentials: (&str, &str)) -> String {
        self.tokens(credentials).access
    }
}

/// The tokens that a client gets for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

impl Tokens {
    /// The tokens in a response.
    ///
    /// # Panics
    /// It hands out none.
    #[must_use]
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        let json = answer.json();
        let text = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("no {name}")).to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }

    /// The session's id.
    ///
    /// # Panics
    /// The access token has none.
    #[must_use]
    pub fn sid(&self) -> String {
        unverified(&self.access).1["sid"].as_str().expect("sid is a string").to_owned()
    }
}

/// The header and the claims of a token, not verified.
///
/// # Panics
/// It is no token.
#[must_use]
pub fn unverified(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| {
        let json = URL_SAFE_NO_PAD.decode(part).expect("base64url");
        serde_json::from_slice(&json).unwrap_or(Value::Null)
    });
    (parts.next().expect("a header"), parts.next().expect("claims"))
}
