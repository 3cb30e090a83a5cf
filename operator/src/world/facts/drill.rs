//! What is kept of a Drill for its tenant's boundary and the dispatcher, and of what the boundary
//! says of it.

use std::collections::{BTreeMap, BTreeSet};

use crds::{
    Drill,
    drill::{DrillPhase, DrillType},
    well_known::{DRILL_ANNOTATION, LOST_NODES_ANNOTATION},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;

use super::Uid;

/// A Drill that is not on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveDrill {
    /// Its identity.
    pub uid: Uid,
    /// What is rehearsed.
    pub kind: DrillType,
    /// The run in progress, from its claim until the zone is given back.
    pub takes: Option<Taking>,
    /// There is a run in progress, whatever it does.
    pub running: bool,
}

/// What a run takes from the tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taking {
    /// Since when.
    pub since: Timestamp,
    /// The zone.
    pub zone: Box<str>,
}

impl LiveDrill {
    /// Boils a Drill down. Nothing of one that goes: what it took is given back.
    pub fn of(object: &Drill) -> Option<Self> {
        if object.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let run = object.status.as_ref().and_then(|s| s.run.as_ref());
        let taking = run.filter(|run| match run.phase {
            DrillPhase::Claiming | DrillPhase::Lost => true,
            DrillPhase::Returning => false,
        });
        Some(Self {
            uid: Uid::of(&object.metadata),
            kind: object.spec.kind,
            takes: taking.map(|run| Taking {
                since: run.begun,
                zone: run.zone.as_str().into(),
            }),
            running: run.is_some(),
        })
    }
}

/// What a tenant's namespace says is lost to it: whose Drill it is, and which nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// The Drill.
    pub drill: Option<Uid>,
    /// Nodes of the zone.
    pub nodes: BTreeSet<Box<str>>,
}

impl Loss {
    /// Reads the annotations of a namespace.
    pub fn of(namespace: &Namespace) -> Self {
        let annotations = namespace.metadata.annotations.as_ref();
        let text = |key: &str| {
            let found = annotations.and_then(|map| map.get(key));
            found.map(String::as_str).unwrap_or_default()
        };
        let uid = text(DRILL_ANNOTATION);
        let nodes = text(LOST_NODES_ANNOTATION).split(',');
        Self {
            drill: (!uid.is_empty()).then(|| Uid::parse(uid)),
            nodes: nodes
                .filter(|node| !node.is_empty())
                .map(Into::into)
                .collect(),
        }
    }

    /// As annotations. Both are always there, empty where nothing is lost.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let nodes: Vec<&str> = self.nodes.iter().map(AsRef::as_ref).collect();
        let drill = self.drill.map(|uid| uid.to_string()).unwrap_or_default();
        [
            (DRILL_ANNOTATION, drill),
            (LOST_NODES_ANNOTATION, nodes.join(",")),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_namespace_says_reads_back_as_it_was_written() {
        let loss = Loss {
            drill: Some(Uid::parse("00000000-0000-4000-8000-00000000000d")),
            nodes: ["node-a", "node-b"].map(Into::into).into(),
        };
        for loss in [loss, Loss::default()] {
            let mut namespace = Namespace::default();
            namespace.metadata.annotations = Some(loss.annotations());
            assert_eq!(
                namespace.metadata.annotations.as_ref().map(BTreeMap::len),
                Some(2)
            );
            assert_eq!(Loss::of(&namespace), loss);
        }
        assert_eq!(Loss::of(&Namespace::default()), Loss::default());
    }

    #[test]
    fn a_zone_is_taken_from_the_claim_until_it_is_given_back() {
        let drill = |phase: &str| -> Drill {
            serde_json::from_value(json!({"metadata": {"name": "a", "uid": "1"},
                "spec": {"type": "ZoneLoss"}, "status": {"run": {"phase": phase, "zone": "zone-a",
                    "begun": "2026-01-01T12:00:00Z"}}}))
            .unwrap()
        };
        for (phase, taken) in [("Claiming", true), ("Lost", true), ("Returning", false)] {
            let live = LiveDrill::of(&drill(phase)).unwrap();
            assert_eq!(live.takes.is_some(), taken, "{phase}");
            assert!(live.running);
        }
        let mut going = drill("Lost");
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        going.metadata.deletion_timestamp = Some(crate::conditions::whole_second(now));
        assert_eq!(LiveDrill::of(&going), None);
    }
}
