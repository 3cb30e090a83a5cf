//! Why a reconcile stopped, and what that means for the next one.
//!
//! One variant for each thing that can be tried and fail. [`Error::reason`] is finite, for
//! events and metrics; [`Error::retry`] says who can help: the user's fault waits for a
//! change, the world's fault is tried again.

use crate::retry::Retry;

/// Why a reconcile stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of the spec contradicts itself or the cluster.
    #[error("{field}: {problem}")]
    Invalid {
        /// Path of the field, such as `spec.residency.zones`.
        field: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A field of the spec cannot be read, or contradicts another one.
    #[error("{problem}")]
    Unreadable {
        /// Path of the field, what is wrong, and what to do.
        problem: String,
    },
    /// The object is not where a tenant is.
    #[error(
        "namespace {namespace} is not a tenant's; create it in the namespace of one, tenant-<name>"
    )]
    NoTenant {
        /// The namespace.
        namespace: String,
    },
    /// The namespace that a tenant needs belongs to somebody else.
    #[error(
        "namespace {namespace} exists and is not this Tenant's; \
         remove it, or give the Tenant another name"
    )]
    NamespaceTaken {
        /// Its name.
        namespace: String,
    },
    /// An object with a name of ours belongs to somebody else.
    #[error("{kind} {name} exists and is not Cloister's; remove it or rename it")]
    Foreign {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An object of ours is on its way out, so that nothing can be written to it yet.
    #[error("{kind} {name} is still being deleted")]
    StillDeleting {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The server took a write and still holds something else.
    #[error("{kind} {name} cannot be repaired: the API server keeps a changed field")]
    Unrepaired {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Something that no watch has brought yet has the name.
    #[error("{kind} {name} has just been made by somebody; looking again")]
    Unseen {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Nothing is known any more of what these watches bring.
    #[error(
        "no sight of {}: the API server has not served its watch for long",
        watches.join(", ")
    )]
    OutOfSight {
        /// Their names: kinds, and namespaces.
        watches: Vec<String>,
    },
    /// A write, or the question that has to come before it, failed.
    #[error("failed to {verb} {kind} {name}: {}", words(source))]
    Write {
        /// What was tried: create, apply, delete …
        verb: &'static str,
        /// Kind of what was written.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The API server's words.
        source: Box<kube::Error>,
    },
}

/// The API server's own words where it spoke, without the rest of its answer.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Whether somebody else's write came first.
fn conflicts(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict())
}

impl Error {
    /// Whether the object was not any more as it was known.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Write { source, .. } if conflicts(source))
    }

    /// Whether the server has said no: then nothing was written. Of anything else it is not
    /// known.
    pub fn is_refused(&self) -> bool {
        let answered = |source: &kube::Error| match source {
            kube::Error::Api(status) => (400..500).contains(&status.code) && status.code != 408,
            _ => false,
        };
        matches!(self, Self::Write { source, .. } if answered(source))
    }

    /// Whether the object is gone.
    pub fn is_gone(&self) -> bool {
        let answered = |source: &kube::Error| match source {
            kube::Error::Api(status) => status.is_not_found(),
            _ => false,
        };
        matches!(self, Self::Write { source, .. } if answered(source))
    }

    /// A finite name, for events and metric labels.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } | Self::Unreadable { .. } => "InvalidSpec",
            Self::NoTenant { .. } => "NoTenant",
            Self::NamespaceTaken { .. } => "NamespaceTaken",
            Self::Foreign { .. } => "ForeignObject",
            Self::StillDeleting { .. } => "StillDeleting",
            Self::Unrepaired { .. } => "Unrepaired",
            Self::Unseen { .. } => "Unseen",
            Self::OutOfSight { .. } => "OutOfSight",
            Self::Write { .. } => "WriteFailed",
        }
    }

    /// Who can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Invalid { .. }
            | Self::Unreadable { .. }
            | Self::NoTenant { .. }
            | Self::NamespaceTaken { .. }
            | Self::Foreign { .. } => Retry::OnChange,
            Self::Write { source, .. } if conflicts(source) => Retry::AtOnce,
            Self::StillDeleting { .. }
            | Self::Unrepaired { .. }
            | Self::Unseen { .. }
            | Self::OutOfSight { .. }
            | Self::Write { .. } => Retry::Soon,
        }
    }
}
