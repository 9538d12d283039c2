//! What a person sees, and where passwords are typed.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use serde_json::{Value, json};
use shared::password::Password;
use shared::username::Username;

/// The password could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// The terminal or the pipe failed.
    #[error("the password could not be read")]
    Io(#[from] io::Error),
    /// Two different ones were typed.
    #[error("the two passwords differ; nothing was done")]
    Differ,
    /// Nothing was typed.
    #[error("the password is empty; type it, or pipe it in as one line")]
    Empty,
}

/// How results are written.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    /// As JSON, for scripts.
    pub(crate) json: bool,
}

impl Output {
    /// A result: text for a person, or an object for a script.
    pub(crate) fn result(self, text: &str, object: &Value) {
        if self.json { say(&object.to_string()) } else { say(text) }
    }

    /// What was done to a user, and whether that changed anything.
    pub(crate) fn action(self, text: &str, username: &Username, action: &str, changed: bool) {
        self.result(text, &json!({ "username": username.as_str(), "action": action, "changed": changed }));
    }

    /// What went wrong, on standard error. `code` is stable.
    pub(crate) fn failure(self, code: &str, message: &str) {
        if self.json {
            let _ = writeln!(io::stderr(), "{}", json!({ "error": code, "message": message }));
        } else {
            complain(message);
        }
    }
}

/// A line for the person, on standard output.
pub(crate) fn say(line: &str) {
    // A closed pipe (`| head`) is no reason to fail.
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line about what went wrong, on standard error.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "latchkey: {line}");
}

/// A new password: typed twice without echo, or the first line of standard input where that is no terminal. Never an
/// argument, which everybody on the machine can see.
pub(crate) fn new_password() -> Result<Password, PasswordError> {
    let password = if io::stdin().is_terminal() {
        let password = rpassword::prompt_password("Password: ")?;
        if rpassword::prompt_password("Again: ")? != password {
            return Err(PasswordError::Differ);
        }
        password
    } else {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)).to_owned()
    };
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    Ok(Password::new(password))
}
