//! What the command of a live run says → the end of it, and how much there was. Pure.
//!
//! In: pieces, as its sandbox says them, in any order and as often as it likes. Out: how far they
//! were heard, and what status says at the end. Of a live run [`KEPT`] bytes of each stream are
//! held, 8 KiB in all, whatever it says. Nothing of it goes anywhere but into the status that is
//! written when the attempt ends; whoever wants all of it reads the same pieces.

use contract::dispatch::{Heard, Output as Piece, Run as Attempt, Stream};
use crds::execution::{MAX_TAIL_BYTES, Output, OutputStream};

/// Bytes held of a stream: as many as status shows of one that has it all to itself.
const KEPT: usize = MAX_TAIL_BYTES;
/// Bytes of the text that either stream is sure of.
const SHARE: usize = MAX_TAIL_BYTES / 2;

/// The end of both streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    stdout: Strand,
    stderr: Strand,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Strand {
    /// Its newest bytes, with a line for each gap among them.
    newest: Vec<u8>,
    /// Bytes of it so far, whether they came or not: the place of the next one.
    bytes: u64,
    /// Line ends in them.
    lines: u64,
    /// Of these, what never came.
    missed_bytes: u64,
    missed_lines: u64,
    /// The last one to come was no line's end.
    is_open: bool,
    /// More was said than is held.
    is_cut: bool,
}

impl Tail {
    /// Takes a piece. What was heard before is let pass.
    pub fn take(&mut self, piece: &Piece) {
        let strand = match piece.stream() {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
            // Of a kind that only a newer sandbox knows.
            Stream::Unspecified => return,
        };
        strand.take(piece.place, piece.lines, &piece.text);
    }

    /// How far this attempt has been heard.
    pub fn heard(&self, run: Attempt) -> Heard {
        Heard {
            run: Some(run),
            stdout: self.stdout.bytes,
            stderr: self.stderr.bytes,
        }
    }

    /// Whether nothing was said.
    pub const fn is_empty(&self) -> bool {
        self.stdout.bytes == 0 && self.stderr.bytes == 0
    }

    /// What status says of it; nothing of a command that said nothing.
    pub fn status(&self) -> Option<Output> {
        if self.is_empty() {
            return None;
        }
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        // What one does not need of its share is the other's.
        let room = |other: &str| MAX_TAIL_BYTES - other.len().min(SHARE);
        Some(Output {
            stdout: self.stdout.status(&stdout, room(&stderr)),
            stderr: self.stderr.status(&stderr, room(&stdout)),
        })
    }
}

impl Strand {
    fn take(&mut self, place: u64, lines: u64, text: &[u8]) {
        let known = usize::try_from(self.bytes.saturating_sub(place)).unwrap_or(usize::MAX);
        let Some((before, text)) = text.split_at_checked(known) else {
            return;
        };
        if text.is_empty() {
            return;
        }
        let (place, lines) = (
            place.saturating_add(before.len() as u64),
            lines.saturating_add(ends(before)),
        );
        let missed = place - self.bytes;
        if missed > 0 {
            let missed_lines = lines.saturating_sub(self.lines);
            self.missed_bytes = self.missed_bytes.saturating_add(missed);
            self.missed_lines = self.missed_lines.saturating_add(missed_lines);
            let end = if self.is_open { "\n" } else { "" };
            let gap = format!("{end}[{missed_lines} lines, {missed} bytes are missing here]\n");
            self.keep(gap.as_bytes());
            self.is_cut = true;
        }
        self.keep(text);
        self.bytes = place.saturating_add(text.len() as u64);
        self.lines = lines.saturating_add(ends(text));
        self.is_open = text.last() != Some(&b'\n');
    }

    /// Holds the newest.
    fn keep(&mut self, text: &[u8]) {
        let newest = &text[text.len().saturating_sub(KEPT)..];
        let over = (self.newest.len() + newest.len()).saturating_sub(KEPT);
        self.is_cut |= over > 0 || newest.len() < text.len();
        self.newest.drain(..over);
        self.newest.reserve_exact(newest.len());
        self.newest.extend_from_slice(newest);
    }

    /// What is held, fit for a terminal. It may have been cut within a character.
    fn text(&self) -> String {
        let continues = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
        let rest = self
            .newest
            .iter()
            .take(3)
            .take_while(|byte| continues(byte));
        let start = if self.is_cut { rest.count() } else { 0 };
        plain(&String::from_utf8_lossy(&self.newest[start..]))
    }

    /// The end of `text`, at most `room` bytes, and the counts.
    fn status(&self, text: &str, room: usize) -> OutputStream {
        let start = text.ceil_char_boundary(text.len().saturating_sub(room));
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        OutputStream {
            bytes: number(self.bytes),
            lines: number(self.lines.saturating_add(self.is_open.into())),
            missed_bytes: number(self.missed_bytes),
            missed_lines: number(self.missed_lines),
            tail: text[start..].to_owned(),
            truncated: self.is_cut || start > 0,
        }
    }
}

/// Text that changes nothing on a terminal but what it shows: of all that controls one, line ends
/// and tabs stay, and the rest shows as U+FFFD, as do the marks that turn the direction of
/// writing around.
fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let shown = |char: char| match char {
        '\n' | '\t' => char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        char if char.is_control() => char::REPLACEMENT_CHARACTER,
        char => char,
    };
    text.chars().map(shown).collect()
}

fn ends(bytes: &[u8]) -> u64 {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    lines.saturating_sub(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: Stream, place: u64, lines: u64, text: &[u8]) -> Piece {
        Piece {
            run: None,
            stream: stream.into(),
            place,
            lines,
            text: text.to_vec(),
        }
    }

    fn out(tail: &mut Tail, place: u64, lines: u64, text: &[u8]) {
        tail.take(&piece(Stream::Stdout, place, lines, text));
    }

    fn stdout(tail: &Tail) -> OutputStream {
        tail.status().unwrap().stdout
    }

    fn shown(said: &[u8]) -> String {
        let mut tail = Tail::default();
        out(&mut tail, 0, 0, said);
        stdout(&tail).tail
    }

    #[test]
    fn both_streams_are_kept_apart_and_counted() {
        let mut tail = Tail::default();
        assert_eq!(tail.status(), None);
        out(&mut tail, 0, 0, b"one\n");
        tail.take(&piece(Stream::Stderr, 0, 0, b"why\nnot"));
        out(&mut tail, 4, 1, b"two\n");
        tail.take(&piece(Stream::Unspecified, 0, 0, b"what"));
        let said = |bytes, lines, tail: &str| OutputStream {
            bytes,
            lines,
            tail: tail.to_owned(),
            ..OutputStream::default()
        };
        let expected = Output {
            stdout: said(8, 2, "one\ntwo\n"),
            stderr: said(7, 2, "why\nnot"),
        };
        assert_eq!(tail.status(), Some(expected));
        let heard = tail.heard(Attempt::default());
        assert_eq!((heard.stdout, heard.stderr), (8, 7));
    }

    #[test]
    fn what_was_heard_is_not_heard_again() {
        let mut tail = Tail::default();
        out(&mut tail, 0, 0, b"one\ntwo\n");
        let before = tail.clone();
        for (place, lines, text) in [(0, 0, &b"one\ntwo\n"[..]), (4, 1, b"two\n"), (0, 0, b"")] {
            out(&mut tail, place, lines, text);
            assert_eq!(tail, before);
        }
        // Cut elsewhere than before.
        out(&mut tail, 4, 1, b"two\nthree\n");
        let said = stdout(&tail);
        assert_eq!(
            (&*said.tail, said.lines, said.bytes),
            ("one\ntwo\nthree\n", 3, 14)
        );
        assert!(!said.truncated && said.missed_bytes == 0);
    }

    #[test]
    fn a_gap_is_counted_and_seen_where_it_is() {
        let mut tail = Tail::default();
        out(&mut tail, 0, 0, b"one\ntw");
        out(&mut tail, 100, 12, b"more\n");
        let said = stdout(&tail);
        let expected = "one\ntw\n[11 lines, 94 bytes are missing here]\nmore\n";
        assert_eq!(said.tail, expected);
        assert_eq!((said.bytes, said.lines), (105, 13));
        assert_eq!((said.missed_bytes, said.missed_lines), (94, 11));
        assert!(said.truncated);
        // One that heard nothing of the beginning, and one that is told what cannot be.
        let mut late = Tail::default();
        out(&mut late, 50, 7, b"late\n");
        assert!(stdout(&late).tail.starts_with("[7 lines, 50 bytes"));
        out(&mut late, u64::MAX, u64::MAX, b"x\n");
        out(&mut late, 3, u64::MAX, b"x\n");
        assert_eq!(stdout(&late).bytes, i64::MAX);
    }

    #[test]
    fn whatever_comes_memory_and_text_are_bounded() {
        for text in ["a line\n", "x", "\u{e9}", "\u{1f600}", "\u{1}", "\"\\\n"] {
            let mut tail = Tail::default();
            let bytes = text.repeat(3000);
            for (number, part) in bytes.as_bytes().chunks(1013).enumerate() {
                let place = number as u64 * 1013;
                out(&mut tail, place, 0, part);
                tail.take(&piece(Stream::Stderr, place, 0, part));
                for strand in [&tail.stdout, &tail.stderr] {
                    assert!(strand.newest.capacity() <= KEPT);
                }
            }
            let Output { stdout, stderr } = tail.status().unwrap();
            let both = stdout.tail.len() + stderr.tail.len();
            assert!(
                (MAX_TAIL_BYTES - 6..=MAX_TAIL_BYTES).contains(&both),
                "{both}"
            );
            let whole = text.chars().all(|char| !char.is_control());
            assert!(!whole || bytes.ends_with(&stdout.tail), "{text:?}");
            assert!(stdout.truncated && stderr.truncated);
        }
    }

    #[test]
    fn what_is_held_begins_with_a_whole_character() {
        // Line ends get shorter, so that there is room for more than is held.
        let end = "\r\n".repeat(5) + "x";
        let said = "\u{e9}".repeat(2500) + &end;
        let tail = shown(said.as_bytes());
        assert_eq!(
            tail,
            "\u{e9}".repeat((KEPT - end.len()) / 2) + "\n\n\n\n\nx"
        );
        // Of what was not cut, the first is as it was said.
        assert_eq!(shown(b"\x80x"), "\u{fffd}x");
    }

    #[test]
    fn a_flood_on_one_stream_leaves_the_other_its_share() {
        let mut tail = Tail::default();
        out(&mut tail, 0, 0, &[b'x'; 12 * 1024]);
        tail.take(&piece(Stream::Stderr, 0, 0, &[b'e'; 1000]));
        let Output { stdout, stderr } = tail.status().unwrap();
        assert_eq!((stdout.tail.len(), stderr.tail.len()), (3096, 1000));
        tail.take(&piece(Stream::Stderr, 1000, 0, &[b'e'; 9000]));
        let Output { stdout, stderr } = tail.status().unwrap();
        assert_eq!((stdout.tail.len(), stderr.tail.len()), (SHARE, SHARE));
        assert_eq!((stdout.bytes, stderr.bytes), (12 * 1024, 10_000));
    }

    #[test]
    fn what_is_shown_does_nothing_to_a_terminal() {
        assert_eq!(shown(b"a\tb\r\nc\rd\n"), "a\tb\nc\u{fffd}d\n");
        assert_eq!(
            shown(b"\x1b[31mred\x07\0\x7f"),
            "\u{fffd}[31mred\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(
            shown("\u{9b}31m\u{202e}\u{2066}x".as_bytes()),
            "\u{fffd}31m\u{fffd}\u{fffd}x"
        );
        assert_eq!(shown(b"\xff\xfe ok \xc3\xa9"), "\u{fffd}\u{fffd} ok \u{e9}");
        // What only looks strange stays.
        assert_eq!(
            shown("caf\u{e9} \u{4e2d}\u{1f600}".as_bytes()),
            "caf\u{e9} \u{4e2d}\u{1f600}"
        );
    }
}
