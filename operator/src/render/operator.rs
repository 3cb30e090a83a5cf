//! The operator's own Deployment.
//!
//! In: image and settings. Out: Deployment, budget, two Services. Called by `render.rs`.

use std::io;

use crds::well_known::{
    DISPATCH, DISPATCH_PORT, DISPATCH_PORT_NAME, OPERATOR, OPERATOR_SERVICE_ACCOUNT,
    SYSTEM_NAMESPACE,
};
use k8s_openapi::{
    api::core::v1::{
        ConfigMapEnvSource, Container, EnvFromSource, EnvVar, EnvVarSource, HTTPGetAction,
        ObjectFieldSelector, Probe, Service,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use super::{
    OPERATOR_IMAGE,
    meta::{self, texts},
    settings::SETTINGS,
    workload::{Workload, container_port, disruption_budget, resources, service},
    yaml::value,
};

/// Port of probes and metrics.
pub const ADMIN_PORT: u16 = 8080;

/// Everything of the operator but its rights.
pub fn objects() -> io::Result<Vec<Value>> {
    let workload = Workload {
        namespace: SYSTEM_NAMESPACE,
        name: OPERATOR,
        // One per zone: the loss of any leaves two, one of which leads.
        replicas: 3,
        service_account: OPERATOR_SERVICE_ACCOUNT,
        token: true,
        // What keeps tenants apart goes last when a node runs out.
        priority_class: Some("system-cluster-critical"),
        grace_seconds: 15,
        container: container(),
    };
    Ok(vec![
        value(&workload.deployment())?,
        value(&disruption_budget(SYSTEM_NAMESPACE, OPERATOR))?,
        value(&service(
            SYSTEM_NAMESPACE,
            OPERATOR,
            &[("admin", ADMIN_PORT)],
        ))?,
        value(&dispatch())?,
    ])
}

/// What sandboxes dial. Without a selector, because standbys must not be dialled: whoever
/// leads writes the endpoints, its own address alone. They bear the port's name, or they would
/// be of another port.
fn dispatch() -> Service {
    let mut dispatch = service(
        SYSTEM_NAMESPACE,
        DISPATCH,
        &[(DISPATCH_PORT_NAME, DISPATCH_PORT)],
    );
    dispatch.metadata = meta::described(
        dispatch.metadata,
        "What sandboxes dial: the leader alone, which writes the endpoints itself.",
    );
    dispatch.spec.get_or_insert_default().selector = None;
    dispatch
}

/// A variable of the environment that is the same everywhere.
fn fixed(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..EnvVar::default()
    }
}

fn container() -> Container {
    Container {
        name: "operator".to_owned(),
        image: Some(OPERATOR_IMAGE.to_owned()),
        args: Some(texts(&["operator"])),
        env: Some(vec![
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            field("POD_IP", "status.podIP"),
            // glibc keeps a heap for each thread, and each keeps what the first listings took: at 5,000
            // to 6,000 Tenants a third to two thirds more than with one heap.
            fixed("MALLOC_ARENA_MAX", "1"),
            // It raises this by itself as soon as one answer of a listing has been freed, and keeps room
            // for the largest: mallopt(3), M_MMAP_THRESHOLD.
            fixed("MALLOC_MMAP_THRESHOLD_", "131072"),
        ]),
        env_from: Some(vec![EnvFromSource {
            config_map_ref: Some(ConfigMapEnvSource {
                name: SETTINGS.to_owned(),
                optional: None,
            }),
            ..EnvFromSource::default()
        }]),
        ports: Some(vec![
            container_port("admin", ADMIN_PORT),
            container_port(DISPATCH_PORT_NAME, DISPATCH_PORT),
        ]),
        liveness_probe: Some(http_probe("/healthz", 10)),
        readiness_probe: Some(http_probe("/readyz", 2)),
        // On a full node a container has the share that it asks for. Who leads needs 18 to 46 ms for
        // each Execution, and its lease renewed within 5 s: with 50m all replicas lost theirs in turn.
        resources: Some(resources(("200m", "64Mi"), ("1", "256Mi"))),
        ..Container::default()
    }
}

fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: path.to_owned(),
                api_version: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn http_probe(path: &str, period_seconds: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}
