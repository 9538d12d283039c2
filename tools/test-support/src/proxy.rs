//! A TCP proxy in front of DynamoDB Local: it records every call and its capacity, and drops requests or responses on
//! demand.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The fate of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is made and answered.
    Pass,
    /// The request is dropped.
    Lost,
    /// The request is made, and its response is dropped.
    AnswerLost,
    /// It is refused because a transaction is in progress, which DynamoDB Local never reports.
    Conflict,
}

/// A call as it was sent. The SDK sends a call again when it gets no answer: the same `id`, another `attempt`.
#[derive(Clone, Debug)]
pub struct Call {
    /// `GetItem` and the like.
    pub operation: String,
    pub id: String,
    /// 1 for the first.
    pub attempt: u32,
    pub body: Value,
    /// The capacity units that DynamoDB Local counted for it, indexes included.
    pub units: f64,
}

type Plan = Box<dyn Fn(&Call, usize) -> Fate + Send + Sync>;

struct State {
    calls: Mutex<Vec<Call>>,
    plan: Mutex<Plan>,
    upstream: String,
}

#[derive(Clone)]
pub struct Proxy {
    pub endpoint: String,
    state: Arc<State>,
}

impl Proxy {
    /// A proxy before the DynamoDB Local that the environment names. It lets everything pass.
    pub async fn start() -> Self {
        let endpoint = std::env::var("AWS_ENDPOINT_URL_DYNAMODB").unwrap();
        let upstream = endpoint.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state =
            Arc::new(State { calls: Mutex::default(), plan: Mutex::new(Box::new(|_, _| Fate::Pass)), upstream });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move { drop(serve(client, &state).await) });
            }
        });
        Self { endpoint, state }
    }

    /// From now on `plan` decides about every call: the call, and how many different calls there were before it.
    pub fn decide(&self, plan: impl Fn(&Call, usize) -> Fate + Send + Sync + 'static) {
        self.state.calls.lock().unwrap().clear();
        *self.state.plan.lock().unwrap() = Box::new(plan);
    }

    /// Everything passes from now on.
    pub fn pass(&self) {
        self.decide(|_, _| Fate::Pass);
    }

    /// The calls since the last decision, repetitions included.
    pub fn calls(&self) -> Vec<Call> {
        self.state.calls.lock().unwrap().clone()
    }

    /// The names of the calls since the last decision, without repetitions.
    pub fn operations(&self) -> Vec<String> {
        self.calls().into_iter().filter(|call| call.attempt == 1).map(|call| call.operation).collect()
    }
}

/// One call a connection, which then is closed: the SDK opens another.
async fn serve(mut client: TcpStream, state: &State) -> io::Result<()> {
    let mut request = Vec::new();
    let head_end = loop {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8_lossy(&request[..head_end]).into_owned();
    let header = |name: &str| {
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        headers
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .unwrap_or_default()
    };
    let body_start = head_end + 4;
    let length: usize = header("content-length").parse().unwrap_or(0);
    while request.len() < body_start + length {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let attempt = header("amz-sdk-request");
    let attempt = attempt.split("; ").find_map(|part| part.strip_prefix("attempt=")).unwrap_or("1");
    let call = Call {
        operation: header("x-amz-target").rsplit('.').next().unwrap_or_default().to_owned(),
        id: header("amz-sdk-invocation-id"),
        attempt: attempt.parse().unwrap_or(1),
        body: serde_json::from_slice(&request[body_start..]).unwrap_or_default(),
        units: 0.0,
    };
    let fate = {
        let mut calls = state.calls.lock().unwrap();
        let before: std::collections::HashSet<_> =
            calls.iter().filter(|earlier| earlier.id != call.id).map(|earlier| earlier.id.clone()).collect();
        // A repeated call is as far back as it was the first time.
        let index = calls.iter().position(|earlier| earlier.id == call.id).map_or(before.len(), |first| {
            calls[..first].iter().map(|earlier| &earlier.id).collect::<std::collections::HashSet<_>>().len()
        });
        calls.push(call.clone());
        (state.plan.lock().unwrap())(&call, index)
    };
    if fate == Fate::Lost {
        return Ok(());
    }
    if fate == Fate::Conflict {
        return client.write_all(conflict(&call.operation).as_bytes()).await;
    }
    // Added by the proxy, so that the functions do not request it.
    let mut body = call.body.clone();
    body["ReturnConsumedCapacity"] = "TOTAL".into();
    let body = body.to_string();
    let head: Vec<_> = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length:")).collect();
    let head = format!("{}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", head.join("\r\n"), body.len());
    let mut server = TcpStream::connect(&state.upstream).await?;
    server.write_all(head.as_bytes()).await?;
    server.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    let units = consumed(&answer);
    for made in state.calls.lock().unwrap().iter_mut() {
        if made.id == call.id && made.attempt == call.attempt {
            made.units = units;
        }
    }
    if fate == Fate::Pass {
        client.write_all(&answer).await?;
        client.shutdown().await?;
    }
    Ok(())
}

/// What DynamoDB answers when another transaction is at an item.
fn conflict(operation: &str) -> String {
    let body = if operation == "TransactWriteItems" {
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"Transaction cancelled","CancellationReasons":[{"Code":"TransactionConflict","Message":"Transaction is ongoing for the item"},{"Code":"None"}]}"#
    } else {
        r#"{"__type":"com.amazonaws.dynamodb.v20120810#TransactionConflictException","message":"Transaction is ongoing for the item"}"#
    };
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.0\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The capacity units in an answer: one object, or one for each table.
fn consumed(answer: &[u8]) -> f64 {
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |end| end + 4);
    let body: Value = serde_json::from_slice(&answer[start..]).unwrap_or_default();
    let units = |capacity: &Value| capacity["CapacityUnits"].as_f64().unwrap_or_default();
    match &body["ConsumedCapacity"] {
        Value::Array(tables) => tables.iter().map(units).sum(),
        capacity => units(capacity),
    }
}
