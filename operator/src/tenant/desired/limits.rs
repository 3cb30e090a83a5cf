//! How much: of everything together, and of each container that does not say.

use crds::scalar::Amount;
use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec, ResourceQuota, ResourceQuotaSpec},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{
    meta::Owner,
    names,
    probe::pod::{CPU_MILLIS, MEMORY_MIB},
    tenant::validate::Quota,
};

/// Most Secrets of a tenant; each may hold 1 MiB.
const SECRETS: u32 = 100;
/// Most Integrations of a tenant; each may hold 0.8 MiB, by the bounds of its spec.
const INTEGRATIONS: u32 = 500;
/// Most Workers of a tenant; each may hold as much.
const WORKERS: u32 = 100;

/// Most Drills of a tenant: one runs at a time.
const DRILLS: u32 = 20;
/// Most autoscalers of a tenant; each may hold 1 MiB, as far as the server has bounds.
const AUTOSCALERS: u32 = 100;

/// The quota: the tenant's limits, and room for one probe, which finds a place also when the
/// tenant uses all of its own. Nothing reserves that room: a tenant that takes it too is not
/// probed, and status says why. No service may be reachable from outside.
pub fn resource_quota(owner: &Owner, namespace: &str, quota: Quota) -> ResourceQuota {
    let Quota {
        pods,
        executions,
        cpu,
        memory,
        storage,
    } = quota;
    let cpu = cpu.plus(Amount::millicores(CPU_MILLIS));
    let memory = memory.plus(Amount::mebibytes(MEMORY_MIB));
    let integrations = Amount::count(INTEGRATIONS);
    let hard = [
        ("count/drills.cloister.dev", Amount::count(DRILLS)),
        ("count/executions.cloister.dev", Amount::count(executions)),
        (
            "count/horizontalpodautoscalers.autoscaling",
            Amount::count(AUTOSCALERS),
        ),
        // These, too, fill the store that all tenants share, and no member can delete a Secret.
        ("count/integrations.cloister.dev", integrations),
        ("count/secrets", Amount::count(SECRETS)),
        ("count/workers.cloister.dev", Amount::count(WORKERS)),
        ("limits.cpu", cpu),
        ("limits.memory", memory),
        ("pods", Amount::count(pods.saturating_add(1))),
        ("requests.cpu", cpu),
        ("requests.memory", memory),
        ("requests.storage", storage),
        ("services.loadbalancers", Amount::ZERO),
        ("services.nodeports", Amount::ZERO),
    ];
    ResourceQuota {
        metadata: owner.child(Some(namespace), names::LIMITS),
        spec: Some(ResourceQuotaSpec {
            hard: Some(quantities(&hard)),
            ..ResourceQuotaSpec::default()
        }),
        status: None,
    }
}

/// What a container gets that names no limits. Small: who needs more says so.
pub fn limit_range(owner: &Owner, namespace: &str) -> LimitRange {
    let limits = [
        ("cpu", Amount::millicores(500)),
        ("ephemeral-storage", Amount::mebibytes(1024)),
        ("memory", Amount::mebibytes(256)),
    ];
    let requests = [
        ("cpu", Amount::millicores(50)),
        ("ephemeral-storage", Amount::mebibytes(64)),
        ("memory", Amount::mebibytes(64)),
    ];
    LimitRange {
        metadata: owner.child(Some(namespace), names::LIMITS),
        spec: Some(LimitRangeSpec {
            limits: vec![LimitRangeItem {
                type_: "Container".to_owned(),
                default: Some(quantities(&limits)),
                default_request: Some(quantities(&requests)),
                ..LimitRangeItem::default()
            }],
        }),
    }
}

fn quantities(amounts: &[(&str, Amount)]) -> std::collections::BTreeMap<String, Quantity> {
    amounts
        .iter()
        .map(|(name, amount)| ((*name).to_owned(), Quantity(amount.to_string())))
        .collect()
}

#[cfg(test)]
mod tests {
    use crds::well_known::COUNTED;

    use super::*;
    use crate::world::facts::Uid;

    #[test]
    fn what_is_counted_of_cloisters_own_is_waited_for_at_the_start() {
        let owner = Owner {
            tenant: "acme".to_owned(),
            uid: Uid::parse("00000000-0000-4000-8000-00000000000a"),
        };
        let quota = Quota {
            pods: 1,
            executions: 1,
            cpu: Amount::ZERO,
            memory: Amount::ZERO,
            storage: Amount::ZERO,
        };
        let hard = resource_quota(&owner, "tenant-acme", quota)
            .spec
            .unwrap()
            .hard
            .unwrap();
        let own = hard
            .into_keys()
            .filter(|kind| kind.ends_with(".cloister.dev"));
        assert_eq!(own.collect::<Vec<_>>(), COUNTED);
    }
}
