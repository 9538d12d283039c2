//! Output for people and scripts, and password prompts.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use auth::accounts::Effect;
use auth::password::Password;
use auth::username::Username;
use serde_json::{Value, json};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// The password could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// The terminal or the pipe failed.
    #[error("the password could not be read")]
    Io(#[from] io::Error),
    /// The two entries differ.
    #[error("the two passwords differ; nothing was changed")]
    Differ,
    /// The input is empty.
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
        let text = if self.json { escaped_json(object) } else { lines(text) };
        // A closed pipe (`| head`) is no reason to fail.
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// The result of an action on a user.
    pub(crate) fn action(self, text: &str, username: &Username, action: &str, effect: Effect) {
        let changed = effect == Effect::Changed;
        self.result(text, &json!({ "username": username.as_str(), "action": action, "changed": changed }));
    }

    /// Progress, on standard error, for a person.
    pub(crate) fn progress(self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "latchkey: {}", lines(text));
        }
    }

    /// A warning, on standard error. `code` is stable.
    pub(crate) fn warning(self, code: &str, message: &str) {
        self.write_error("warning", code, message);
    }

    /// An error, on standard error. `code` is stable.
    pub(crate) fn failure(self, code: &str, message: &str) {
        self.write_error("error", code, message);
    }

    fn write_error(self, kind: &str, code: &str, message: &str) {
        let text = if self.json {
            escaped_json(&json!({ kind: code, "message": message }))
        } else {
            format!("latchkey: {}", lines(message))
        };
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Whether a character could deceive the reader of a terminal: a control character, one that changes the text
/// direction, or another invisible one (Unicode's categories Cc, Cf, Zl, Zp, and unassigned code points).
fn is_treacherous(character: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned};
    matches!(
        character.general_category(),
        Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned
    )
}

/// Untrusted text on one line, safe for a terminal.
pub(crate) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        if is_treacherous(character) {
            visible.extend(character.escape_default());
        } else {
            visible.push(character);
        }
    }
    visible
}

/// The same for text whose line breaks are ours.
fn lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

/// JSON in which every such character is escaped (RFC 8259 §7).
fn escaped_json(object: &Value) -> String {
    let mut escaped = String::new();
    // Outside of strings JSON has no such character, on one line.
    for character in object.to_string().chars() {
        if is_treacherous(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// A word of a command line that is suggested: quoted for a POSIX shell where it has to be.
pub(crate) fn shell_word(text: &str) -> String {
    if text.chars().all(|c| c.is_alphanumeric() || "._-+@%=:,/".contains(c)) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A line for a person, on standard output.
pub(crate) fn print_line(line: &str) {
    let _ = writeln!(io::stdout(), "{}", lines(line));
}

/// An error line, on standard error.
pub(crate) fn print_error(line: &str) {
    let _ = writeln!(io::stderr(), "latchkey: {}", lines(line));
}

/// A new password: typed twice without echo, or the first line of standard input if that is not a terminal. Never
/// an argument, which every user of the machine can see.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal must not be given: escape sequences, a bell, C1, overrides of direction, marks and joiners.
    const TREACHEROUS: &str =
        "\u{1b}[2J\u{7}\u{7f}\u{9b}31m\u{202e}\u{2066}\u{200e}\u{61c}\u{200b}\u{feff}\u{2028}\r\u{e0041}";

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown_as_it_is() {
        let shown = visible(TREACHEROUS);
        assert!(shown.chars().all(|character| !is_treacherous(character)), "{shown}");
        assert!(shown.starts_with(r"\u{1b}[2J\u{7}"), "{shown}");
        assert_eq!(lines("a\nb\u{202e}"), "a\nb\\u{202e}");
        assert_eq!(visible("a\nb"), r"a\nb");
    }

    #[test]
    fn names_are_shown_as_they_are_written() {
        for text in
            ["o'hara@example.com", "Zo\u{eb}", "zoe\u{308}", "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}", "\u{1f511}"]
        {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn json_stays_json_and_says_the_same() {
        let object = json!({ "name": TREACHEROUS, TREACHEROUS: [TREACHEROUS, "\u{1f511}"] });
        let escaped = escaped_json(&object);
        assert!(escaped.chars().all(|character| !is_treacherous(character)), "{escaped}");
        assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), object);
    }
}
