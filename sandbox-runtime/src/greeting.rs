//! The line by which a canary is known: `cloister-canary <role>`, newline. Pure.
//!
//! A proxy in the way may accept any connection; it does not say this line.

use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "cloister-canary ";
const MAX_ROLE: usize = 63;

/// Longest greeting in bytes, newline included. A reader needs no more.
pub const MAX_GREETING: usize = PREFIX.len() + MAX_ROLE + 1;

/// What a canary calls itself: a DNS label's characters, 1 to 63 of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role(String);

/// The text is no [`Role`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is 1 to {MAX_ROLE} of a-z, 0-9 and `-`")]
pub struct NotARole;

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=MAX_ROLE).contains(&text.len()) && text.bytes().all(known) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotARole)
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The bytes a canary of this role answers with.
pub fn greeting(role: &Role) -> Vec<u8> {
    format!("{PREFIX}{role}\n").into_bytes()
}

/// The role that a greeting announces. `None` unless the bytes begin with a whole greeting.
pub fn role_of(bytes: &[u8]) -> Option<Role> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    line.strip_prefix(PREFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_canary_says_is_understood() {
        for text in ["canary", "other-tenant", &"x".repeat(MAX_ROLE)] {
            let role: Role = text.parse().unwrap();
            assert!(greeting(&role).len() <= MAX_GREETING);
            assert_eq!(role_of(&greeting(&role)), Some(role));
        }
    }

    #[test]
    fn rejects_what_is_no_whole_greeting() {
        for bytes in [
            &b""[..],
            b"cloister-canary",
            b"cloister-canary canary",
            b"cloister-canary \n",
            b"cloister-canary Canary\n",
            b" cloister-canary canary\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\xff\xff\n",
        ] {
            assert_eq!(role_of(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn rejects_a_role_that_is_no_label() {
        for text in ["", "Two", "two words", "a\nb", &"x".repeat(MAX_ROLE + 1)] {
            assert_eq!(text.parse::<Role>(), Err(NotARole));
        }
    }
}
