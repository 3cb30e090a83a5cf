//! Writes what is desired: the budget, then what makes the pods.

use std::sync::Arc;

use super::{
    desired::{Desired, Workload},
    validate::ValidWorker,
};
use crate::{
    apply::{Change, Writer},
    error::Error,
    room::Context,
    world::Surroundings,
};

/// What became of it all.
#[derive(Clone, Debug)]
pub struct Applied {
    /// What is in and about the namespace now, the server's answers included.
    pub around: Arc<Surroundings>,
    /// Fingerprint of what the pods are to be made from.
    pub revision: String,
}

/// Writes.
///
/// The budget comes first: there is no moment in which more may be taken than it says.
///
/// # Errors
/// [`Error::Foreign`] if an object of that name is not the Worker's; what the server refuses.
pub async fn apply(
    context: &Context,
    valid: &ValidWorker,
    desired: Desired,
) -> Result<Applied, Error> {
    let Desired {
        workload,
        budget,
        revision,
    } = desired;
    let writer = Writer {
        client: &context.client,
        world: &context.world,
        tenant: &valid.tenant.tenant,
        owner: valid.uid,
    };
    if let Some(budget) = &budget {
        writer.ensure(budget).await.map_err(taken)?;
    }
    let written = match &workload {
        Some(Workload::Deployment(made)) => writer.ensure(&**made).await,
        Some(Workload::StatefulSet(made)) => writer.ensure(&**made).await,
        None => Ok(Change::None),
    };
    written.map_err(taken)?;
    Ok(Applied {
        around: context.world.surroundings(&valid.tenant.tenant),
        revision,
    })
}

/// Only what carries our labels is watched: what has the name and never comes is somebody else's.
/// Were it ours after all, made before a crash, its event would have us look again at once.
fn taken(error: Error) -> Error {
    match error {
        Error::Unseen { kind, name } => Error::Foreign { kind, name },
        other => other,
    }
}
