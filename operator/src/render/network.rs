//! Network policies of Cloister's own namespace. The decoy's has none, on purpose.
//!
//! In: ports. Out: network policies: nothing in or out, but for what is named here. Called
//! by `render.rs`.

use crds::well_known::{
    CANARY, CANARY_FORBIDDEN_PORT, CANARY_PERMITTED_PORT, DISPATCH_PORT, OPERATOR, ROLE_LABEL,
    ROLE_SANDBOX, SYSTEM_NAMESPACE, TENANT_LABEL,
};
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use super::{
    meta::{self, texts},
    operator::ADMIN_PORT,
};

/// Every policy of `cloister-system`.
pub fn network_policies() -> Vec<NetworkPolicy> {
    vec![deny_all(), operator_policy(), canary_policy()]
}

fn deny_all() -> NetworkPolicy {
    policy(
        "deny-all",
        NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(texts(&["Ingress", "Egress"])),
            ..NetworkPolicySpec::default()
        },
    )
}

fn operator_policy() -> NetworkPolicy {
    // Any pod may scrape metrics. The kubelet's probes come from the node, which a
    // network policy does not stop.
    let metrics = NetworkPolicyIngressRule {
        from: Some(vec![any_pod()]),
        ports: Some(vec![port("TCP", ADMIN_PORT)]),
    };
    let dispatch = NetworkPolicyIngressRule {
        from: Some(vec![any_sandbox()]),
        ports: Some(vec![port("TCP", DISPATCH_PORT)]),
    };
    let egress = [
        // The API server. Its addresses differ from cluster to cluster and no selector
        // finds them, so any address; 443 is its Service's port, 6443 its own.
        (None, vec![port("TCP", 443), port("TCP", 6443)]),
        // The cluster's DNS, wherever it runs (a pod, or a cache on the node).
        (None, vec![port("UDP", 53), port("TCP", 53)]),
        // Traces over OTLP/HTTP, to a collector in the cluster.
        (Some(vec![any_pod()]), vec![port("TCP", 4318)]),
    ];
    policy(
        OPERATOR,
        NetworkPolicySpec {
            pod_selector: Some(meta::selector(OPERATOR)),
            policy_types: Some(texts(&["Ingress", "Egress"])),
            ingress: Some(vec![metrics, dispatch]),
            egress: Some(
                egress
                    .map(|(to, ports)| NetworkPolicyEgressRule {
                        to,
                        ports: Some(ports),
                    })
                    .into(),
            ),
        },
    )
}

/// Both ports are open to everyone: what keeps a tenant away from the forbidden one must be
/// the tenant's own policy, or the probe would prove the wrong thing.
fn canary_policy() -> NetworkPolicy {
    policy(
        CANARY,
        NetworkPolicySpec {
            pod_selector: Some(meta::selector(CANARY)),
            policy_types: Some(texts(&["Ingress"])),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: None,
                ports: Some(vec![
                    port("TCP", CANARY_PERMITTED_PORT),
                    port("TCP", CANARY_FORBIDDEN_PORT),
                ]),
            }]),
            egress: None,
        },
    )
}

fn policy(name: &str, spec: NetworkPolicySpec) -> NetworkPolicy {
    NetworkPolicy {
        metadata: meta::namespaced(SYSTEM_NAMESPACE, name),
        spec: Some(spec),
    }
}

fn any_pod() -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    }
}

/// Pods of tenants that the operator has made to run something: nobody else may put that label
/// on a pod there.
fn any_sandbox() -> NetworkPolicyPeer {
    let tenants = LabelSelectorRequirement {
        key: TENANT_LABEL.to_owned(),
        operator: "Exists".to_owned(),
        values: None,
    };
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_expressions: Some(vec![tenants]),
            ..LabelSelector::default()
        }),
        pod_selector: Some(LabelSelector {
            match_labels: Some([(ROLE_LABEL.to_owned(), ROLE_SANDBOX.to_owned())].into()),
            ..LabelSelector::default()
        }),
        ip_block: None,
    }
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number.into())),
        end_port: None,
    }
}
