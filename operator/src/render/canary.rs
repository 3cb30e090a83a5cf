//! What probes dial: the canary, which tenants may reach on one port, and the decoy, which
//! they may not reach at all.
//!
//! In: ports. Out: accounts, Deployments, Services, budget. Called by `render.rs`.

use std::io;

use crds::well_known::{
    CANARY, CANARY_FORBIDDEN_PORT, CANARY_PERMITTED_PORT, CANARY_PODS, DECOY, DECOY_NAMESPACE,
    DECOY_PODS, DECOY_PORT, SANDBOX_SERVICE_ACCOUNT, SYSTEM_NAMESPACE,
};
use k8s_openapi::{
    api::core::v1::{Container, Probe, ServiceAccount, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use super::{
    SANDBOX_IMAGE, meta,
    workload::{Workload, container_port, disruption_budget, headless, resources, service},
    yaml::value,
};

const CANARY_PORTS: [(&str, u16); 2] = [
    ("permitted", CANARY_PERMITTED_PORT),
    ("forbidden", CANARY_FORBIDDEN_PORT),
];
const DECOY_PORTS: [(&str, u16); 1] = [("forbidden", DECOY_PORT)];

/// Everything of canary and decoy.
pub fn objects() -> io::Result<Vec<Value>> {
    // Two, in two zones: without a canary no probe can prove anything.
    let canary = Workload {
        replicas: 2,
        ..listener(SYSTEM_NAMESPACE, CANARY, "canary", &CANARY_PORTS)
    };
    // One: a probe fails the tenant when it answers, not when it is away. Its account is
    // that of every pod in a tenant's namespace, because admission asks for it there.
    let decoy = Workload {
        service_account: SANDBOX_SERVICE_ACCOUNT,
        ..listener(DECOY_NAMESPACE, DECOY, "decoy", &DECOY_PORTS)
    };
    Ok(vec![
        value(&service_account(SYSTEM_NAMESPACE, CANARY))?,
        value(&canary.deployment())?,
        value(&disruption_budget(SYSTEM_NAMESPACE, CANARY))?,
        value(&service(SYSTEM_NAMESPACE, CANARY, &CANARY_PORTS))?,
        value(&headless(
            (SYSTEM_NAMESPACE, CANARY_PODS),
            CANARY,
            &CANARY_PORTS,
        ))?,
        value(&service_account(DECOY_NAMESPACE, SANDBOX_SERVICE_ACCOUNT))?,
        value(&decoy.deployment())?,
        value(&service(DECOY_NAMESPACE, DECOY, &DECOY_PORTS))?,
        value(&headless(
            (DECOY_NAMESPACE, DECOY_PODS),
            DECOY,
            &DECOY_PORTS,
        ))?,
    ])
}

fn service_account(namespace: &str, name: &str) -> ServiceAccount {
    ServiceAccount {
        metadata: meta::namespaced(namespace, name),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

fn listener(
    namespace: &'static str,
    name: &'static str,
    role: &str,
    ports: &[(&str, u16)],
) -> Workload {
    let mut args = vec!["canary".to_owned()];
    for (_, number) in ports {
        args.extend(["--listen".to_owned(), format!("0.0.0.0:{number}")]);
    }
    args.extend(["--role".to_owned(), role.to_owned()]);
    Workload {
        namespace,
        name,
        replicas: 1,
        service_account: name,
        token: false,
        priority_class: None,
        grace_seconds: 5,
        container: Container {
            name: role.to_owned(),
            image: Some(SANDBOX_IMAGE.to_owned()),
            command: Some(vec!["/cloister-sandbox".to_owned()]),
            args: Some(args),
            ports: Some(
                ports
                    .iter()
                    .map(|&(name, number)| container_port(name, number))
                    .collect(),
            ),
            readiness_probe: ports.first().map(|&(name, _)| tcp_probe(name)),
            resources: Some(resources(("5m", "8Mi"), ("100m", "32Mi"))),
            ..Container::default()
        },
    }
}

fn tcp_probe(port_name: &str) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::String(port_name.to_owned()),
            host: None,
        }),
        period_seconds: Some(5),
        ..Probe::default()
    }
}
