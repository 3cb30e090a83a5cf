//! The tenant's network: nothing in, nothing out, but the cluster's DNS, the canary, and what
//! sandboxes dial.
//!
//! Network policies only ever add up: what one of them denies, another may open. So the
//! first denies everything to every pod, and each further one opens one thing.

use crds::well_known::{
    CANARY, CANARY_PERMITTED_PORT, COMPONENT_LABEL, DISPATCH_PORT, OPERATOR, ROLE_LABEL,
    ROLE_SANDBOX, SYSTEM_NAMESPACE,
};
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort,
        NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use crate::{meta::Owner, names};

/// All policies of a tenant, the one that denies first.
pub fn all(owner: &Owner, namespace: &str) -> Vec<NetworkPolicy> {
    let child = |name| owner.child(Some(namespace), name);
    vec![
        deny_all(child(names::DENY_ALL)),
        allow_dns(child(names::ALLOW_DNS)),
        allow_canary(child(names::ALLOW_CANARY)),
        allow_dispatch(child(names::ALLOW_DISPATCH)),
    ]
}

/// Selects every pod and opens nothing, in either direction.
fn deny_all(metadata: ObjectMeta) -> NetworkPolicy {
    policy(metadata, LabelSelector::default(), &["Ingress", "Egress"])
}

/// The pods of the cluster's DNS alone: a pod that may ask any server on port 53 has a
/// way out for data.
fn allow_dns(metadata: ObjectMeta) -> NetworkPolicy {
    let ports = [("UDP", 53), ("TCP", 53)];
    let rule = to_pods("kube-system", ("k8s-app", "kube-dns"), &ports);
    opening(metadata, LabelSelector::default(), rule)
}

/// The one port that proves the network alive.
fn allow_canary(metadata: ObjectMeta) -> NetworkPolicy {
    let ports = [("TCP", CANARY_PERMITTED_PORT)];
    let rule = to_pods(SYSTEM_NAMESPACE, (COMPONENT_LABEL, CANARY), &ports);
    opening(metadata, LabelSelector::default(), rule)
}

/// What sandboxes dial. No other pod has a use for it, and none can call itself a sandbox:
/// admission keeps that label for the operator.
fn allow_dispatch(metadata: ObjectMeta) -> NetworkPolicy {
    let ports = [("TCP", DISPATCH_PORT)];
    let rule = to_pods(SYSTEM_NAMESPACE, (COMPONENT_LABEL, OPERATOR), &ports);
    opening(metadata, labelled(ROLE_LABEL, ROLE_SANDBOX), rule)
}

fn opening(
    metadata: ObjectMeta,
    pods: LabelSelector,
    rule: NetworkPolicyEgressRule,
) -> NetworkPolicy {
    let mut policy = policy(metadata, pods, &["Egress"]);
    policy.spec.get_or_insert_default().egress = Some(vec![rule]);
    policy
}

fn policy(metadata: ObjectMeta, pods: LabelSelector, types: &[&str]) -> NetworkPolicy {
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(
                types
                    .iter()
                    .map(|&direction| direction.to_owned())
                    .collect(),
            ),
            ingress: None,
            egress: None,
        }),
    }
}

fn labelled(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some([(key.to_owned(), value.to_owned())].into()),
        match_expressions: None,
    }
}

fn to_pods(
    namespace: &str,
    (label, value): (&str, &str),
    ports: &[(&str, u16)],
) -> NetworkPolicyEgressRule {
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
