//! The CPU share of a function, which Lambda derives from its memory size.
//!
//! Lambda gives CPU in proportion to memory: one whole CPU at 1769 MB
//! (<https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>). Below that a function may run for a part
//! of every 20 ms and is stopped for the rest. Here signals stop it, which needs no special permission. A process has
//! always run a little too long when it stops, so the excess is deducted from the next periods.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process;

/// Memory size with one whole CPU, in MB.
const WHOLE_CPU_MEGABYTES: u32 = 1769;
/// The period of a share.
const PERIOD: Duration = Duration::from_millis(20);
/// How often the used share is checked.
const LOOK: Duration = Duration::from_micros(50);

/// A share of one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// CPU time in a period.
    quota: Duration,
}

impl Share {
    /// What a function of this much memory has. `None` is a whole CPU, which needs no limit.
    #[must_use]
    pub fn of_memory(megabytes: u32) -> Option<Self> {
        (megabytes < WHOLE_CPU_MEGABYTES).then(|| Self { quota: PERIOD * megabytes / WHOLE_CPU_MEGABYTES })
    }
}

/// Holds a process to its share until it is dropped.
#[derive(Debug)]
pub(crate) struct Limit {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Limit {
    pub(crate) fn hold(pid: i32, share: Share) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let thread = thread::spawn(move || hold(pid, share, &seen));
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It only ends early, without an error.
            let _ = thread.join();
        }
    }
}

fn hold(pid: i32, Share { quota }: Share, ended: &AtomicBool) {
    // The CPU time at which the process is to stop.
    let Ok(mut allowed) = process::cpu(pid).map(|used| used + quota) else { return };
    let mut period_ends = Instant::now() + PERIOD;
    while !ended.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
        let Ok(used) = process::cpu(pid) else { return };
        if used >= allowed {
            let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
            while used >= allowed && !ended.load(Ordering::Relaxed) {
                thread::sleep(period_ends.saturating_duration_since(Instant::now()));
                period_ends += PERIOD;
                allowed += quota;
            }
            let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
        }
        while Instant::now() >= period_ends {
            period_ends += PERIOD;
            // Unused time is not carried over.
            allowed = used + quota;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_whole_cpu_is_not_limited() {
        assert_eq!(Share::of_memory(1769), None);
        assert_eq!(Share::of_memory(3008), None);
        assert_eq!(Share::of_memory(128).unwrap().quota, Duration::from_nanos(1_447_145));
    }

    #[test]
    fn a_process_has_its_share_and_no_more() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let limit = Limit::hold(pid, Share::of_memory(256).unwrap());
        thread::sleep(Duration::from_millis(100));
        let (start, before) = (Instant::now(), process::cpu(pid).unwrap());
        thread::sleep(Duration::from_secs(1));
        let used = process::cpu(pid).unwrap().saturating_sub(before);
        let share = used.as_secs_f64() / start.elapsed().as_secs_f64();
        drop(limit);
        child.kill().unwrap();
        child.wait().unwrap();
        // A busy machine gives it less; more is never right.
        assert!(share < 0.18, "{share} of a CPU instead of 0.145");
        assert!(share > 0.02, "{share} of a CPU instead of 0.145");
    }
}
