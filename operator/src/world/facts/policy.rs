//! What is kept of a network policy, anybody's, in a tenant's namespace.

use crds::{
    Integration, Worker,
    well_known::{GROUP, ROLE_LABEL},
};
use k8s_openapi::{
    api::networking::v1::NetworkPolicy,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kube::Resource;

use super::{Uid, controller};
use crate::egress::Holder;

/// A network policy.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, PartialEq)]
pub struct LivePolicy {
    /// Its identity.
    pub uid: Uid,
    /// `metadata.generation`: a change and its repair leave two traces here.
    pub generation: i64,
    /// Whose it is.
    pub owner: Option<Uid>,
    /// That is an Integration or a Worker, or so it says.
    pub of_holder: bool,
    /// Which pods it is about.
    pub selector: LabelSelector,
    /// It is about incoming connections.
    pub ingress: bool,
    /// It is about outgoing connections.
    pub egress: bool,
    /// It lets something in or out.
    pub opens: bool,
    /// It lets something in.
    pub lets_in: bool,
}

impl LivePolicy {
    /// Boils a policy down. `policyTypes` left out means what the API says it means:
    /// ingress always, egress where there are egress rules.
    pub fn of(policy: &NetworkPolicy) -> Self {
        let spec = policy.spec.clone().unwrap_or_default();
        let has = |direction: &str| spec.policy_types.iter().flatten().any(|t| t == direction);
        let (incoming, outgoing) = (spec.ingress.iter().flatten(), spec.egress.iter().flatten());
        Self {
            uid: Uid::of(&policy.metadata),
            generation: policy.metadata.generation.unwrap_or_default(),
            owner: controller(&policy.metadata),
            of_holder: is_of_holder(&policy.metadata),
            ingress: spec.policy_types.is_none() || has("Ingress"),
            egress: has("Egress") || spec.policy_types.is_none() && spec.egress.is_some(),
            lets_in: incoming.clone().next().is_some(),
            opens: incoming.count() + outgoing.count() > 0,
            selector: spec.pod_selector.unwrap_or_default(),
        }
    }

    /// Whether it concerns nothing but what goes out of the pods of one Integration or Worker: no
    /// other pod of the tenant, and so no probe, is reached by whatever it says. That of a Worker
    /// may shut what comes in, too.
    pub fn is_of_one_holder(&self) -> bool {
        [Holder::Integration, Holder::Worker]
            .into_iter()
            .any(|holder| self.selects_one(holder))
            && self.egress
            && !self.lets_in
    }

    fn selects_one(&self, holder: Holder) -> bool {
        let (whose, role) = holder.labels();
        let LabelSelector {
            match_labels,
            match_expressions,
        } = &self.selector;
        let label = |key: &str| {
            let labels = match_labels.as_ref()?;
            labels.get(key).map(String::as_str)
        };
        match_labels.iter().flatten().count() == 2
            && label(whose).is_some_and(|name| !name.is_empty())
            && label(ROLE_LABEL) == Some(role)
            && match_expressions.iter().flatten().next().is_none()
            && (holder == Holder::Worker || !self.ingress)
    }
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
        assert!(of(&whole).is_of_one_holder());
        let mut open = whole.clone();
        open["ingress"] = json!([{}]);
        assert!(!of(&open).is_of_one_holder());
        let mut mixed = whole;
        mixed["podSelector"]["matchLabels"] =
            json!({"cloister.dev/role": "sandbox", "cloister.dev/worker": "poller"});
        assert!(!of(&mixed).is_of_one_holder());
    }

    #[test]
    fn is_of_one_integration_only_where_it_selects_its_sandboxes_going_out() {
        let labels = json!({"cloister.dev/role": "sandbox", "cloister.dev/integration": "hello"});
        let whole = json!({"podSelector": {"matchLabels": labels}, "policyTypes": ["Egress"],
            "egress": [{}]});
        assert!(of(&whole).is_of_one_holder());
        let with = |path: &str, value: Value| {
            let mut changed = whole.clone();
            *changed.pointer_mut(path).unwrap() = value;
            of(&changed).is_of_one_holder()
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
