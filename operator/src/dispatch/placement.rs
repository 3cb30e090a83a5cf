//! Where a sandbox may be placed, and where it had better not be. Pure.

use std::{collections::BTreeSet, sync::Arc};

use crds::well_known::ZONE_LABEL;
use k8s_openapi::api::core::v1::{
    Affinity, NodeSelectorRequirement, NodeSelectorTerm, PreferredSchedulingTerm,
};

use crate::supervised;

/// Only nodes that the residency allows, regions and zones, none in a lost zone, and rather none of
/// these.
pub fn affinity(
    residency: Option<&(Vec<String>, Vec<String>)>,
    avoid: &BTreeSet<Arc<str>>,
    lost: Option<&BTreeSet<Box<str>>>,
) -> Option<Affinity> {
    let within = residency.and_then(|(regions, zones)| supervised::places(regions, zones));
    let within = match lost {
        Some(zones) => Some(outside(within.unwrap_or_default(), zones)),
        None => within,
    };
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

/// The same without these zones. Terms are alternatives, so each of them says so.
fn outside(mut affinity: Affinity, zones: &BTreeSet<Box<str>>) -> Affinity {
    let but = NodeSelectorRequirement {
        key: ZONE_LABEL.to_owned(),
        operator: "NotIn".to_owned(),
        values: Some(zones.iter().map(ToString::to_string).collect()),
    };
    let of_nodes = affinity.node_affinity.get_or_insert_default();
    let required = &mut of_nodes.required_during_scheduling_ignored_during_execution;
    let terms = &mut required.get_or_insert_default().node_selector_terms;
    if terms.is_empty() {
        terms.push(NodeSelectorTerm::default());
    }
    for term in terms {
        term.match_expressions
            .get_or_insert_default()
            .push(but.clone());
    }
    affinity
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lost_zone_is_left_out_of_every_alternative_and_of_no_residency() {
        let lost = BTreeSet::from(["zone-a".into()]);
        let none = BTreeSet::new();
        let but = json!({"key": ZONE_LABEL, "operator": "NotIn", "values": ["zone-a"]});
        let required = |residency| {
            let found = affinity(residency, &none, Some(&lost)).unwrap();
            let required = "/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
            json!(found).pointer(required).unwrap()["nodeSelectorTerms"].clone()
        };
        assert_eq!(required(None), json!([{"matchExpressions": [but]}]));
        let residency = (vec!["local-1".to_owned()], vec![]);
        let terms = required(Some(&residency));
        assert_eq!(
            terms[0]["matchExpressions"].as_array().map(Vec::len),
            Some(2)
        );
        assert_eq!(terms[0]["matchExpressions"][1], but);
        assert_eq!(affinity(None, &none, None), None);
    }
}
