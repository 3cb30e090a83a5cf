//! [`Prepared`] → a command that runs behind every seal, or no command at all.

use std::io;

use contract::run::RefusalReason;

use crate::prepare::Prepared;
use crate::step::Step;
use crate::sys::{LaunchError, Sys};

/// Why the command does not run. Not one instruction of it did.
#[derive(Debug, thiserror::Error)]
pub enum EnforceError {
    /// The child could not do this to itself.
    #[error("failed to {0}")]
    Step(Step, #[source] io::Error),
    /// It could not be started.
    #[error("failed to start the command")]
    Launch(#[from] LaunchError),
}

impl EnforceError {
    /// Whose business it is.
    pub fn reason(&self) -> RefusalReason {
        match self {
            Self::Step(..) => RefusalReason::NotEnforceable,
            // Memory and processes are the pod's, all else the program's.
            Self::Launch(LaunchError::Execute(_, error)) => match error.kind() {
                io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => RefusalReason::Failed,
                _ => RefusalReason::CommandNotFound,
            },
            Self::Launch(LaunchError::Seal(..) | LaunchError::Fork(_)) => RefusalReason::Failed,
        }
    }
}

/// Starts it, and gives its number. What was prepared is used up: nothing is started twice
/// from one preparation.
pub fn enforce(prepared: Prepared, sys: &impl Sys) -> Result<u32, EnforceError> {
    let Prepared { launch, mut steps } = prepared;
    sys.launch(launch).map_err(|error| match error {
        LaunchError::Seal(index, source) if index < steps.len() => {
            EnforceError::Step(steps.swap_remove(index), source)
        }
        other @ (LaunchError::Seal(..) | LaunchError::Execute(..) | LaunchError::Fork(_)) => {
            EnforceError::Launch(other)
        }
    })
}
