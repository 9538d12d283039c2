//! The CPU time and the memory of a process, from the operating system.

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The operating system does not say.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The CPU clock of the process.
    #[error("the CPU time of process {0} cannot be read; has it ended?")]
    Clock(i32, #[source] nix::Error),
    /// `/proc`, which Linux has.
    #[error("/proc/{0}/status cannot be read; memory is measured on Linux only")]
    Status(i32, #[source] io::Error),
    /// No line for the memory.
    #[error("/proc/{0}/status has no {1}")]
    NoMemory(i32, &'static str),
}

/// The usage of a process since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads, in user and kernel mode.
    pub cpu: Duration,
    /// The most memory that was resident, in bytes.
    pub peak_rss_bytes: u64,
}

impl Usage {
    /// Of the process with this id.
    ///
    /// # Errors
    /// It has ended, or this is not Linux.
    pub fn of(pid: i32) -> Result<Self, ProcessError> {
        Ok(Self { cpu: cpu(pid)?, peak_rss_bytes: peak_rss_bytes(pid)? })
    }
}

/// CPU time of all threads of a process so far.
///
/// # Errors
/// It has ended.
pub(crate) fn cpu(pid: i32) -> Result<Duration, ProcessError> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).map_err(|error| ProcessError::Clock(pid, error))?;
    clock_gettime(clock).map(Duration::from).map_err(|error| ProcessError::Clock(pid, error))
}

/// The memory of a process that is resident now, in bytes.
///
/// # Errors
/// It has ended, or this is not Linux.
pub fn rss_bytes(pid: i32) -> Result<u64, ProcessError> {
    status_bytes(pid, "VmRSS")
}

fn peak_rss_bytes(pid: i32) -> Result<u64, ProcessError> {
    status_bytes(pid, "VmHWM")
}

/// A line of `/proc/…/status` (proc_pid_status(5)).
fn status_bytes(pid: i32, name: &'static str) -> Result<u64, ProcessError> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| ProcessError::Status(pid, error))?;
    let kibibytes = status.lines().find_map(|line| {
        line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    kibibytes.map(|kibibytes| kibibytes * 1024).ok_or(ProcessError::NoMemory(pid, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_taken_time_and_memory() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let before = Usage::of(pid).unwrap();
        let work: u64 = (0..3_000_000_u64).map(std::hint::black_box).sum();
        let after = Usage::of(pid).unwrap();
        assert!(work > 0 && after.cpu > before.cpu && before.peak_rss_bytes > 100_000, "{before:?} {after:?}");
        let now = rss_bytes(pid).unwrap();
        assert!(now > 100_000 && now <= Usage::of(pid).unwrap().peak_rss_bytes, "{now}");
    }

    #[test]
    fn who_has_ended_has_no_usage() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(matches!(Usage::of(pid), Err(ProcessError::Clock(..))));
    }
}
