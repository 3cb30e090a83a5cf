//! Where lines go.

use std::io::{self, Write as _};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// A line, or what the bounds leave of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// From 1, over both streams; a gap is a line that was dropped.
    pub number: u64,
    /// Where it was said.
    pub stream: Stream,
    /// Any bytes, without the line's end.
    pub bytes: &'a [u8],
    /// Its end was said. Without, it was the last of its stream.
    pub ended: bool,
    /// There was more of it.
    pub cut: bool,
}

/// Takes lines.
pub trait Sink {
    /// Takes one, to be given on by the next [`Sink::flush`] at the latest.
    fn line(&mut self, line: &Line<'_>);
    /// Gives on what was taken, and waits as long as that takes.
    fn flush(&mut self) -> io::Result<()>;
}

/// The pod's own stdout and stderr, for `kubectl logs`: bytes as they were said.
#[derive(Debug)]
pub struct PodLog {
    stream: Stream,
    waiting: Vec<u8>,
}

impl PodLog {
    /// The stream of the same name.
    pub const fn new(stream: Stream) -> Self {
        Self {
            stream,
            waiting: Vec::new(),
        }
    }
}

impl Sink for PodLog {
    fn line(&mut self, line: &Line<'_>) {
        self.waiting.extend_from_slice(line.bytes);
        if line.ended || line.cut {
            self.waiting.push(b'\n');
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = match self.stream {
            Stream::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout
                    .write_all(&self.waiting)
                    .and_then(|()| stdout.flush())
            }
            Stream::Stderr => io::stderr().lock().write_all(&self.waiting),
        };
        self.waiting.clear();
        written
    }
}
