//! When a tenant is probed next, and from which node. Pure.

use std::{collections::BTreeMap, time::Duration};

use crds::tenant::{Evidence, Outcome};
use jiff::Timestamp;

use super::ProbeSettings;
use crate::world::facts::{LiveNode, Uid};

/// What the plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// UID of the tenant: decides its place on the clock.
    pub tenant: Uid,
    /// What is known of today's boundary, newest first.
    pub evidence: &'a [Evidence],
    /// Nodes that a pod of the tenant could run on.
    pub nodes: &'a BTreeMap<String, LiveNode>,
    /// A probe pod of the tenant exists.
    pub under_way: bool,
    /// As many probes as may run at once do.
    pub crowded: bool,
    /// Now.
    pub now: Timestamp,
}

/// What to do about probing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send a probe to this node.
    Launch {
        /// Its name.
        node: String,
    },
    /// Nothing to do until then.
    Wait {
        /// When to ask again.
        until: Timestamp,
    },
    /// There is no node to look from.
    Nowhere,
}

/// Decides.
pub fn step(situation: Situation<'_>, settings: &ProbeSettings) -> Step {
    let Situation {
        tenant,
        evidence,
        nodes,
        under_way,
        crowded,
        now,
    } = situation;
    if under_way {
        return Step::Wait {
            until: now + super::PATIENCE,
        };
    }
    // The newest counts wherever it is from: where its node takes no pods now, another one is
    // looked from.
    let unproven = |one: &Evidence| one.outcome != Outcome::Proven;
    let trouble = evidence.first().is_some_and(unproven)
        || (evidence.iter()).any(|one| unproven(one) && nodes.contains_key(&one.node));
    let due = due(tenant, evidence, trouble, settings);
    if due > now {
        return Step::Wait { until: due };
    }
    if crowded {
        // Everybody who waits asks again at a moment of its own.
        let pause = Duration::from_millis(1000 + tenant.spread(2000) as u64);
        return Step::Wait { until: now + pause };
    }
    next_node(tenant, evidence, nodes).map_or(Step::Nowhere, |node| Step::Launch { node })
}

/// When the next probe is due: at once where nothing is known of today's boundary, soon
/// where the last one proved nothing, else at the tenant's own place on the clock.
fn due(tenant: Uid, evidence: &[Evidence], trouble: bool, settings: &ProbeSettings) -> Timestamp {
    let Some(newest) = evidence.first() else {
        return Timestamp::MIN;
    };
    if trouble {
        return newest.time + settings.retry();
    }
    let interval = i64::try_from(settings.interval.as_secs())
        .unwrap_or(i64::MAX)
        .max(1);
    let phase = i64::try_from(tenant.spread(usize::try_from(interval).unwrap_or(1))).unwrap_or(0);
    // The first moment of the tenant's own that leaves at least half an interval between.
    let earliest = newest.time.as_second() + interval / 2;
    let next = earliest + (phase - earliest).rem_euclid(interval);
    Timestamp::from_second(next).unwrap_or(Timestamp::MAX)
}

/// The node that most needs a look: one that did not prove, then one never looked from,
/// then the one looked from longest ago. Tenants begin at different nodes.
fn next_node(
    tenant: Uid,
    evidence: &[Evidence],
    nodes: &BTreeMap<String, LiveNode>,
) -> Option<String> {
    let start = tenant.spread(nodes.len().max(1));
    let (before, from) = (nodes.keys().take(start), nodes.keys().skip(start));
    from.chain(before)
        .min_by_key(
            |node| match evidence.iter().find(|one| one.node == **node) {
                Some(one) if one.outcome != Outcome::Proven => (0, Some(one.time)),
                None => (1, None),
                Some(one) => (2, Some(one.time)),
            },
        )
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn settings() -> ProbeSettings {
        ProbeSettings {
            image: "probe".into(),
            interval: Duration::from_mins(5),
            at_once: 8,
            outside: None,
            api_service: None,
            user_namespaces: true,
        }
    }

    fn nodes() -> BTreeMap<String, LiveNode> {
        ["node-a", "node-b", "node-c"]
            .map(|name| (name.to_owned(), LiveNode::default()))
            .into()
    }

    fn evidence(node: &str, second: i64, outcome: Outcome) -> Evidence {
        Evidence {
            node: node.into(),
            time: at(second),
            probe: String::new(),
            outcome,
            fault: String::new(),
        }
    }

    fn decide(evidence: &[Evidence], now: i64) -> Step {
        let situation = Situation {
            tenant: Uid::parse("00000000-0000-0000-0000-000000000000"),
            evidence,
            nodes: &nodes(),
            under_way: false,
            crowded: false,
            now: at(now),
        };
        step(situation, &settings())
    }

    #[test]
    fn looks_at_once_where_nothing_is_known() {
        let Step::Launch { node } = decide(&[], 1000) else {
            panic!("must launch")
        };
        assert!(nodes().contains_key(&node));
    }

    #[test]
    fn goes_round_the_nodes_and_back_to_the_one_that_failed() {
        let a = evidence("node-a", 1000, Outcome::Proven);
        let b = evidence("node-b", 1400, Outcome::Inconclusive);
        let c = evidence("node-c", 1200, Outcome::Proven);
        let launch = |node: &str| Step::Launch { node: node.into() };
        assert_eq!(
            decide(&[b.clone(), c.clone(), a.clone()], 9000),
            launch("node-b")
        );
        assert_eq!(decide(&[c, a], 9000), launch("node-b"));
    }

    #[test]
    fn what_did_not_prove_comes_before_what_was_never_looked_from() {
        let b = evidence("node-b", 1400, Outcome::Breached);
        let launch = Step::Launch {
            node: "node-b".into(),
        };
        assert_eq!(decide(&[b], 9000), launch);
    }

    #[test]
    fn keeps_to_its_place_on_the_clock_and_comes_back_soon_after_trouble() {
        let proven = [evidence("node-a", 1000, Outcome::Proven)];
        let Step::Wait { until } = decide(&proven, 1001) else {
            panic!("must wait")
        };
        let pause = until.as_second() - 1000;
        assert!((150..=450).contains(&pause), "{pause}");

        let trouble = [evidence("node-a", 1000, Outcome::Breached)];
        assert_eq!(decide(&trouble, 1001), Step::Wait { until: at(1020) });
    }

    #[test]
    fn a_lost_node_that_did_not_prove_is_followed_soon_by_another() {
        let lost = evidence("node-lost", 1045, Outcome::Inconclusive);
        let b = evidence("node-b", 1000, Outcome::Proven);
        let known = [lost, b];
        assert_eq!(decide(&known, 1046), Step::Wait { until: at(1065) });
        let Step::Launch { node } = decide(&known, 1065) else {
            panic!("must launch")
        };
        assert!(nodes().contains_key(&node) && node != "node-b", "{node}");
    }

    #[test]
    fn a_thousand_tenants_do_not_bunch_on_the_clock() {
        let interval = 300;
        let mut per_second = vec![0_u32; interval];
        for number in 0..1000_u128 {
            let tenant = Uid::parse(&format!(
                "{:032x}",
                number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ));
            let proven = [evidence("node-a", 0, Outcome::Proven)];
            let due = due(tenant, &proven, false, &settings()).as_second();
            per_second[usize::try_from(due).unwrap() % interval] += 1;
        }
        assert!(
            per_second.iter().all(|count| *count <= 14),
            "{per_second:?}"
        );
    }
}
