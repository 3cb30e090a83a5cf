//! What a Drill takes from a tenant, and whose turn it is. Pure.
//!
//! In: the Drills of the namespace, what it says now, the nodes. Out: what it is to say. That is
//! never more than the runs in progress ask for and the Tenant allows: whatever becomes of a Drill,
//! or of who looks after it, the next pass gives back what no run asks for.

use crds::{
    Tenant,
    drill::{DrillType, Drills},
    tenant::State,
};

use crate::world::{
    Surroundings,
    facts::{Cluster, LiveDrill, Loss, Taking, Uid},
};

/// Whether a tenant lets Drills of a type run.
pub fn allows(object: &Tenant, kind: DrillType) -> bool {
    let Drills { allowed } = &object.spec.drills;
    allowed.contains(&kind) && is_active(object)
}

/// Whether anything new may start in a tenant.
pub fn is_active(object: &Tenant) -> bool {
    object.spec.state == State::Active && object.metadata.deletion_timestamp.is_none()
}

/// What is to be lost: the zone of the one that has it, or of the one that asked first. Nodes that
/// join the zone meanwhile are lost too.
pub fn loss(object: &Tenant, around: &Surroundings, cluster: &Cluster) -> Loss {
    let holder = around.loss().drill;
    let drills = around.drills.values().map(|held| &held.fact);
    let taking = |drill: &LiveDrill| -> Option<(bool, Taking, Uid)> {
        let taking = drill.takes.clone()?;
        allows(object, drill.kind).then(|| (Some(drill.uid) != holder, taking, drill.uid))
    };
    let Some((_, Taking { since: _, zone }, uid)) = drills.filter_map(taking).min() else {
        return Loss::default();
    };
    let nodes = cluster.nodes.iter();
    Loss {
        drill: Some(uid),
        nodes: nodes
            .filter(|(_, node)| *node.zone == *zone)
            .map(|(name, _)| name.as_str().into())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use crds::Drill;
    use k8s_openapi::api::core::v1::{Namespace, Node};
    use kube::runtime::reflector;
    use serde_json::{Value, json};

    use super::*;
    use crate::{recording::UID, world::World};

    fn tenant(change: &Value) -> Tenant {
        let mut spec = json!({"members": [], "drills": {"allowed": ["ZoneLoss"]}});
        for (field, value) in change.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        serde_json::from_value(json!({"metadata": {"name": "acme", "uid": UID}, "spec": spec}))
            .unwrap()
    }

    fn drill(number: u32, phase: &str, second: u32) -> Drill {
        serde_json::from_value(json!({
            "metadata": {"name": format!("drill-{number}"), "namespace": "tenant-acme",
                "uid": uid(number).to_string(), "resourceVersion": "7"},
            "spec": {"type": "ZoneLoss"},
            "status": {"run": {"phase": phase, "zone": format!("zone-{number}"),
                "begun": format!("2026-01-01T12:00:{second:02}Z")}},
        }))
        .unwrap()
    }

    fn uid(number: u32) -> Uid {
        Uid::parse(&format!("00000000-0000-4000-8000-0000000000d{number}"))
    }

    fn world(drills: &[Drill]) -> World {
        let world = World::new(reflector::store().0);
        for (node, zone) in [("a", 1), ("b", 1), ("c", 2), ("d", 3)] {
            let node: Node = serde_json::from_value(json!({"metadata": {"name": node,
                "labels": {"topology.kubernetes.io/zone": format!("zone-{zone}")}}}))
            .unwrap();
            world.see(&node);
        }
        for drill in drills {
            world.see(drill);
        }
        world
    }

    fn lost(tenant: &Tenant, world: &World) -> (Option<Uid>, Vec<String>) {
        let loss = loss(tenant, &world.surroundings("acme"), &world.cluster());
        let nodes = loss.nodes.iter().map(ToString::to_string);
        (loss.drill, nodes.collect())
    }

    fn says(world: &World, drill: Uid) {
        let loss = Loss {
            drill: Some(drill),
            nodes: [].into(),
        };
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {
            "name": "tenant-acme", "resourceVersion": "9", "annotations": loss.annotations()}}))
        .unwrap();
        world.see(&namespace);
    }

    #[test]
    fn who_asked_first_gets_its_zone_and_every_node_of_it() {
        let tenant = tenant(&json!({}));
        let world = world(&[drill(1, "Claiming", 5), drill(2, "Claiming", 6)]);
        let nodes = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(lost(&tenant, &world), (Some(uid(1)), nodes));
    }

    #[test]
    fn who_has_a_zone_keeps_it_until_it_gives_it_back() {
        let tenant = tenant(&json!({}));
        let world = world(&[drill(1, "Claiming", 5), drill(2, "Lost", 6)]);
        says(&world, uid(2));
        assert_eq!(lost(&tenant, &world).0, Some(uid(2)));
        let mut returning = drill(2, "Returning", 6);
        returning.metadata.resource_version = Some("8".to_owned());
        world.see(&returning);
        assert_eq!(lost(&tenant, &world).0, Some(uid(1)));
    }

    #[test]
    fn what_no_run_stands_behind_or_the_tenant_forbids_is_given_back() {
        let allowing = tenant(&json!({}));
        let lost_to = [drill(1, "Lost", 5)];
        for refusing in [
            tenant(&json!({"drills": {"allowed": []}})),
            tenant(&json!({"state": "Suspended"})),
        ] {
            let world = world(&lost_to);
            says(&world, uid(1));
            assert_eq!(lost(&refusing, &world), (None, vec![]));
        }
        let world = world(&lost_to);
        says(&world, uid(1));
        assert_eq!(lost(&allowing, &world).0, Some(uid(1)));
        world.lose(&lost_to[0]);
        assert_eq!(lost(&allowing, &world), (None, vec![]));
    }
}
