//! What every Deployment of Cloister has in common: hardening and spread.
//!
//! In: [`Workload`], what differs. Out: Deployment, disruption budget, Service. Called by
//! `operator.rs` and `canary.rs`.

use std::collections::BTreeMap;

use crds::well_known::ZONE_LABEL;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{
            Capabilities, Container, ContainerPort, PodSecurityContext, PodSpec, PodTemplateSpec,
            ResourceRequirements, SeccompProfile, SecurityContext, Service, ServicePort,
            ServiceSpec, TopologySpreadConstraint,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString,
    },
};

use super::meta::{self, texts};
use crate::supervised;

/// User and group of every process of Cloister: nobody in particular, by the custom of
/// distroless images.
const USER: i64 = 65532;

/// One component that runs all the time.
pub struct Workload {
    /// Where it runs.
    pub namespace: &'static str,
    /// Name of every object, and value of the component label.
    pub name: &'static str,
    /// Pods of it.
    pub replicas: i32,
    /// As whom they ask.
    pub service_account: &'static str,
    /// Whether its pods talk to the API server.
    pub token: bool,
    /// Who stays when a node runs out.
    pub priority_class: Option<&'static str>,
    /// From the request to end to the kill, in seconds.
    pub grace_seconds: i64,
    /// Its only container, without what confines it.
    pub container: Container,
}

impl Workload {
    /// Confined as a tenant's pods are, and spread over zones.
    pub fn deployment(self) -> Deployment {
        Deployment {
            metadata: meta::namespaced(self.namespace, self.name),
            spec: Some(DeploymentSpec {
                replicas: Some(self.replicas),
                selector: meta::selector(self.name),
                template: PodTemplateSpec {
                    metadata: Some(ObjectMeta {
                        labels: Some(meta::labels(self.name)),
                        ..ObjectMeta::default()
                    }),
                    spec: Some(self.pod()),
                },
                ..DeploymentSpec::default()
            }),
            status: None,
        }
    }

    fn pod(self) -> PodSpec {
        PodSpec {
            automount_service_account_token: Some(self.token),
            host_users: Some(false),
            priority_class_name: self.priority_class.map(str::to_owned),
            security_context: Some(pod_security()),
            service_account_name: Some(self.service_account.to_owned()),
            termination_grace_period_seconds: Some(self.grace_seconds),
            tolerations: Some(supervised::short_tolerations()),
            topology_spread_constraints: (self.replicas > 1).then(|| spread(self.name)),
            containers: vec![Container {
                image_pull_policy: Some("IfNotPresent".to_owned()),
                security_context: Some(container_security()),
                ..self.container
            }],
            ..PodSpec::default()
        }
    }
}

/// A budget that lets one pod at a time go.
pub fn disruption_budget(namespace: &str, name: &str) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: meta::namespaced(namespace, name),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(meta::selector(name)),
            // A pod that is not ready serves nobody; holding on to it only holds up a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

/// A Service inside the cluster, for ports that the container names.
pub fn service(namespace: &str, name: &str, ports: &[(&str, u16)]) -> Service {
    let ports = ports.iter().map(|&(port_name, number)| ServicePort {
        name: Some(port_name.to_owned()),
        port: number.into(),
        target_port: Some(IntOrString::String(port_name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    });
    Service {
        metadata: meta::namespaced(namespace, name),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: meta::selector(name).match_labels,
            ports: Some(ports.collect()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// A Service without an address of its own: its name stands for the pods of `component` that are
/// ready, whichever these are.
pub fn headless(
    (namespace, name): (&str, &str),
    component: &str,
    ports: &[(&str, u16)],
) -> Service {
    let mut service = service(namespace, component, ports);
    service.metadata = meta::namespaced(namespace, name);
    if let Some(spec) = &mut service.spec {
        spec.cluster_ip = Some("None".to_owned());
    }
    service
}

/// A named port of a container.
pub fn container_port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Requests and limits, each of CPU and memory.
pub fn resources(requests: (&str, &str), limits: (&str, &str)) -> ResourceRequirements {
    let amounts = |(cpu, memory): (&str, &str)| {
        Some(BTreeMap::from([
            ("cpu".to_owned(), Quantity(cpu.to_owned())),
            ("memory".to_owned(), Quantity(memory.to_owned())),
        ]))
    };
    ResourceRequirements {
        requests: amounts(requests),
        limits: amounts(limits),
        claims: None,
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            drop: Some(texts(&["ALL"])),
            add: None,
        }),
        ..SecurityContext::default()
    }
}

/// One per zone, always: a replica that finds no zone of its own waits for it, rather than
/// sit where the next loss takes two. Nodes within a zone are shared out when possible.
/// Counted per revision, so that the pods of the old one don't push the new one about.
fn spread(component: &str) -> Vec<TopologySpreadConstraint> {
    [
        (ZONE_LABEL, "DoNotSchedule"),
        ("kubernetes.io/hostname", "ScheduleAnyway"),
    ]
    .map(|(key, otherwise)| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: otherwise.to_owned(),
        label_selector: Some(meta::selector(component)),
        match_label_keys: Some(texts(&["pod-template-hash"])),
        ..TopologySpreadConstraint::default()
    })
    .into()
}
