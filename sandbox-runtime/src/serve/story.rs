//! What has happened in this sandbox → what it says to the operator, and what an order asks
//! of it. Pure: told by [`super::session`] of everything, it sends and starts nothing.

use std::time::Instant;

use contract::dispatch::{
    Ended, Heard, Hello, Look, Order, Output, Proof, Report, Run, Started, Stream as From, order,
    report,
};
use contract::serve::DISPATCH_VERSION;

use super::fence::Standing;
use crate::output::spool::{Piece, Places, Spool};
use crate::output::{Outlet, Stream};

/// Something that happened inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A look is over.
    Seen {
        /// JSON of a `ProbeReport`.
        report: Vec<u8>,
        /// When it began.
        at: Instant,
    },
    /// The command runs.
    Started,
    /// The run is over: JSON of a `RunReport`.
    Ended(Vec<u8>),
}

/// What is to be done about an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// Nothing: it was heard before, or is for another sandbox.
    Nothing,
    /// Say this.
    Say(Vec<Report>),
    /// Start what this, the JSON of a `RunContract`, says.
    Begin(Vec<u8>),
    /// End the run.
    Cancel,
    /// Look again now.
    Look,
}

/// An order out of order: whoever gave it is not to be obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unexpected {
    /// The session does not stand yet.
    #[error("an order came before the welcome")]
    NoWelcome,
    /// Which run it is about is not said.
    #[error("an order is about no run")]
    NoRun,
}

/// All that has happened.
#[derive(Debug, Default)]
pub struct Story {
    /// What the last Welcome held.
    resume: Vec<u8>,
    /// The present session stands.
    is_welcome: bool,
    /// The newest look.
    seen: Option<(Vec<u8>, Instant)>,
    given: Option<Given>,
    /// What the command says.
    outlet: Outlet,
}

/// The one run of this sandbox.
#[derive(Debug)]
struct Given {
    run: Run,
    /// Milliseconds that it may take.
    allowed_ms: u32,
    /// Since when the command runs.
    started: Option<Instant>,
    ended: Option<Vec<u8>>,
}

impl Story {
    /// Nothing has happened; `outlet` is where the command's output will be.
    pub fn new(outlet: Outlet) -> Self {
        Self {
            outlet,
            ..Self::default()
        }
    }

    /// What a new session begins with.
    pub fn hello(&self) -> Report {
        said(report::Kind::Hello(Hello {
            version: DISPATCH_VERSION,
            resume: self.resume.clone(),
            run: self.given.as_ref().map(|given| given.run.clone()),
        }))
    }

    /// The present session is over; gives whether it stood.
    pub const fn lose(&mut self) -> bool {
        std::mem::replace(&mut self.is_welcome, false)
    }

    /// Whether a run has been given: from there on the pod's log is the command's.
    pub const fn has_run(&self) -> bool {
        self.given.is_some()
    }

    /// Whether the end is part of what the present session was told.
    pub fn has_told_end(&self) -> bool {
        self.is_welcome && self.given.as_ref().is_some_and(|run| run.ended.is_some())
    }

    /// What there is to lose, and to whom it can be told.
    pub fn standing(&self) -> Standing {
        Standing {
            runs: self.given.as_ref().is_some_and(|run| run.ended.is_none()),
            heard: self.is_welcome,
        }
    }

    /// Takes an order.
    pub fn hear(&mut self, order: Order, now: Instant) -> Result<Deed, Unexpected> {
        match order.kind {
            Some(order::Kind::Welcome(welcome)) => {
                self.resume = welcome.resume;
                self.is_welcome = true;
                let places = welcome.heard.and_then(|heard| self.places(&heard));
                self.outlet
                    .with(|spool| spool.resume(places.unwrap_or_default()));
                Ok(Deed::Say(self.so_far(now)))
            }
            _ if !self.is_welcome => Err(Unexpected::NoWelcome),
            Some(order::Kind::Assign(assign)) => {
                let run = assign.run.ok_or(Unexpected::NoRun)?;
                if self.given.is_some() {
                    return Ok(Deed::Nothing);
                }
                self.given = Some(Given {
                    run,
                    allowed_ms: assign.allowed_ms,
                    started: None,
                    ended: None,
                });
                Ok(Deed::Begin(assign.contract))
            }
            Some(order::Kind::Cancel(cancel)) => {
                let run = cancel.run.ok_or(Unexpected::NoRun)?;
                let is_ours = |given: &Given| given.run == run && given.ended.is_none();
                let is_ours = self.given.as_ref().is_some_and(is_ours);
                Ok(if is_ours { Deed::Cancel } else { Deed::Nothing })
            }
            // What a run is given by has been looked at enough.
            Some(order::Kind::Look(Look {})) if self.given.is_some() => Ok(Deed::Nothing),
            Some(order::Kind::Look(Look {})) => Ok(Deed::Look),
            Some(order::Kind::Heard(heard)) => {
                if let Some(places) = self.places(&heard) {
                    self.outlet.with(|spool| spool.heard(places));
                }
                Ok(Deed::Nothing)
            }
            // Of a kind that a newer operator knows; it has heard which version this is.
            None => Ok(Deed::Nothing),
        }
    }

    /// How far the output of our run has been heard.
    fn places(&self, heard: &Heard) -> Option<Places> {
        let given = self.given.as_ref()?;
        let is_ours = heard.run.as_ref() == Some(&given.run);
        is_ours.then_some([heard.stdout, heard.stderr])
    }

    /// Whether there is output that may be said now. With the end, all of it has been.
    pub fn waits(&self) -> bool {
        let running = |given: &Given| given.ended.is_none();
        self.is_welcome
            && self.given.as_ref().is_some_and(running)
            && self.outlet.with(|it| it.waits())
    }

    /// The next of it.
    pub fn speak(&mut self) -> Option<Report> {
        if !self.waits() {
            return None;
        }
        let piece = self.outlet.with(Spool::piece)?;
        Some(output(&self.given.as_ref()?.run, piece))
    }

    /// Takes what happened, and gives what is to be said of it now: before an end, all output
    /// that has not been.
    pub fn happened(&mut self, event: Event, now: Instant) -> Vec<Report> {
        let report = match (event, &mut self.given) {
            (Event::Seen { report, at }, None) => {
                let (report, at) = self.seen.insert((report, at));
                proof(report, *at, now)
            }
            (Event::Started, Some(given)) => {
                let since = *given.started.insert(now);
                started(given, since, now)
            }
            (Event::Ended(report), Some(given)) => {
                let ended = ended(&given.run, given.ended.insert(report));
                if !self.is_welcome {
                    return vec![];
                }
                let rest = rest(&self.outlet, &given.run);
                return rest.chain([ended]).collect();
            }
            // A look that began before the run was given is of no use any more; and nothing
            // starts or ends that was not given.
            (Event::Seen { .. }, Some(_)) | (Event::Started | Event::Ended(_), None) => {
                return vec![];
            }
        };
        self.is_welcome.then_some(report).into_iter().collect()
    }

    /// Everything that may not have arrived yet.
    fn so_far(&self, now: Instant) -> Vec<Report> {
        let Some(given) = &self.given else {
            let newest = self.seen.iter();
            return newest.map(|(report, at)| proof(report, *at, now)).collect();
        };
        let start = given.started.map(|since| started(given, since, now));
        let Some(report) = &given.ended else {
            return start.into_iter().collect();
        };
        let rest = rest(&self.outlet, &given.run);
        let end = [ended(&given.run, report)];
        start.into_iter().chain(rest).chain(end).collect()
    }
}

fn proof(report: &[u8], at: Instant, now: Instant) -> Report {
    said(report::Kind::Proof(Proof {
        report: report.to_vec(),
        age_ms: age_ms(at, now),
    }))
}

/// Milliseconds from one moment to the next.
fn age_ms(at: Instant, now: Instant) -> u32 {
    let age = now.saturating_duration_since(at).as_millis();
    u32::try_from(age).unwrap_or(u32::MAX)
}

fn started(given: &Given, since: Instant, now: Instant) -> Report {
    said(report::Kind::Started(Started {
        run: Some(given.run.clone()),
        age_ms: age_ms(since, now),
        allowed_ms: given.allowed_ms,
    }))
}

fn ended(run: &Run, report: &[u8]) -> Report {
    said(report::Kind::Ended(Ended {
        run: Some(run.clone()),
        report: report.to_vec(),
    }))
}

/// All output that has not been said.
fn rest(outlet: &Outlet, run: &Run) -> impl Iterator<Item = Report> {
    let pieces = outlet.with(Spool::rest).into_iter();
    pieces.map(|piece| output(run, piece))
}

fn output(run: &Run, piece: Piece) -> Report {
    let stream = match piece.stream {
        Stream::Stdout => From::Stdout,
        Stream::Stderr => From::Stderr,
    };
    said(report::Kind::Output(Output {
        run: Some(run.clone()),
        stream: stream.into(),
        place: piece.place,
        lines: piece.lines,
        text: piece.text,
    }))
}

const fn said(kind: report::Kind) -> Report {
    Report { kind: Some(kind) }
}

#[cfg(test)]
mod tests;
