//! User names, and when two of them are the same.
//!
//! One rule, applied wherever a name enters: Unicode normalisation form KC, lower case, form KC again.
//! So `Alice`, `ALICE` and `ａｌｉｃｅ` (full width) are one user. A name is 1 to 64 code points after that:
//! letters and digits of any script, and `. _ - + @`. Names that only look alike (a Cyrillic `а`) stay
//! different names.

use std::fmt;

use serde::Serialize;
use unicode_normalization::UnicodeNormalization as _;

/// Longest name, in code points after normalisation.
pub const MAX_CODE_POINTS: usize = 64;

/// A user name in its one canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Username(String);

/// The text is not a user name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UsernameError {
    /// Empty, or longer than [`MAX_CODE_POINTS`].
    #[error("a user name has 1 to {MAX_CODE_POINTS} characters")]
    Length,
    /// A character that is neither a letter nor a digit nor one of `. _ - + @`.
    #[error("a user name consists of letters, digits and the characters . _ - + @")]
    Character,
}

impl Username {
    /// The canonical spelling of a name as typed.
    ///
    /// # Errors
    /// The text can be no user name.
    pub fn parse(typed: &str) -> Result<Self, UsernameError> {
        // Compatibility forms expand to at most 18 code points: longer input need not be normalised at all.
        if typed.len() > MAX_CODE_POINTS * 4 {
            return Err(UsernameError::Length);
        }
        let canonical: String = typed.nfkc().flat_map(char::to_lowercase).nfkc().collect();
        if !(1..=MAX_CODE_POINTS).contains(&canonical.chars().count()) {
            return Err(UsernameError::Length);
        }
        if !canonical
            .chars()
            .all(|c| c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c) || "._-+@".contains(c))
        {
            return Err(UsernameError::Character);
        }
        Ok(Self(canonical))
    }

    /// A name that was stored or verified, and is therefore canonical. It may violate a newer rule.
    pub fn from_stored(canonical: impl Into<String>) -> Self {
        Self(canonical.into())
    }

    /// The canonical spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_or_width_or_composition_are_one() {
        for (typed, canonical) in [
            ("alice", "alice"),
            ("ALICE", "alice"),
            ("\u{ff41}lice", "alice"),
            ("Zo\u{eb}", "zo\u{eb}"),
            ("Zoe\u{308}", "zo\u{eb}"),
            ("alice+news@example.com", "alice+news@example.com"),
        ] {
            assert_eq!(Username::parse(typed).unwrap().as_str(), canonical, "{typed}");
        }
    }

    #[test]
    fn a_name_is_1_to_64_code_points() {
        assert_eq!(Username::parse(""), Err(UsernameError::Length));
        assert!(Username::parse(&"a".repeat(64)).is_ok());
        assert_eq!(Username::parse(&"a".repeat(65)), Err(UsernameError::Length));
        assert_eq!(Username::parse(&"\u{fdfa}".repeat(64)), Err(UsernameError::Length));
        assert_eq!(Username::parse(&"a".repeat(100_000)), Err(UsernameError::Length));
    }

    #[test]
    fn spaces_controls_and_markup_are_refused() {
        for typed in ["a b", "a\n", "a\0", "<b>", "a#b", "a/b", "\u{202e}alice", "\u{200d}"] {
            assert_eq!(Username::parse(typed), Err(UsernameError::Character), "{typed:?}");
        }
    }

    #[test]
    fn the_canonical_spelling_is_its_own() {
        for typed in ["\u{130}stanbul", "STRASSE", "\u{1e9e}", "\u{3a3}\u{3a3}", "\u{1fb3}A"] {
            let canonical = Username::parse(typed).unwrap();
            assert_eq!(Username::parse(canonical.as_str()).unwrap(), canonical);
        }
    }
}
