//! User names: which are allowed, and when two of them are the same.
//!
//! A name has one canonical spelling: without white space at both ends, in Unicode's normalisation form KC, in lower
//! case. So `Alice`, `ALICE`, `alice ` and `ａｌｉｃｅ` (full width) are one user. Phones add the space, and write `’` for
//! `'`, so that is the same character here.
//!
//! A new name may be an e-mail address: letters and digits of any script, their combining marks, `.`, `@`, and what RFC
//! 5322 §3.2.3 allows in an atom. Characters that are not visible are rejected, because they make a second `alice` that
//! nobody can tell from the first. Names that only look alike (a Cyrillic `а`) stay different names: a rule against
//! mixed scripts would reject real ones, such as `иван_dev` or a Japanese name with Latin initials.
//!
//! The rules hold for new names. A stored name that violates one is still found.

use std::fmt;

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use serde::Serialize;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Longest canonical spelling, in bytes. The longest e-mail address has 254 (RFC 5321 §4.5.3.1.3, erratum 1690); earlier
/// releases allowed 64 characters of up to four bytes each.
pub const MAX_BYTES: usize = 256;
/// What a name may contain beside letters, digits and combining marks: `.`, `@`, and RFC 5322's atext.
pub const PUNCTUATION: &str = "._-+@!#$%&'*/=?^`{|}~";
/// Most combining marks in a row. No language needs more; many of them cover the lines above and below.
const MAX_COMBINING_MARKS: usize = 4;

/// A user name in its canonical spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Username(String);

/// The text is not a name that a new user can have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UsernameError {
    /// Nothing, or white space alone.
    #[error("a user name has at least one character")]
    Empty,
    /// Longer than [`MAX_BYTES`].
    #[error("a user name has at most {MAX_BYTES} bytes in UTF-8")]
    TooLong,
    /// A character that is neither a letter nor a digit nor one of [`PUNCTUATION`].
    #[error("a user name cannot contain {}; allowed are letters, digits and {PUNCTUATION}", describe(*.0))]
    Character(char),
    /// A character of Unicode's property `Default_Ignorable_Code_Point`.
    #[error("a user name cannot contain the invisible character {}", code_point(*.0))]
    Invisible(char),
    /// One combining mark too many in a row.
    #[error(
        "a user name cannot contain more than {MAX_COMBINING_MARKS} combining marks in a row; {} is one too many",
        code_point(*.0)
    )]
    CombiningMark(char),
}

impl Username {
    /// The name of a new user.
    ///
    /// # Errors
    /// The text violates a rule for new names.
    pub fn parse(typed: &str) -> Result<Self, UsernameError> {
        let name = Self::canonicalize(typed)?;
        let invisible = CodePointSetData::new::<DefaultIgnorableCodePoint>();
        let mut marks = 0;
        for c in name.0.chars() {
            let is_mark = is_combining_mark(c);
            marks = if is_mark { marks + 1 } else { 0 };
            if invisible.contains(c) {
                return Err(UsernameError::Invisible(c));
            }
            if !(is_mark || c.is_alphanumeric() || PUNCTUATION.contains(c)) {
                return Err(UsernameError::Character(c));
            }
            if marks > MAX_COMBINING_MARKS {
                return Err(UsernameError::CombiningMark(c));
            }
        }
        Ok(name)
    }

    /// The canonical spelling of a name, to look a user up. It may violate the rules for new names, as a stored one may.
    ///
    /// # Errors
    /// It is empty or too long: no user has it.
    pub fn canonicalize(typed: &str) -> Result<Self, UsernameError> {
        let typed = typed.trim();
        // The canonical spelling takes a fourth of it at the least: longer input need not be normalised at all.
        if typed.len() > MAX_BYTES * 4 {
            return Err(UsernameError::TooLong);
        }
        let straight = |c| if c == '\u{2019}' { '\'' } else { c };
        let canonical: String = typed.nfkc().map(straight).flat_map(char::to_lowercase).nfkc().collect();
        match canonical.len() {
            0 => Err(UsernameError::Empty),
            1..=MAX_BYTES => Ok(Self(canonical)),
            _ => Err(UsernameError::TooLong),
        }
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

/// A character for a message: itself, if it can be seen, and its code point.
fn describe(c: char) -> String {
    match c {
        ' ' => format!("a space ({})", code_point(c)),
        _ if c.is_ascii_graphic() || c.escape_debug().count() == 1 => format!("{c} ({})", code_point(c)),
        _ => code_point(c),
    }
}

fn code_point(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
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
    fn white_space_at_the_ends_is_not_part_of_a_name() {
        for typed in ["alice ", " alice", "\talice\r\n", "\u{a0}alice\u{3000}"] {
            assert_eq!(Username::parse(typed).unwrap().as_str(), "alice", "{typed:?}");
        }
    }

    #[test]
    fn a_name_may_be_any_email_address_without_quotes() {
        for typed in ["maeve.o'hara@example.com", "r&d@example.com", "n!a@example.com", "!#$%&'*+-/=?^_`{|}~@a.b"] {
            assert_eq!(Username::parse(typed).unwrap().as_str(), typed);
        }
        let longest = format!("{}@{}.example", "a".repeat(64), "b".repeat(181));
        assert_eq!(longest.len(), 254);
        assert_eq!(Username::parse(&longest).unwrap().as_str(), longest);
        assert_eq!(Username::parse("o\u{2019}hara").unwrap().as_str(), "o'hara", "a phone's apostrophe");
    }

    #[test]
    fn a_name_has_1_to_256_bytes() {
        for empty in ["", " ", "\u{a0}\n"] {
            assert_eq!(Username::parse(empty), Err(UsernameError::Empty), "{empty:?}");
        }
        assert!(Username::parse(&"a".repeat(256)).is_ok());
        // 64 characters of four bytes each, as earlier releases allow.
        assert!(Username::parse(&"\u{20000}".repeat(64)).is_ok());
        // 256 mathematical letters: four bytes each as typed, one byte each in the canonical spelling.
        assert_eq!(Username::parse(&"\u{1d41a}".repeat(256)).unwrap().as_str(), "a".repeat(256));
        assert_eq!(Username::parse(&"a".repeat(257)), Err(UsernameError::TooLong));
        assert_eq!(Username::parse(&"\u{fdfa}".repeat(64)), Err(UsernameError::TooLong));
        assert_eq!(Username::parse(&"a".repeat(100_000)), Err(UsernameError::TooLong));
    }

    #[test]
    fn spaces_controls_and_markup_are_rejected_by_name() {
        for (typed, c) in [
            ("a b", ' '),
            ("CORP\\mmuster", '\\'),
            ("a\nb", '\n'),
            ("a\0", '\0'),
            ("<b>", '<'),
            ("\"a\"", '"'),
            ("a\u{1f511}", '\u{1f511}'),
        ] {
            assert_eq!(Username::parse(typed), Err(UsernameError::Character(c)), "{typed:?}");
        }
    }

    #[test]
    fn no_invisible_character_makes_a_second_alice() {
        // A joiner, a variation selector, a soft hyphen, a filler that is a letter, a grapheme joiner, a tag, a change of
        // direction.
        for c in ['\u{200d}', '\u{fe0f}', '\u{ad}', '\u{3164}', '\u{34f}', '\u{e0061}', '\u{202e}'] {
            let Err(UsernameError::Invisible(found)) = Username::parse(&format!("al{c}ice")) else { panic!("{c:?}") };
            // The halfwidth and compatibility fillers are one character in form KC.
            assert_eq!(found, if c == '\u{3164}' { '\u{1160}' } else { c });
        }
    }

    #[test]
    fn at_most_four_combining_marks_follow_each_other() {
        let with = |marks: usize| Username::parse(&format!("x{}y", "\u{332}".repeat(marks)));
        assert!(with(4).is_ok());
        assert_eq!(with(5), Err(UsernameError::CombiningMark('\u{332}')));
        assert!(Username::parse(&"x\u{332}".repeat(20)).is_ok(), "in a row, not in all");
    }

    #[test]
    fn a_stored_name_that_violates_a_newer_rule_is_found() {
        for stored in ["al\u{1160}ice", "a b", "x\u{332}\u{332}\u{332}\u{332}\u{332}"] {
            assert!(Username::parse(stored).is_err());
            assert_eq!(Username::canonicalize(stored), Ok(Username::from_stored(stored)));
        }
        assert_eq!(Username::canonicalize(""), Err(UsernameError::Empty));
        assert_eq!(Username::canonicalize(&"a".repeat(257)), Err(UsernameError::TooLong));
    }

    #[test]
    fn a_refusal_names_the_rule_and_the_character() {
        let allowed = "allowed are letters, digits and ._-+@!#$%&'*/=?^`{|}~";
        for (typed, message) in [
            ("a b", format!("a user name cannot contain a space (U+0020); {allowed}")),
            ("a\\b", format!("a user name cannot contain \\ (U+005C); {allowed}")),
            ("a\u{20ac}", format!("a user name cannot contain \u{20ac} (U+20AC); {allowed}")),
            ("a\u{1b}b", format!("a user name cannot contain U+001B; {allowed}")),
            ("a\u{200b}b", "a user name cannot contain the invisible character U+200B".to_owned()),
            (
                "x\u{332}\u{332}\u{332}\u{332}\u{332}",
                "a user name cannot contain more than 4 combining marks in a row; U+0332 is one too many".to_owned(),
            ),
        ] {
            assert_eq!(Username::parse(typed).unwrap_err().to_string(), message);
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
