//! What pods have in common that run a user's command behind Cloister's supervisor. Pure.
//!
//! In: an image, sizes, a residency. Out: parts of a pod. A sandbox and a replica of a Worker are
//! made of the same parts, so that what is true of the one is true of the other; replicas of
//! Cloister's own leave a lost node as soon as a Worker's do.

use std::collections::BTreeMap;

use contract::run::{Limits, Profile};
use crds::{
    scalar::Amount,
    tenant::Runtime,
    well_known::{REGION_LABEL, ZONE_LABEL},
};
use k8s_openapi::{
    api::core::v1::{
        Affinity, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, ImageVolumeSource,
        NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectFieldSelector,
        ResourceRequirements, Toleration, Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use crate::probe::{Confinement, pod::confined};

/// Where the supervisor of an Execution lies.
pub const SUPERVISOR: &str = "/cloister";
/// Where a command starts, and may write.
pub const WORK: &str = "/work";
/// Where it may write, too.
pub const TMP: &str = "/tmp";
/// That supervisor itself: the entrypoint.
pub const ENTRYPOINT: &str = "/cloister/cloister-sandbox";
/// Option of the supervisor; the argument after it is its configuration.
pub const CONFIG_OPTION: &str = "--config";
/// What stands for the node's address in that, until the kubelet fills it in.
pub const HOST_ADDRESS: &str = contract::work::HOST_ADDRESS;

/// Bytes of a line of output.
pub const LINE_BYTES: u32 = 16 * 1024;

/// Least Landlock ABI: the first that keeps signals and abstract sockets inside (Linux 6.12).
const LANDLOCK_ABI: u8 = 6;
/// Open descriptors of one process.
const FILES: u64 = 1024;
/// Processes and threads. Counted by user, so only where the pod has a user of its own.
const PROCESSES: u64 = 512;

/// Least cores of the container that copies the supervisor: with these it takes some 0.4 s.
const LEAST_TO_START: Amount = Amount::millicores(100);

/// Name of the environment variable that becomes [`HOST_ADDRESS`].
const HOST_VARIABLE: &str = "HOST_ADDRESS";

/// Whether an image volume can bring the supervisor. The kernel maps the users of a file system
/// only where that can do it, and the overlay that an image volume is cannot (`mount_setattr(2)`,
/// `MOUNT_ATTR_IDMAP`).
pub const fn by_image_volume(cluster_has_them: bool, user_namespace: bool) -> bool {
    cluster_has_them && !user_namespace
}

/// Copies the supervisor to this directory of the pod, on a cluster without image volumes. What the
/// container after it has of `cpu` costs nothing here, and a runtime starts a container within the
/// container's own share.
pub fn bringer(image: &str, directory: &str, cpu: &str) -> Container {
    let asked = cpu.parse::<Amount>();
    let cpu = asked.map_or(LEAST_TO_START, |asked| asked.max(LEAST_TO_START));
    Container {
        name: "supervisor".to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/cloister-sandbox".to_owned()]),
        args: Some(vec![
            "install".to_owned(),
            format!("{directory}/cloister-sandbox"),
        ]),
        resources: Some(resources(&cpu.to_string(), "32Mi")),
        security_context: Some(confined()),
        volume_mounts: Some(vec![mount("supervisor", directory, false)]),
        ..Container::default()
    }
}

/// Where the supervisor lies, brought in one way or the other.
pub fn supervisor(image: &str, by_image_volume: bool) -> Volume {
    if !by_image_volume {
        return in_memory("supervisor", "16Mi");
    }
    Volume {
        name: "supervisor".to_owned(),
        image: Some(ImageVolumeSource {
            reference: Some(image.to_owned()),
            pull_policy: Some("IfNotPresent".to_owned()),
        }),
        ..Volume::default()
    }
}

/// In memory, where the kernel itself holds it to its size, and gone with the pod.
pub fn in_memory(name: &str, size: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity(size.to_owned())),
        }),
        ..Volume::default()
    }
}

/// A mount of such a volume.
pub fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// What is used at most is set aside: a pod that is ready must not be the one that a node
/// under pressure takes away.
pub fn resources(cpu: &str, memory: &str) -> ResourceRequirements {
    let both: BTreeMap<String, Quantity> = [("cpu", cpu), ("memory", memory)]
        .map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())))
        .into();
    ResourceRequirements {
        limits: Some(both.clone()),
        requests: Some(both),
        claims: None,
    }
}

/// The node's address, which the kubelet fills in for [`HOST_ADDRESS`].
pub fn host_address() -> EnvVar {
    EnvVar {
        name: HOST_VARIABLE.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "status.hostIP".to_owned(),
                api_version: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// How long a pod stays bound to a node that is lost: less, and a hiccup moves it; more, and a lost
/// zone is acted on late. Kubernetes' own default is five minutes.
const TOLERATION_SECONDS: i64 = 5;

/// What has a pod leave a lost node soon.
pub fn short_tolerations() -> Vec<Toleration> {
    [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ]
    .map(|key| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(TOLERATION_SECONDS),
        value: None,
    })
    .into()
}

/// Regions and zones that a pod may run in; empty means any. Nothing where both are.
pub fn places(regions: &[String], zones: &[String]) -> Option<Affinity> {
    let among = |(key, values): (&str, &[String])| {
        (!values.is_empty()).then(|| NodeSelectorRequirement {
            key: key.to_owned(),
            operator: "In".to_owned(),
            values: Some(values.to_vec()),
        })
    };
    let asked = [(REGION_LABEL, regions), (ZONE_LABEL, zones)];
    let expressions: Vec<_> = asked.into_iter().filter_map(among).collect();
    if expressions.is_empty() {
        return None;
    }
    Some(Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![NodeSelectorTerm {
                    match_expressions: Some(expressions),
                    match_fields: None,
                }],
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    })
}

/// Most processes and threads of a pod: where it has a user of its own, by whom the kernel
/// counts. gVisor does not keep such a limit, and on the node's users it would be one for all pods.
pub const fn processes(own_user: bool) -> Option<u64> {
    if own_user { Some(PROCESSES) } else { None }
}

/// What stands between a command and the node's kernel.
pub const fn profile(confinement: Confinement) -> Profile {
    match confinement.runtime {
        Runtime::GVisor => Profile::GVisor,
        Runtime::Hardened => Profile::Hardened {
            landlock_abi: LANDLOCK_ABI,
        },
    }
}

/// What a command may use, and files of so many bytes.
pub const fn limits(confinement: Confinement, file_bytes: u64) -> Limits {
    let own_user = match confinement.runtime {
        Runtime::GVisor => false,
        Runtime::Hardened => confinement.user_namespace,
    };
    Limits {
        files: FILES,
        processes: processes(own_user),
        file_bytes,
        address_space_bytes: None,
    }
}
