//! What is kept of what volumes are made by, and of where those lie that a tenant has.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume},
    storage::v1::StorageClass,
};

use super::LiveNode;

/// What makes a class the one of claims that name none, today and in old clusters.
const DEFAULT_ANNOTATIONS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// What is kept of a `StorageClass`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveClass {
    /// It makes a volume when a pod is there, where that one goes; else before, anywhere.
    pub waits: bool,
    /// It is meant where a claim names none.
    pub is_default: bool,
    /// When it was made: of several defaults the newest counts.
    pub created: Timestamp,
    /// The zones it makes volumes in, if it says so.
    pub zones: Option<BTreeSet<String>>,
}

impl LiveClass {
    /// Boils a class down.
    pub fn of(class: &StorageClass) -> Self {
        let meta = &class.metadata;
        let says_so = |key: &&str| {
            let value = meta.annotations.as_ref().and_then(|map| map.get(*key));
            value.is_some_and(|value| value == "true")
        };
        // Terms are alternatives: one without zones allows all.
        let terms = class.allowed_topologies.as_deref().unwrap_or_default();
        let of_terms = terms.iter().map(|term| {
            let labels = term.match_label_expressions.iter().flatten();
            let mut of_zones = labels.filter(|label| is_about(&label.key, "zone"));
            of_zones.next().map(|label| label.values.iter().cloned())
        });
        let zones: Option<Vec<_>> = of_terms.collect();
        Self {
            waits: class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            is_default: DEFAULT_ANNOTATIONS.iter().any(says_so),
            created: meta
                .creation_timestamp
                .as_ref()
                .map(|at| at.0)
                .unwrap_or_default(),
            zones: zones
                .filter(|zones| !zones.is_empty())
                .map(|zones| zones.into_iter().flatten().collect()),
        }
    }
}

/// What is kept of a volume that a claim of a tenant is bound to, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveVolume {
    /// Name of the claim.
    pub claim: Box<str>,
    /// Places that it can be reached from, each by all that is said of it; empty where nothing is
    /// said.
    pub reach: Vec<Reach>,
}

/// Nodes, by their labels; `None` of a label means any value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Regions.
    pub regions: Option<Vec<String>>,
    /// Zones.
    pub zones: Option<Vec<String>>,
    /// Names of nodes.
    pub hosts: Option<Vec<String>>,
}

impl LiveVolume {
    /// Boils a volume down; nothing of one that no claim has had yet.
    pub fn of(volume: &PersistentVolume) -> Option<Self> {
        let spec = volume.spec.as_ref()?;
        let claim = spec.claim_ref.as_ref()?.name.as_deref()?;
        let required = spec
            .node_affinity
            .as_ref()
            .and_then(|one| one.required.as_ref());
        let terms = required.map(|one| one.node_selector_terms.as_slice());
        Some(Self {
            claim: claim.into(),
            reach: terms.unwrap_or_default().iter().map(Reach::of).collect(),
        })
    }
}

impl Reach {
    fn of(term: &NodeSelectorTerm) -> Self {
        let expressions = || term.match_expressions.iter().flatten();
        let among = |what: &str| {
            let asked =
                |one: &&NodeSelectorRequirement| one.operator == "In" && is_about(&one.key, what);
            expressions().find(asked)?.values.clone()
        };
        Self {
            regions: among("region"),
            zones: among("zone"),
            hosts: among("hostname"),
        }
    }

    /// Whether a node is one of these.
    pub fn holds(&self, node: &LiveNode) -> bool {
        let among = |list: &Option<Vec<String>>, value: &String| {
            list.as_ref().is_none_or(|list| list.contains(value))
        };
        among(&self.regions, &node.region)
            && among(&self.zones, &node.zone)
            && among(&self.hosts, &node.hostname)
    }
}

/// Whether a label says that of a node: drivers have their own groups (`topology.gke.io/zone`).
fn is_about(key: &str, what: &str) -> bool {
    key.rsplit_once('/').is_some_and(|(_, name)| name == what)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn class(more: &Value) -> LiveClass {
        let mut whole = json!({"metadata": {"name": "fast"}, "provisioner": "example.com/disk"});
        for (key, value) in more.as_object().into_iter().flatten() {
            whole[key] = value.clone();
        }
        LiveClass::of(&serde_json::from_value(whole).unwrap())
    }

    #[test]
    fn a_class_waits_only_where_it_says_so() {
        assert!(class(&json!({"volumeBindingMode": "WaitForFirstConsumer"})).waits);
        assert!(!class(&json!({"volumeBindingMode": "Immediate"})).waits);
        assert!(!class(&json!({})).waits);
        let annotations = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        assert!(class(&json!({"metadata": {"annotations": annotations}})).is_default);
        assert!(!class(&json!({})).is_default);
    }

    #[test]
    fn the_zones_of_a_class_are_those_of_all_its_terms_or_any() {
        let zones = |terms: Value| class(&json!({"allowedTopologies": terms})).zones;
        let term = |key: &str, values: &[&str]| json!({"matchLabelExpressions": [{"key": key, "values": values}]});
        let zone = "topology.kubernetes.io/zone";
        assert_eq!(class(&json!({})).zones, None);
        let both = json!([
            term(zone, &["a"]),
            term("topology.gke.io/zone", &["b", "c"])
        ]);
        let all = ["a", "b", "c"].map(ToOwned::to_owned).into();
        assert_eq!(zones(both), Some(all));
        let open = json!([term(zone, &["a"]), term("example.com/rack", &["7"])]);
        assert_eq!(zones(open), None);
    }

    #[test]
    fn a_volume_is_of_its_claim_and_reached_from_where_its_terms_say() {
        let volume = |spec: Value| {
            let whole = json!({"metadata": {"name": "pv"}, "spec": spec});
            LiveVolume::of(&serde_json::from_value(whole).unwrap())
        };
        assert_eq!(volume(json!({})), None);
        let claim = json!({"namespace": "tenant-a", "name": "data-worker-x-0"});
        let anywhere = volume(json!({"claimRef": claim})).unwrap();
        assert_eq!(
            (&*anywhere.claim, anywhere.reach.len()),
            ("data-worker-x-0", 0)
        );
        let terms = json!([{"matchExpressions": [
            {"key": "topology.ebs.csi.aws.com/zone", "operator": "In", "values": ["a", "b"]},
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}]}]);
        let affinity = json!({"required": {"nodeSelectorTerms": terms}});
        let pinned = volume(json!({"claimRef": claim, "nodeAffinity": affinity})).unwrap();
        let node = |zone: &str, hostname: &str| LiveNode {
            zone: zone.to_owned(),
            hostname: hostname.to_owned(),
            ..LiveNode::default()
        };
        for (zone, hostname, reached) in [
            ("a", "node-1", true),
            ("c", "node-1", false),
            ("a", "node-2", false),
        ] {
            assert_eq!(pinned.reach[0].holds(&node(zone, hostname)), reached);
        }
    }
}
