//! Where a sandbox may be placed, and where it had better not be. Pure.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::{
    Affinity, NodeSelectorRequirement, NodeSelectorTerm, PreferredSchedulingTerm,
};

use crate::supervised;

/// Only nodes that the residency allows, regions and zones, and rather none of these.
pub fn affinity(
    residency: Option<&(Vec<String>, Vec<String>)>,
    avoid: &BTreeSet<Arc<str>>,
) -> Option<Affinity> {
    let within = residency.and_then(|(regions, zones)| supervised::places(regions, zones));
    let Some(term) = elsewhere(avoid) else {
        return within;
    };
    let mut affinity = within.unwrap_or_default();
    let wish = PreferredSchedulingTerm {
        preference: term,
        weight: 100,
    };
    let of_nodes = affinity.node_affinity.get_or_insert_default();
    of_nodes.preferred_during_scheduling_ignored_during_execution = Some(vec![wish]);
    Some(affinity)
}

/// Any node but these, by name: a field takes one value at a time.
fn elsewhere(avoid: &BTreeSet<Arc<str>>) -> Option<NodeSelectorTerm> {
    let others = avoid.iter();
    let others: Vec<_> = others
        .map(|node| NodeSelectorRequirement {
            key: "metadata.name".to_owned(),
            operator: "NotIn".to_owned(),
            values: Some(vec![node.to_string()]),
        })
        .collect();
    (!others.is_empty()).then_some(NodeSelectorTerm {
        match_expressions: None,
        match_fields: Some(others),
    })
}
