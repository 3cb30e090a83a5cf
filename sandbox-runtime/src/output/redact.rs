//! A secret → a mark in its place, in a stream of bytes. Pure.
//!
//! In: bytes as they are read. Out: the same, but that the secret is [`MARK`], as it is or as programs
//! write it on: in base64 (RFC 4648, both alphabets, at any place of what was encoded with it) and in
//! hexadecimal digits, each also where line ends were put into it. A token of Kubernetes is a JWT, which
//! URLs and JSON spell no other way (RFC 7515 §2).
//!
//! Whoever means to say a secret finds a spelling that nobody looks for: this is for what was said by
//! mistake.

use std::fmt::{self, Debug, Formatter};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

/// What stands for a secret.
const MARK: &[u8] = b"[redacted]";
/// What may be the first bytes of a secret waits for those that follow, but for fewer than these: they
/// tell nothing, and be it only that most lines end in one.
const TELLING: usize = 8;
/// Line ends that may stand between two bytes: `\r\n`.
const BETWEEN: usize = 2;

/// Which bytes of a spelling are alike.
#[derive(Clone, Copy)]
enum Alphabet {
    Bytes,
    Base64,
    Hex,
}

impl Alphabet {
    fn alike(self, one: u8, other: u8) -> bool {
        let url = |byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
        match self {
            Self::Bytes => one == other,
            Self::Base64 => url(one) == url(other),
            Self::Hex => one.eq_ignore_ascii_case(&other),
        }
    }
}

/// How a secret is spelt.
struct Spelling {
    alphabet: Alphabet,
    bytes: Vec<u8>,
}

/// What a text begins with.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    /// It ends before that is certain.
    Part,
    /// A secret in so many bytes.
    Whole(usize),
}

impl Spelling {
    fn look(&self, text: &[u8]) -> Found {
        let mut at = 0;
        for &wanted in &self.bytes {
            // It begins with no line end.
            let most = if at == 0 { 0 } else { BETWEEN };
            let rest = text[at..].iter().take(most);
            at += rest.take_while(|byte| b"\r\n".contains(byte)).count();
            match text.get(at) {
                None => return Found::Part,
                Some(&byte) if self.alphabet.alike(byte, wanted) => at += 1,
                Some(_) => return Found::Nothing,
            }
        }
        Found::Whole(at)
    }
}

/// One stream.
pub(super) struct Redactor {
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

    /// From now on, this is a secret, too, if it is long enough to be one.
    pub(super) fn learn(&mut self, secret: &[u8]) {
        if secret.len() < TELLING || self.secrets.iter().any(|known| known == secret) {
            return;
        }
        self.secrets.push(secret.to_vec());
        for spelling in spellings(secret) {
            let first = spelling.bytes.first().copied().unwrap_or_default();
            for byte in 0..=u8::MAX {
                self.begins[usize::from(byte)] |= spelling.alphabet.alike(byte, first);
            }
            self.spellings.push(spelling);
        }
    }

    /// Takes the next bytes, and adds to `clean` what may be passed on.
    pub(super) fn feed(&mut self, chunk: &[u8], clean: &mut Vec<u8>) {
        self.held.extend_from_slice(chunk);
        let text = &self.held;
        let (mut at, mut given) = (0, self.given);
        while at < text.len() {
            match self.look(&text[at..]) {
                Found::Nothing => at += 1,
                Found::Part => break,
                Found::Whole(length) => {
                    pass_on(text, &mut given, at, clean);
                    clean.extend_from_slice(MARK);
                    at += length;
                    given = at;
                }
            }
        }
        let waits = text.len() - at >= TELLING;
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
    let mut all = vec![
        Spelling {
            alphabet: Alphabet::Bytes,
            bytes: secret.to_vec(),
        },
        Spelling {
            alphabet: Alphabet::Hex,
            bytes: secret.iter().flat_map(digits).collect(),
        },
    ];
    all.extend((0..3).map(|before| Spelling {
        alphabet: Alphabet::Base64,
        bytes: encoded_after(before, secret),
    }));
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

    fn through(said: &[u8], chunk: usize) -> String {
        let mut redactor = Redactor::new();
        redactor.learn(SECRET.as_bytes());
        let mut clean = Vec::new();
        for part in said.chunks(chunk) {
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

    #[test]
    fn whatever_the_chunks_no_more_is_seen_of_it_than_tells_nothing() {
        let said = format!("a {SECRET} b");
        for chunk in 1..said.len() {
            let clean = through(said.as_bytes(), chunk);
            let (before, after) = clean.split_once("[redacted]").unwrap();
            assert_eq!(after, " b", "{chunk}");
            let shown = before.strip_prefix("a ").unwrap();
            assert!(
                shown.len() < TELLING && SECRET.starts_with(shown),
                "{chunk}: {clean}"
            );
        }
    }

    #[test]
    fn it_is_found_as_programs_write_it_on() {
        let digits: Vec<String> = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
        let hex = digits.concat();
        becomes(&format!("<{hex}>"), "<[redacted]>");
        becomes(&hex.to_uppercase(), "[redacted]");
        for before in ["", "a", "ab", "abc", "Authorization: Bearer "] {
            for after in ["", ">", ">>", ">>>"] {
                let whole = format!("{before}{SECRET}{after}");
                for text in [STANDARD.encode(&whole), URL_SAFE.encode(&whole)] {
                    let clean = through(text.as_bytes(), text.len());
                    let (start, end) = clean.split_once("[redacted]").unwrap();
                    // At most the characters that hold bits of both.
                    let most = |text: &str| (text.len() * 8).div_ceil(6);
                    assert!(start.len() <= most(before), "{before:?}: {clean}");
                    assert!(end.len() <= most(after) + 3, "{after:?}: {clean}");
                }
            }
        }
    }

    #[test]
    fn line_ends_within_do_not_hide_it() {
        for end in ["\n", "\r\n"] {
            let parts: Vec<&str> = [&SECRET[..13], &SECRET[13..27], &SECRET[27..]].into();
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
            becomes_for_all_chunks(said);
        }
        let junk: Vec<u8> = (0..=u8::MAX).cycle().take(5000).collect();
        let mut redactor = Redactor::new();
        redactor.learn(SECRET.as_bytes());
        let mut clean = Vec::new();
        junk.chunks(7)
            .for_each(|part| redactor.feed(part, &mut clean));
        redactor.end(&mut clean);
        assert_eq!(clean, junk);
    }

    #[track_caller]
    fn becomes_for_all_chunks(said: &str) {
        for chunk in 1..=said.len().max(1) {
            assert_eq!(through(said.as_bytes(), chunk), said, "{chunk}");
        }
    }

    #[test]
    fn a_line_waits_for_nothing_that_may_never_come() {
        let mut redactor = Redactor::new();
        redactor.learn(SECRET.as_bytes());
        let mut clean = Vec::new();
        redactor.feed(b"done\n", &mut clean);
        assert_eq!(clean, b"done\n");
        redactor.feed(b"eyJhbGc", &mut clean);
        assert_eq!(clean, b"done\neyJhbGc");
        redactor.feed(b"iOi", &mut clean);
        assert_eq!(clean, b"done\neyJhbGc", "this may be it");
        redactor.feed(b"?", &mut clean);
        assert_eq!(clean, b"done\neyJhbGciOi?");
    }

    #[test]
    fn one_that_is_renewed_is_a_secret_beside_the_old_one() {
        let mut redactor = Redactor::new();
        for secret in [SECRET, "another-one", SECRET, "", "an"] {
            redactor.learn(secret.as_bytes());
        }
        assert_eq!(redactor.secrets.len(), 2);
        let mut clean = Vec::new();
        redactor.feed(format!("{SECRET} another-one").as_bytes(), &mut clean);
        assert_eq!(clean, b"[redacted] [redacted]");
        assert_eq!(format!("{redactor:?}"), "Redactor { .. }");
    }
}
