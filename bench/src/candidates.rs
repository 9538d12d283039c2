//! The candidates: the deployed functions and their peers, each with its event.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::body::Bytes;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use lambda_host::{Environment, Function};
use local_stack::package::{BENCHED, WEIGHED};
use local_stack::workspace;
use serde::Serialize;
use serde_json::{Value, json};

use crate::Anything;
use crate::endpoints::{Endpoints, PEER_DENYLIST, PEER_USERS};

/// The secret of the peers' tokens.
const PEER_SECRET: &str = "a secret of the peers, of more than thirty-two bytes";

/// A function and its events.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) name: &'static str,
    pub(crate) function: Function,
    pub(crate) events: Events,
}

/// The events of a function, and how to recognise a correct response.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    template: Value,
    /// Whether each has a user's name of its own.
    unknown_users: bool,
    /// A part of every correct response.
    mark: &'static str,
}

impl Events {
    /// The event of this number.
    pub(crate) fn get(&self, number: usize) -> Bytes {
        let mut event = self.template.clone();
        if self.unknown_users {
            event["body"] =
                json!(json!({ "username": format!("nobody-{number}"), "password": "password" }).to_string());
        }
        Bytes::from(event.to_string())
    }

    /// # Errors
    /// The answer is another.
    pub(crate) fn check(&self, name: &str, answer: &[u8]) -> Result<(), Anything> {
        let text = String::from_utf8_lossy(answer);
        if text.contains(self.mark) { Ok(()) } else { Err(format!("{name} answered {text}").into()) }
    }
}

/// The bytes that are deployed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    /// `arm64` or `x86_64`.
    pub(crate) processor: String,
    /// Whether it is for the processor of the template.
    pub(crate) is_deployed: bool,
    pub(crate) archive_bytes: u64,
    pub(crate) bootstrap_bytes: u64,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Candidates {
    /// With DynamoDB over TLS.
    pub(crate) cold: Vec<Candidate>,
    /// With DynamoDB Local.
    pub(crate) warm: Vec<Candidate>,
    /// What hashes a password.
    pub(crate) hashing: Vec<Candidate>,
    /// The functions of the whole path.
    pub(crate) path: Vec<Function>,
}

impl Candidates {
    pub(crate) async fn new(packages: &Path, peers: &Path, endpoints: &Endpoints) -> Result<Self, Anything> {
        let ours = |binary: &str, endpoint: &str| -> Result<Function, Anything> {
            let functions = endpoints.template.functions()?;
            let function = functions
                .into_iter()
                .find(|function| function.binary == binary)
                .ok_or_else(|| format!("the template has no function {binary}"))?;
            Ok(Function {
                name: binary.to_owned(),
                program: bootstrap(packages, binary),
                arguments: Vec::new(),
                variables: endpoints.variables(&function.logical_id, endpoint)?,
                memory_megabytes: 1769,
                timeout_seconds: 30,
            })
        };
        let peer = |name: &str, program: PathBuf, script: Option<PathBuf>, endpoint: &str| {
            let mut variables: BTreeMap<String, String> = local_stack::functions::aws_environment(endpoint)
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            for (name, value) in [
                ("JWT_SECRET", PEER_SECRET.to_owned()),
                ("DENYLIST_TABLE_NAME", PEER_DENYLIST.to_owned()),
                ("PEER_USERS_TABLE_NAME", PEER_USERS.to_owned()),
                ("SSL_CERT_FILE", endpoints.system_roots.display().to_string()),
                // Node.js has roots of its own; this adds one.
                ("NODE_EXTRA_CA_CERTS", endpoints.root.display().to_string()),
            ] {
                variables.insert(name.to_owned(), value);
            }
            Function {
                name: name.to_owned(),
                program,
                arguments: script.iter().map(|script| script.display().to_string()).collect(),
                variables,
                memory_megabytes: 1769,
                timeout_seconds: 60,
            }
        };
        let node = which("node").ok_or("Node.js is not on PATH")?;
        let script = |name: &str| peers.join("node").join(format!("{name}.js"));

        let login = event("login-ok")?;
        let unknown = Events { template: login.clone(), unknown_users: true, mark: "\"statusCode\":401" };
        let known = Events { template: login, unknown_users: false, mark: "\"statusCode\":200" };
        let access = access_token(&ours("login", &endpoints.plain)?, &known).await?;
        let authorize = |token: &str| -> Result<Events, Anything> {
            let text = event("authorizer-good")?.to_string().replace("ACCESS_TOKEN", token);
            Ok(Events { template: serde_json::from_str(&text)?, unknown_users: false, mark: "\"isAuthorized\":true" })
        };
        let anything = Events { template: json!({}), unknown_users: false, mark: "{}" };
        let peer_events = authorize(&peer_token()?)?;
        let authorizers = |endpoint: &str| -> Result<Vec<Candidate>, Anything> {
            Ok(vec![
                Candidate {
                    name: "empty bootstrap",
                    function: peer("empty", peers.join("empty"), None, endpoint),
                    events: anything.clone(),
                },
                Candidate { name: "authorizer", function: ours("authorizer", endpoint)?, events: authorize(&access)? },
                Candidate {
                    name: "tutorial authorizer",
                    function: peer("tutorial", peers.join("tutorial"), None, endpoint),
                    events: peer_events.clone(),
                },
                Candidate {
                    name: "Node.js authorizer",
                    function: peer("node", node.clone(), Some(script("authorizer")), endpoint),
                    events: peer_events.clone(),
                },
            ])
        };
        let plain = endpoints.plain.as_str();
        let hashing = vec![
            Candidate { name: "login", function: ours("login", plain)?, events: known.clone() },
            Candidate { name: "login, unknown user", function: ours("login", plain)?, events: unknown },
            Candidate {
                name: "Node.js login",
                function: peer("node-login", node.clone(), Some(script("login")), plain),
                events: known,
            },
        ];
        let path = BENCHED.iter().map(|binary| ours(binary, plain)).collect::<Result<_, _>>()?;
        Ok(Self { cold: authorizers(&endpoints.tls)?, warm: authorizers(plain)?, hashing, path })
    }
}

/// The sizes of the archives: of the functions that run here, and of those that are deployed.
pub(crate) fn sizes(packages: &Path, deployed: &Path) -> Result<Vec<Size>, Anything> {
    let here = BENCHED.map(|name| (packages, name));
    let there = WEIGHED.map(|name| (deployed, name));
    let all =
        there.into_iter().chain(here.into_iter().filter(|(_, name)| packages != deployed || !WEIGHED.contains(name)));
    all.map(|(directory, name)| {
        Ok(Size {
            name,
            processor: directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            is_deployed: directory == deployed,
            archive_bytes: fs::metadata(directory.join(name).join("bootstrap.zip"))?.len(),
            bootstrap_bytes: fs::metadata(bootstrap(directory, name))?.len(),
        })
    })
    .collect()
}

fn bootstrap(packages: &Path, binary: &str) -> PathBuf {
    packages.join(binary).join("unpacked/bootstrap")
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

fn event(name: &str) -> Result<Value, Anything> {
    let file = workspace::root().join("events").join(format!("{name}.json"));
    Ok(serde_json::from_str(&fs::read_to_string(file)?)?)
}

/// An access token from the login that is deployed.
async fn access_token(login: &Function, events: &Events) -> Result<String, Anything> {
    let mut environment = Environment::start_silently(login).await?;
    let answer = environment.invoke(events.get(0)).await?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default())?;
    Ok(body["access_token"].as_str().ok_or_else(|| format!("the login answered {answer}"))?.to_owned())
}

#[allow(clippy::disallowed_methods, reason = "the token expires too early")]
fn peer_token() -> Result<String, Anything> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = json!({ "sub": "alice", "jti": "a-token-of-a-peer", "iat": now, "exp": now + 86_400 });
    let key = EncodingKey::from_secret(PEER_SECRET.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}
