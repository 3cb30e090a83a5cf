//! Looks again and again, in a thread of its own that nothing waits for.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::story::Event;
use crate::probe::{self, Checked, ProbeError};
use crate::with_causes;

/// Keeps the looking up; dropped, no new look begins.
#[derive(Debug)]
pub struct Looking(SyncSender<()>);

impl Looking {
    /// The next look begins now, or as soon as one under way is over.
    pub fn hurry(&self) {
        // Full: it is on its way already.
        let _ = self.0.try_send(());
    }
}

/// What a look is at.
#[derive(Debug)]
pub struct Glance {
    /// What the operator asks.
    pub request: Checked,
    /// The file with the token for the operator: beside it there must be no other.
    pub token: PathBuf,
}

/// After a look in which something did not answer that must, so that it proves nothing.
const AGAIN: Duration = Duration::from_secs(2);

/// Starts to look: at once, and then every `interval`, from the beginning of one look to that
/// of the next, or as soon as one is over that took longer; sooner where one proves nothing, or
/// is hurried.
pub fn start(
    glance: Glance,
    interval: Duration,
    tell: UnboundedSender<Event>,
) -> io::Result<Looking> {
    let (keep_up, kept_up) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || {
            loop {
                let at = Instant::now();
                let next = match look(&glance) {
                    Ok((report, is_answered)) => {
                        // Nobody listens any more only when the process is about to end.
                        drop(tell.send(Event::Seen { report, at }));
                        if is_answered {
                            interval
                        } else {
                            interval.min(AGAIN)
                        }
                    }
                    Err(error) => {
                        complain(&error);
                        interval
                    }
                };
                let left = next.saturating_sub(at.elapsed());
                match kept_up.recv_timeout(left) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
    Ok(Looking(keep_up))
}

fn look(glance: &Glance) -> Result<(Vec<u8>, bool), ProbeError> {
    let look = probe::look_around(&glance.request, Some(&glance.token))?;
    Ok((look.encode()?.into_bytes(), look.is_answered()))
}

/// The operator sees that no proof comes, and people why.
fn complain(error: &ProbeError) {
    let _ = writeln!(io::stderr(), "cloister-sandbox: {}", with_causes(error));
}
