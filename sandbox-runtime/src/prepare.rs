//! [`Plan`] → [`Prepared`]: the supervisor's own steps are done, and the child's are at hand.
//!
//! Everything that can go wrong for want of something (a file, a directory, memory) goes
//! wrong here, before there is a child.

use std::io;
use std::path::PathBuf;

use contract::run::RefusalReason;

use crate::output::Pipes;
use crate::plan::Plan;
use crate::policy::Instruction;
use crate::step::Step;
use crate::sys::files::FilesError;
use crate::sys::{Launch, Seal, Sys};

/// What [`crate::enforce`] starts. Only [`prepare`] makes one.
#[derive(Debug)]
pub struct Prepared {
    /// The command behind its seals.
    pub(crate) launch: Launch,
    /// The step that each seal stands for, in the same order.
    pub(crate) steps: Vec<Step>,
}

/// Why nothing is prepared. The command did not run.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A step of the supervisor's.
    #[error("failed to {0}")]
    Step(Step, #[source] io::Error),
    /// Landlock.
    #[error("failed to {0}")]
    Files(Step, #[source] FilesError),
    /// None of the places has an executable file.
    #[error("found no executable file at {}", list(.0))]
    NoCommand(Vec<PathBuf>),
    /// The working directory.
    #[error("{} is not a directory that may be entered", .0.display())]
    NoDirectory(PathBuf),
    /// What the command is to read from stdin.
    #[error("failed to pass on the input")]
    Input(#[source] io::Error),
}

impl PrepareError {
    /// Whose business it is.
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::NoCommand(_) => RefusalReason::CommandNotFound,
            Self::NoDirectory(_) => RefusalReason::DirectoryNotFound,
            Self::Files(..) => RefusalReason::NotEnforceable,
            Self::Step(..) | Self::Input(_) => RefusalReason::Failed,
        }
    }
}

/// Does the supervisor's steps, in order, and readies the child's. What the command will say
/// goes into `pipes`; `calls` is the filter of its system calls.
pub fn prepare(
    plan: Plan,
    pipes: Pipes,
    calls: &[Instruction],
    sys: &impl Sys,
) -> Result<Prepared, PrepareError> {
    let Plan {
        steps,
        candidates,
        arguments,
        environment,
        directory,
        stdin,
    } = plan;
    let mut seals = Vec::new();
    for step in &steps {
        seals.extend(take(step, &stdin, calls, sys)?);
    }
    if !sys.is_directory(&directory) {
        return Err(PrepareError::NoDirectory(directory));
    }
    let found = candidates.iter().find(|path| sys.is_executable(path));
    let Some(program) = found.cloned() else {
        return Err(PrepareError::NoCommand(candidates));
    };
    let launch = Launch {
        program,
        arguments,
        environment,
        directory,
        stdin: sys.readable(&stdin).map_err(PrepareError::Input)?,
        stdout: pipes.stdout,
        stderr: pipes.stderr,
        seals,
    };
    let steps = steps.into_iter().filter(Step::is_childs).collect();
    Ok(Prepared { launch, steps })
}

/// Does a step, or turns it into what the child will do.
fn take(
    step: &Step,
    input: &[u8],
    calls: &[Instruction],
    sys: &impl Sys,
) -> Result<Option<Seal>, PrepareError> {
    let failed = |error| PrepareError::Step(step.clone(), error);
    Ok(match step {
        Step::HideSupervisor => {
            sys.hide_memory().map_err(failed)?;
            None
        }
        Step::PlaceInput(path) => {
            sys.create(path, input).map_err(failed)?;
            None
        }
        Step::NewSession => Some(Seal::NewSession),
        Step::DefaultSignals => Some(Seal::DefaultSignals),
        Step::Umask(mask) => Some(Seal::Umask(*mask)),
        Step::Limit(resource, most) => Some(Seal::Limit(*resource, *most)),
        Step::CloseDescriptors => Some(Seal::CloseDescriptors),
        Step::DropCapabilities => Some(Seal::DropCapabilities),
        Step::NoNewPrivileges => Some(Seal::NoNewPrivileges),
        Step::RestrictFiles(rules) => {
            let failed = |error| PrepareError::Files(step.clone(), error);
            Some(Seal::Files(sys.ruleset(rules).map_err(failed)?))
        }
        Step::FilterCalls => Some(Seal::Calls(calls.to_vec())),
    })
}

fn list(paths: &[PathBuf]) -> String {
    let texts = paths.iter().map(|path| path.display().to_string());
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
