//! The probe pod: as confined as any pod of the tenant, plus a node to look from.

use contract::ProbeRequest;
use crds::{
    tenant::Runtime,
    well_known::{
        GVISOR_RUNTIME_CLASS, REGION_LABEL, ROLE_LABEL, ROLE_PROBE, SANDBOX_SERVICE_ACCOUNT,
        ZONE_LABEL,
    },
};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, Pod, PodSecurityContext, PodSpec, ResourceRequirements,
        SeccompProfile, SecurityContext,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::Confinement;
use crate::{
    meta::Owner,
    names,
    world::facts::{
        BOUNDARY_ANNOTATION, DECOYS_ANNOTATION, LiveNode, NODE_ANNOTATION, REQUEST_OPTION,
    },
};

/// User and group of every pod that Cloister makes. Any but 0.
pub const NOBODY: i64 = 65532;

/// What a probe may use. Counts for no limit of the tenant's.
const CPU_MILLIS: u32 = 250;
/// In MiB; gVisor's kernel lives in it too.
const MEMORY_MIB: u32 = 96;

/// Everything that makes one probe pod differ from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whose boundary it looks at.
    pub owner: Owner,
    /// Which boundary.
    pub boundary: String,
    /// Name of the node it looks from.
    pub node: String,
    /// Labels of that node.
    pub place: LiveNode,
    /// Version of the decoy's endpoints, which must be the same at the end of the look.
    pub decoys: u64,
    /// Distinguishes this look from the next one at the same node.
    pub slot: i64,
    /// What to look at.
    pub request: ProbeRequest,
    /// Image that holds the probe.
    pub image: String,
    /// How the tenant's pods are confined.
    pub confinement: Confinement,
}

/// The pod of a probe.
pub fn pod(probe: &Probe) -> Pod {
    let namespace = names::namespace(&probe.owner.tenant);
    let name = names::probe(&probe.owner.uid.to_string(), &probe.node, probe.slot);
    let mut metadata = probe.owner.child(Some(&namespace), &name);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(ROLE_LABEL.to_owned(), ROLE_PROBE.to_owned());
    metadata.annotations = Some(
        [
            (BOUNDARY_ANNOTATION, probe.boundary.clone()),
            (NODE_ANNOTATION, probe.node.clone()),
            (DECOYS_ANNOTATION, probe.decoys.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into(),
    );
    let gvisor = probe.confinement.runtime == Runtime::GVisor;
    Pod {
        metadata,
        spec: Some(PodSpec {
            active_deadline_seconds: Some(30),
            automount_service_account_token: Some(false),
            containers: vec![container(probe)],
            enable_service_links: Some(false),
            // gVisor brings its own user namespace, and refuses the node's.
            host_users: (!gvisor && probe.confinement.user_namespace).then_some(false),
            node_selector: Some(place(&probe.place)),
            // Room beyond the tenant's limits.
            priority_class_name: Some(names::PROBE_PRIORITY.to_owned()),
            restart_policy: Some("Never".to_owned()),
            runtime_class_name: gvisor.then(|| GVISOR_RUNTIME_CLASS.to_owned()),
            security_context: Some(as_nobody()),
            service_account_name: Some(SANDBOX_SERVICE_ACCOUNT.to_owned()),
            termination_grace_period_seconds: Some(0),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// A selector that only the one node matches, and that says its region and zone, as
/// admission demands of every pod of a tenant with a residency.
fn place(node: &LiveNode) -> std::collections::BTreeMap<String, String> {
    [
        ("kubernetes.io/hostname", &node.hostname),
        (REGION_LABEL, &node.region),
        (ZONE_LABEL, &node.zone),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| (key.to_owned(), value.clone()))
    .collect()
}

fn container(probe: &Probe) -> Container {
    // A request is plain data; one that cannot be written would be refused by the probe.
    let request = serde_json::to_string(&probe.request).unwrap_or_default();
    let quantities = |cpu: u32, memory: u32| {
        [
            ("cpu", Quantity(format!("{cpu}m"))),
            ("memory", Quantity(format!("{memory}Mi"))),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    };
    Container {
        name: "probe".to_owned(),
        image: Some(probe.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/cloister-sandbox".to_owned()]),
        args: Some(vec!["probe".to_owned(), REQUEST_OPTION.to_owned(), request]),
        resources: Some(ResourceRequirements {
            limits: Some(quantities(CPU_MILLIS, MEMORY_MIB)),
            requests: Some(quantities(10, 16)),
            claims: None,
        }),
        security_context: Some(confined()),
        ..Container::default()
    }
}

/// As whom every pod that Cloister makes for a tenant runs.
pub fn as_nobody() -> PodSecurityContext {
    PodSecurityContext {
        run_as_group: Some(NOBODY),
        run_as_non_root: Some(true),
        run_as_user: Some(NOBODY),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// What each of their containers may not do.
pub fn confined() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: None,
        }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}
