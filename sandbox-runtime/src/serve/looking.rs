//! Looks again and again, in a thread of its own that nothing waits for.

use std::io::{self, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::story::Event;
use crate::probe::{self, Checked, ProbeError};
use crate::with_causes;

/// Keeps the looking up; dropped, no new look begins.
#[derive(Debug)]
pub struct Looking(#[expect(dead_code, reason = "its end is its meaning")] Sender<()>);

/// Starts to look: at once, and then every `interval`, from the beginning of one look to that
/// of the next, or as soon as one is over that took longer.
pub fn start(
    request: Checked,
    interval: Duration,
    tell: UnboundedSender<Event>,
) -> io::Result<Looking> {
    let (keep_up, kept_up) = mpsc::channel();
    thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || {
            loop {
                let at = Instant::now();
                match look(&request) {
                    // Nobody listens any more only when the process is about to end.
                    Ok(report) => drop(tell.send(Event::Seen { report, at })),
                    Err(error) => complain(&error),
                }
                let left = interval.saturating_sub(at.elapsed());
                match kept_up.recv_timeout(left) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
    Ok(Looking(keep_up))
}

fn look(request: &Checked) -> Result<Vec<u8>, ProbeError> {
    Ok(probe::look_around(request)?.encode()?.into_bytes())
}

/// The operator sees that no proof comes, and people why.
fn complain(error: &ProbeError) {
    let _ = writeln!(io::stderr(), "cloister-sandbox: {}", with_causes(error));
}
