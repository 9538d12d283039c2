//! The rules for a new password (NIST SP 800-63B-4, OWASP ASVS 5.0 6.2).
//!
//! It must be long enough and not easy to guess. There are no composition rules: they make passwords worse. `zxcvbn`
//! estimates how easy a password is to guess: it knows common passwords, words, names, keyboard walks, sequences,
//! repetitions and dates, in any spelling, and it gets the user's name.
//!
//! Anybody who may register can send the input that takes longest to estimate, so zxcvbn's input is bounded
//! (`readable`). Without the bound, 100 characters of all the signs that can stand for a letter take 600 ms; with it,
//! the worst input found takes 12 ms.

use secrecy::ExposeSecret as _;
use zxcvbn::zxcvbn;

use super::Password;
use crate::username::{PUNCTUATION, Username};

/// The default minimum, in code points: NIST's minimum if the password is the only factor.
pub const DEFAULT_MIN_CODE_POINTS: usize = 15;
/// The lowest minimum that can be configured, in code points: NIST's minimum with a second factor.
pub const LOWEST_MIN_CODE_POINTS: usize = 8;
/// Most code points. NIST asks for at least 64; a limit keeps hashing cheap.
pub const MAX_CODE_POINTS: usize = 128;

/// The minimum number of guesses, even with a slow hash. Eight random characters have this estimate.
const LOWEST_GUESSES: u64 = 100_000_000;

/// Most characters that are estimated, of a password and of a user name.
const MAX_READ: usize = 64;
/// Most readings of a text. zxcvbn looks up every word once for each of them.
const MAX_READINGS: usize = 64;
/// The signs that zxcvbn reads as a letter, for letters with more than one sign. Letters with one sign do not
/// multiply the readings.
const SIGNS: [(char, &str); 7] =
    [('a', "4@"), ('c', "({[<"), ('g', "69"), ('i', "1!|"), ('l', "1|7"), ('s', "$5"), ('t', "+7")];

/// A part of a user name that is shorter is in a password by chance.
const SHORTEST_LIKENESS: usize = 3;

/// Names of the service, which are as easy to guess as the user's.
const SERVICE_NAMES: [&str; 1] = ["latchkey"];

/// A policy out of range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the shortest password may have {LOWEST_MIN_CODE_POINTS} to {MAX_CODE_POINTS} characters, not {0}")]
pub struct PolicyError(usize);

/// Why a password is too weak: a sentence for the person who chose it, without any part of the password.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Weakness {
    /// Fewer code points than the policy requires.
    #[error("The password needs at least {0} characters. Several words are easy to remember.")]
    TooShort(usize),
    /// More than [`MAX_CODE_POINTS`].
    #[error("The password may have at most {MAX_CODE_POINTS} characters.")]
    TooLong,
    /// Easy to guess, and the user's name is in it.
    #[error(
        "The password is easy to guess. The user name is in it. Several words that have nothing to do with it are better."
    )]
    LikeUsername,
    /// Easy to guess.
    #[error("The password is easy to guess.{} Several words that have nothing to do with each other are better.", hint(*.0))]
    Guessable(Option<zxcvbn::feedback::Warning>),
}

/// What makes it easy, where that is known.
fn hint(warning: Option<zxcvbn::feedback::Warning>) -> String {
    warning.map(|warning| format!(" {warning}")).unwrap_or_default()
}

/// What new passwords must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    min_code_points: usize,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self { min_code_points: DEFAULT_MIN_CODE_POINTS }
    }
}

impl PasswordPolicy {
    /// A policy with this minimum, in code points.
    ///
    /// # Errors
    /// That is fewer than [`LOWEST_MIN_CODE_POINTS`] or more than [`MAX_CODE_POINTS`].
    pub fn new(min_code_points: usize) -> Result<Self, PolicyError> {
        if (LOWEST_MIN_CODE_POINTS..=MAX_CODE_POINTS).contains(&min_code_points) {
            Ok(Self { min_code_points })
        } else {
            Err(PolicyError(min_code_points))
        }
    }

    /// Whether a user of this name may choose this password.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, password: &Password, username: &Username) -> Result<(), Weakness> {
        let code_points = password.code_points();
        if code_points < self.min_code_points {
            return Err(Weakness::TooShort(self.min_code_points));
        }
        if code_points > MAX_CODE_POINTS {
            return Err(Weakness::TooLong);
        }
        let name = first(username.as_str(), MAX_READ);
        let parts = || username.as_str().split(|c| PUNCTUATION.contains(c)).filter(|part| !part.is_empty());
        let name_in_letters = in_letters(name);
        let known: Vec<_> = SERVICE_NAMES.into_iter().chain([name, &name_in_letters]).chain(parts()).collect();
        let estimate = zxcvbn(&readable(password.0.expose_secret()), &known);
        if estimate.guesses() >= LOWEST_GUESSES {
            return Ok(());
        }
        let lower = password.0.expose_secret().to_lowercase();
        if lower.contains(name) || parts().any(|part| part.chars().count() >= SHORTEST_LIKENESS && lower.contains(part))
        {
            return Err(Weakness::LikeUsername);
        }
        Err(Weakness::Guessable(estimate.feedback().and_then(zxcvbn::feedback::Feedback::warning)))
    }
}

/// As much of a password as zxcvbn can estimate quickly. Its cost grows with the square of the length, and with the
/// number of readings: in `4@`, either sign can be the `a`. Where there are too many readings, symbols become the
/// letters that they stand for; digits stay, they alone have 32 at most.
fn readable(password: &str) -> String {
    let text = first(password, MAX_READ);
    if readings(text) <= MAX_READINGS { text.to_owned() } else { in_letters(text) }
}

fn first(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

fn in_letters(text: &str) -> String {
    let letter = |c: char| SIGNS.iter().find(|(_, signs)| !c.is_ascii_digit() && signs.contains(c));
    text.chars().map(|c| letter(c).map_or(c, |(letter, _)| *letter)).collect()
}

/// An upper bound of zxcvbn's readings of a text. A sign for two letters is counted twice.
fn readings(text: &str) -> usize {
    let letters_of = |sign: char| SIGNS.iter().filter(|(_, signs)| signs.contains(sign)).count();
    SIGNS
        .iter()
        .map(|(_, signs)| signs.chars().filter(|sign| text.contains(*sign)).map(letters_of).sum::<usize>().max(1))
        .product()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str) -> Result<(), Weakness> {
        let username = Username::parse("alice.smith").unwrap();
        PasswordPolicy::default().check(&Password::new(password.to_owned()), &username)
    }

    #[test]
    fn a_password_has_15_to_128_code_points() {
        assert_eq!(check("vq8 zt1 kw5 rm"), Err(Weakness::TooShort(15)));
        assert_eq!(check("vq8 zt1 kw5 rm7"), Ok(()));
        let long: String = "correct horse battery staple ".chars().cycle().take(128).collect();
        assert_eq!(check(&long), Ok(()));
        assert_eq!(check(&format!("{long}x")), Err(Weakness::TooLong));
        // Counted as people count, not in bytes.
        assert_eq!(check("\u{44f}\u{1f511}\u{fc}\u{df}\u{4e00}\u{5b57}"), Err(Weakness::TooShort(15)));
        assert_eq!(check("合言葉は誰にも言わない秘密です"), Ok(()));
    }

    #[test]
    fn the_least_that_can_be_configured_is_8() {
        assert_eq!(PasswordPolicy::new(7), Err(PolicyError(7)));
        assert_eq!(PasswordPolicy::new(129), Err(PolicyError(129)));
        let policy = PasswordPolicy::new(8).unwrap();
        let username = Username::parse("alice").unwrap();
        let check = |password: &str| policy.check(&Password::new(password.to_owned()), &username);
        assert_eq!(check("vq8zt1k"), Err(Weakness::TooShort(8)));
        assert_eq!(check("vq8zt1kw"), Ok(()));
        assert!(matches!(check("password"), Err(Weakness::Guessable(_))));
    }

    #[test]
    fn what_is_easy_to_guess_is_refused() {
        for password in [
            "password1234567",
            "Password123456!",
            "passwordpassword",
            "aaaaaaaaaaaaaaa",
            "123456789012345",
            "qwertyuiopasdfgh",
            "abcdefghijklmnop",
            "iloveyouiloveyou",
            "latchkeylatchkey",
        ] {
            assert!(matches!(check(password), Err(Weakness::Guessable(_))), "{password}");
        }
    }

    #[test]
    fn a_password_made_of_the_user_name_is_refused_and_one_that_only_has_it_in_it_is_not() {
        for password in ["alicealicealicealice", "alice.smithalice.smith", "SMITHsmithSMITHsmith", "Alice.Smith12345"] {
            assert_eq!(check(password), Err(Weakness::LikeUsername), "{password}");
        }
        assert_eq!(check("alice keeps 7 ferrets in Utrecht"), Ok(()));
        // A name that looks random is known all the same, however long it is.
        for name in [
            "vq8.zt1_kw5-rm7+jx2@ph9",
            "vq8'zt1!kw5#rm7$jx2%ph9",
            &"vq8zt1kw5rm7jx2ph9yd4bc6".repeat(3)[..64],
            &"vq8zt1kw5rm7jx2ph9yd4bc6".repeat(11)[..256],
        ] {
            let username = Username::parse(name).unwrap();
            for password in [name.to_owned(), name.to_uppercase(), name.repeat(2)] {
                let password = Password::new(password.chars().take(MAX_CODE_POINTS).collect());
                assert_eq!(
                    PasswordPolicy::default().check(&password, &username),
                    Err(Weakness::LikeUsername),
                    "{name}"
                );
            }
        }
        // So is the end of a long e-mail address.
        let username = Username::parse(&format!("{}@vq8zt1kw5rm7jx2p.example", "x".repeat(64))).unwrap();
        let weakness = PasswordPolicy::default().check(&Password::new("vq8zt1kw5rm7jx2p".to_owned()), &username);
        assert_eq!(weakness, Err(Weakness::LikeUsername));
        // Parts of one or two letters say nothing.
        let username = Username::parse("a.b.c").unwrap();
        let weakness = PasswordPolicy::default().check(&Password::new("abcabcabcabcabc".to_owned()), &username);
        assert!(matches!(weakness, Err(Weakness::Guessable(_))), "{weakness:?}");
    }

    #[test]
    fn input_that_is_expensive_to_estimate_is_bounded_first() {
        let all_signs = "4@8({[<3691!|70$5+%2";
        assert!(readings(all_signs) > 1000);
        assert_eq!(readable(all_signs), "4a8cccc3691ii70s5t%2");
        assert_eq!(readable("({[<1!|$5"), "cccc1iis5");
        assert_eq!(readings("0123456789"), 32);
        // Nothing else is changed.
        for text in ["correct horse battery staple", "p@$$w0rd!1", "!@#$%^&*()_+", "1234567890-=", "Xk7#pQ2!mZ9vR4w"] {
            assert_eq!(readable(text), text);
        }
        assert_eq!(readable(&"\u{1f511}".repeat(65)), "\u{1f511}".repeat(64));

        assert_eq!(check(&all_signs.repeat(6)), Ok(()));
        // A user name is known in letters too.
        let name = "vq8zt1kw5rm7+jx2@ph9b4c6";
        let password = format!("{name}!");
        assert_ne!(readable(&password), password);
        let username = Username::parse(name).unwrap();
        assert_eq!(PasswordPolicy::default().check(&Password::new(password), &username), Err(Weakness::LikeUsername));
    }

    #[test]
    fn no_walk_over_the_keyboard_is_too_long() {
        // Every step is a turn. The number of such walks does not fit into 64 bits.
        assert!(matches!(check(&"qw".repeat(64)), Err(Weakness::Guessable(_))));
        assert_eq!(check(&"qazsexdrcgyhbjiko".repeat(3)), Ok(()));
        assert_eq!(check(&"qWsAzSeDcFtGbHuJmKoL".repeat(3)), Ok(()));
    }

    #[test]
    fn there_are_no_rules_of_composition() {
        for password in [
            "correct horse battery staple",
            "yet another horse, of no colour",
            "a password that is in no log 4711",
            "Xk7#pQ2!mZ9vR4w",
            "надёжный пароль для входа",
            "               but spaces count",
        ] {
            assert_eq!(check(password), Ok(()), "{password}");
        }
    }

    #[test]
    fn a_refusal_is_a_sentence_that_helps_and_repeats_nothing() {
        assert_eq!(
            check("aaaaaaaaaaaaaaa").unwrap_err().to_string(),
            "The password is easy to guess. Repeats like \"aaa\" are easy to guess. \
             Several words that have nothing to do with each other are better."
        );
        assert_eq!(
            check("short").unwrap_err().to_string(),
            "The password needs at least 15 characters. Several words are easy to remember."
        );
    }
}
