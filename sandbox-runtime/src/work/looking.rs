//! Looks when it is told to, in a thread of its own, and judges what it saw.
//!
//! Nothing waits for it. It is this thread, too, that says on stderr what there is to say: whoever
//! does not take the pod's log holds up the next look, and so the proof, but never process 1.

use std::io::{self, Write as _};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use contract::judge::{Judged, Verdict, Wanted, judge};

use crate::clock::since_start;
use crate::probe::{self, Checked};
use crate::sys::bell::Bell;
use crate::with_causes;

/// When to look next, and what to say before.
#[derive(Debug)]
pub struct Order {
    /// From now on.
    pub pause: Duration,
    /// One line.
    pub remark: Option<String>,
}

/// A look, judged.
#[derive(Debug)]
pub struct Seen {
    /// What it means.
    pub judged: Judged,
    /// When it began, since the node's start.
    pub at: Duration,
}

/// Who looks; dropped, no new look begins.
#[derive(Debug)]
pub struct Looker {
    orders: Sender<Order>,
    seen: Receiver<Seen>,
}

impl Looker {
    /// The next look that nobody has taken yet. Never waits; the bell says that there is one.
    pub fn seen(&self) -> Option<Seen> {
        self.seen.try_recv().ok()
    }

    /// Has it look again.
    pub fn look(&self, order: Order) {
        // Gone only if it panicked; then no proof is ever newer, which is what has to come of it.
        let _ = self.orders.send(order);
    }
}

/// Looks once at once, and then as often as it is told to; rings the bell for each.
pub fn start(request: Checked, wanted: Wanted, bell: Bell) -> io::Result<Looker> {
    let (orders, told) = mpsc::channel::<Order>();
    let (tell, seen) = mpsc::channel();
    thread::Builder::new()
        .name("look".to_owned())
        .spawn(move || {
            loop {
                let at = since_start();
                let judged = look(&request, &wanted);
                // Nobody listens any more only when the process is about to end.
                let _ = tell.send(Seen { judged, at });
                bell.ring();
                let Ok(Order { pause, remark }) = told.recv() else {
                    return;
                };
                if let Some(remark) = remark {
                    let _ = writeln!(io::stderr(), "cloister-sandbox: {remark}");
                }
                match told.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) | Ok(_) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
    Ok(Looker { orders, seen })
}

/// What cannot be seen is not proven.
fn look(request: &Checked, wanted: &Wanted) -> Judged {
    match probe::look_around(request, None) {
        Ok(look) => judge(look.report(), request.request(), wanted),
        Err(error) => Judged {
            verdict: Verdict::Doubtful,
            check: String::new(),
            fault: with_causes(&error),
            findings: Vec::new(),
        },
    }
}
