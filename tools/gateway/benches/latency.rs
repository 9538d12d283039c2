//! The overhead of the gateway: `cargo bench -p gateway`.
//!
//! Three candidates, interleaved on persistent connections, so that other load on the machine affects all of them
//! alike: the functions called directly at the Invoke API, the same through the gateway, and that with an authorizer
//! before it.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for the terminal")]

#[path = "../tests/gateway/invoke_api.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod invoke_api;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use invoke_api::InvokeApi;

/// Rounds that count, after some that do not.
const ROUNDS: usize = 3000;
const WARM_UP_ROUNDS: usize = 300;

/// What a request through the gateway may cost more at the median.
const BUDGET: Duration = Duration::from_millis(2);

fn main() {
    let functions = InvokeApi::start();
    let (mut gateway, port) = gateway(functions.port);
    let mut to_functions = connect(functions.port);
    let mut to_gateway = connect(port);
    let event = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/protected-good.json"))
        .unwrap_or_else(|_| b"{}".to_vec());

    let mut times: [Vec<Duration>; 4] = Default::default();
    for round in 0..WARM_UP_ROUNDS + ROUNDS {
        let took = [
            invoke(&mut to_functions, "echo", &event),
            get(&mut to_gateway, "/open"),
            invoke(&mut to_functions, "guard", &event) + invoke(&mut to_functions, "echo", &event),
            get(&mut to_gateway, "/guarded"),
        ];
        if round >= WARM_UP_ROUNDS {
            times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
        }
    }
    let _ = gateway.kill();
    let _ = gateway.wait();

    let [open_direct, open, guarded_direct, guarded] = times;
    println!("{ROUNDS} rounds; times in microseconds\n");
    println!("{:34} {:>9} {:>9} {:>9} {:>7}", "", "direct", "gateway", "added", "ratio");
    for (name, direct, through) in
        [("a function", open_direct, open), ("an authorizer and a function", guarded_direct, guarded)]
    {
        for (percentile, words) in [(50, "median"), (99, "p99")] {
            let (direct, through) = (at(percentile, &direct), at(percentile, &through));
            let added = through.saturating_sub(direct);
            println!(
                "{:34} {:>9} {:>9} {:>9} {:>7.2}",
                format!("{name}, {words}"),
                direct.as_micros(),
                through.as_micros(),
                added.as_micros(),
                through.as_secs_f64() / direct.as_secs_f64(),
            );
            if percentile == 50 && added >= BUDGET {
                println!("    more than the {} ms that it may add", BUDGET.as_millis());
            }
        }
    }
}

/// The gateway's release build, in front of the tests' template.
fn gateway(invoke_port: u16) -> (Child, u16) {
    let template = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/template.yaml");
    let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("--template")
        .arg(template)
        .args(["--api", "Api", "--port", "0", "--invoke-url", &format!("http://127.0.0.1:{invoke_port}")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let port = line.trim_end().rsplit(':').next().unwrap().parse().unwrap();
    // Its log is read, as a terminal would.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    (child, port)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn invoke(stream: &mut TcpStream, function: &str, event: &[u8]) -> Duration {
    // The stand-in's authorizer wants an identity.
    let event: &[u8] = if function == "guard" { br#"{"identitySource":["allow"]}"# } else { event };
    let head = format!(
        "POST /2015-03-31/functions/{function}/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        event.len()
    );
    exchange(stream, &[head.as_bytes(), event].concat())
}

fn get(stream: &mut TcpStream, path: &str) -> Duration {
    exchange(stream, format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Token: allow\r\n\r\n").as_bytes())
}

/// Sends a request and reads its answer, which is a 200.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> Duration {
    let started = Instant::now();
    stream.write_all(request).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the connection ended: {}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&buffer[..read]);
        if is_whole(&received) {
            break;
        }
    }
    let took = started.elapsed();
    assert!(received.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&received));
    took
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    answer.len() >= end + 4 + length.unwrap_or_default()
}

fn at(percentile: usize, times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[(sorted.len() - 1) * percentile / 100]
}
