//! Where the functions find DynamoDB: DynamoDB Local for warm calls, and for cold starts a stand-in that speaks TLS,
//! which DynamoDB Local does not. The stand-in returns the responses of DynamoDB Local, cached after the first call, so
//! that the function's handshake is measured and not Java.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use local_stack::dynamodb_local::{DynamoDbLocal, Storage};
use local_stack::functions::aws_environment;
use local_stack::install::Tools;
use local_stack::process::{command, run_logged};
use local_stack::{stack, tables, workspace};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sam_template::Template;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::Anything;

/// The stack's name.
const STACK: &str = "bench";
/// The tables of the peers.
pub(crate) const PEER_DENYLIST: &str = "bench-peer-denylist";
pub(crate) const PEER_USERS: &str = "bench-peer-users";
/// The key that seals private keys. It seals nothing but this run's.
const SEALING_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Where systems keep their root certificates: Debian, and Amazon Linux as in Lambda.
const BUNDLES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// DynamoDB, twice, with the template's tables, keys and demo users.
pub(crate) struct Endpoints {
    _dynamodb: DynamoDbLocal,
    pub(crate) template: Template,
    /// DynamoDB Local.
    pub(crate) plain: String,
    /// The stand-in.
    pub(crate) tls: String,
    /// The stand-in's root alone.
    pub(crate) root: PathBuf,
    /// It and Amazon's five: the file of our functions.
    pub(crate) amazon_roots: PathBuf,
    /// It and the system's: the SDK's default.
    pub(crate) system_roots: PathBuf,
}

impl Endpoints {
    pub(crate) async fn start(output: &Path) -> Result<Self, Anything> {
        let tools = Tools::find_or_install()?;
        let dynamodb = DynamoDbLocal::start(&tools, Storage::Memory, output.join("dynamodb.log"))?;
        let plain = dynamodb.endpoint();
        // All calls come from one address, and many unknown names fail.
        let parameters = [("FreeAttemptsPerAddress".to_owned(), "1000000".to_owned())].into();
        let template = stack::template(STACK, &parameters)?;
        tables::create(&plain, &template)?;
        let mut environment: HashMap<String, String> =
            aws_environment(&plain).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        for function in template.functions()? {
            environment.extend(template.environment(&function.logical_id)?);
        }
        environment.remove("LATCHKEY_KMS_KEY_ID");
        environment.insert("LATCHKEY_SEALING_KEY".to_owned(), SEALING_KEY.to_owned());
        for arguments in [&["keys", "init"][..], &["demo-users"]] {
            let mut latchkey = command(workspace::binary("latchkey"));
            latchkey.args(arguments).envs(&environment);
            run_logged("latchkey", latchkey, &output.join("latchkey.log"))?;
        }
        peer_tables(&plain, &environment)?;

        let (root, acceptor) = certificate()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let tls = format!("https://localhost:{}", listener.local_addr()?.port());
        let stand_in = Arc::new(StandIn::new(plain.clone()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (acceptor, stand_in) = (acceptor.clone(), Arc::clone(&stand_in));
                tokio::spawn(async move {
                    // A client that closes the connection early has been measured.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let stand_in = Arc::clone(&stand_in);
                        async move { Ok::<_, Infallible>(stand_in.answer(request).await) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });

        let amazon = fs::read_to_string(workspace::root().join("auth/src/store/amazon_roots.pem"))?;
        let system = BUNDLES.iter().find_map(|path| fs::read_to_string(path).ok());
        let write = |name: &str, text: String| -> Result<PathBuf, Anything> {
            let path = output.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        Ok(Self {
            amazon_roots: write("amazon-roots.pem", format!("{amazon}{root}"))?,
            system_roots: write("system-roots.pem", format!("{}{root}", system.as_deref().unwrap_or(&amazon)))?,
            root: write("root.pem", root)?,
            _dynamodb: dynamodb,
            template,
            plain,
            tls,
        })
    }

    /// The environment of one of our functions.
    pub(crate) fn variables(
        &self,
        logical_id: &str,
        endpoint: &str,
    ) -> Result<std::collections::BTreeMap<String, String>, Anything> {
        let mut variables = self.template.environment(logical_id)?;
        if variables.remove("LATCHKEY_KMS_KEY_ID").is_some() {
            variables.insert("LATCHKEY_SEALING_KEY".to_owned(), SEALING_KEY.to_owned());
        }
        variables.extend(aws_environment(endpoint).into_iter().map(|(name, value)| (name.to_owned(), value)));
        variables.insert("SSL_CERT_FILE".to_owned(), self.amazon_roots.display().to_string());
        Ok(variables)
    }
}

/// The peers' tables, and in them the user that they log in, with the hash that Latchkey has of the password.
fn peer_tables(endpoint: &str, environment: &HashMap<String, String>) -> Result<(), Anything> {
    let ask = |operation, request: &Value| -> Result<Value, Anything> {
        match tables::call(endpoint, operation, request)? {
            (200, answer) => Ok(answer),
            (status, answer) => Err(format!("{operation}: {status}: {answer}").into()),
        }
    };
    for (table, key) in [(PEER_DENYLIST, "jti"), (PEER_USERS, "username")] {
        ask(
            "CreateTable",
            &json!({
                "TableName": table,
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{ "AttributeName": key, "AttributeType": "S" }],
                "KeySchema": [{ "AttributeName": key, "KeyType": "HASH" }],
            }),
        )?;
    }
    let users = environment.get("USERS_TABLE_NAME").ok_or("the template has no table of users")?;
    let alice = ask("GetItem", &json!({ "TableName": users, "Key": { "username": { "S": "alice" } } }))?;
    let item = json!({ "username": { "S": "alice" }, "hash": alice["Item"]["password_hash"] });
    ask("PutItem", &json!({ "TableName": PEER_USERS, "Item": item }))?;
    Ok(())
}

/// A root, and a certificate of its for `localhost`.
fn certificate() -> Result<(String, TlsAcceptor), Anything> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // A name of its own: a certificate with its issuer's name would be treated as self-signed.
    params.distinguished_name.push(DnType::CommonName, "the bench's root");
    let key = KeyPair::generate()?;
    let root = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let own_key = KeyPair::generate()?;
    let own = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&own_key, &issuer)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], private)?;
    Ok((root, TlsAcceptor::from(Arc::new(config))))
}

/// The responses of DynamoDB Local, by request.
struct StandIn {
    upstream: String,
    client: Client<HttpConnector, Full<Bytes>>,
    answers: Mutex<HashMap<String, (StatusCode, Bytes)>>,
}

impl StandIn {
    fn new(upstream: String) -> Self {
        Self { upstream, client: Client::builder(TokioExecutor::new()).build_http(), answers: Mutex::default() }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, body) = self.find(request).await.unwrap_or_else(|error| {
            eprintln!("bench: the stand-in has no answer: {error}");
            (StatusCode::BAD_GATEWAY, Bytes::new())
        });
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        response
    }

    async fn find(&self, request: Request<Incoming>) -> Result<(StatusCode, Bytes), Anything> {
        let (mut parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let question = question(target, &serde_json::from_slice(&body)?);
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&question).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        parts.uri = self.upstream.parse()?;
        parts.headers.remove(hyper::header::HOST);
        let response = self.client.request(Request::from_parts(parts, Full::from(body))).await?;
        let answer = (response.status(), response.into_body().collect().await?.to_bytes());
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(question, answer.clone());
        Ok(answer)
    }
}

/// The identity of a request: everything except the time in it.
fn question(target: &str, body: &Value) -> String {
    let mut values = body["ExpressionAttributeValues"].clone();
    if let Some(values) = values.as_object_mut() {
        values.remove(":now");
    }
    format!("{target} {} {} {values}", body["TableName"], body["Key"])
}
