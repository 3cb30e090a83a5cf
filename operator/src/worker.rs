//! The Worker room: a tenant's long-running agent, spread over zones.
//!
//! It makes a Deployment, or with volumes a `StatefulSet`, and its disruption budget. The network policy is the Tenant room's to
//! make, and is waited for here. Everything goes with the Worker, by owner reference.

mod apply;
#[cfg(test)]
mod cases;
pub(crate) mod desired;
mod gather;
mod observe;
mod ready;
mod status;
mod validate;
mod volumes;
mod zones;

use std::time::Duration;

use crds::{Worker, WorkerStatus};
use jiff::Timestamp;

pub use self::zones::redundancy;
use self::{
    apply::Applied, desired::Desired, gather::Inputs, observe::Observed, validate::ValidWorker,
};
use crate::{
    error::Error,
    room::{Context, Room},
};

/// How long nothing is looked at that no watch told of: a watch can miss what it was not told.
const AGAIN: Duration = Duration::from_mins(10);

/// The room.
#[derive(Debug)]
pub struct WorkerRoom;

impl Room for WorkerRoom {
    type Kind = Worker;
    type Inputs = Inputs;
    type Valid = ValidWorker;
    type Desired = Desired;
    type Applied = Applied;
    type Observed = Observed;

    const NAME: &'static str = "worker";

    fn gather(context: &Context, object: &Worker) -> Inputs {
        gather::gather(context, object)
    }

    fn validate(object: &Worker, inputs: Inputs) -> Result<ValidWorker, Error> {
        validate::validate(object, inputs)
    }

    fn desired(valid: &ValidWorker) -> Desired {
        desired::desired(valid)
    }

    async fn apply(
        context: &Context,
        valid: &ValidWorker,
        desired: Desired,
    ) -> Result<Applied, Error> {
        Box::pin(apply::apply(context, valid, desired)).await
    }

    fn observe(valid: ValidWorker, applied: Applied) -> Observed {
        observe::observe(&valid, &applied)
    }

    fn status(object: &Worker, outcome: Result<&Observed, &Error>, now: Timestamp) -> WorkerStatus {
        status::status(object, outcome, now)
    }

    fn requeue(_: &Observed, _: Timestamp) -> Duration {
        AGAIN
    }

    async fn announce(
        context: &Context,
        object: &Worker,
        _: Result<&Observed, &Error>,
        status: &WorkerStatus,
    ) {
        context.report.worker(object, status).await;
    }
}
