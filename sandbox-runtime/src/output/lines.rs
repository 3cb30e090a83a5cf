//! Chunks of bytes → lines within bounds. Pure but for the ledger and the sink it is given.

use contract::run::OutputBounds;
use memchr::{memchr, memchr_iter};

use super::sink::{Line, Sink, Stream};
use super::{Ledger, lock};

/// What becomes of the line that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is passed on, under this number.
    Kept(u64),
    /// So is what came first; the rest is dropped.
    Cut(u64),
    /// It began beyond the bound.
    Dropped,
}

/// One stream on its way to lines.
#[derive(Debug)]
pub(super) struct Lines {
    stream: Stream,
    bounds: OutputBounds,
    /// Of the line that is being read; `None` between lines.
    fate: Option<Fate>,
    held: Vec<u8>,
}

impl Lines {
    pub(super) fn new(stream: Stream, bounds: OutputBounds) -> Self {
        Self {
            stream,
            bounds,
            fate: None,
            held: Vec::new(),
        }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, chunk: &[u8], ledger: &Ledger, sink: &mut impl Sink) {
        {
            let counts = &mut lock(ledger).counts;
            let bytes = match self.stream {
                Stream::Stdout => &mut counts.stdout_bytes,
                Stream::Stderr => &mut counts.stderr_bytes,
            };
            *bytes += length(chunk);
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            let fate = *self.fate.get_or_insert_with(|| begin(ledger, self.bounds));
            if fate == Fate::Dropped {
                self.drop_all(rest, ledger);
                return;
            }
            let end = memchr(b'\n', rest);
            let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.take(line, ledger);
            rest = after;
            if end.is_some() {
                self.give(true, ledger, sink);
                rest = &after[1..];
            }
        }
    }

    /// Takes the end: what is held is a line without one.
    pub(super) fn end(&mut self, ledger: &Ledger, sink: &mut impl Sink) {
        if self.fate.is_some() {
            self.give(false, ledger, sink);
        }
    }

    /// Part of a line, without its end.
    fn take(&mut self, part: &[u8], ledger: &Ledger) {
        let Some(Fate::Kept(number)) = self.fate else {
            lock(ledger).counts.dropped_bytes += length(part);
            return;
        };
        let room = self.bounds.line_bytes as usize - self.held.len();
        let (kept, over) = part.split_at(part.len().min(room));
        self.held.extend_from_slice(kept);
        let mut book = lock(ledger);
        book.kept += length(kept);
        if !over.is_empty() {
            self.fate = Some(Fate::Cut(number));
            book.counts.cut_lines += 1;
            book.counts.dropped_bytes += length(over);
        }
    }

    /// The line is whole, or will not be.
    fn give(&mut self, ended: bool, ledger: &Ledger, sink: &mut impl Sink) {
        let (number, cut) = match self.fate.take() {
            Some(Fate::Kept(number)) => (number, false),
            Some(Fate::Cut(number)) => (number, true),
            Some(Fate::Dropped) | None => {
                lock(ledger).counts.dropped_bytes += u64::from(ended);
                return;
            }
        };
        lock(ledger).kept += u64::from(ended);
        sink.line(&Line {
            number,
            stream: self.stream,
            bytes: &self.held,
            ended,
            cut,
        });
        self.held.clear();
    }

    /// The way of a flood. Once a line was dropped for the bound, all that follow are, so only
    /// their ends are counted.
    fn drop_all(&mut self, rest: &[u8], ledger: &Ledger) {
        let ends = memchr_iter(b'\n', rest).count() as u64;
        let is_open = rest.last() != Some(&b'\n');
        // The line at hand was counted when it began; each end but the last begins another.
        let begun = ends - u64::from(!is_open);
        let counts = &mut lock(ledger).counts;
        counts.dropped_bytes += length(rest);
        counts.lines += begun;
        counts.dropped_lines += begun;
        self.fate = is_open.then_some(Fate::Dropped);
    }
}

/// A line begins: it gets its number, and its fate.
fn begin(ledger: &Ledger, bounds: OutputBounds) -> Fate {
    let mut book = lock(ledger);
    let full = book.kept >= bounds.total_bytes;
    let counts = &mut book.counts;
    counts.lines += 1;
    if full {
        counts.dropped_lines += 1;
        Fate::Dropped
    } else {
        Fate::Kept(counts.lines)
    }
}

fn length(bytes: &[u8]) -> u64 {
    bytes.len() as u64
}
