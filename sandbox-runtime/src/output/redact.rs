//! A secret → a mark in its place, in a stream of bytes. Pure.
//!
//! In: bytes as they are read. Out: the same, but that the secret is [`MARK`], as it is or as programs
//! write it on: in base64 (RFC 4648), at any place of what was encoded with it, and in hexadecimal
//! digits, each also where line ends were put into it. A token of Kubernetes is a JWT, which URLs and JSON
//! spell no other way (RFC 7515 §2), nor does the other alphabet of base64.
//!
//! Whoever means to say a secret finds a spelling that nobody looks for: this is for what was said by
//! mistake.

use std::fmt::{self, Debug, Formatter};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// What stands for a secret.
const MARK: &[u8] = b"[redacted]";
/// Shorter ones would be found where nobody said them.
const LEAST: usize = 8;
/// What may be the beginning of a secret waits for what follows, but for fewer characters than these,
/// or than a quarter of it: so many begin every JWT, and many a line ends in one.
const TELLING: usize = 24;
/// Line ends that may stand between two bytes: `\r\n`.
const BETWEEN: usize = 2;
/// A token is renewed when four fifths of its life are over: the one before the last is good for
/// nothing.
const KEPT: usize = 2;

/// How a secret is spelt.
struct Spelling {
    bytes: Vec<u8>,
    /// Whether capital letters are the same.
    any_case: bool,
}

/// What a text begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    /// It ends before that is certain; this much of a secret tells something, or not.
    Part {
        tells: bool,
    },
    /// A secret in so many bytes.
    Whole(usize),
}

impl Spelling {
    fn is_at(&self, index: usize, byte: u8) -> bool {
        let wanted = self.bytes[index];
        wanted == byte || self.any_case && wanted.eq_ignore_ascii_case(&byte)
    }

    fn look(&self, text: &[u8]) -> Found {
        let mut at = 0;
        for index in 0..self.bytes.len() {
            // It begins with no line end.
            let most = if index == 0 { 0 } else { BETWEEN };
            let rest = text[at..].iter().take(most);
            at += rest.take_while(|byte| b"\r\n".contains(byte)).count();
            match text.get(at) {
                None => {
                    let tells = index >= TELLING.min(self.bytes.len() / 4);
                    return Found::Part { tells };
                }
                Some(&byte) if self.is_at(index, byte) => at += 1,
                Some(_) => return Found::Nothing,
            }
        }
        Found::Whole(at)
    }
}

/// One stream.
pub(super) struct Redactor {
    /// The newest ones, that last.
    secrets: Vec<Vec<u8>>,
    spellings: Vec<Spelling>,
    /// Bytes that a spelling begins with.
    begins: [bool; 256],
    /// What may be the beginning of a secret, and how much of that has been passed on.
    held: Vec<u8>,
    given: usize,
}

impl Redactor {
    pub(super) fn new() -> Self {
        Self {
            secrets: Vec::new(),
            spellings: Vec::new(),
            begins: [false; 256],
            held: Vec::new(),
            given: 0,
        }
    }

    /// From now on, this is a secret, too. Says whether it is one: what is too short is not.
    pub(super) fn learn(&mut self, secret: &[u8]) -> bool {
        if secret.len() < LEAST {
            return false;
        }
        if !self.secrets.iter().any(|known| known == secret) {
            self.secrets.push(secret.to_vec());
            let over = self.secrets.len().saturating_sub(KEPT);
            self.secrets.drain(..over).for_each(drop);
            self.spellings = self.secrets.iter().flat_map(|one| spellings(one)).collect();
            self.begins = std::array::from_fn(|byte| {
                let begin = |spelling: &Spelling| {
                    u8::try_from(byte).is_ok_and(|byte| spelling.is_at(0, byte))
                };
                self.spellings.iter().any(begin)
            });
        }
        true
    }

    /// Takes the next bytes, and adds to `clean` what may be passed on.
    pub(super) fn feed(&mut self, chunk: &[u8], clean: &mut Vec<u8>) {
        self.held.extend_from_slice(chunk);
        let text = &self.held;
        let (mut at, mut given, mut waits) = (0, self.given, false);
        while at < text.len() {
            match self.look(&text[at..]) {
                Found::Nothing => at += 1,
                Found::Part { tells } => {
                    waits = tells;
                    break;
                }
                Found::Whole(length) => {
                    pass_on(text, &mut given, at, clean);
                    clean.extend_from_slice(MARK);
                    at += length;
                    given = at;
                }
            }
        }
        let until = if waits { at } else { text.len() };
        pass_on(text, &mut given, until, clean);
        self.given = given - at;
        self.held.drain(..at);
    }

    /// Takes the end: what is held was no secret.
    pub(super) fn end(&mut self, clean: &mut Vec<u8>) {
        clean.extend_from_slice(&self.held[self.given..]);
        self.held.clear();
        self.given = 0;
    }

    fn look(&self, text: &[u8]) -> Found {
        if !self.begins[usize::from(text[0])] {
            return Found::Nothing;
        }
        let found = self.spellings.iter().map(|spelling| spelling.look(text));
        found.max().unwrap_or(Found::Nothing)
    }
}

impl Debug for Redactor {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Redactor").finish_non_exhaustive()
    }
}

/// Adds what was not given of the text up to there.
fn pass_on(text: &[u8], given: &mut usize, until: usize, clean: &mut Vec<u8>) {
    if *given < until {
        clean.extend_from_slice(&text[*given..until]);
        *given = until;
    }
}

fn spellings(secret: &[u8]) -> Vec<Spelling> {
    let hex = b"0123456789abcdef";
    let digits = |byte: &u8| [byte >> 4, byte & 15].map(|digit| hex[usize::from(digit)]);
    let spelling = |bytes, any_case| Spelling { bytes, any_case };
    let mut all = vec![
        spelling(secret.to_vec(), false),
        spelling(secret.iter().flat_map(digits).collect(), true),
    ];
    all.extend((0..3).map(|before| spelling(encoded_after(before, secret), false)));
    all
}

/// The characters of base64 that nothing but the secret decides, if so many bytes stand before it in a
/// group of three: not those that also hold bits of what is before it, or after it.
fn encoded_after(before: usize, secret: &[u8]) -> Vec<u8> {
    let bytes = [&[0; 2][..before], secret].concat();
    let mut text = STANDARD_NO_PAD.encode(&bytes).into_bytes();
    text.truncate(bytes.len() * 8 / 6);
    text.drain(..(before * 8).div_ceil(6)).for_each(drop);
    text
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const SECRET: &str = "eyJhbGciOi.eyJhdWQ-Ol_sia3V.c2lnbmF0dXJl";
    /// So much of it tells nothing.
    const SHOWN: usize = SECRET.len() / 4;

    fn knowing() -> Redactor {
        let mut redactor = Redactor::new();
        assert!(redactor.learn(SECRET.as_bytes()));
        redactor
    }

    fn through(said: &[u8], chunk: usize) -> String {
        let (mut redactor, mut clean) = (knowing(), Vec::new());
        for part in said.chunks(chunk.max(1)) {
            redactor.feed(part, &mut clean);
        }
        redactor.end(&mut clean);
        String::from_utf8(clean).unwrap()
    }

    #[track_caller]
    fn becomes(said: &str, clean: &str) {
        assert_eq!(through(said.as_bytes(), said.len()), clean);
    }

    #[test]
    fn a_secret_is_a_mark_wherever_it_stands() {
        becomes(SECRET, "[redacted]");
        becomes(&format!("a {SECRET} b"), "a [redacted] b");
        becomes(&format!("{SECRET}{SECRET}\n"), "[redacted][redacted]\n");
        // What looks like its beginning may be followed by the whole of it.
        becomes(&format!("eyJhbGciOi{SECRET}"), "eyJhbGciOi[redacted]");
    }

    /// A spelling of it, in chunks of every size: what comes out before the mark and after it.
    fn in_all_chunks(said: &str) -> Vec<(String, String)> {
        let pieces = (1..=said.len()).map(|chunk| {
            let clean = through(said.as_bytes(), chunk);
            let (before, after) = clean.split_once("[redacted]").expect(&clean);
            (before.to_owned(), after.to_owned())
        });
        pieces.collect()
    }

    #[test]
    fn whatever_the_chunks_no_more_is_seen_of_it_than_tells_nothing() {
        for (before, after) in in_all_chunks(&format!("a {SECRET} b")) {
            assert_eq!(after, " b");
            let shown = before.strip_prefix("a ").unwrap();
            assert!(shown.len() < SHOWN && SECRET.starts_with(shown), "{before}");
        }
    }

    fn in_digits(secret: &str) -> String {
        let digits: Vec<String> = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        digits.concat()
    }

    #[test]
    fn it_is_found_in_digits() {
        let hex = in_digits(SECRET);
        becomes(&hex.to_uppercase(), "[redacted]");
        for (before, after) in in_all_chunks(&format!("<{hex}>")) {
            assert!(before.len() <= 1 + 2 * SHOWN && after == ">", "{before}");
        }
    }

    #[test]
    fn it_is_found_in_base64_behind_and_before_whatever_else() {
        // At most the characters that hold bits of both.
        let most = |text: &str| (text.len() * 8).div_ceil(6);
        for before in ["", "a", "ab", "abc", "Authorization: Bearer "] {
            for after in ["", ">", ">>", ">>>"] {
                let whole = format!("{before}{SECRET}{after}");
                for text in [STANDARD.encode(&whole), URL_SAFE.encode(&whole)] {
                    for (start, end) in in_all_chunks(&text) {
                        assert!(start.len() <= most(before) + 2 * SHOWN, "{start}");
                        assert!(end.len() <= most(after) + 3, "{end}");
                    }
                    let (start, _) = &in_all_chunks(&text)[text.len() - 1];
                    assert!(start.len() <= most(before), "{start}");
                }
            }
        }
    }

    #[test]
    fn line_ends_within_do_not_hide_it() {
        for end in ["\n", "\r\n"] {
            let parts = [&SECRET[..13], &SECRET[13..27], &SECRET[27..]];
            becomes(&parts.join(end), "[redacted]");
        }
        // More than that is another text.
        let apart = format!("{}\n\n\n{}", &SECRET[..13], &SECRET[13..]);
        becomes(&apart, &apart);
    }

    #[test]
    fn everything_else_passes_as_it_is() {
        let most = &SECRET[..SECRET.len() - 1];
        for said in [
            "",
            "hello\n",
            most,
            &most.repeat(3),
            &format!("{most}x\r\n"),
        ] {
            for chunk in 1..=said.len() + 1 {
                assert_eq!(through(said.as_bytes(), chunk), said, "{chunk}");
            }
        }
        let junk: Vec<u8> = (0..=u8::MAX).cycle().take(5000).collect();
        let (mut redactor, mut clean) = (knowing(), Vec::new());
        junk.chunks(7)
            .for_each(|part| redactor.feed(part, &mut clean));
        redactor.end(&mut clean);
        assert_eq!(clean, junk);
    }

    #[test]
    fn a_line_that_ends_in_what_begins_every_token_waits_for_nothing() {
        for line in ["done\n", "eyJhbGc\n", "token eyJhbGciO\r\n"] {
            let (mut redactor, mut clean) = (knowing(), Vec::new());
            redactor.feed(line.as_bytes(), &mut clean);
            assert_eq!(clean, line.as_bytes());
        }
        let (mut redactor, mut clean) = (knowing(), Vec::new());
        redactor.feed(b"eyJhbGciOi\n", &mut clean);
        assert_eq!(clean, b"", "this may be it");
        redactor.feed(b"?", &mut clean);
        assert_eq!(clean, b"eyJhbGciOi\n?");
    }

    #[test]
    fn of_those_that_are_renewed_the_newest_two_are_secrets() {
        let mut redactor = Redactor::new();
        assert!(!redactor.learn(b"") && !redactor.learn(b"a-short"));
        for secret in ["the-first", "the-second", "the-third", "the-third"] {
            assert!(redactor.learn(secret.as_bytes()));
        }
        let mut clean = Vec::new();
        redactor.feed(b"the-first the-second the-third", &mut clean);
        redactor.end(&mut clean);
        assert_eq!(clean, b"the-first [redacted] [redacted]");
        assert_eq!(format!("{redactor:?}"), "Redactor { .. }");
    }
}
