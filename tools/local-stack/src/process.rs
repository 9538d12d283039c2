//! Child processes that never outlive this one.
//!
//! A child gets a process group of its own, so that Ctrl-C reaches this program alone, which then ends the child with
//! everything below it. Children of children may leave the group or lose their parent (`cargo lambda watch` starts
//! functions in groups of their own), so they carry a mark in their environment and are found by it. Where there is no
//! `/proc` to look for it, only the group is reached.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal, killpg};
use nix::unistd::Pid;

/// The variable that marks a child and all that comes of it.
const MARK: &str = "XTASK_CHILD";
/// How long a child may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// How often a wait checks its condition.
const TICK: Duration = Duration::from_millis(20);
/// How many lines of a log are shown when something failed.
const TAIL_LINES: usize = 25;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A child could not be run, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The handler of signals could not be set.
    #[error("signals cannot be handled")]
    Signals(#[source] ctrlc::Error),
    /// It could not be started.
    #[error("{name} could not be started ({program})")]
    Start {
        /// What it is.
        name: String,
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A log file could not be made.
    #[error("the log {0} could not be written")]
    Log(PathBuf, #[source] io::Error),
    /// It ended badly.
    #[error("{name} failed with {status}{tail}")]
    Failed {
        /// What it is.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log, if it has one.
        tail: String,
    },
    /// It ended, and its exit status is unknown.
    #[error("{name} ended{tail}")]
    Ended {
        /// What it is.
        name: String,
        /// The end of the log, which may have the reason.
        tail: String,
    },
    /// It was asked to stop by Ctrl-C or a signal.
    #[error("interrupted")]
    Interrupted,
    /// It did not become ready.
    #[error("{name} is not ready after {seconds} s{tail}")]
    NotReady {
        /// What it is.
        name: String,
        /// How long it was waited for.
        seconds: u64,
        /// The end of its log.
        tail: String,
    },
}

/// From now on Ctrl-C, SIGTERM and SIGHUP make every wait end with [`ProcessError::Interrupted`].
///
/// # Errors
/// The handler cannot be set.
pub fn listen_to_signals() -> Result<(), ProcessError> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst)).map_err(ProcessError::Signals)
}

/// Whether this program was asked to stop.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Waits a moment.
///
/// # Errors
/// This program was asked to stop.
pub fn pause(duration: Duration) -> Result<(), ProcessError> {
    let until = Instant::now() + duration;
    while Instant::now() < until {
        if interrupted() {
            return Err(ProcessError::Interrupted);
        }
        sleep(TICK.min(until.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// A command as if typed at a prompt: without Cargo's variables for its child processes, with which a nested Cargo
/// would rebuild everything, and without the caller's AWS settings, because nothing here is for a real account.
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        let of_cargo = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"]
            .iter()
            .any(|prefix| name_text.starts_with(prefix));
        // Build settings of AWS-LC are not settings of an account.
        let of_aws = name_text.starts_with("AWS_") && !name_text.starts_with("AWS_LC_");
        if of_cargo || of_aws || name_text == "LD_LIBRARY_PATH" || name_text == "OUT_DIR" {
            command.env_remove(&name);
        }
    }
    command
}

/// A running child. It ends when this is dropped, with everything below it.
#[derive(Debug)]
pub struct Supervised {
    name: String,
    child: Child,
    mark: String,
    log: Option<PathBuf>,
}

impl Supervised {
    /// Starts a child whose output goes to a log file.
    ///
    /// # Errors
    /// The log cannot be written, or the program cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self, ProcessError> {
        let failed = |source| ProcessError::Log(log.to_owned(), source);
        if let Some(directory) = log.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        command.stdout(output).stderr(errors);
        Self::spawn(name, command, Some(log.to_owned()))
    }

    fn spawn(name: &str, mut command: Command, log: Option<PathBuf>) -> Result<Self, ProcessError> {
        let mark = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::SeqCst));
        // A child of a child of ours keeps the marks of all its ancestors.
        let marks = std::env::var(MARK).map_or_else(|_| mark.clone(), |outer| format!("{outer},{mark}"));
        command.stdin(Stdio::null()).process_group(0).env(MARK, marks);
        let child = command.spawn().map_err(|source| ProcessError::Start {
            name: name.to_owned(),
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })?;
        Ok(Self { name: name.to_owned(), child, mark, log })
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    /// Checks that it still runs.
    ///
    /// # Errors
    /// It ended.
    pub fn must_run(&mut self) -> Result<(), ProcessError> {
        match self.child.try_wait() {
            Ok(Some(status)) => {
                Err(ProcessError::Failed { name: self.name.clone(), status, tail: tail(self.log.as_deref()) })
            }
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Waits until `ready` returns true.
    ///
    /// # Errors
    /// It ended, it takes longer than `timeout`, or this program was asked to stop.
    pub fn wait_until(&mut self, timeout: Duration, ready: impl Fn() -> bool) -> Result<(), ProcessError> {
        let until = Instant::now() + timeout;
        while !ready() {
            self.must_run()?;
            if Instant::now() > until {
                return Err(ProcessError::NotReady {
                    name: self.name.clone(),
                    seconds: timeout.as_secs(),
                    tail: tail(self.log.as_deref()),
                });
            }
            pause(Duration::from_millis(50))?;
        }
        Ok(())
    }

    /// Sends a signal to the process itself.
    pub fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // It may have ended already.
            let _ = signal::kill(Pid::from_raw(pid), signal);
        }
    }

    /// Ends it and everything below it: a request first, force after a grace.
    pub fn stop(&mut self) {
        self.signal_group(Signal::SIGTERM);
        self.signal_group(Signal::SIGCONT);
        for pid in &self.family() {
            let _ = signal::kill(*pid, Signal::SIGTERM);
            // A stopped process does not handle signals.
            let _ = signal::kill(*pid, Signal::SIGCONT);
        }
        let until = Instant::now() + GRACE;
        while !self.family().is_empty() {
            sleep(TICK);
            if Instant::now() > until {
                self.signal_group(Signal::SIGKILL);
                // Processes that were started meanwhile are found in the next pass.
                for pid in &self.family() {
                    let _ = signal::kill(*pid, Signal::SIGKILL);
                }
            }
        }
        // Reaps it. An error means that there is nothing to reap.
        let _ = self.child.wait();
    }

    /// Sends a signal to the child's group, unless the child is gone: its id, which is the group's, may be another's by
    /// now.
    fn signal_group(&mut self, signal: Signal) {
        if self.is_running()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The child while it runs, and every process that carries its mark.
    fn family(&mut self) -> BTreeSet<Pid> {
        let mut family = marked(&self.mark);
        if self.is_running()
            && let Ok(pid) = i32::try_from(self.child.id())
        {
            family.insert(Pid::from_raw(pid));
        }
        family
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a command to its end, with this program's output.
///
/// # Errors
/// It cannot be started, ends badly, or this program was asked to stop.
pub fn run(name: &str, command: Command) -> Result<(), ProcessError> {
    wait(Supervised::spawn(name, command, None)?)
}

/// Runs a command to its end; its output goes to a log, of which an error shows the end.
///
/// # Errors
/// As [`run`].
pub fn run_logged(name: &str, command: Command, log: &Path) -> Result<(), ProcessError> {
    wait(Supervised::start(name, command, log)?)
}

fn wait(mut child: Supervised) -> Result<(), ProcessError> {
    loop {
        match child.child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                return Err(ProcessError::Failed {
                    name: child.name.clone(),
                    status,
                    tail: tail(child.log.as_deref()),
                });
            }
            Ok(None) | Err(_) => pause(TICK)?,
        }
    }
}

/// The last lines of a log, ready to follow a sentence.
#[must_use]
pub fn tail(log: Option<&Path>) -> String {
    let Some(log) = log else { return String::new() };
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n    ");
    format!("; the end of {}:\n    {last}", log.display())
}

/// A process for a message: its id and, where it can be had, its command line.
#[must_use]
pub fn describe(pid: u32) -> String {
    let of_proc =
        fs::read(format!("/proc/{pid}/cmdline")).map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    let line = of_proc.or_else(|_| {
        let output = Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output()?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&output.stdout).into_owned())
    });
    match line.as_deref().unwrap_or_default().trim() {
        "" => format!("process {pid}"),
        line => format!("process {pid} ({line})"),
    }
}

/// Whether a process is there.
#[must_use]
pub fn exists(pid: i32) -> bool {
    signal::kill(Pid::from_raw(pid), None).is_ok()
}

/// Asks a process to end.
pub fn end(pid: i32) {
    // It may have ended already.
    let _ = signal::kill(Pid::from_raw(pid), Signal::SIGTERM);
}

/// Kills a process that does not react to SIGTERM.
pub fn kill(pid: i32) {
    let _ = signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
}

/// Every process whose environment has the mark, zombies aside.
fn marked(mark: &str) -> BTreeSet<Pid> {
    let prefix = format!("{MARK}=");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse::<i32>().ok()?;
            let environment = fs::read(process.path().join("environ")).ok()?;
            let has_mark = environment
                .split(|byte| *byte == 0)
                .filter_map(|variable| variable.strip_prefix(prefix.as_bytes()))
                .any(|marks| marks.split(|byte| *byte == b',').any(|other| other == mark.as_bytes()));
            has_mark.then(|| Pid::from_raw(pid))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = command("sh");
        shell.args(["-c", script]);
        shell
    }

    /// A file of a test, removed at its end.
    struct Log(PathBuf);

    fn log(name: &str) -> Log {
        Log(std::env::temp_dir().join(format!("latchkey-xtask-{}-{name}.log", std::process::id())))
    }

    impl Drop for Log {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_child_ends_with_its_children_in_other_groups_and_without_parents() {
        let log = log("family");
        // A grandchild in a session of its own whose parent ends at once, and one that ignores requests.
        let script = "setsid sh -c 'sleep 300 & echo $!' & sh -c 'trap \"\" TERM; sleep 300; sleep 300' & sleep 300";
        let mut child = Supervised::start("family", shell(script), &log.0).unwrap();
        child
            .wait_until(Duration::from_secs(10), || fs::read_to_string(&log.0).is_ok_and(|text| text.contains('\n')))
            .unwrap();
        let mark = child.mark.clone();
        assert!(marked(&mark).len() >= 4, "{:?}", marked(&mark));
        drop(child);
        assert_eq!(marked(&mark), BTreeSet::new());
    }

    #[test]
    fn a_stopped_child_ends_too() {
        let log = log("stopped");
        let child = Supervised::start("stopped", shell("sleep 300"), &log.0).unwrap();
        let mark = child.mark.clone();
        child.signal(Signal::SIGSTOP);
        drop(child);
        assert_eq!(marked(&mark), BTreeSet::new());
    }

    #[test]
    fn a_crash_is_noticed_with_the_end_of_its_log() {
        let log = log("crash");
        let mut child = Supervised::start("crash", shell("echo the reason; exit 3"), &log.0).unwrap();
        let error = child.wait_until(Duration::from_secs(10), || false).unwrap_err().to_string();
        assert!(error.contains("crash failed with exit status: 3") && error.contains("the reason"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run("nothing", command("no-such-program-anywhere")).unwrap_err().to_string();
        assert_eq!(error, "nothing could not be started (no-such-program-anywhere)");
    }
}
