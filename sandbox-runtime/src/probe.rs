//! Looks at the network and at this process from inside, and leaves a report.
//!
//! `request → look → dial (all at once) → report`. In: the JSON of a `ProbeRequest`, which
//! the operator put into the pod's arguments. Out: the report file, and a log for people;
//! [`crate::serve`] looks again and again, and sends what it saw, and [`crate::work`] looks and
//! judges. Facts only: whether they are the right ones is judged elsewhere, so a report in
//! which everything is reachable is a success here.

mod classify;
pub mod connect;
mod devices;
mod dial;
mod inside;
mod limits;
mod look;
mod mounts;
mod named;
mod report;
mod request;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use contract::judge::is_unanswered;
use contract::{Observation, ProbeReport, ProbeRequest, SeenRuntime, VERSION};

use self::dial::Seen;
pub use self::report::TooLong;
pub use self::request::{Checked, RequestError};

/// How long after its timeout a dial may still be on its way to its verdict. Only a
/// process that is given no processor time ever needs it.
const GRACE: Duration = Duration::from_millis(500);
const STACK: usize = 128 * 1024;

/// Why no report was written.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The request asks for what cannot be done; asking again changes nothing.
    #[error("refused the request")]
    Request(#[from] RequestError),
    /// What the kernel tells about this process could not be had.
    #[error("failed to look at this process")]
    Inside(#[from] look::LookError),
    /// The report is longer than a termination message.
    #[error("refused to write a report that would be cut")]
    Report(#[from] TooLong),
    /// The report file could not be written.
    #[error("failed to write the report to {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl ProbeError {
    /// Whether the one who asked is at fault, and not this process.
    pub const fn is_bad_request(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Inside(_) | Self::Report(_) | Self::Write { .. } => false,
        }
    }
}

/// Which kernel answers this process, by the same signature as the report's `inside`.
pub fn runtime() -> io::Result<SeenRuntime> {
    let proc_version = fs::read_to_string("/proc/version")?;
    let uname = rustix::system::uname();
    let kernel_version = uname.version().to_string_lossy();
    Ok(inside::runtime(&proc_version, &kernel_version))
}

/// Probes and writes the report; gives back the log, a line per check and one for the
/// process. On an error no report was written, except that a failed write may have left
/// a part of one, which does not parse.
pub fn run(request: &str, report: &Path) -> Result<String, ProbeError> {
    let look = look_around(&request::parse(request)?, None)?;
    let text = look.encode()?;
    fs::write(report, &text).map_err(|source| ProbeError::Write {
        path: report.to_owned(),
        source,
    })?;
    Ok(report::log(&look.report, &look.seen))
}

/// What one look saw.
#[derive(Clone, Debug)]
pub struct Look {
    report: ProbeReport,
    /// The details of its checks, for people.
    seen: Vec<Seen>,
}

impl Look {
    /// What was seen.
    pub const fn report(&self) -> &ProbeReport {
        &self.report
    }

    /// Whether of everything that must answer something did. Where that is not so, nothing is
    /// proven, whatever the rest is.
    pub fn is_answered(&self) -> bool {
        let checks = &self.report.checks;
        !checks.iter().any(|one| is_unanswered(one, checks))
    }

    /// The report, JSON.
    pub fn encode(&self) -> Result<String, TooLong> {
        report::encode(&self.report)
    }
}

/// Looks once, which takes the request's timeout where anything is blocked. `token` is the file
/// with the one that this process shows to the operator, if it has one.
pub fn look_around(request: &Checked, token: Option<&Path>) -> Result<Look, ProbeError> {
    let request = request.request();
    // What blocked dials wait for is time, in which this process is looked at.
    let dials = dial_all(request);
    let inside = look::inside(&request.places, token)?;
    let seen = dials.seen();
    let report = ProbeReport {
        version: VERSION,
        checks: observations(request, &seen),
        inside,
    };
    Ok(Look { report, seen })
}

/// Dials under way, and when all of them are over.
struct Dials {
    seen: Vec<Option<Seen>>,
    arrivals: Receiver<(usize, Seen)>,
    deadline: Instant,
}

/// Dials every target in a thread of its own. Each has the whole timeout, counted from
/// when its own dial begins: silence is only seen by one who waited for it. What has no
/// verdict after timeout and grace is an error, not silence, for the same reason. Names
/// take their own time.
fn dial_all(request: &ProbeRequest) -> Dials {
    let timeout = Duration::from_millis(request.timeout_ms.into());
    let mut seen: Vec<Option<Seen>> = vec![None; request.targets.len()];
    let (verdicts, arrivals) = mpsc::channel();
    for (index, target) in request.targets.iter().cloned().enumerate() {
        let verdicts = verdicts.clone();
        let spawned = thread::Builder::new().stack_size(STACK).spawn(move || {
            // The receiver is gone only when nobody wants to know any more.
            let _ = verdicts.send((index, dial::dial(&target, timeout)));
        });
        if let Err(error) = spawned {
            seen[index] = Some(Seen::error(format!("failed to start a thread: {error}")));
        }
    }
    let names = named::patience(request.targets.iter().map(|target| &target.address));
    Dials {
        seen,
        arrivals,
        deadline: Instant::now() + timeout + names + GRACE,
    }
}

impl Dials {
    /// Waits for what each of them saw, in the order of the request.
    fn seen(mut self) -> Vec<Seen> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match self.arrivals.recv_timeout(left) {
                Ok((index, verdict)) => self.seen[index] = Some(verdict),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let late = || Seen::error("the probe was not given the time to see".to_owned());
        self.seen
            .into_iter()
            .map(|verdict| verdict.unwrap_or_else(late))
            .collect()
    }
}

fn observations(request: &ProbeRequest, seen: &[Seen]) -> Vec<Observation> {
    let observe = |(target, seen): (&contract::Target, &Seen)| Observation {
        check: target.check,
        address: target.address.clone(),
        expect: target.expect,
        saw: seen.saw,
    };
    request.targets.iter().zip(seen).map(observe).collect()
}

#[cfg(test)]
mod tests;
