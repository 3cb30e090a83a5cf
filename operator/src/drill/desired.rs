//! [`ValidDrill`] → who has to leave, and what has to be looked at. Pure and total.

use std::time::Duration;

use crds::drill::WhenNotRedundant;

use super::{course::Course, validate::ValidDrill};
use crate::world::facts::Uid;

/// How long a disruption budget may hold pods where that was accepted.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a pass does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Pods that have to leave.
    pub leaving: Vec<Leaving>,
    /// Whether the Executions of the tenant are asked for: only when a run takes its zone, and
    /// when it ends.
    pub look: bool,
}

/// One pod that has to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: Uid,
    /// It has to, whatever its budget says.
    pub forced: bool,
}

/// Plans.
pub fn desired(valid: &ValidDrill) -> Desired {
    match &valid.course {
        Course::Rest
        | Course::Refuse(..)
        | Course::Claim(..)
        | Course::Await
        | Course::Return(_)
        | Course::Restore => Desired::default(),
        Course::Take | Course::Finish => Desired {
            look: true,
            ..Desired::default()
        },
        Course::Hold => Desired {
            leaving: leaving(valid),
            look: false,
        },
    }
}

fn leaving(valid: &ValidDrill) -> Vec<Leaving> {
    let Some(run) = &valid.before.run else {
        return vec![];
    };
    let patient = run.lost.unwrap_or(run.begun) + PATIENCE > valid.now;
    let forced = valid.terms.when_not_redundant == WhenNotRedundant::Run && !patient;
    let staying = valid.staying(&run.zone).into_iter();
    staying
        .map(|(name, uid)| Leaving { name, uid, forced })
        .collect()
}
