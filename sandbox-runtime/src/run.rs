//! Runs one command in its jail: contract → kernel → plan → prepare → enforce → supervise →
//! report.
//!
//! In: the JSON of a `RunContract`. Out: a `RunReport`, which [`run`] leaves in a file and
//! [`crate::serve`] sends, and the command's output on the pod's own. A refusal is an outcome
//! as any other, and is reported.

mod ending;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use contract::run::{
    MAX_CONTRACT_BYTES, Outcome, RUN_VERSION, Refusal, RefusalReason, RunContract, RunReport,
};

use crate::enforce::{EnforceError, enforce};
use crate::kernel::{self, Kernel};
use crate::output::{Session, relay};
use crate::plan::{Refused, plan};
use crate::policy::{self, Instruction, PolicyError};
use crate::prepare::{PrepareError, prepare};
use crate::supervise::supervise;
use crate::sys::Processes;
use crate::sys::linux::Linux;
use crate::with_causes;

/// Longest message of a refusal, in bytes.
const MAX_MESSAGE: usize = 1024;

/// Where the contract comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Stdin, to its end.
    Stdin,
    /// A file.
    File(PathBuf),
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The report could not be written.
    #[error("failed to write the report to {}", .0.display())]
    Report(PathBuf, #[source] io::Error),
    /// Signals cannot be received, or the command not be watched.
    #[error("failed to supervise")]
    Supervise(#[source] io::Error),
}

/// Why the command did not run.
#[derive(Debug, thiserror::Error)]
pub enum NotRun {
    /// The contract could not be had.
    #[error("failed to read the contract")]
    Read(#[source] io::Error),
    /// Nor is the rest of it looked at.
    #[error("the contract is longer than {MAX_CONTRACT_BYTES} bytes")]
    TooLong,
    /// It is not JSON, or no contract.
    #[error("failed to understand the contract")]
    Form(#[from] serde_json::Error),
    /// What this kernel can do is not known.
    #[error("failed to look at the kernel")]
    Kernel(#[source] io::Error),
    /// The list of denied calls.
    #[error("failed to make the filter of system calls")]
    Calls(#[from] PolicyError),
    /// It asks for what is out of bounds, or not to be had here.
    #[error("refused the contract")]
    Refused(#[from] Refused),
    /// No pipe, or no thread to read it.
    #[error("failed to get ready for the command's output")]
    Relay(#[source] io::Error),
    /// Something is missing that the command needs.
    #[error("failed to prepare")]
    Prepare(#[from] PrepareError),
    /// The command would have run outside its jail, or could not be started.
    #[error("failed to enforce")]
    Enforce(#[from] EnforceError),
}

impl NotRun {
    fn reason(&self) -> RefusalReason {
        match self {
            Self::TooLong | Self::Form(_) => RefusalReason::BadContract,
            Self::Read(_) | Self::Kernel(_) | Self::Calls(_) | Self::Relay(_) => {
                RefusalReason::Failed
            }
            Self::Refused(refused) => refused.reason(),
            Self::Prepare(error) => error.reason(),
            Self::Enforce(error) => error.reason(),
        }
    }
}

/// What can be known before there is a contract, so that a run need not wait for it.
#[derive(Debug)]
pub struct Ready {
    kernel: Kernel,
    calls: Vec<Instruction>,
}

impl Ready {
    /// Looks once; changes nothing.
    pub fn look() -> Result<Self, NotRun> {
        Ok(Self {
            kernel: kernel::look().map_err(NotRun::Kernel)?,
            calls: policy::program(&policy::policy()?)?,
        })
    }
}

/// Runs what the contract says and writes the report. Must be called before any thread is
/// started. On an error, too, nothing that was started outlives process 1.
pub fn run(source: &Source, report: &Path) -> Result<RunReport, RunError> {
    let sys = Linux::new().map_err(RunError::Supervise)?;
    let tried = read(source)
        .and_then(|contract| understand(&contract))
        .and_then(|contract| carry_out(&contract, &Ready::look()?, (&sys, &sys), None, || {}));
    let outcome = tell(tried)?;
    write(report, &outcome).map_err(|error| RunError::Report(report.to_owned(), error))?;
    Ok(outcome)
}

/// Runs what this text, the JSON of a contract, says; `started` is called when the command
/// runs, and not if it never does. What the command says goes to the operator, too.
pub fn perform(
    contract: &[u8],
    ready: &Ready,
    session: Session<'_>,
    sys: &Linux,
    started: impl FnOnce(),
) -> Result<RunReport, RunError> {
    let carry_out = |contract| carry_out(&contract, ready, (sys, sys), Some(session), started);
    tell(understand(contract).and_then(carry_out))
}

/// The same of a contract that is understood, with others to watch it, and nobody to pass on what
/// it says to.
pub fn perform_watched(
    contract: &RunContract,
    ready: &Ready,
    (sys, watch): (&Linux, &impl Processes),
    started: impl FnOnce(),
) -> Result<RunReport, RunError> {
    tell(carry_out(contract, ready, (sys, watch), None, started))
}

/// Whether this could be run here, as far as that can be known without doing anything.
pub fn is_enforceable(contract: &RunContract, ready: &Ready) -> Result<(), NotRun> {
    plan(contract, &ready.kernel)?;
    Ok(())
}

/// The outer error says that nothing ran, the inner one that the watch failed.
fn carry_out(
    contract: &RunContract,
    ready: &Ready,
    (sys, watch): (&Linux, &impl Processes),
    session: Option<Session<'_>>,
    started: impl FnOnce(),
) -> Result<io::Result<Outcome>, NotRun> {
    let plan = plan(contract, &ready.kernel)?;
    let (relay, pipes) = relay(contract.output, session).map_err(NotRun::Relay)?;
    let prepared = prepare(plan, pipes, &ready.calls, sys)?;
    let before = ending::Before::now(sys);
    let command = enforce(prepared, sys)?;
    started();
    let over = supervise(watch, command, contract.time);
    Ok(over.map(|over| Outcome::Ended(ending::gather(over, relay, contract, &before, sys))))
}

fn tell(tried: Result<io::Result<Outcome>, NotRun>) -> Result<RunReport, RunError> {
    let outcome = match tried {
        Ok(ending) => ending.map_err(RunError::Supervise)?,
        Err(not_run) => Outcome::Refused(refusal(&not_run)),
    };
    Ok(RunReport {
        version: RUN_VERSION,
        outcome,
    })
}

/// What people would look for in the pod's log and not find in the command's output.
pub fn remark(report: &RunReport) -> Option<String> {
    match &report.outcome {
        Outcome::Refused(refusal) => Some(format!("not run: {}", refusal.message)),
        // Whoever does not take the output would not take this line, and hold up the end.
        Outcome::Ended(ending) if ending.output.delivered && ending.output.dropped_bytes > 0 => {
            let output = &ending.output;
            if output.dropped_lines == output.lines {
                return Some(format!(
                    "output is not kept: {} lines dropped",
                    output.lines
                ));
            }
            Some(format!(
                "output beyond its bounds: {} of {} lines dropped, {} cut",
                output.dropped_lines, output.lines, output.cut_lines
            ))
        }
        Outcome::Ended(_) => None,
    }
}

fn read(source: &Source) -> Result<Vec<u8>, NotRun> {
    let reader: Box<dyn Read> = match source {
        Source::Stdin => Box::new(io::stdin()),
        Source::File(path) => Box::new(File::open(path).map_err(NotRun::Read)?),
    };
    let mut text = Vec::new();
    let most = MAX_CONTRACT_BYTES as u64;
    reader
        .take(most + 1)
        .read_to_end(&mut text)
        .map_err(NotRun::Read)?;
    Ok(text)
}

fn understand(contract: &[u8]) -> Result<RunContract, NotRun> {
    if contract.len() > MAX_CONTRACT_BYTES {
        return Err(NotRun::TooLong);
    }
    Ok(serde_json::from_slice(contract)?)
}

fn refusal(not_run: &NotRun) -> Refusal {
    let mut message = with_causes(not_run);
    let end = (0..=MAX_MESSAGE.min(message.len()))
        .rev()
        .find(|&end| message.is_char_boundary(end));
    message.truncate(end.unwrap_or(0));
    Refusal {
        reason: not_run.reason(),
        message,
    }
}

/// Replaces the file's content. Nobody else is left who could be in the way.
fn write(path: &Path, report: &RunReport) -> io::Result<()> {
    fs::write(path, serde_json::to_vec(report)?)
}
