//! The volumes of a Worker: read, and judged by what makes them. Pure.
//!
//! In: the spec, the cluster's `StorageClasses`, where replicas may go, what the tenant may store. Out:
//! [`Volume`]s, or the one reason why they cannot be, with field and remedy.
//!
//! A volume is where its first replica was, and stays: so it must not be made before there is one,
//! or by a class that has none of the zones.

use crds::{
    scalar::Amount,
    tenant::Runtime,
    worker::{MAX_MOUNT_PARTS, MAX_NAME_WITH_VOLUMES, NOT_FOR_VOLUMES, WorkerVolume},
};

use super::validate::ValidWorker;
use crate::{
    dispatch::{Landlord, amount},
    world::facts::{Cluster, LiveClass},
};

/// A volume, every field read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: Amount,
    /// What makes it; the cluster's default, if nothing.
    pub class: Option<String>,
    /// Where it is mounted: not where anything else is.
    pub path: String,
}

/// What volumes have to go with.
#[derive(Clone, Copy, Debug)]
struct Needs<'a> {
    /// Replicas, each with one of each.
    replicas: i32,
    /// At least so many zones.
    zones: i32,
    /// These zones, if any are named.
    names: &'a [String],
    /// Zones of the residency; empty means any.
    residency: &'a [String],
    /// What the tenant may store, if that can be read.
    storage: Option<Amount>,
    /// The tenant's name.
    tenant: &'a str,
}

/// Reads.
///
/// # Errors
/// What of it could not be mounted, or would be mounted where it must not; admission has refused it
/// before, where its rules are.
pub fn list(worker: &str, spec: &[WorkerVolume]) -> Result<Vec<Volume>, String> {
    if !spec.is_empty() && worker.len() > MAX_NAME_WITH_VOLUMES {
        return Err(format!(
            "metadata.name: at most {MAX_NAME_WITH_VOLUMES} characters with volumes, because \
             Kubernetes makes a label of it and a number"
        ));
    }
    let mut volumes: Vec<Volume> = Vec::new();
    for (index, one) in spec.iter().enumerate() {
        let field = format!("spec.volumes[{index}]");
        let path = &one.mount_path;
        if !is_plain(path) || is_taken(path) {
            return Err(format!(
                "{field}.mountPath: {path} is no absolute path of at most {MAX_MOUNT_PARTS} parts \
                 apart from those of the system and the supervisor; choose another, such as /data"
            ));
        }
        let clashes = |held: &Volume| held.name == one.name || overlap(&held.path, path);
        if volumes.iter().any(clashes) {
            return Err(format!(
                "{field}: has the name of another, or lies with it, above it or below it; give each \
                 its own"
            ));
        }
        volumes.push(Volume {
            name: one.name.clone(),
            size: amount(&format!("{field}.size"), &one.size)?,
            class: one.storage_class_name.clone(),
            path: path.clone(),
        });
    }
    Ok(volumes)
}

/// Nothing in it leads anywhere else.
fn is_plain(path: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_part = |part: &str| part.chars().all(allowed) && part.chars().any(|c| c != '.');
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    rest.split('/').all(is_part) && rest.split('/').count() <= MAX_MOUNT_PARTS
}

fn is_taken(path: &str) -> bool {
    NOT_FOR_VOLUMES.iter().any(|place| overlap(place, path))
}

fn overlap(one: &str, other: &str) -> bool {
    let below = |path: &str, above: &str| {
        let rest = path.strip_prefix(above);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(one, other) || below(other, one)
}

/// What keeps the volumes of a Worker from being made.
pub fn unkept(landlord: &Landlord, valid: &ValidWorker) -> Option<String> {
    let terms = &valid.terms;
    if terms.volumes.is_empty() {
        return None;
    }
    // Its mounts are put in order by where the links of an image lead, and of two that lead to one
    // place, the supervisor's need not be the last; see `desired/config.rs`.
    if valid.confinement.runtime == Runtime::GVisor {
        let message = "spec.volumes: not to be had under gVisor, which could mount one over the \
                       supervisor; leave them out, or have the Worker and its Tenant say Hardened";
        return Some(message.to_owned());
    }
    let residency = landlord.residency.as_ref();
    let needs = Needs {
        replicas: terms.replicas,
        zones: terms.zones,
        names: &terms.zone_names,
        residency: residency.map_or(&[], |residency| &residency.zones),
        storage: landlord.storage,
        tenant: &landlord.owner.tenant,
    };
    fault(&terms.volumes, needs, &valid.cluster)
}

/// What keeps them from being made where replicas go.
fn fault(volumes: &[Volume], needs: Needs<'_>, cluster: &Cluster) -> Option<String> {
    let mut each = volumes.iter().enumerate();
    let of_class = each.find_map(|(index, volume)| {
        let field = format!("spec.volumes[{index}].storageClassName");
        class_fault(volume, needs, cluster).map(|problem| format!("{field}: {problem}"))
    });
    of_class.or_else(|| quota_fault(volumes, needs))
}

fn class_fault(volume: &Volume, needs: Needs<'_>, cluster: &Cluster) -> Option<String> {
    let Some((name, class)) = cluster.storage_class(volume.class.as_deref()) else {
        return Some(match &volume.class {
            Some(name) => format!(
                "the cluster has no StorageClass {name}; correct the name, or create it \
                 (kubectl get storageclass lists those that are there)"
            ),
            None => "not given, and the cluster has no default StorageClass; name one \
                     (kubectl get storageclass lists those that are there)"
                .to_owned(),
        });
    };
    if !class.waits {
        return Some(format!(
            "StorageClass {name} makes volumes before it is known where a replica can go \
             (volumeBindingMode: Immediate), so a volume and its replica could be in different \
             zones; name one with WaitForFirstConsumer"
        ));
    }
    misplaced(name, class, needs)
}

/// Zones that are needed and that the class does not have.
fn misplaced(name: &str, class: &LiveClass, needs: Needs<'_>) -> Option<String> {
    let zones = class.zones.as_ref()?;
    if let Some(zone) = needs.names.iter().find(|zone| !zones.contains(*zone)) {
        return Some(format!(
            "StorageClass {name} makes no volumes in {zone}, which spec.zones.names asks for \
             (its allowedTopologies); leave the zone out, or name another class"
        ));
    }
    let inside = |zone: &&String| needs.residency.is_empty() || needs.residency.contains(*zone);
    let many = zones.iter().filter(inside).count();
    let wanted = usize::try_from(needs.zones).unwrap_or_default();
    (needs.names.is_empty() && many < wanted).then(|| {
        format!(
            "StorageClass {name} makes volumes in fewer zones than spec.zones.minimum asks for, of \
             those that replicas may go to (its allowedTopologies); lower the minimum, or name \
             another class"
        )
    })
}

fn quota_fault(volumes: &[Volume], needs: Needs<'_>) -> Option<String> {
    let each: u128 = volumes.iter().map(|one| u128::from(one.size.bytes())).sum();
    let all = each * u128::from(needs.replicas.unsigned_abs());
    let most = needs.storage?;
    let tenant = needs.tenant;
    (all > u128::from(most.bytes())).then(|| {
        format!(
            "spec.volumes: those of all replicas together are larger than spec.limits.storage of \
             Tenant {tenant}; make them smaller or fewer, lower replicas, or raise the limit"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn volume(path: &str) -> WorkerVolume {
        WorkerVolume {
            name: "data".to_owned(),
            size: "1Gi".to_owned(),
            storage_class_name: None,
            mount_path: path.to_owned(),
        }
    }

    fn waiting() -> LiveClass {
        LiveClass {
            waits: true,
            ..LiveClass::default()
        }
    }

    fn cluster(classes: &[(&str, LiveClass)]) -> Cluster {
        let classes = classes.iter();
        Cluster {
            storage_classes: classes
                .map(|(name, class)| ((*name).to_owned(), class.clone()))
                .collect(),
            ..Cluster::default()
        }
    }

    fn needs() -> Needs<'static> {
        Needs {
            replicas: 3,
            zones: 2,
            names: &[],
            residency: &[],
            storage: Some(Amount::mebibytes(3 * 1024)),
            tenant: "acme",
        }
    }

    fn of_class(class: Option<&str>) -> Vec<Volume> {
        let mut one = volume("/data");
        one.storage_class_name = class.map(ToOwned::to_owned);
        list("a", &[one]).unwrap()
    }

    #[track_caller]
    fn refused(volumes: &[Volume], needs: Needs<'_>, cluster: &Cluster, words: &[&str]) {
        let said = fault(volumes, needs, cluster).unwrap_or_default();
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }

    #[test]
    fn what_admission_refuses_is_refused_where_its_rules_are_missing() {
        assert!(list("a", &[volume("/home/node/.n8n")]).is_ok());
        for bad in [
            "data",
            "/",
            "/a/",
            "/a/../b",
            "/a//b",
            "/a/b/c/d/e",
            "/work",
            "/work/a",
            "/var",
            "/cloister",
            "/proc/sys",
            "",
        ] {
            let said = list("a", &[volume(bad)]).unwrap_err();
            assert!(
                said.starts_with("spec.volumes[0].mountPath"),
                "{bad}: {said}"
            );
        }
        let other = WorkerVolume {
            name: "more".to_owned(),
            ..volume("/data/more")
        };
        let said = list("a", &[volume("/data"), other]).unwrap_err();
        assert!(said.starts_with("spec.volumes[1]"), "{said}");
        let long = "a".repeat(MAX_NAME_WITH_VOLUMES + 1);
        assert!(list(&long, &[volume("/data")]).is_err() && list(&long, &[]).is_ok());
    }

    #[test]
    fn a_class_has_to_be_there_and_to_wait() {
        let named = of_class(Some("fast"));
        let field = "spec.volumes[0].storageClassName";
        refused(
            &named,
            needs(),
            &cluster(&[]),
            &[field, "no StorageClass fast"],
        );
        let immediate = cluster(&[("fast", LiveClass::default())]);
        refused(
            &named,
            needs(),
            &immediate,
            &[field, "WaitForFirstConsumer"],
        );
        assert_eq!(
            fault(&named, needs(), &cluster(&[("fast", waiting())])),
            None
        );
    }

    #[test]
    fn where_none_is_named_the_newest_default_is_meant() {
        let none = of_class(None);
        let plain = cluster(&[("fast", waiting())]);
        refused(&none, needs(), &plain, &["no default StorageClass"]);
        let default = |second: i64, waits: bool| LiveClass {
            waits,
            is_default: true,
            created: jiff::Timestamp::from_second(second).unwrap(),
            zones: None,
        };
        let newest_waits = cluster(&[("a", default(1, false)), ("b", default(2, true))]);
        assert_eq!(fault(&none, needs(), &newest_waits), None);
        let newest_does_not = cluster(&[("a", default(1, true)), ("b", default(2, false))]);
        refused(
            &none,
            needs(),
            &newest_does_not,
            &["StorageClass b", "Immediate"],
        );
    }

    #[test]
    fn a_class_has_to_have_the_zones() {
        let zones = |names: &[&str]| LiveClass {
            zones: Some(
                names
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect::<BTreeSet<_>>(),
            ),
            ..waiting()
        };
        let class = cluster(&[("fast", zones(&["a", "b"]))]);
        let named = of_class(Some("fast"));
        assert_eq!(fault(&named, needs(), &class), None);
        let three = Needs {
            zones: 3,
            ..needs()
        };
        refused(
            &named,
            three,
            &class,
            &["fewer zones than spec.zones.minimum"],
        );
        let residency = ["b".to_owned(), "c".to_owned()];
        let inside = Needs {
            residency: &residency,
            ..needs()
        };
        refused(
            &named,
            inside,
            &class,
            &["fewer zones than spec.zones.minimum"],
        );
        let asked = ["a".to_owned(), "c".to_owned()];
        let by_name = Needs {
            names: &asked,
            ..needs()
        };
        refused(&named, by_name, &class, &["makes no volumes in c"]);
    }

    #[test]
    fn all_replicas_together_have_to_fit_into_the_tenants_storage() {
        let named = of_class(Some("fast"));
        let class = cluster(&[("fast", waiting())]);
        assert_eq!(fault(&named, needs(), &class), None);
        let four = Needs {
            replicas: 4,
            ..needs()
        };
        refused(
            &named,
            four,
            &class,
            &["spec.limits.storage of Tenant acme"],
        );
    }
}
