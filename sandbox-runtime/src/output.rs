//! What the command says → numbered lines, within bounds, to a [`Sink`], and a copy of it to an
//! [`Outlet`], from which the operator is told.
//!
//! A thread a stream reads a chunk, cuts it into lines and gives them on before it reads the
//! next: who is slow to take them slows the command down, through the pipe and nothing else.
//! Beyond the bounds everything is read, counted and dropped, so that the command is not held
//! up by what nobody will see. Memory is some chunks and one line a stream, and [`spool::KEPT`].
//!
//! Where there is an operator, both are without the token that the sandbox shows it: under gVisor, a
//! command can read that.
//!
//! The operator never slows the command down: the outlet takes everything, at once, and keeps
//! the newest.

mod lines;
mod outlet;
mod redact;
mod sink;
pub mod spool;
mod veil;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use contract::run::{OutputBounds, OutputCount};
use rustix::pipe::{PipeFlags, pipe_with};

use self::lines::Lines;
pub use self::outlet::Outlet;
use self::outlet::Tap;
pub use self::sink::{Line, PodLog, Sink, Stream};
use self::veil::Veil;

/// As much as a pipe holds (`pipe(7)`), so that one read empties it.
const CHUNK: usize = 64 * 1024;
const STACK: usize = 64 * 1024;
const STREAMS: usize = 2;
/// How long after the last process the pod's own output may take for what is left: at most
/// two pipes and two chunks.
const FLUSH: Duration = Duration::from_secs(2);

/// What both streams share; the number of a line comes from here.
#[derive(Debug, Default)]
struct Book {
    counts: OutputCount,
    /// Bytes that were passed on, line ends included.
    kept: u64,
}

type Ledger = Mutex<Book>;

/// Two threads at work.
#[derive(Debug)]
pub struct Relay {
    ledger: Arc<Ledger>,
    ends: Receiver<bool>,
}

/// The writing ends, for the command.
#[derive(Debug)]
pub struct Pipes {
    /// What it says.
    pub stdout: OwnedFd,
    /// What it says aside.
    pub stderr: OwnedFd,
}

/// What a run of the operator's has.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// Where a copy goes.
    pub outlet: &'a Outlet,
    /// The file with the token, which neither may show.
    pub token: &'a Path,
}

/// Starts to pass on what comes through two new pipes. To be called before the command is
/// started: afterwards it might have used up what threads are made of. Where the bounds pass on
/// nothing, the operator gets nothing either.
pub fn relay(bounds: OutputBounds, session: Option<Session<'_>>) -> io::Result<(Relay, Pipes)> {
    let session = session.filter(|_| bounds.total_bytes > 0);
    let ledger = Arc::new(Ledger::default());
    let (tell, ends) = mpsc::channel();
    let start = |stream| {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (ledger, tell) = (Arc::clone(&ledger), tell.clone());
        let read = File::from(read);
        let reader: Box<dyn Read + Send> = match session {
            Some(session) => Box::new(Veil::new(read, session.token.to_owned())?),
            None => Box::new(read),
        };
        let mut tap = Tap {
            reader,
            stream,
            outlet: session.map(|session| session.outlet.clone()),
        };
        thread::Builder::new().stack_size(STACK).spawn(move || {
            let mut sink = PodLog::new(stream);
            let delivered = pass_on(&mut tap, stream, bounds, &ledger, &mut sink);
            // Nobody waits any more if the flush took too long.
            let _ = tell.send(delivered);
        })?;
        io::Result::Ok(write)
    };
    let pipes = Pipes {
        stdout: start(Stream::Stdout)?,
        stderr: start(Stream::Stderr)?,
    };
    Ok((Relay { ledger, ends }, pipes))
}

impl Relay {
    /// Waits for both streams to end, [`FLUSH`] at most, and gives the counts. To be called
    /// when every process that could write has ended.
    pub fn finish(self) -> OutputCount {
        let deadline = Instant::now() + FLUSH;
        let mut delivered = true;
        for _ in 0..STREAMS {
            let left = deadline.saturating_duration_since(Instant::now());
            delivered &= self.ends.recv_timeout(left).unwrap_or(false);
        }
        OutputCount {
            delivered,
            ..lock(&self.ledger).counts
        }
    }
}

/// Reads to the end. False if the sink failed on the way; then the rest is only counted.
fn pass_on(
    reader: &mut impl Read,
    stream: Stream,
    bounds: OutputBounds,
    ledger: &Ledger,
    sink: &mut impl Sink,
) -> bool {
    let mut chunk = vec![0; CHUNK];
    let mut lines = Lines::new(stream, bounds);
    let mut delivered = true;
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => lines.feed(&chunk[..read], ledger, sink),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A pipe that cannot be read has nothing more to say.
            Err(_) => break,
        }
        delivered &= sink.flush().is_ok();
    }
    lines.end(ledger, sink);
    delivered && sink.flush().is_ok()
}

/// The counts are whole at every moment, so a thread that died with them harms nothing.
fn lock(ledger: &Ledger) -> std::sync::MutexGuard<'_, Book> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
