//! [`ValidTenant`] → every child, complete, and what to do about probing. Pure and total.

pub mod access;
pub mod egress;
pub mod limits;
pub mod namespace;
pub mod network_policy;

use k8s_openapi::api::{
    core::v1::{LimitRange, Namespace, Pod, ResourceQuota, ServiceAccount},
    networking::v1::NetworkPolicy,
    rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
};

use super::{ValidTenant, isolation};
use crate::world::facts::Uid;

/// Everything a tenant has, as it must be.
#[derive(Clone, Debug)]
pub struct Desired {
    /// First, because the rest lives in it.
    pub namespace: Namespace,
    /// It is to say something else of a Drill than it does, which is no repair.
    pub drilled: bool,
    /// Deny everything, then open what every tenant needs.
    pub policies: Vec<NetworkPolicy>,
    /// Of Integrations: each opens something to its sandboxes alone.
    pub openings: Vec<egress::Opened>,
    /// Policies of Integrations that open what is not, or no more, to be open.
    pub withdrawn: Vec<(String, Uid)>,
    /// Of the whole namespace: of its pods, and of all else.
    pub quotas: [ResourceQuota; 2],
    /// Of each container that says nothing.
    pub limit_range: LimitRange,
    /// Of every pod.
    pub service_account: ServiceAccount,
    /// Members' rights in the namespace.
    pub bindings: Vec<RoleBinding>,
    /// Rights on the Tenant itself.
    pub roles: Vec<ClusterRole>,
    /// Who has them.
    pub role_bindings: Vec<ClusterRoleBinding>,
    /// A probe to send.
    pub probe: Option<Pod>,
    /// Probes whose answer has been noted, or that came too late.
    pub retired: Vec<(String, Uid)>,
}

/// Plans.
pub fn desired(valid: &ValidTenant) -> Desired {
    let owner = &valid.owner;
    let boundary = Boundary::of(valid);
    let (probe, retired) = isolation::probes(valid, &boundary);
    let openings = egress::openings(valid);
    Desired {
        withdrawn: egress::withdrawn(&valid.around, &openings),
        openings,
        drilled: valid.around.loss() != valid.loss,
        namespace: boundary.namespace,
        policies: boundary.policies,
        quotas: limits::resource_quotas(owner, &valid.namespace, valid.quota),
        limit_range: limits::limit_range(owner, &valid.namespace),
        service_account: access::service_account(owner, &valid.namespace),
        bindings: access::role_bindings(owner, &valid.namespace, &valid.members, valid.state),
        roles: access::cluster_roles(owner, valid.state),
        role_bindings: access::cluster_role_bindings(owner, &valid.members, valid.state),
        probe,
        retired,
    }
}

/// The part that isolates, which a proof is about.
#[derive(Clone, Debug)]
pub struct Boundary {
    /// Its labels pin the pod security standard, and bind the admission policies.
    pub namespace: Namespace,
    /// Its network policies.
    pub policies: Vec<NetworkPolicy>,
}

impl Boundary {
    /// The boundary of a tenant, as it must be.
    pub fn of(valid: &ValidTenant) -> Self {
        let state = valid.state.as_str();
        Self {
            namespace: namespace::namespace(
                &valid.owner,
                state,
                valid.runtime,
                valid.residency.as_ref(),
                &valid.loss,
            ),
            policies: network_policy::all(&valid.owner, &valid.namespace),
        }
    }
}
