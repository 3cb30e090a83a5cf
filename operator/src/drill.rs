//! The Drill room: a zone is taken from a tenant for a while, what that does is measured, and the
//! zone is given back.
//!
//! Three write, and none waits for another's memory. This room says in the status of the Drill how
//! far its run has come. The Tenant room says in the annotations of the namespace what is lost: what
//! runs in progress ask for and the Tenant allows, no more (`tenant/drill.rs`). Admission places
//! nothing on what is lost (`render/admission/drills.rs`), the dispatcher makes no sandbox there,
//! and this room evicts what is there once the namespace says so. Whoever dies in between, the next
//! pass of either room goes on from what is written: a run that is gone, over or forbidden asks for
//! nothing, so the zone is given back.

mod apply;
#[cfg(test)]
mod cases;
mod course;
mod desired;
mod gather;
mod measure;
mod observe;
mod result;
mod status;
mod validate;

use std::time::Duration;

use crds::{Drill, DrillStatus};
use jiff::Timestamp;

use self::{
    apply::Applied, desired::Desired, gather::Inputs, observe::Observed, validate::ValidDrill,
};
use crate::{
    error::Error,
    room::{Context, Room},
};

/// The room.
#[derive(Debug)]
pub struct DrillRoom;

impl Room for DrillRoom {
    type Kind = Drill;
    type Inputs = Inputs;
    type Valid = ValidDrill;
    type Desired = Desired;
    type Applied = Applied;
    type Observed = Observed;

    const NAME: &'static str = "drill";
    const EXACT: bool = true;

    fn gather(context: &Context, object: &Drill) -> Inputs {
        gather::gather(context, object)
    }

    fn validate(object: &Drill, inputs: Inputs) -> Result<ValidDrill, Error> {
        validate::validate(object, inputs)
    }

    fn desired(valid: &ValidDrill) -> Desired {
        desired::desired(valid)
    }

    async fn apply(
        context: &Context,
        valid: &ValidDrill,
        desired: Desired,
    ) -> Result<Applied, Error> {
        Box::pin(apply::apply(context, valid, desired)).await
    }

    fn observe(valid: ValidDrill, applied: Applied) -> Observed {
        observe::observe(&valid, &applied)
    }

    fn status(object: &Drill, outcome: Result<&Observed, &Error>, now: Timestamp) -> DrillStatus {
        status::status(object, outcome, now)
    }

    fn requeue(observed: &Observed, _: Timestamp) -> Duration {
        observed.again
    }

    async fn announce(
        context: &Context,
        object: &Drill,
        _: Result<&Observed, &Error>,
        status: &DrillStatus,
    ) {
        context.report.drill(object, status).await;
    }
}
