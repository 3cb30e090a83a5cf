//! How strong a tenant is, where, and what a zone holds of it. Pure.
//!
//! In: the pods and nodes of one moment. Out: counts, and instants that are noted the first time
//! they are true.

use std::collections::BTreeMap;

use crds::{
    Worker,
    condition::Verdict,
    drill::{DrillWorker, MAX_WORKERS},
    worker::ZoneStatus,
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::validate::ValidDrill;
use crate::{
    worker::redundancy,
    world::facts::{LivePod, Uid},
};

impl ValidDrill {
    /// Zone of a node; nothing where it has none, or is not known.
    pub fn zone_of(&self, node: &str) -> &str {
        let node = self.cluster.nodes.get(node);
        node.map(|node| node.zone.as_str()).unwrap_or_default()
    }

    /// Pods of the tenant that have not ended, with the zone that each is in. Probes are
    /// Cloister's: they go on looking.
    pub fn pods(&self) -> impl Iterator<Item = (&str, &LivePod, &str)> {
        let tenant = Uid::of(&self.tenant.metadata);
        let pods = self.around.pods.iter();
        let pods = pods.map(|(name, held)| (&**name, &held.fact));
        let living = pods.filter(move |(_, pod)| !pod.finished && pod.probe_of(tenant).is_none());
        living.filter_map(|(name, pod)| Some((name, pod, self.zone_of(pod.node.as_deref()?))))
    }

    /// Pods of the tenant in a zone that nobody has asked to end yet.
    pub fn staying(&self, zone: &str) -> Vec<(String, Uid)> {
        let staying = self
            .pods()
            .filter(|(_, pod, place)| *place == zone && pod.deleting.is_none());
        staying
            .map(|(name, pod, _)| (name.to_owned(), pod.uid))
            .collect()
    }

    /// Where a Worker has how many ready.
    pub fn spread(&self, worker: &str) -> Vec<ZoneStatus> {
        let mut zones: BTreeMap<String, ZoneStatus> = BTreeMap::new();
        for node in self.cluster.nodes.values() {
            let zone = zones.entry(node.zone.clone()).or_default();
            zone.nodes += i32::from(node.usable);
        }
        for (_, pod, place) in self.pods() {
            let Some(replica) = &pod.replica else {
                continue;
            };
            if *replica.worker == *worker && replica.ready && pod.deleting.is_none() {
                zones.entry(place.to_owned()).or_default().ready += 1;
            }
        }
        let named = zones
            .into_iter()
            .map(|(zone, status)| ZoneStatus { zone, ..status });
        named.collect()
    }

    /// Workers that are to run.
    pub fn staff(&self) -> impl Iterator<Item = &Worker> {
        let workers = self.workers.iter().map(AsRef::as_ref);
        workers
            .filter(|worker| !worker.spec.suspend && worker.metadata.deletion_timestamp.is_none())
    }
}

/// How many a Worker must have left; nothing while its status is about another spec.
pub fn least(worker: &Worker) -> Option<i32> {
    let status = worker.status.as_ref()?;
    let current = status.observed_generation == worker.metadata.generation;
    current.then_some(status.min_available)
}

/// How the Workers stand before anything is taken.
pub fn baseline(valid: &ValidDrill) -> Vec<DrillWorker> {
    let workers = valid.staff().map(|worker| {
        let name = worker.name_any();
        let zones = valid.spread(&name);
        let min_available = least(worker).unwrap_or_default();
        let (verdict, _, _) = redundancy(&zones, min_available, false);
        DrillWorker {
            name,
            min_available,
            ready: zones.iter().map(|zone| zone.ready).sum(),
            redundant: verdict == Verdict::True,
            below: None,
            enough: None,
            full: None,
        }
    });
    workers.take(MAX_WORKERS).collect()
}

/// How they stand now. `lost` is the zone that does not count, while it is taken. One that is gone,
/// or suspended since, is measured no more.
pub fn measured(
    valid: &ValidDrill,
    before: &[DrillWorker],
    lost: Option<&str>,
) -> Vec<DrillWorker> {
    let there = |one: &&DrillWorker| valid.staff().any(|worker| worker.name_any() == one.name);
    let measure = |one: &DrillWorker| step(one, &valid.spread(&one.name), lost, valid.now);
    before.iter().filter(there).map(measure).collect()
}

fn step(
    before: &DrillWorker,
    zones: &[ZoneStatus],
    lost: Option<&str>,
    now: Timestamp,
) -> DrillWorker {
    let mut next = before.clone();
    let counted = zones.iter().filter(|zone| Some(&*zone.zone) != lost);
    let ready: i32 = counted.map(|zone| zone.ready).sum();
    if ready < before.min_available {
        next.below = before.below.or(Some(now));
        next.enough = None;
    } else if before.below.is_some() {
        next.enough = before.enough.or(Some(now));
    }
    let (verdict, _, _) = redundancy(zones, before.min_available, false);
    let whole =
        lost.is_none() && ready >= before.ready && (verdict == Verdict::True || !before.redundant);
    next.full = if whole {
        before.full.or(Some(now))
    } else {
        None
    };
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(counts: [i32; 3]) -> Vec<ZoneStatus> {
        let zones = ["a", "b", "c"].into_iter().zip(counts);
        let zone = |(zone, ready): (&str, i32)| ZoneStatus {
            zone: zone.to_owned(),
            running: ready,
            ready,
            nodes: 1,
        };
        zones.map(zone).collect()
    }

    fn before() -> DrillWorker {
        DrillWorker {
            name: "poller".to_owned(),
            min_available: 4,
            ready: 6,
            redundant: true,
            below: None,
            enough: None,
            full: None,
        }
    }

    #[test]
    fn what_is_still_ready_in_the_lost_zone_does_not_count() {
        let next = step(&before(), &ready([2, 2, 2]), Some("a"), at(1));
        assert_eq!((next.below, next.enough, next.full), (None, None, None));
        let next = step(&before(), &ready([2, 2, 1]), Some("a"), at(1));
        assert_eq!((next.below, next.enough), (Some(at(1)), None));
    }

    #[test]
    fn enough_is_from_when_on_it_stays_enough() {
        let one = step(&before(), &ready([0, 2, 1]), Some("a"), at(1));
        let two = step(&one, &ready([0, 2, 2]), Some("a"), at(2));
        assert_eq!((two.below, two.enough), (Some(at(1)), Some(at(2))));
        let three = step(&two, &ready([0, 1, 2]), Some("a"), at(3));
        assert_eq!((three.below, three.enough), (Some(at(1)), None));
        let four = step(&three, &ready([0, 2, 2]), Some("a"), at(4));
        assert_eq!((four.below, four.enough), (Some(at(1)), Some(at(4))));
    }

    #[test]
    fn full_is_as_many_and_as_redundant_as_before_with_the_zone_back() {
        let full = |counts, lost| step(&before(), &ready(counts), lost, at(1)).full;
        assert_eq!(full([2, 2, 2], Some("a")), None);
        assert_eq!(full([1, 2, 2], None), None);
        assert_eq!(
            full([0, 3, 3], None),
            None,
            "as many, but one zone more is needed"
        );
        assert_eq!(full([2, 2, 2], None), Some(at(1)));
        let mut alone = before();
        alone.redundant = false;
        let zones = ready([0, 3, 3]);
        assert_eq!(step(&alone, &zones, None, at(1)).full, Some(at(1)));
    }
}
