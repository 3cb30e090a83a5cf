//! What is kept of a network policy, anybody's, in a tenant's namespace.

use std::{collections::BTreeMap, sync::Arc};

use crds::{
    Integration, Worker,
    well_known::{GROUP, ROLE_LABEL},
};
use k8s_openapi::{
    api::networking::v1::NetworkPolicy,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kube::{
    Resource,
    core::{Expression, Selector, SelectorExt},
};

use super::{Uid, controller};
use crate::egress::Holder;

/// A network policy.
#[derive(Clone, Debug, PartialEq)]
pub struct LivePolicy {
    /// Its identity.
    pub uid: Uid,
    /// `metadata.generation`: a change and its repair leave two traces here.
    pub generation: i64,
    /// Whose it is.
    pub owner: Option<Uid>,
    /// What it says, which is the same in many tenants.
    pub says: Arc<PolicyTerms>,
}

/// What a network policy says.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyTerms {
    /// The owner is an Integration or a Worker, or so it says.
    pub of_holder: bool,
    /// Which pods it is about: those for which each of these holds. None cannot be read, and selects
    /// nothing.
    pub selector: Option<Box<[Expression]>>,
    /// It is about incoming connections.
    pub ingress: bool,
    /// It is about outgoing connections.
    pub egress: bool,
    /// It lets something in or out.
    pub opens: bool,
    /// It concerns nothing but what goes out of the pods of one Integration or Worker: no other pod
    /// of the tenant, and so no probe, is reached by whatever it says. That of a Worker may shut what
    /// comes in, too.
    pub of_one_holder: bool,
}

impl LivePolicy {
    /// Boils a policy down. `policyTypes` left out means what the API says it means:
    /// ingress always, egress where there are egress rules.
    pub fn of(policy: &NetworkPolicy) -> Self {
        let spec = policy.spec.clone().unwrap_or_default();
        let has = |direction: &str| spec.policy_types.iter().flatten().any(|t| t == direction);
        let (incoming, outgoing) = (spec.ingress.iter().flatten(), spec.egress.iter().flatten());
        let (lets_in, opens) = (incoming.count() > 0, outgoing.count() > 0);
        let ingress = spec.policy_types.is_none() || has("Ingress");
        let egress = has("Egress") || spec.policy_types.is_none() && spec.egress.is_some();
        let selector = spec.pod_selector.unwrap_or_default();
        let of_one = |holder| {
            let shuts_in = holder == Holder::Worker || !ingress;
            shuts_in && selects_one(&selector, holder)
        };
        Self {
            uid: Uid::of(&policy.metadata),
            generation: policy.metadata.generation.unwrap_or_default(),
            owner: controller(&policy.metadata),
            says: Arc::new(PolicyTerms {
                of_holder: is_of_holder(&policy.metadata),
                ingress,
                egress,
                opens: lets_in || opens,
                of_one_holder: (of_one(Holder::Integration) || of_one(Holder::Worker))
                    && egress
                    && !lets_in,
                selector: Selector::try_from(selector)
                    .ok()
                    .map(|selector| selector.into_iter().collect()),
            }),
        }
    }

    /// Whether it shuts both directions to the pods that it is about, and opens nothing.
    pub fn denies(&self) -> bool {
        self.says.ingress && self.says.egress && !self.says.opens
    }

    /// Whether it is about every pod.
    pub fn selects_all(&self) -> bool {
        let selector = self.says.selector.as_deref();
        selector.is_some_and(<[_]>::is_empty)
    }

    /// Whether it selects a pod with these labels.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let selector = self.says.selector.as_deref();
        selector.is_some_and(|all| all.iter().all(|one| one.matches(labels)))
    }
}

fn selects_one(selector: &LabelSelector, holder: Holder) -> bool {
    let (whose, role) = holder.labels();
    let LabelSelector {
        match_labels,
        match_expressions,
    } = selector;
    let label = |key: &str| {
        let labels = match_labels.as_ref()?;
        labels.get(key).map(String::as_str)
    };
    match_labels.iter().flatten().count() == 2
        && label(whose).is_some_and(|name| !name.is_empty())
        && label(ROLE_LABEL) == Some(role)
        && match_expressions.iter().flatten().next().is_none()
}

fn is_of_holder(meta: &ObjectMeta) -> bool {
    let mut owners = meta.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true));
    owner.is_some_and(|owner| {
        let group = owner.api_version.split_once('/').map(|(group, _)| group);
        let kinds = [Integration::kind(&()), Worker::kind(&())];
        kinds.contains(&owner.kind.as_str().into()) && group == Some(GROUP)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: &Value) -> LivePolicy {
        let policy = json!({"metadata": {"name": "a"}, "spec": spec});
        LivePolicy::of(&serde_json::from_value(policy).unwrap())
    }

    #[test]
    fn of_a_worker_it_may_shut_what_comes_in_and_let_nothing_in() {
        let labels = json!({"cloister.dev/role": "worker", "cloister.dev/worker": "poller"});
        let whole = json!({"podSelector": {"matchLabels": labels},
            "policyTypes": ["Ingress", "Egress"]});
        assert!(of(&whole).says.of_one_holder);
        let mut open = whole.clone();
        open["ingress"] = json!([{}]);
        assert!(!of(&open).says.of_one_holder);
        let mut mixed = whole;
        mixed["podSelector"]["matchLabels"] =
            json!({"cloister.dev/role": "sandbox", "cloister.dev/worker": "poller"});
        assert!(!of(&mixed).says.of_one_holder);
    }

    #[test]
    fn is_of_one_integration_only_where_it_selects_its_sandboxes_going_out() {
        let labels = json!({"cloister.dev/role": "sandbox", "cloister.dev/integration": "hello"});
        let whole = json!({"podSelector": {"matchLabels": labels}, "policyTypes": ["Egress"],
            "egress": [{}]});
        assert!(of(&whole).says.of_one_holder);
        let with = |path: &str, value: Value| {
            let mut changed = whole.clone();
            *changed.pointer_mut(path).unwrap() = value;
            of(&changed).says.of_one_holder
        };
        assert!(!with("/policyTypes", json!(["Egress", "Ingress"])));
        assert!(!with("/policyTypes", json!(["Ingress"])));
        assert!(!with("/policyTypes", Value::Null));
        assert!(!with("/podSelector", json!({})));
        assert!(!with(
            "/podSelector/matchLabels/cloister.dev~1role",
            json!("probe")
        ));
        assert!(!with(
            "/podSelector/matchLabels/cloister.dev~1integration",
            json!("")
        ));
        let role = json!({"cloister.dev/role": "sandbox"});
        assert!(!with("/podSelector/matchLabels", role));
        let name = json!({"cloister.dev/integration": "hello"});
        assert!(!with("/podSelector/matchLabels", name));
        let mut more = labels.clone();
        more["app"] = json!("a");
        assert!(!with("/podSelector/matchLabels", more));
        let expression = json!([{"key": "a", "operator": "Exists"}]);
        let both = json!({"matchLabels": labels, "matchExpressions": expression});
        assert!(!with("/podSelector", both));
    }
}
