//! The tenant's network: nothing in, nothing out, but the cluster's DNS and the canary.
//!
//! Network policies only ever add up: what one of them denies, another may open. So the
//! first denies everything to every pod, and each further one opens one thing.

use crds::well_known::{CANARY, CANARY_PERMITTED_PORT, COMPONENT_LABEL, SYSTEM_NAMESPACE};
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort,
        NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use crate::{meta::Owner, names};

/// All policies of a tenant, the one that denies first.
pub fn all(owner: &Owner, namespace: &str) -> Vec<NetworkPolicy> {
    vec![
        deny_all(owner, namespace),
        allow_dns(owner, namespace),
        allow_canary(owner, namespace),
    ]
}

/// Selects every pod and opens nothing, in either direction.
fn deny_all(owner: &Owner, namespace: &str) -> NetworkPolicy {
    let types = vec!["Ingress".to_owned(), "Egress".to_owned()];
    policy(owner, namespace, names::DENY_ALL, types, None)
}

/// The pods of the cluster's DNS alone: a pod that may ask any server on port 53 has a
/// way out for data.
fn allow_dns(owner: &Owner, namespace: &str) -> NetworkPolicy {
    let ports = [("UDP", 53), ("TCP", 53)];
    let rule = to_pods("kube-system", ("k8s-app", "kube-dns"), &ports);
    policy(owner, namespace, names::ALLOW_DNS, egress(), Some(rule))
}

/// The one port that proves the network alive.
fn allow_canary(owner: &Owner, namespace: &str) -> NetworkPolicy {
    let ports = [("TCP", CANARY_PERMITTED_PORT)];
    let rule = to_pods(SYSTEM_NAMESPACE, (COMPONENT_LABEL, CANARY), &ports);
    policy(owner, namespace, names::ALLOW_CANARY, egress(), Some(rule))
}

fn egress() -> Vec<String> {
    vec!["Egress".to_owned()]
}

fn policy(
    owner: &Owner,
    namespace: &str,
    name: &str,
    types: Vec<String>,
    rule: Option<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: owner.child(Some(namespace), name),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(types),
            ingress: None,
            egress: rule.map(|rule| vec![rule]),
        }),
    }
}

fn to_pods(
    namespace: &str,
    (label, value): (&str, &str),
    ports: &[(&str, u16)],
) -> NetworkPolicyEgressRule {
    let labelled = |key: &str, value: &str| LabelSelector {
        match_labels: Some([(key.to_owned(), value.to_owned())].into()),
        match_expressions: None,
    };
    NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            namespace_selector: Some(labelled("kubernetes.io/metadata.name", namespace)),
            pod_selector: Some(labelled(label, value)),
            ip_block: None,
        }]),
        ports: Some(
            ports
                .iter()
                .map(|(protocol, port)| NetworkPolicyPort {
                    protocol: Some((*protocol).to_owned()),
                    port: Some(IntOrString::Int(i32::from(*port))),
                    end_port: None,
                })
                .collect(),
        ),
    }
}
