//! How much: of everything together, and of each container that does not say.

use crds::scalar::Amount;
use k8s_openapi::{
    api::core::v1::{
        LimitRange, LimitRangeItem, LimitRangeSpec, ResourceQuota, ResourceQuotaSpec,
        ScopeSelector, ScopedResourceSelectorRequirement,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{meta::Owner, names, tenant::validate::Quota};

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

/// The tenant's limits: of pods, and of all else. Pods have a quota of their own, which does not
/// count probes: however much a tenant takes, it is looked at. No service may be reachable from
/// outside.
pub fn resource_quotas(owner: &Owner, namespace: &str, quota: Quota) -> [ResourceQuota; 2] {
    let Quota {
        pods,
        executions,
        cpu,
        memory,
        storage,
    } = quota;
    let others = [
        ("count/drills.cloister.dev", Amount::count(DRILLS)),
        ("count/executions.cloister.dev", Amount::count(executions)),
        (
            "count/horizontalpodautoscalers.autoscaling",
            Amount::count(AUTOSCALERS),
        ),
        // These, too, fill the store that all tenants share, and no member can delete a Secret.
        (
            "count/integrations.cloister.dev",
            Amount::count(INTEGRATIONS),
        ),
        ("count/secrets", Amount::count(SECRETS)),
        ("count/workers.cloister.dev", Amount::count(WORKERS)),
        ("requests.storage", storage),
        ("services.loadbalancers", Amount::ZERO),
        ("services.nodeports", Amount::ZERO),
    ];
    let pods = [
        ("limits.cpu", cpu),
        ("limits.memory", memory),
        ("pods", Amount::count(pods)),
        ("requests.cpu", cpu),
        ("requests.memory", memory),
    ];
    let no_probe = ScopedResourceSelectorRequirement {
        operator: "NotIn".to_owned(),
        scope_name: "PriorityClass".to_owned(),
        values: Some(vec![names::PROBE_PRIORITY.to_owned()]),
    };
    let quota = |name, hard: &[_], scope_selector| ResourceQuota {
        metadata: owner.child(Some(namespace), name),
        spec: Some(ResourceQuotaSpec {
            hard: Some(quantities(hard)),
            scope_selector,
            scopes: None,
        }),
        status: None,
    };
    let scope = ScopeSelector {
        match_expressions: Some(vec![no_probe]),
    };
    [
        quota(names::LIMITS, &others, None),
        quota(names::POD_LIMITS, &pods, Some(scope)),
    ]
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
        let quotas = resource_quotas(&owner, "tenant-acme", quota).into_iter();
        let hard = quotas.flat_map(|quota| quota.spec.unwrap().hard.unwrap());
        let own = hard
            .map(|(kind, _)| kind)
            .filter(|kind| kind.ends_with(".cloister.dev"));
        assert_eq!(own.collect::<Vec<_>>(), COUNTED);
    }
}
