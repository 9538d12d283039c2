//! `latchkey user import`: users of other systems, with their password hashes.
//!
//! The file is read line by line and never held whole. Each user is written on condition that the name is not taken.
//! So a second run continues where the first one stopped, and existing users are never changed.
//!
//! A thread of its own reads: a pipe may be slow, and users who were read are written meanwhile.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read as _, Write as _};
use std::thread;

use auth::EpochSeconds;
use auth::id::UserId;
use auth::password::error::HashError;
use auth::password::hash::Hasher;
use auth::password::limits;
use auth::random::RandomError;
use auth::roles::{MAX_ROLES_BYTES, Role, Roles};
use auth::store::StoreError;
use auth::store::users::{Addition, UsersTable};
use auth::user::User;
use auth::username::Username;
use aws_lc_rs::rand::SystemRandom;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::{JoinError, JoinSet};

use crate::terminal::{Output, print_error, shell_word};

/// Longest line, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// How many users are written concurrently.
const AT_ONCE: usize = 32;
/// After how many lines progress is printed, on a terminal and elsewhere.
const PROGRESS_LINES: (u64, u64) = (100, 10_000);

/// The import failed, or is incomplete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("the file {0} cannot be opened")]
    Open(String, #[source] io::Error),
    #[error(
        "the import stopped near line {lines}; run it again to continue; so far imported: {imported}, already there: {already_there}, \
         lines rejected: {refused}"
    )]
    Stopped {
        lines: u64,
        imported: u64,
        already_there: u64,
        refused: usize,
        #[source]
        cause: Cause,
    },
    #[error("rejected lines: {0}; the others are imported")]
    Refused(u64),
}

impl ImportError {
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Open(..) | Self::Stopped { cause: Cause::Read(_), .. } => "file_failed",
            Self::Stopped { cause: Cause::Random(_), .. } => "failed",
            Self::Stopped { cause: Cause::Store(_), .. } => "store_failed",
            Self::Refused(_) => "lines_refused",
        }
    }
}

/// The reason why an import stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("the file could not be read")]
    Read(#[from] io::Error),
    #[error("no id for a user")]
    Random(#[from] RandomError),
    #[error("the table of users did not answer")]
    Store(#[from] StoreError),
}

/// A line of the file. Other members are rejected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    username: String,
    hash: SecretString,
    #[serde(default)]
    roles: Vec<String>,
}

/// What is in a line that can be imported.
struct Accepted {
    username: Username,
    hash: SecretString,
    roles: Roles,
}

/// How far it has got.
#[derive(Default)]
struct Progress {
    lines: u64,
    imported: u64,
    already_there: u64,
    refused: Vec<(u64, String)>,
}

/// The end of the help: the limits, from their constants.
pub(super) fn limits() -> String {
    format!(
        "Limits, so that one login takes about a second at the most:\n  \
         bcrypt: cost at most {}\n  \
         scrypt: N × r × p at most {}, r × p at most {}\n  \
         PBKDF2-SHA-256: iterations × blocks at most {} (a block is 32 bytes of the hash, or a part of them)\n  \
         PBKDF2-SHA-512: iterations × blocks at most {} (a block is 64 bytes of the hash, or a part of them)\n  \
         Argon2: m × t at most {}, m at most {} (KiB), p at most {}\n\n\
         All roles of a user, as a JSON array: at most {MAX_ROLES_BYTES} bytes.\n\
         A line: at most {MAX_LINE_BYTES} bytes.\n\n\
         A user whose hash is over a limit needs a new password: `latchkey user add`.",
        limits::MAX_BCRYPT_COST,
        limits::MAX_SCRYPT_WORK,
        limits::MAX_SCRYPT_BLOCKS,
        limits::MAX_PBKDF2_SHA256_WORK,
        limits::MAX_PBKDF2_SHA512_WORK,
        limits::MAX_ARGON2_WORK,
        limits::MAX_ARGON2_MEMORY_KIB,
        limits::MAX_ARGON2_LANES,
    )
}

pub(super) async fn run(users: &UsersTable, file: &str, output: Output) -> Result<(), ImportError> {
    let input: Box<dyn BufRead + Send> = if file == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let opened = File::open(file).map_err(|source| ImportError::Open(file.to_owned(), source))?;
        Box::new(BufReader::new(opened))
    };
    let mut progress = Progress::default();
    let outcome = import(users, lines_of(input), &mut progress, output).await;
    clear_progress();
    let Progress { lines, imported, already_there, refused } = progress;
    outcome.map_err(|cause| ImportError::Stopped { lines, imported, already_there, refused: refused.len(), cause })?;

    let text =
        format!("imported: {imported}; already there, not changed: {already_there}; lines rejected: {}", refused.len());
    let reasons: Vec<_> = refused.iter().map(|(line, reason)| json!({ "line": line, "reason": reason })).collect();
    output.result(&text, &json!({ "imported": imported, "already_there": already_there, "refused": reasons }));
    match refused.len() {
        0 => Ok(()),
        refused => Err(ImportError::Refused(refused as u64)),
    }
}

/// The lines of a file, read ahead by a thread. Not a task of the runtime, which would wait for it at the end: after a
/// failure the rest of a pipe is not awaited.
fn lines_of(mut input: Box<dyn BufRead + Send>) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(AT_ONCE);
    thread::spawn(move || {
        while let Some(line) = next_line(&mut input).transpose() {
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

/// Imports line by line until the end or an error. Writes in progress are awaited then, so that `progress` is
/// correct.
async fn import(
    users: &UsersTable,
    mut lines: Receiver<io::Result<Vec<u8>>>,
    progress: &mut Progress,
    output: Output,
) -> Result<(), Cause> {
    let random = SystemRandom::new();
    let now = EpochSeconds::now();
    let mut names = HashSet::new();
    let mut writes = JoinSet::new();
    let mut outcome = loop {
        tokio::select! {
            Some(write) = writes.join_next() => if let Err(error) = count(write, progress) { break Err(error.into()) },
            line = lines.recv(), if writes.len() < AT_ONCE => {
                let line = match line {
                    Some(Ok(line)) => line,
                    Some(Err(error)) => break Err(error.into()),
                    None => break Ok(()),
                };
                progress.lines += 1;
                print_progress(progress);
                let Accepted { username, hash, roles } = match accept(&line, &mut names) {
                    Some(Ok(accepted)) => accepted,
                    Some(Err(reason)) => {
                        refuse(progress, reason, output);
                        continue;
                    }
                    None => continue,
                };
                let user = match UserId::random(&random) {
                    Ok(user_id) => User::new(user_id, username, hash, roles, now),
                    Err(error) => break Err(error.into()),
                };
                let users = users.clone();
                writes.spawn(async move { users.add(&user).await });
            }
        }
    };
    while let Some(write) = writes.join_next().await {
        // The first failure is the one that is reported.
        if let Err(error) = count(write, progress)
            && outcome.is_ok()
        {
            outcome = Err(error.into());
        }
    }
    outcome
}

fn count(write: Result<Result<Addition, StoreError>, JoinError>, progress: &mut Progress) -> Result<(), StoreError> {
    match write {
        Ok(Ok(Addition::Added)) => progress.imported += 1,
        Ok(Ok(Addition::NameTaken)) => progress.already_there += 1,
        Ok(Err(error)) => return Err(error),
        // A write neither panics nor is cancelled.
        Err(_) => {}
    }
    Ok(())
}

/// A line without its end. `None` at the end of the file. What is too long is cut, one byte over the limit.
fn next_line(input: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut limited = input.take(MAX_LINE_BYTES as u64 + 1);
    if limited.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > MAX_LINE_BYTES {
        skip_line(input)?;
    }
    Ok(Some(line))
}

fn skip_line(input: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

/// The user of a line that no earlier line had, or why there is none. `None` where the line is empty.
fn accept(line: &[u8], names: &mut HashSet<String>) -> Option<Result<Accepted, String>> {
    if line.trim_ascii().is_empty() {
        return None;
    }
    Some(read(line).and_then(|accepted| {
        let username = &accepted.username;
        if names.insert(username.as_str().to_owned()) {
            Ok(accepted)
        } else {
            Err(format!("the user {username} is in an earlier line too"))
        }
    }))
}

/// A user of a line, or why there is none. The reason repeats only the name, because the line contains a hash.
fn read(line: &[u8]) -> Result<Accepted, String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!("it is longer than {MAX_LINE_BYTES} bytes"));
    }
    let text = str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    // Serde would accept an array.
    let line: Line = Some(text).filter(|text| text.trim_start().starts_with('{')).and_then(|text| serde_json::from_str(text).ok()).ok_or_else(|| {
        "it is not a JSON object with the strings `username` and `hash`, perhaps the list of strings `roles`, and nothing else"
            .to_owned()
    })?;
    let username = Username::parse(&line.username)
        .map_err(|error| format!("{:?} is not a valid user name: {error}", line.username))?;
    Hasher::check_importable(line.hash.expose_secret()).map_err(|error| match error {
        HashError::TooCostly { .. } => format!(
            "the hash of {username} costs too much to verify: {error}; `latchkey user add {}` adds the user \
             with a new password",
            shell_word(username.as_str())
        ),
        _ => {
            format!("the hash of {username} has a format that cannot be imported; `latchkey user import --help` says which can")
        }
    })?;
    let roles = line.roles.into_iter().map(Role::from_stored).collect();
    let roles = Roles::new(roles).map_err(|error| format!("the roles of {username} cannot be set: {error}"))?;
    Ok(Accepted { username, hash: line.hash, roles })
}

fn refuse(progress: &mut Progress, reason: String, output: Output) {
    if !output.json {
        clear_progress();
        print_error(&format!("line {}: {reason}", progress.lines));
    }
    progress.refused.push((progress.lines, reason));
}

/// On a terminal one line that changes, elsewhere a line now and then.
fn print_progress(progress: &Progress) {
    let mut stderr = io::stderr();
    let is_terminal = stderr.is_terminal();
    let interval = if is_terminal { PROGRESS_LINES.0 } else { PROGRESS_LINES.1 };
    if progress.lines.is_multiple_of(interval) {
        let text = format!("{} lines read, {} users imported", progress.lines, progress.imported);
        // A closed pipe is no reason to stop.
        let _ = if is_terminal { write!(stderr, "\r\x1b[K{text}") } else { writeln!(stderr, "latchkey: {text}") };
    }
}

fn clear_progress() {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mut input: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while let Some(line) = next_line(&mut input).unwrap() {
            lengths.push(line.len());
        }
        lengths
    }

    #[test]
    fn lines_are_read_one_by_one_and_long_ones_are_cut_and_passed_over() {
        assert_eq!(lines(b""), [0_usize; 0]);
        assert_eq!(lines(b"a\n\nbc"), [1, 0, 2]);
        let long = [vec![b'x'; 3 * MAX_LINE_BYTES], b"\nab\n".to_vec()].concat();
        assert_eq!(lines(&long), [MAX_LINE_BYTES + 1, 2]);
        assert_eq!(lines(&vec![b'x'; 2 * MAX_LINE_BYTES]), [MAX_LINE_BYTES + 1]);
        let just = [vec![b'x'; MAX_LINE_BYTES], b"\nab".to_vec()].concat();
        assert_eq!(lines(&just), [MAX_LINE_BYTES, 2]);
    }

    #[test]
    fn a_suggested_command_quotes_the_name_for_the_shell() {
        let line =
            json!({ "username": "o'hara&co", "hash": "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW" });
        let refused = read(line.to_string().as_bytes()).err().unwrap();
        assert!(refused.contains(r"`latchkey user add 'o'\''hara&co'` adds"), "{refused}");
    }

    #[test]
    fn a_line_that_is_refused_says_why_and_repeats_no_hash() {
        for (line, reason) in [
            ("{", "it is not a JSON object"),
            (r#"{"username":"a"}"#, "it is not a JSON object"),
            (r#"{"username":"a","hash":1}"#, "it is not a JSON object"),
            (r#"{"username":"a","hash":"s3cr3t","password":"x"}"#, "it is not a JSON object"),
            (r#"["a","s3cr3t"]"#, "it is not a JSON object"),
            (
                r#"{"username":"CORP\\m","hash":"s3cr3t"}"#,
                r#""CORP\\m" is not a valid user name: a user name cannot contain \ (U+005C); allowed are"#,
            ),
            (r#"{"username":"Alice","hash":"s3cr3t"}"#, "the hash of alice has a format that cannot be imported"),
        ] {
            let refused = read(line.as_bytes()).err().unwrap();
            assert!(refused.starts_with(reason) && !refused.contains("s3cr3t"), "{refused}");
        }
        assert_eq!(read(b"{\"username\":\"\xff\",\"hash\":\"x\"}").err().unwrap(), "it is not UTF-8");
        let hash = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        let line = format!(r#"{{"username":"a","hash":"{hash}","roles":["b c"]}}"#);
        assert!(
            read(line.as_bytes())
                .err()
                .unwrap()
                .starts_with("the roles of a cannot be set: a role has 1 to 64 ASCII letters")
        );
        let line = format!(r#"{{"username":"A","hash":"{hash}","roles":["user"]}}"#);
        assert_eq!(read(line.as_bytes()).ok().unwrap().username.as_str(), "a");
    }
}
