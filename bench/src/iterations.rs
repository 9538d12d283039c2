//! Iterations: each runs every candidate once, in another order.

use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use auth::password::hash;
use lambda_host::Environment;
use nix::time::ClockId;
use serde::Serialize;

use crate::candidates::{Candidate, Candidates};
use crate::statistics::{median, percentile};
use crate::{Anything, Calls, Effort};

/// Memory sizes at which cold starts are measured, in MB. The first is a whole CPU.
pub(crate) const MEMORY_MEGABYTES: [u32; 4] = [1769, 512, 256, 128];

/// A function's cold start at a memory size: medians of all iterations.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cold {
    pub(crate) name: &'static str,
    pub(crate) memory_megabytes: u32,
    /// From the start of the process to its first request for an event.
    pub(crate) ready_ms: f64,
    /// From there to the first response: the wait of the first caller, in addition to Lambda's own start.
    pub(crate) first_call_ms: f64,
    /// Both together. The time between them is the harness's, and a real event is there already.
    pub(crate) first_answer_ms: f64,
    /// CPU time until then.
    pub(crate) cpu_ms: f64,
    /// The highest of all iterations.
    pub(crate) peak_rss_bytes: u64,
}

/// One start.
struct Start {
    ready: Duration,
    first_call: Duration,
    cpu: Duration,
    peak_rss_bytes: u64,
}

/// A function's warm calls.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Warm {
    pub(crate) name: String,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// CPU time of a call: the median of all iterations.
    pub(crate) cpu_us: f64,
    pub(crate) peak_rss_bytes: u64,
}

/// The order of an iteration, different each time, so that no candidate always follows the same one: a process that was
/// stopped for most of its time leaves the machine in another state than a busy one.
fn order(iteration: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    fastrand::Rng::with_seed(iteration as u64).shuffle(&mut order);
    order
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Cold starts with DynamoDB over TLS.
pub(crate) async fn cold(candidates: &Candidates, effort: Effort) -> Result<Vec<Cold>, Anything> {
    let turns: Vec<(&Candidate, u32)> = MEMORY_MEGABYTES
        .iter()
        .flat_map(|megabytes| candidates.cold.iter().map(move |candidate| (candidate, *megabytes)))
        .collect();
    let mut starts: Vec<Vec<Start>> = turns.iter().map(|_| Vec::new()).collect();
    // The first iteration fills the page cache and the stand-in's memory.
    for iteration in 0..=effort.cold_iterations {
        for index in order(iteration, turns.len()) {
            let (candidate, megabytes) = turns[index];
            let start = cold_start(candidate, megabytes).await?;
            if iteration > 0 {
                starts[index].push(start);
            }
        }
    }
    Ok(turns
        .iter()
        .zip(&starts)
        .map(|((candidate, memory_megabytes), starts)| {
            let of = |of: fn(&Start) -> Duration| {
                median(&starts.iter().map(|start| milliseconds(of(start))).collect::<Vec<_>>())
            };
            Cold {
                name: candidate.name,
                memory_megabytes: *memory_megabytes,
                ready_ms: of(|start| start.ready),
                first_call_ms: of(|start| start.first_call),
                first_answer_ms: of(|start| start.ready + start.first_call),
                cpu_ms: of(|start| start.cpu),
                peak_rss_bytes: starts.iter().map(|start| start.peak_rss_bytes).max().unwrap_or_default(),
            }
        })
        .collect())
}

async fn cold_start(candidate: &Candidate, memory_megabytes: u32) -> Result<Start, Anything> {
    let mut function = candidate.function.clone();
    function.memory_megabytes = memory_megabytes;
    let mut environment = Environment::start_silently(&function).await?;
    let ready = environment.initialised().await?;
    environment.limit();
    let answer = environment.invoke(candidate.events.get(0)).await?;
    let usage = environment.usage()?;
    candidate.events.check(candidate.name, &answer.payload)?;
    environment.end().await?;
    Ok(Start { ready, first_call: answer.took, cpu: usage.cpu, peak_rss_bytes: usage.peak_rss_bytes })
}

/// Warm calls with DynamoDB Local.
pub(crate) async fn warm(candidates: &Candidates, effort: Effort) -> Result<Vec<Warm>, Anything> {
    let calls = effort.warm;
    let mut samples = vec![Samples::default(); candidates.warm.len()];
    for iteration in 0..calls.iterations {
        for index in order(iteration, candidates.warm.len()) {
            samples[index].add(&candidates.warm[index], calls, iteration).await?;
        }
    }
    Ok(candidates.warm.iter().zip(samples).map(|(candidate, samples)| samples.warm(candidate.name)).collect())
}

/// Logins, and beside them the hash that they compute.
pub(crate) async fn hashing(candidates: &Candidates, effort: Effort) -> Result<Vec<Warm>, Anything> {
    let calls = effort.warm_hashing;
    let mut samples = vec![Samples::default(); candidates.hashing.len()];
    let mut raw = Samples::default();
    let params =
        Params::new(hash::MEMORY_KIB, hash::ITERATIONS, hash::PARALLELISM, None).map_err(|error| error.to_string())?;
    let mut memory = vec![Block::new(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    for iteration in 0..calls.iterations {
        for index in order(iteration, candidates.hashing.len() + 1) {
            match candidates.hashing.get(index) {
                Some(candidate) => samples[index].add(candidate, calls, iteration).await?,
                None => raw.add_raw(&argon2, &mut memory, calls.counted)?,
            }
        }
    }
    let names = candidates.hashing.iter().map(|candidate| candidate.name);
    let mut all: Vec<_> = names.zip(samples).map(|(name, samples)| samples.warm(name)).collect();
    all.push(raw.warm("Argon2id, the call alone"));
    Ok(all)
}

#[derive(Clone, Debug, Default)]
struct Samples {
    took_us: Vec<f64>,
    cpu_us: Vec<f64>,
    peak_rss_bytes: u64,
}

impl Samples {
    /// An iteration: a new process, some warm-up calls, and then the measured ones.
    #[allow(clippy::cast_precision_loss, reason = "a number of calls is small")]
    async fn add(
        &mut self,
        candidate: &Candidate,
        Calls { uncounted, counted, .. }: Calls,
        iteration: usize,
    ) -> Result<(), Anything> {
        let mut environment = Environment::start_silently(&candidate.function).await?;
        let mut before = Duration::ZERO;
        for call in 0..uncounted + counted {
            if call == uncounted {
                before = environment.usage()?.cpu;
            }
            let number = iteration * (uncounted + counted) + call;
            let answer = environment.invoke(candidate.events.get(number)).await?;
            candidate.events.check(candidate.name, &answer.payload)?;
            if call >= uncounted {
                self.took_us.push(microseconds(answer.took));
            }
        }
        let usage = environment.usage()?;
        self.cpu_us.push(microseconds(usage.cpu.saturating_sub(before)) / counted as f64);
        self.peak_rss_bytes = self.peak_rss_bytes.max(usage.peak_rss_bytes);
        environment.end().await?;
        Ok(())
    }

    /// The hash alone, in this process, with memory that is there already. Its CPU time is its thread's.
    #[allow(clippy::cast_precision_loss, reason = "a number of calls is small")]
    fn add_raw(&mut self, argon2: &Argon2<'_>, memory: &mut [Block], calls: usize) -> Result<(), Anything> {
        let mut once = || -> Result<Duration, Anything> {
            let mut output = [0; 32];
            let begun = Instant::now();
            argon2
                .hash_password_into_with_memory(b"correct horse battery staple", &[7; 16], &mut output, &mut *memory)
                .map_err(|error| error.to_string())?;
            Ok(begun.elapsed())
        };
        once()?;
        let cpu = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from);
        let before = cpu()?;
        for _ in 0..calls {
            self.took_us.push(microseconds(once()?));
        }
        self.cpu_us.push(microseconds(cpu()?.saturating_sub(before)) / calls as f64);
        Ok(())
    }

    fn warm(&self, name: &str) -> Warm {
        Warm {
            name: name.to_owned(),
            p50_us: median(&self.took_us),
            p99_us: percentile(&self.took_us, 0.99),
            cpu_us: median(&self.cpu_us),
            peak_rss_bytes: self.peak_rss_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::order;

    #[test]
    fn everybody_has_a_turn_in_a_round_and_follows_others_in_other_rounds() {
        for count in [1, 2, 4, 5, 16] {
            let mut pairs = HashSet::new();
            for iteration in 0..16 {
                let order = order(iteration, count);
                assert_eq!(order.iter().collect::<HashSet<_>>().len(), count, "{order:?}");
                pairs.extend(order.windows(2).map(|pair| (pair[0], pair[1])));
            }
            let followed = pairs.iter().filter(|(_, after)| *after == 0).count();
            assert!(count < 4 || followed >= 2, "{count}: {pairs:?}");
        }
    }
}
