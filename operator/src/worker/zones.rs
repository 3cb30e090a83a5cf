//! What runs where, and which zone may be lost. Pure.
//!
//! In: the pods that are ready now, by zone, and the nodes that could take one. Out: whether the
//! loss of any one zone leaves enough.

use std::collections::BTreeMap;

use crds::{
    condition::Verdict,
    worker::{WorkerReason, ZoneStatus},
};

use super::validate::ValidWorker;
use crate::{tenant::allows, world::facts::LivePod};

/// Most zones that status lists.
const MAX_ZONES: usize = 64;

/// One pod of the Worker that has not ended.
pub struct Pod<'a> {
    /// As the watch brings it.
    pub live: &'a LivePod,
    /// Proven lately, with the command running, and not asked to go.
    pub ready: bool,
    /// Made from what the Deployment says now.
    pub newest: bool,
}

/// Every zone that pods of the Worker are in, or could be.
pub fn zones(valid: &ValidWorker, pods: &[Pod<'_>]) -> Vec<ZoneStatus> {
    let mut zones: BTreeMap<String, ZoneStatus> = BTreeMap::new();
    let names = &valid.terms.zone_names;
    for name in names {
        zones.entry(name.clone()).or_default();
    }
    for node in valid.cluster.nodes.values() {
        let inside = allows(valid.residency.as_ref(), node);
        if inside && (names.is_empty() || names.contains(&node.zone)) {
            zones.entry(node.zone.clone()).or_default().nodes += i32::from(node.usable);
        }
    }
    for Pod { live, ready, .. } in pods {
        let Some(node) = &live.node else { continue };
        let place = valid.cluster.nodes.get(&**node);
        let zone = place.map(|node| node.zone.clone()).unwrap_or_default();
        let zone = zones.entry(zone).or_default();
        zone.running += 1;
        zone.ready += i32::from(*ready);
    }
    let listed = zones
        .into_iter()
        .map(|(zone, status)| ZoneStatus { zone, ..status });
    listed.take(MAX_ZONES).collect()
}

/// Zones with what is ready in each, for people.
pub fn spread(zones: &[ZoneStatus]) -> String {
    let held = zones.iter().filter(|zone| zone.running > 0);
    let words = held.map(|zone| format!("{}:{}", called(&zone.zone), zone.ready));
    let words = words.collect::<Vec<_>>().join(",");
    words.chars().take(1024).collect()
}

/// Whether the loss of any one zone leaves `least`, and one at the least.
///
/// Only what is ready elsewhere counts, never what could come up there: what has volumes cannot. A
/// zone without a node that could take a pod is named first where something is missing: it is why the
/// others hold too many, or if all stay where their volumes are (`bound`), where those wait.
pub fn redundancy(
    zones: &[ZoneStatus],
    least: i32,
    bound: bool,
) -> (Verdict, WorkerReason, String) {
    let least = least.max(1);
    let all: i32 = zones.iter().map(|zone| zone.ready).sum();
    if all == 0 {
        let message = "none is ready, so there is nothing that the loss of a zone could leave";
        return (Verdict::False, WorkerReason::NotRunning, message.to_owned());
    }
    let needed = |zone: &&ZoneStatus| zone.ready > 0 && all - zone.ready < least;
    let fullest = zones.iter().filter(needed).max_by_key(|zone| zone.ready);
    let Some(zone) = fullest else {
        let message = "the loss of any one zone leaves minAvailable";
        return (Verdict::True, WorkerReason::Redundant, message.to_owned());
    };
    let needed = format!(
        "the loss of {} would leave fewer than minAvailable ready",
        called(&zone.zone)
    );
    let full = zones.iter().find(|zone| zone.nodes == 0);
    match full {
        Some(full) => (
            Verdict::False,
            WorkerReason::NoCapacity,
            format!(
                "{needed}, and {} has no node that could take one; add nodes there, or bring back \
                 those that are cordoned or lost{}",
                called(&full.zone),
                if bound {
                    ": replicas whose volumes are there wait for it"
                } else {
                    ""
                }
            ),
        ),
        None => (
            Verdict::False,
            WorkerReason::ZoneNeeded,
            format!("{needed}; wait for those on their way, raise replicas, or lower minAvailable"),
        ),
    }
}

fn called(zone: &str) -> &str {
    if zone.is_empty() {
        "what has no zone label"
    } else {
        zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zones by what is ready in each, with one node each.
    fn ready(counts: &[(&str, i32)]) -> Vec<ZoneStatus> {
        let zone = |(zone, ready): &(&str, i32)| ZoneStatus {
            zone: (*zone).to_owned(),
            running: *ready,
            ready: *ready,
            nodes: 1,
        };
        counts.iter().map(zone).collect()
    }

    fn said(zones: &[ZoneStatus], least: i32) -> (Verdict, WorkerReason) {
        let (verdict, reason, _) = redundancy(zones, least, false);
        (verdict, reason)
    }

    #[test]
    fn every_zone_may_be_lost_only_if_each_leaves_enough() {
        let even = ready(&[("a", 1), ("b", 1), ("c", 1)]);
        let yes = (Verdict::True, WorkerReason::Redundant);
        let no = (Verdict::False, WorkerReason::ZoneNeeded);
        assert_eq!(said(&even, 2), yes);
        assert_eq!(said(&even, 3), no);
        let uneven = ready(&[("a", 3), ("b", 1), ("c", 1)]);
        assert_eq!(said(&uneven, 2), yes);
        assert_eq!(said(&uneven, 3), no);
        let (_, _, message) = redundancy(&uneven, 3, false);
        assert!(message.starts_with("the loss of a would"), "{message}");
    }

    #[test]
    fn one_that_is_left_alone_is_needed_whatever_the_budget_says() {
        let no = (Verdict::False, WorkerReason::ZoneNeeded);
        assert_eq!(said(&ready(&[("a", 1), ("b", 0)]), 0), no);
        let none = (Verdict::False, WorkerReason::NotRunning);
        assert_eq!(said(&ready(&[("a", 0)]), 0), none);
        assert_eq!(said(&[], 1), none);
    }

    #[test]
    fn a_zone_that_can_take_none_is_named_where_something_is_missing() {
        let mut zones = ready(&[("a", 1), ("b", 1), ("c", 0)]);
        zones[2].nodes = 0;
        let (verdict, reason, message) = redundancy(&zones, 2, false);
        let said = (Verdict::False, WorkerReason::NoCapacity);
        assert_eq!((verdict, reason), said);
        assert!(message.contains("c has no node"), "{message}");
        assert_eq!(said_of(&zones, 1), Verdict::True);
    }

    fn said_of(zones: &[ZoneStatus], least: i32) -> Verdict {
        redundancy(zones, least, false).0
    }

    #[test]
    fn what_is_bound_to_a_lost_zone_counts_nowhere_else_and_is_said_to_wait() {
        // Six in three zones; a is lost, and its two wait for their volumes.
        let mut zones = ready(&[("a", 0), ("b", 2), ("c", 2)]);
        (zones[0].nodes, zones[0].running) = (0, 2);
        let (verdict, reason, message) = redundancy(&zones, 4, true);
        assert_eq!(
            (verdict, reason),
            (Verdict::False, WorkerReason::NoCapacity)
        );
        assert!(message.contains("a has no node"), "{message}");
        assert!(
            message.ends_with("volumes are there wait for it"),
            "{message}"
        );
        let (verdict, ..) = redundancy(&zones, 2, true);
        assert_eq!(verdict, Verdict::True, "a second zone may go, too");
    }

    #[test]
    fn nodes_without_a_zone_are_one_place_that_may_be_lost() {
        let (verdict, _, message) = redundancy(&ready(&[("", 3)]), 2, false);
        assert_eq!(verdict, Verdict::False);
        assert!(message.contains("what has no zone label"), "{message}");
    }

    #[test]
    fn people_see_what_is_ready_where_something_runs() {
        let mut zones = ready(&[("a", 1), ("b", 2), ("c", 0)]);
        assert_eq!(spread(&zones), "a:1,b:2");
        zones[2].running = 1;
        assert_eq!(spread(&zones), "a:1,b:2,c:0");
    }
}
