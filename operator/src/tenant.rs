//! The Tenant room: a customer's namespace, its boundary, and the proof of it.

mod apply;
#[cfg(test)]
mod cases;
pub(crate) mod desired;
mod drill;
mod gather;
mod isolation;
mod observe;
mod status;
mod teardown;
mod validate;

use std::time::Duration;

use crds::{Tenant, TenantStatus};
use jiff::Timestamp;

pub use self::apply::Repair;
pub use self::drill::{allows as allows_drill, is_active};
pub use self::validate::{ValidTenant, allows, has_runtime};
use self::{apply::Applied, desired::Desired, gather::Inputs, observe::Observed};
use crate::{
    error::Error,
    room::{Context, Progress, Room, Teardown},
};

/// The room.
#[derive(Debug)]
pub struct TenantRoom;

impl Room for TenantRoom {
    type Kind = Tenant;
    type Inputs = Inputs;
    type Valid = ValidTenant;
    type Desired = Desired;
    type Applied = Applied;
    type Observed = Observed;

    const NAME: &'static str = "tenant";

    fn gather(context: &Context, object: &Tenant) -> Inputs {
        gather::gather(context, object)
    }

    fn validate(object: &Tenant, inputs: Inputs) -> Result<ValidTenant, Error> {
        validate::validate(object, inputs)
    }

    fn desired(valid: &ValidTenant) -> Desired {
        desired::desired(valid)
    }

    async fn apply(
        context: &Context,
        valid: &ValidTenant,
        desired: Desired,
    ) -> Result<Applied, Error> {
        Box::pin(apply::apply(context, &valid.owner, desired)).await
    }

    fn observe(valid: ValidTenant, applied: Applied) -> Observed {
        observe::observe(valid, applied)
    }

    fn status(object: &Tenant, outcome: Result<&Observed, &Error>, now: Timestamp) -> TenantStatus {
        status::status(object, outcome, now)
    }

    fn requeue(observed: &Observed, now: Timestamp) -> Duration {
        observe::requeue(observed, now)
    }

    async fn announce(
        context: &Context,
        object: &Tenant,
        outcome: Result<&Observed, &Error>,
        status: &TenantStatus,
    ) {
        let repairs = outcome.map_or(&[][..], |observed| &observed.repairs);
        context.report.tenant(object, repairs, status).await;
    }
}

impl Teardown for TenantRoom {
    const FINALIZER: &'static str = crds::well_known::TENANT_FINALIZER;

    fn may_go(object: &Tenant) -> bool {
        teardown::may_go(object)
    }

    async fn teardown(
        context: &Context,
        object: &Tenant,
    ) -> Result<(Progress, TenantStatus), Error> {
        teardown::teardown(context, object).await
    }
}
