//! Process 1 of a Worker's pod: proves what it is in, runs the command in its jail, and proves it
//! again and again while that runs. Nobody tells it anything but its arguments, and nobody has to
//! be there: it judges what it sees by [`contract::judge`], as the operator would.
//!
//! In: the JSON of a `WorkConfig`. Out: the command's output on the pod's own; the exit code and the
//! termination message ([`end`]); its own name, which says to [`crate::ready`] whether it is ready
//! ([`title`]). Two threads beside the output's: [`looking`] looks, and the main one decides
//! ([`course`]), is the supervisor of [`crate::run`], and bears the name.

mod config;
mod course;
mod end;
mod looking;
pub mod name;
pub mod title;

use std::cell::RefCell;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use contract::run::{Outcome, RunReport};

use self::config::Config;
pub use self::config::ConfigError;
use self::course::{Course, Next};
use self::end::End;
use self::looking::{Looker, Order, Seen};
use crate::clock::since_start;
use crate::run::{self, NotRun, Ready, RunError};
use crate::sys::bell::Bell;
use crate::sys::linux::Linux;
use crate::sys::{News, Processes, Reaped, Signal, Sys as _, limit};
use crate::with_causes;

/// Between two turns of who waits for nothing in particular.
const HOUR: Duration = Duration::from_hours(1);

/// Why a Worker is over that did not run.
#[derive(Debug, thiserror::Error)]
enum WorkError {
    /// The configuration asks for what cannot be done.
    #[error("refused the configuration")]
    Config(#[from] ConfigError),
    /// This kernel, or this pod, lacks what the jail takes.
    #[error("not run")]
    NotRun(#[from] NotRun),
    /// The kernel denies what it takes to wait.
    #[error("failed to get ready")]
    Start(#[from] io::Error),
    /// The run cannot be watched.
    #[error("failed to run")]
    Run(#[from] RunError),
}

/// Works to the end, and gives the exit code; the termination message, and a line on stderr, say the
/// same in words. Must be called before any thread is started. Nothing that was started outlives
/// process 1.
pub fn run(config: &str, message: &Path) -> u8 {
    let (end, is_heard) = match work(config) {
        Ok(over) => over,
        Err(error) => (failed(&error), true),
    };
    // Last of all, and over whatever a command may have left there.
    if let Err(error) = fs::write(message, &end.message) {
        let _ = writeln!(
            io::stderr(),
            "cloister-sandbox: failed to write {}: {error}",
            message.display()
        );
    }
    // Whoever does not take the output would not take this line, and hold up the end.
    if is_heard {
        let _ = writeln!(io::stderr(), "cloister-sandbox: {}", end.message);
    }
    end.code
}

fn failed(error: &WorkError) -> End {
    let line = with_causes(error);
    match error {
        WorkError::Config(_) | WorkError::NotRun(_) => End::refused(line),
        WorkError::Start(_) | WorkError::Run(_) => End::failed(line),
    }
}

/// How it ended, and whether anybody takes the output.
fn work(config: &str) -> Result<(End, bool), WorkError> {
    // Before there are threads, which inherit the mask of signals.
    let sys = Linux::new()?;
    sys.hide_memory()?;
    let Config {
        probe,
        wanted,
        run,
        pace,
    } = config::parse(config)?;
    if let Some(most) = wanted.processes {
        limit::processes(most).map_err(io::Error::from)?;
    }
    let ready = Ready::look()?;
    run::is_enforceable(&run, &ready)?;
    let bell = Bell::new()?;
    let course = Course::new(pace, since_start());
    name::show(&course.title())?;
    let warden = Warden {
        sys: &sys,
        looker: looking::start(probe, wanted, bell.clone())?,
        bell,
        course: RefCell::new(course),
        fault: RefCell::new(None),
    };
    if let Some(end) = warden.wait_for_proof()? {
        return Ok((end, true));
    }
    let started = || warden.takes(Course::started);
    let report = run::perform_watched(&run, &ready, (&sys, &warden), started)?;
    warden.takes(Course::ending);
    if let Some(remark) = run::remark(&report) {
        let _ = writeln!(io::stderr(), "cloister-sandbox: {remark}");
    }
    let end = End::of(&report, warden.fault.take());
    Ok((end, is_delivered(&report)))
}

fn is_delivered(report: &RunReport) -> bool {
    match &report.outcome {
        Outcome::Refused(_) => true,
        Outcome::Ended(ending) => ending.output.delivered,
    }
}

/// The kernel as it is, and between two of its news the course that the looks take: what breaks the
/// proof for good counts like a request to end.
struct Warden<'a> {
    sys: &'a Linux,
    looker: Looker,
    bell: Bell,
    course: RefCell<Course>,
    /// What ended it.
    fault: RefCell<Option<String>>,
}

impl Warden<'_> {
    /// Waits until the command may start; gives how it ended if it may never.
    fn wait_for_proof(&self) -> io::Result<Option<End>> {
        loop {
            let news = self.news(HOUR)?;
            if let Some(fault) = self.fault.take() {
                return Ok(Some(End::broken(fault)));
            }
            if news.iter().any(|news| matches!(news, News::Asked(_))) {
                return Ok(Some(End::unstarted()));
            }
            if self.course.borrow().may_start(since_start()) {
                return Ok(None);
            }
        }
    }

    /// Notes something of the course, and is called accordingly.
    fn takes(&self, note: impl FnOnce(&mut Course)) {
        let mut course = self.course.borrow_mut();
        note(&mut course);
        // Where the kernel refused a name, the old one would end with its proof.
        let _ = name::show(&course.title());
    }

    /// Hears what was seen. True if that ends it.
    fn hears(&self) -> bool {
        let mut ends = false;
        while let Some(Seen { judged, at }) = self.looker.seen() {
            self.takes(|course| match course.takes(judged, at, dice()) {
                Next::Look(pause, remark) => self.looker.look(Order { pause, remark }),
                Next::End(fault) => {
                    course.ending();
                    self.fault.replace(Some(fault));
                    ends = true;
                }
            });
        }
        ends
    }
}

/// A number that no other replica has.
fn dice() -> u64 {
    RandomState::new().hash_one(())
}

impl Processes for Warden<'_> {
    fn news(&self, most: Duration) -> io::Result<Vec<News>> {
        let mut news = self.sys.wait(&self.bell, Some(most))?;
        if news.iter().any(|news| matches!(news, News::Asked(_))) {
            self.takes(Course::ending);
        }
        if self.bell.heard() && self.hears() {
            news.push(News::Asked(Signal::Terminate));
        }
        Ok(news)
    }

    /// Nobody is left: nor is the command, whatever of its output is still to be passed on.
    fn reap(&self) -> io::Result<Reaped> {
        let reaped = self.sys.reap()?;
        if reaped == Reaped::Nobody {
            self.takes(Course::ending);
        }
        Ok(reaped)
    }

    /// Whatever the reason, nothing is ready after that.
    fn signal_everyone(&self, signal: Signal) -> io::Result<()> {
        self.takes(Course::ending);
        self.sys.signal_everyone(signal)
    }

    fn now(&self) -> Duration {
        self.sys.now()
    }
}
