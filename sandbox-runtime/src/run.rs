//! Runs one command in its jail: contract → kernel → plan → prepare → enforce → supervise →
//! report.
//!
//! In: the JSON of a `RunContract`. Out: a `RunReport` in a file, and the command's output on
//! the pod's own. A refusal is an outcome as any other, and is reported.

mod ending;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use contract::run::{
    MAX_CONTRACT_BYTES, Outcome, RUN_VERSION, Refusal, RefusalReason, RunContract, RunReport,
};

use crate::enforce::{EnforceError, enforce};
use crate::kernel::{self, Kernel};
use crate::output::relay;
use crate::plan::{Refused, plan};
use crate::prepare::{PrepareError, prepare};
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
enum NotRun {
    #[error("failed to read the contract")]
    Read(#[source] io::Error),
    #[error("the contract is longer than {MAX_CONTRACT_BYTES} bytes")]
    TooLong,
    #[error("failed to understand the contract")]
    Form(#[from] serde_json::Error),
    #[error("failed to look at the kernel")]
    Kernel(#[source] io::Error),
    #[error("refused the contract")]
    Refused(#[from] Refused),
    #[error("failed to get ready for the command's output")]
    Relay(#[source] io::Error),
    #[error("failed to prepare")]
    Prepare(#[from] PrepareError),
    #[error("failed to enforce")]
    Enforce(#[from] EnforceError),
}

impl NotRun {
    fn reason(&self) -> RefusalReason {
        match self {
            Self::TooLong | Self::Form(_) => RefusalReason::BadContract,
            Self::Read(_) | Self::Kernel(_) | Self::Relay(_) => RefusalReason::Failed,
            Self::Refused(refused) => refused.reason(),
            Self::Prepare(error) => error.reason(),
            Self::Enforce(error) => error.reason(),
        }
    }
}

/// Runs what the contract says and writes the report. Must be called before any thread is
/// started. On an error, too, nothing that was started outlives process 1.
pub fn run(source: &Source, report: &Path) -> Result<RunReport, RunError> {
    let sys = Linux::new().map_err(RunError::Supervise)?;
    let outcome = match outcome(source, &sys) {
        Ok(ending) => ending.map_err(RunError::Supervise)?,
        Err(not_run) => Outcome::Refused(refusal(&not_run)),
    };
    let outcome = RunReport {
        version: RUN_VERSION,
        outcome,
    };
    write(report, &outcome).map_err(|error| RunError::Report(report.to_owned(), error))?;
    Ok(outcome)
}

/// The outer error says that nothing ran, the inner one that the watch failed.
fn outcome(source: &Source, sys: &Linux) -> Result<io::Result<Outcome>, NotRun> {
    let contract = read(source)?;
    let kernel: Kernel = kernel::look().map_err(NotRun::Kernel)?;
    let plan = plan(&contract, &kernel)?;
    let (relay, pipes) = relay(contract.output).map_err(NotRun::Relay)?;
    let prepared = prepare(plan, pipes, sys)?;
    let before = ending::Before::now(sys);
    let command = enforce(prepared, sys)?;
    Ok(ending::watch(command, relay, &contract, &before, sys).map(Outcome::Ended))
}

fn read(source: &Source) -> Result<RunContract, NotRun> {
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
    if text.len() > MAX_CONTRACT_BYTES {
        return Err(NotRun::TooLong);
    }
    Ok(serde_json::from_slice(&text)?)
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
    let text = serde_json::to_vec(report)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    file.write_all(&text)
}
