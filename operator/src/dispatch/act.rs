//! What the dispatcher decides to do, and what became of it. Data only.

use crds::{Execution, ExecutionStatus, IntegrationStatus};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::line::Key;
use crate::{error::Error, world::facts::Uid};

/// Something to be done at the API server.
#[derive(Clone, Debug)]
pub enum Act {
    /// Write the status of an Execution, if it still is as it was known.
    Status {
        /// Which.
        run: Uid,
        /// Its name.
        key: Key,
        /// Its version.
        version: u64,
        /// What it was then.
        before: Box<ExecutionStatus>,
        /// What it is to be.
        status: Box<ExecutionStatus>,
        /// What for.
        purpose: Purpose,
    },
    /// Write the status of an Integration.
    LineStatus {
        /// Its name.
        key: Key,
        /// Its identity.
        uid: Uid,
        /// All of it.
        status: Box<IntegrationStatus>,
    },
    /// Make a sandbox.
    Make {
        /// For this Integration.
        line: Key,
        /// Whole.
        pod: Box<Pod>,
    },
    /// Remove a sandbox.
    Remove {
        /// Its name.
        key: Key,
        /// Its identity.
        pod: Uid,
        /// Seconds that it has to end.
        grace: u32,
    },
    /// Create an Execution that a schedule has due.
    Create {
        /// Of this Integration.
        line: Key,
        /// Its identity.
        uid: Uid,
        /// For this time.
        due: Timestamp,
        /// Whole.
        execution: Box<Execution>,
    },
    /// Remove an Execution that has been kept long enough.
    Forget {
        /// Its name.
        key: Key,
        /// Its identity.
        run: Uid,
    },
}

impl Act {
    /// Where it is done.
    pub fn namespace(&self) -> &str {
        let (Self::Status { key, .. }
        | Self::LineStatus { key, .. }
        | Self::Make { line: key, .. }
        | Self::Remove { key, .. }
        | Self::Create { line: key, .. }
        | Self::Forget { key, .. }) = self;
        &key.namespace
    }
}

/// What a status of an Execution is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It gets its sandbox.
    Bind,
    /// To say how it fares.
    Say,
    /// An attempt has ended, another one is to come.
    Retry,
    /// It has ended.
    Finish,
}

/// What became of an [`Act`].
#[derive(Debug)]
pub enum Receipt {
    /// Of [`Act::Status`].
    Status {
        /// Which Execution.
        run: Uid,
        /// What for.
        purpose: Purpose,
        /// As the server has it now. Boxed, as it is large.
        result: Result<Box<Execution>, Error>,
    },
    /// Of [`Act::LineStatus`].
    LineStatus {
        /// Which Integration.
        key: Key,
        /// What was written.
        result: Result<Box<IntegrationStatus>, Error>,
    },
    /// Of [`Act::Make`].
    Make {
        /// Which Integration.
        line: Key,
        /// As the server has it now.
        result: Result<Box<Pod>, Error>,
    },
    /// Of [`Act::Remove`].
    Remove {
        /// Which pod.
        pod: Uid,
        /// Whether it is on its way out.
        result: Result<(), Error>,
    },
    /// Of [`Act::Create`].
    Create {
        /// Which Integration.
        line: Key,
        /// Its identity.
        uid: Uid,
        /// For this time.
        due: Timestamp,
        /// As the server has it now. Nothing, if one of that name was there already.
        result: Result<Option<Box<Execution>>, Error>,
    },
    /// Of [`Act::Forget`].
    Forget {
        /// Which Execution.
        run: Uid,
        /// Whether it is gone.
        result: Result<(), Error>,
    },
}

impl Receipt {
    /// Why it was not done, if it was not.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Status { result, .. } => result.as_ref().err(),
            Self::LineStatus { result, .. } => result.as_ref().err(),
            Self::Make { result, .. } => result.as_ref().err(),
            Self::Create { result, .. } => result.as_ref().err(),
            Self::Remove { result, .. } | Self::Forget { result, .. } => result.as_ref().err(),
        }
    }
}
