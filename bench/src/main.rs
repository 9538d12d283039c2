//! The time, CPU and memory of Latchkey's functions, compared with their peers. `cargo xtask bench` builds everything
//! this needs and starts it.
//!
//! Functions that are compared are measured interleaved in one run, so that a busy machine slows all of them down.
//! Signatures, keys and tokens are criterion's: each group by itself, one member right after the other.

mod candidates;
mod endpoints;
mod iterations;
mod load;
mod parts;
mod primitives;
mod report;
mod results;
mod statistics;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::parts::Part;
use clap::{Parser, ValueEnum as _};

use crate::candidates::Candidates;
use crate::endpoints::Endpoints;
use crate::report::Report;
use crate::results::Results;

/// Measures the deployed functions and their peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// The functions' packages, unpacked: a directory for each, with its bootstrap.
    #[arg(long)]
    packages: PathBuf,
    /// The same for the processor of the template, to be weighed.
    #[arg(long)]
    deployed: PathBuf,
    /// The peers: `empty`, `tutorial`, and a directory `node` with bundles.
    #[arg(long)]
    peers: PathBuf,
    /// Where the results go.
    #[arg(long)]
    output: PathBuf,
    /// Fewer iterations and a short load: an impression, not a proof.
    #[arg(long)]
    quick: bool,
    /// Only these parts. Figures that are not measured have no target.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Iterations of cold starts.
    pub(crate) cold_iterations: usize,
    /// Of authorizers.
    pub(crate) warm: Calls,
    /// Of functions that hash.
    pub(crate) warm_hashing: Calls,
    /// Seconds of load for each concurrency.
    pub(crate) load_seconds: u64,
    /// Seconds of the mixed load.
    pub(crate) mixed_seconds: u64,
}

/// Warm calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls {
    pub(crate) iterations: usize,
    /// In each iteration, before those that are measured: caches fill, connections open, and Node.js compiles what it
    /// runs often.
    pub(crate) uncounted: usize,
    /// In each iteration.
    pub(crate) counted: usize,
}

impl Effort {
    const FULL: Self = Self {
        cold_iterations: 21,
        warm: Calls { iterations: 15, uncounted: 1000, counted: 200 },
        warm_hashing: Calls { iterations: 15, uncounted: 50, counted: 20 },
        load_seconds: 20,
        mixed_seconds: 600,
    };
    const QUICK: Self = Self {
        cold_iterations: 7,
        warm: Calls { iterations: 5, uncounted: 300, counted: 100 },
        warm_hashing: Calls { iterations: 3, uncounted: 20, counted: 10 },
        load_seconds: 5,
        mixed_seconds: 30,
    };
}

type Anything = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("a target is missed: see the table");
            ExitCode::FAILURE
        }
        Err(error) => {
            local_stack::progress::failure(&*error);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<bool, Anything> {
    let effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    std::fs::create_dir_all(&arguments.output)?;
    let parts = if arguments.only.is_empty() { Part::value_variants().to_vec() } else { arguments.only };
    let has = |part| parts.contains(&part);
    let mut results = Results { parts: parts.clone(), ..Results::default() };

    progress("starting DynamoDB Local and its stand-in over TLS");
    let endpoints = Endpoints::start(&arguments.output).await?;
    let candidates = Candidates::new(&arguments.packages, &arguments.peers, &endpoints).await?;
    results.sizes = candidates::sizes(&arguments.packages, &arguments.deployed)?;

    if has(Part::Cold) {
        progress("cold starts, interleaved");
        results.cold = iterations::cold(&candidates, effort).await?;
    }
    if has(Part::Warm) {
        progress("warm calls, interleaved");
        results.warm = iterations::warm(&candidates, effort).await?;
    }
    if has(Part::Hashing) {
        progress("hashing, interleaved");
        results.hashing = iterations::hashing(&candidates, effort).await?;
    }
    if has(Part::Primitives) {
        progress("signatures, keys and tokens, by criterion and fast-jwt");
        results.primitives = primitives::read(&arguments.peers)?;
    }
    if has(Part::Load) {
        progress("the whole path under load");
        results.load = load::run(&candidates, &arguments.output, effort).await?;
    }

    let report = Report::new(arguments.quick, results);
    report.write(&arguments.output)?;
    Ok(report.targets.iter().all(|target| target.is_reached || target.is_explained))
}

#[allow(clippy::print_stdout, reason = "progress")]
pub(crate) fn progress(what: &str) {
    println!("==> {what}");
}
