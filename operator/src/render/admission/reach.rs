//! Policies on what could reach into a tenant's namespace, or speak in its name: Services
//! and service account tokens.
//!
//! In: names. Out: three policies.

use crds::well_known::{DISPATCH_AUDIENCE, SANDBOX_SERVICE_ACCOUNT};

use super::{Policy, Scope, condition, must, rule};

/// Nothing of a tenant is reachable from outside the cluster.
pub fn services() -> Policy {
    Policy {
        name: "cloister-services",
        description: "No Service in a tenant's namespace is reachable from outside the cluster or \
                      stands for a name outside it.",
        rules: vec![rule("", "v1", &["services"], &["CREATE", "UPDATE"])],
        scope: Scope::TenantNamespaces,
        conditions: vec![condition(
            "spec-is-new-or-changed",
            "request.operation == 'CREATE' || object.spec != oldObject.spec",
        )],
        variables: vec![],
        validations: vec![
            must(
                "object.spec.?type.orValue('ClusterIP') == 'ClusterIP'",
                "spec.type: must be ClusterIP; NodePort and LoadBalancer would open the tenant to \
                 the outside, and ExternalName would lead out of it",
            ),
            must(
                "object.spec.?externalIPs.orValue([]).size() == 0",
                "spec.externalIPs: must be empty, because they would draw traffic of others into \
                 the tenant",
            ),
        ],
    }
}

/// Nobody speaks as a tenant's service account, but a sandbox to the operator. The kubelet
/// asks for that token, and the API server lets it ask for its own pods only.
pub fn tokens() -> Policy {
    Policy {
        name: "cloister-tokens",
        description: "No token of a service account in a tenant's namespace, but the one that a \
                      node asks for on behalf of a sandbox that dials the operator.",
        rules: vec![rule("", "v1", &["serviceaccounts/token"], &["CREATE"])],
        scope: Scope::TenantNamespaces,
        conditions: vec![],
        variables: vec![],
        validations: vec![must(
            &format!(
                "
                'system:nodes' in request.?userInfo.?groups.orValue([]) &&
                object.spec.audiences == ['{DISPATCH_AUDIENCE}'] &&
                object.spec.?boundObjectRef.?kind.orValue('') == 'Pod'"
            ),
            &format!(
                "no token is issued for a service account of a tenant, except to nodes, for a pod, \
                 with the audience {DISPATCH_AUDIENCE}; {SANDBOX_SERVICE_ACCOUNT} has no rights to \
                 use one for. For automation, make a ServiceAccount in a namespace of your own and \
                 name it in spec.members of the Tenant"
            ),
        )],
    }
}

/// The other way to a token: a Secret of this type is filled with one that never ends.
pub fn token_secrets() -> Policy {
    Policy {
        name: "cloister-token-secrets",
        description: "No Secret in a tenant's namespace asks for a token of a service account.",
        rules: vec![rule("", "v1", &["secrets"], &["CREATE"])],
        scope: Scope::TenantNamespaces,
        conditions: vec![],
        variables: vec![],
        validations: vec![must(
            "object.?type.orValue('Opaque') != 'kubernetes.io/service-account-token'",
            "type: kubernetes.io/service-account-token is refused, because it would be filled with \
             a token that never expires; use another type",
        )],
    }
}
