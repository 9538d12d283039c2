//! What a new password must be (NIST SP 800-63B-4, OWASP ASVS 5.0 6.2).
//!
//! Long enough, and not easy to guess. No rules of composition: they make passwords worse. What is easy to guess is estimated by
//! `zxcvbn`, which knows common passwords, words, names, keyboard walks, sequences, repetitions and dates, in whatever
//! spelling, and is told the user's name. It looks at the first 100 characters; its worst case there takes 8 ms.

use secrecy::ExposeSecret as _;
use zxcvbn::zxcvbn;

use super::Password;
use crate::username::Username;

/// Fewest code points where nothing else is configured: what NIST asks for where the password is the only factor.
pub const DEFAULT_MIN_CODE_POINTS: usize = 15;
/// Fewest code points that can be configured: what NIST asks for where there is a second factor.
pub const LOWEST_MIN_CODE_POINTS: usize = 8;
/// Most code points. NIST asks for at least 64; a limit keeps hashing cheap.
pub const MAX_CODE_POINTS: usize = 128;

/// Fewer guesses than these are too few, however slow each of them is made. Eight random characters are estimated at this.
const LOWEST_GUESSES: u64 = 100_000_000;

/// Names of the service, which are as easy to guess as the user's.
const SERVICE_NAMES: [&str; 1] = ["latchkey"];

/// A policy that would be none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the shortest password may have {LOWEST_MIN_CODE_POINTS} to {MAX_CODE_POINTS} characters, not {0}")]
pub struct PolicyError(usize);

/// Why a password is too weak: a sentence for the person who chose it. None repeats any of it.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Weakness {
    /// Fewer code points than the policy asks for.
    #[error("The password needs at least {0} characters. Several words are easy to remember.")]
    TooShort(usize),
    /// More than [`MAX_CODE_POINTS`].
    #[error("The password may have at most {MAX_CODE_POINTS} characters.")]
    TooLong,
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
    /// A policy that asks for so many code points.
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
        let name = username.as_str();
        let known: Vec<_> = SERVICE_NAMES
            .into_iter()
            .chain([name])
            .chain(name.split(['.', '_', '-', '+', '@']).filter(|part| !part.is_empty()))
            .collect();
        let estimate = zxcvbn(password.0.expose_secret(), &known);
        if estimate.guesses() < LOWEST_GUESSES {
            return Err(Weakness::Guessable(estimate.feedback().and_then(zxcvbn::feedback::Feedback::warning)));
        }
        Ok(())
    }
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
            "alicealicealicealice",
            "alice.smithalice.smith",
            "SMITHsmithSMITHsmith",
            "latchkeylatchkey",
        ] {
            assert!(matches!(check(password), Err(Weakness::Guessable(_))), "{password}");
        }
    }

    #[test]
    fn there_are_no_rules_of_composition() {
        for password in [
            "correct horse battery staple",
            "yet another horse, of no colour",
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
