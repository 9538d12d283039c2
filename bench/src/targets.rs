//! What the figures are to reach. A figure that misses its target fails the run, unless docs/PERFORMANCE.md says what limits it.

use serde::Serialize;

use crate::load::Load;
use crate::report::Report;
use crate::rounds::{Cold, Warm};

/// What one hash needs, in bytes.
const ARGON2_BYTES: u64 = 19 * 1024 * 1024;
/// CPU time until the first answer, beyond which AWS-LC must have gathered jitter again: that takes 38 ms.
const CPU_OF_A_COLD_START_MS: f64 = 10.0;

/// A target and what was found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) found: f64,
    pub(crate) limit: f64,
    /// Whether the limit is the least that will do, or the most.
    pub(crate) is_least: bool,
    pub(crate) is_reached: bool,
    /// Whether docs/PERFORMANCE.md says why it is missed.
    pub(crate) is_known: bool,
}

/// Targets that are missed, and why is written down.
const KNOWN: [&str; 8] = [
    "authorizer, cold: times the empty bootstrap",
    "authorizer, warm: µs of CPU a call",
    "login, warm: CPU, times Argon2id alone",
    "login of an unknown user: CPU, times Argon2id alone",
    "login: MB of memory at its peak",
    "authorizer: MB of archive",
    "Node.js authorizer, cold: times ours",
    "Node.js authorizer, warm: CPU, times ours",
];

fn target(name: &str, found: f64, is_least: bool, limit: f64) -> Target {
    // What was not found is not reached.
    let is_reached = if is_least { found >= limit } else { found <= limit };
    Target { name: name.to_owned(), found, limit, is_least, is_reached, is_known: KNOWN.contains(&name) }
}

pub(crate) fn check(report: &Report) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut at_most = |name: &str, found: f64, limit: f64| targets.push(target(name, found, false, limit));
    let cold = |name: &str, megabytes: u32, of: fn(&Cold) -> f64| {
        let found = report.cold.iter().find(|cold| cold.name == name && cold.memory_megabytes == megabytes);
        found.map_or(f64::NAN, of)
    };
    let first_answer = |name: &str, megabytes| cold(name, megabytes, |cold| cold.first_answer_ms);
    let of = |list: &[Warm], name: &str, of: fn(&Warm) -> f64| {
        list.iter().find(|warm| warm.name == name).map_or(f64::NAN, of)
    };
    let cpu = |name: &str| of(&report.warm, name, |warm| warm.cpu_us);
    let hashing = |name: &str| of(&report.hashing, name, |warm| warm.cpu_us);
    let megabytes = |bytes: u64| f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1e3;

    at_most(
        "authorizer, cold: times the empty bootstrap",
        first_answer("authorizer", 1769) / first_answer("empty bootstrap", 1769),
        3.5,
    );
    at_most(
        "authorizer, cold: ms of CPU to the first answer, a TLS handshake in it",
        cold("authorizer", 1769, |cold| cold.cpu_ms),
        CPU_OF_A_COLD_START_MS,
    );
    at_most("authorizer, warm: µs of CPU a call", cpu("authorizer"), 330.0);
    let raw = hashing("Argon2id, the call alone");
    at_most("login, warm: CPU, times Argon2id alone", hashing("login") / raw, 1.10);
    at_most("login of an unknown user: CPU, times Argon2id alone", hashing("login, unknown user") / raw, 1.10);
    let rss = |list: &[Warm], name: &str| {
        list.iter().find(|warm| warm.name == name).map_or(f64::NAN, |warm| megabytes(warm.peak_rss_bytes))
    };
    at_most("authorizer: MB of memory at its peak", rss(&report.warm, "authorizer"), 9.0);
    at_most("login: MB of memory at its peak", rss(&report.hashing, "login"), megabytes(ARGON2_BYTES) + 8.0);
    for (function, limit) in [("authorizer", 3.0), ("protected", 1.0)] {
        let size = report.sizes.iter().find(|size| size.is_deployed && size.name == function);
        let size = size.map_or(f64::NAN, |size| megabytes(size.archive_bytes));
        at_most(&format!("{function}: MB of archive"), size, limit);
    }
    let wrong: usize = report.load.iter().map(|load| load.wrong).sum();
    at_most("wrong answers under load", if wrong == 0 { 0.0 } else { f64::INFINITY }, 0.0);
    if let Some((before, after)) = report.load.iter().find_map(|load: &Load| load.rss_bytes) {
        at_most("memory under load: end, times the beginning", megabytes(after) / megabytes(before), 1.10);
    }

    let mut at_least = |name: &str, found: f64, limit: f64| targets.push(target(name, found, true, limit));
    at_least(
        "Node.js authorizer, cold: times ours",
        first_answer("Node.js authorizer", 1769) / first_answer("authorizer", 1769),
        35.0,
    );
    at_least(
        "Node.js authorizer, cold at 128 MB: times ours",
        first_answer("Node.js authorizer", 128) / first_answer("authorizer", 128),
        90.0,
    );
    at_least("Node.js authorizer, warm: CPU, times ours", cpu("Node.js authorizer") / cpu("authorizer"), 8.0);
    for primitive in report.primitives.iter().filter(|primitive| primitive.name.starts_with("verify ")) {
        let rate = |who: &str| primitive.us.get(who).map_or(f64::NAN, |us| 1.0 / us);
        let name = &primitive.name;
        at_least(&format!("{name}: of jsonwebtoken's decode"), rate("latchkey") / rate("jsonwebtoken"), 0.97);
        if ["verify ES256", "verify EdDSA"].contains(&name.as_str()) {
            at_least(&format!("{name}: of the signature alone"), rate("latchkey") / rate("aws-lc-rs"), 0.90);
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::target;

    #[test]
    fn a_limit_is_reached_from_its_own_side_and_not_by_nothing() {
        assert!(target("", 1.0, false, 1.0).is_reached && target("", 1.0, true, 1.0).is_reached);
        assert!(!target("", 1.1, false, 1.0).is_reached && !target("", 0.9, true, 1.0).is_reached);
        assert!(!target("", f64::NAN, false, 1.0).is_reached && !target("", f64::NAN, true, 1.0).is_reached);
    }
}
