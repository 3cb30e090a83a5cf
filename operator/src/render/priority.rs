//! What sets probes apart from pods of tenants.
//!
//! In: nothing. Out: a `PriorityClass` (`scheduling.k8s.io/v1`). Called by `render.rs`.

use k8s_openapi::api::scheduling::v1::PriorityClass;

use super::meta;
use crate::names::PROBE_PRIORITY;

/// Above the default of 0, so that a probe is placed before pods that wait.
const VALUE: i32 = 1000;

/// By which quotas of tenants tell probes from what they count: nothing of its quota that a tenant takes
/// may keep Cloister from looking at it. A probe pushes nobody out: on a node without room it waits.
pub fn class() -> PriorityClass {
    PriorityClass {
        metadata: meta::cluster_scoped(PROBE_PRIORITY),
        description: Some(
            "Probes of Cloister, which no quota of a tenant counts. No other pod of a tenant may have it."
                .to_owned(),
        ),
        global_default: Some(false),
        preemption_policy: Some("Never".to_owned()),
        value: VALUE,
    }
}
