//! Where a sandbox may be placed, and where it had better not be. Pure.

use std::{collections::BTreeSet, sync::Arc};

use crds::well_known::{REGION_LABEL, ZONE_LABEL};
use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PreferredSchedulingTerm,
};

/// Only nodes that the residency allows, and rather none of these.
pub fn affinity(
    residency: Option<&(Vec<String>, Vec<String>)>,
    avoid: &BTreeSet<Arc<str>>,
) -> Option<Affinity> {
    if residency.is_none() && avoid.is_empty() {
        return None;
    }
    Some(Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: residency.map(within),
            preferred_during_scheduling_ignored_during_execution: elsewhere(avoid).map(|term| {
                vec![PreferredSchedulingTerm {
                    preference: term,
                    weight: 100,
                }]
            }),
        }),
        ..Affinity::default()
    })
}

fn within((regions, zones): &(Vec<String>, Vec<String>)) -> NodeSelector {
    let mut places = vec![requirement(REGION_LABEL, "In", regions.clone())];
    if !zones.is_empty() {
        places.push(requirement(ZONE_LABEL, "In", zones.clone()));
    }
    NodeSelector {
        node_selector_terms: vec![NodeSelectorTerm {
            match_expressions: Some(places),
            match_fields: None,
        }],
    }
}

/// Any node but these, by name: a field takes one value at a time.
fn elsewhere(avoid: &BTreeSet<Arc<str>>) -> Option<NodeSelectorTerm> {
    let others = avoid.iter();
    let others: Vec<_> = others
        .map(|node| requirement("metadata.name", "NotIn", vec![node.to_string()]))
        .collect();
    (!others.is_empty()).then_some(NodeSelectorTerm {
        match_expressions: None,
        match_fields: Some(others),
    })
}

fn requirement(key: &str, operator: &str, values: Vec<String>) -> NodeSelectorRequirement {
    NodeSelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: Some(values),
    }
}
