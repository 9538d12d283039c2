//! The whole path under load: gateway, authorizer and a protected function, several processes of each, DynamoDB Local.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use local_stack::gateway::Gateway;
use local_stack::process::{Supervised, command};
use local_stack::{port, workspace};
use serde::Serialize;
use serde_json::{Value, json};

use crate::candidates::Candidates;
use crate::statistics::{median, percentile};
use crate::{Anything, Effort, progress};

/// Clients at once.
const CONCURRENCY: [usize; 4] = [1, 4, 16, 64];
/// Clients of the mixed load.
const MIXED_CLIENTS: usize = 16;
/// Processes of a function at once.
const PROCESSES: usize = 4;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What a load found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Load {
    pub(crate) name: String,
    pub(crate) clients: usize,
    pub(crate) requests: usize,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Wrong responses.
    pub(crate) wrong: usize,
    /// Memory of all functions' processes in the second fifth of the time and in the last: the middle of what was seen
    /// there.
    pub(crate) rss_bytes: Option<(u64, u64)>,
}

pub(crate) async fn run(candidates: &Candidates, output: &Path, effort: Effort) -> Result<Vec<Load>, Anything> {
    let functions = output.join("functions.json");
    let list: Vec<Value> = candidates
        .path
        .iter()
        .map(|function| {
            json!({
                "name": function.name, "program": function.program, "variables": function.variables,
                "memory_megabytes": function.memory_megabytes, "timeout_seconds": function.timeout_seconds,
            })
        })
        .collect();
    std::fs::write(&functions, json!(list).to_string())?;
    let invoke = port::free()?;
    let mut host = command(workspace::binary("lambda-host"));
    host.arg("--functions").arg(&functions).args(["--port", &invoke.to_string()]);
    host.args(["--concurrency", &PROCESSES.to_string()]);
    let mut host = Supervised::start("lambda-host", host, &output.join("functions.log"))?;
    host.wait_until(Duration::from_secs(20), || port::is_answered(invoke))?;
    let url = format!("http://127.0.0.1:{invoke}");
    let gateway = Gateway::start("bench", &std::collections::BTreeMap::new(), &url, port::free()?, None, output)?;
    let api = Arc::new(Api::new(gateway.base_url()));

    let mut loads = Vec::new();
    for clients in CONCURRENCY {
        progress(&format!("  {clients} at once, {} s", effort.load_seconds));
        loads.push(drive(&api, "authorize and answer", clients, effort.load_seconds, Kind::Authorize, None).await?);
    }
    progress(&format!("  90 % authorize, 8 % refresh, 2 % login: {} s", effort.mixed_seconds));
    let pid = Some(host.pid());
    loads.push(drive(&api, "mixed", MIXED_CLIENTS, effort.mixed_seconds, Kind::Mixed, pid).await?);
    Ok(loads)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Authorize,
    /// 90 % authorize, 8 % refresh, 2 % login.
    Mixed,
}

struct Api {
    base_url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Api {
    fn new(base_url: String) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { base_url, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        content_type: &str,
        body: String,
    ) -> Result<(StatusCode, Value), Anything> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base_url));
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.header(CONTENT_TYPE, content_type).body(Full::from(body))?;
        let response = self.client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    async fn log_in(&self) -> Result<Session, Anything> {
        let body = json!({ "username": "alice", "password": "password" }).to_string();
        let (status, answer) = self.send(Method::POST, "/login", None, "application/json", body).await?;
        Session::of(status, &answer)
    }

    async fn refresh(&self, session: &Session) -> Result<Session, Anything> {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("grant_type", "refresh_token"), ("refresh_token", session.refresh.as_str())])
            .finish();
        let (status, answer) =
            self.send(Method::POST, "/token", None, "application/x-www-form-urlencoded", form).await?;
        Session::of(status, &answer)
    }

    async fn me(&self, session: &Session) -> Result<(), Anything> {
        let (status, answer) =
            self.send(Method::GET, "/me", Some(&session.access), "application/json", String::new()).await?;
        if status == StatusCode::OK && answer["username"] == "alice" {
            Ok(())
        } else {
            Err(format!("GET /me: {status} {answer}").into())
        }
    }
}

struct Session {
    access: String,
    refresh: String,
}

impl Session {
    fn of(status: StatusCode, answer: &Value) -> Result<Self, Anything> {
        match (answer["access_token"].as_str(), answer["refresh_token"].as_str()) {
            (Some(access), Some(refresh)) if status == StatusCode::OK => {
                Ok(Self { access: access.to_owned(), refresh: refresh.to_owned() })
            }
            _ => Err(format!("{status} without tokens: {}", answer["error"]).into()),
        }
    }
}

/// The result of one client: the duration of each request, and the errors.
#[derive(Default)]
struct Seen {
    took_ms: Vec<f64>,
    wrong: Vec<String>,
}

async fn drive(
    api: &Arc<Api>,
    name: &str,
    clients: usize,
    seconds: u64,
    kind: Kind,
    host: Option<u32>,
) -> Result<Load, Anything> {
    // Everything has started before the time begins.
    let first = api.log_in().await?;
    api.me(&first).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (api, stop) = (Arc::clone(api), Arc::clone(&stop));
            tokio::spawn(async move { client(&api, &stop, kind).await })
        })
        .collect();
    let mut memory = Vec::new();
    let ends = begun + Duration::from_secs(seconds);
    while Instant::now() < ends {
        tokio::time::sleep(LOOK.min(ends.saturating_duration_since(Instant::now()))).await;
        if let Some(host) = host {
            memory.push(resident_bytes_below(host));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut all = Seen::default();
    for task in tasks {
        let seen = task.await??;
        all.took_ms.extend(seen.took_ms);
        all.wrong.extend(seen.wrong);
    }
    let elapsed = begun.elapsed().as_secs_f64();
    for wrong in all.wrong.iter().take(5) {
        eprintln!("bench: wrong under load: {wrong}");
    }
    #[allow(clippy::cast_precision_loss, reason = "a number of requests is far below 2^52")]
    let requests_per_second = all.took_ms.len() as f64 / elapsed;
    Ok(Load {
        name: name.to_owned(),
        clients,
        requests: all.took_ms.len(),
        requests_per_second,
        p50_ms: median(&all.took_ms),
        p99_ms: percentile(&all.took_ms, 0.99),
        wrong: all.wrong.len(),
        rss_bytes: growth(&memory),
    })
}

async fn client(api: &Api, stop: &AtomicBool, kind: Kind) -> Result<Seen, Anything> {
    let mut session = api.log_in().await?;
    let mut seen = Seen::default();
    for turn in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        let answered = match (kind, turn % 50) {
            (Kind::Mixed, 0) => api.log_in().await.map(|new| session = new),
            (Kind::Mixed, 10 | 20 | 30 | 40) => api.refresh(&session).await.map(|new| session = new),
            _ => api.me(&session).await,
        };
        seen.took_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        if let Err(error) = answered {
            seen.wrong.push(error.to_string());
        }
    }
    Ok(seen)
}

/// The memory of a process's children, by now: each of its threads has a list of those that it started.
fn resident_bytes_below(parent: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let children = lists.collect::<String>();
    // One that has just ended has no memory.
    children.split_whitespace().filter_map(|pid| lambda_host::rss_bytes(pid.parse().ok()?).ok()).sum()
}

/// The middle of the second fifth of the time, and of the last.
fn growth(memory: &[u64]) -> Option<(u64, u64)> {
    let fifth = memory.len() / 5;
    if fifth == 0 {
        return None;
    }
    let middle = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied()
    };
    Some((middle(memory.get(fifth..2 * fifth)?)?, middle(memory.get(memory.len() - fifth..)?)?))
}

#[cfg(test)]
mod tests {
    use super::growth;

    #[test]
    fn growth_is_from_the_second_fifth_to_the_last() {
        assert_eq!(growth(&[1, 1, 2, 2, 2, 3, 3, 3, 9, 9]), Some((2, 9)));
        assert_eq!(growth(&[1, 2]), None);
    }
}
