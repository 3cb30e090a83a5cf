//! Names of everything that Cloister makes, typed, so that no two rooms spell one twice.
//!
//! Lengths need no check at run time: a Tenant's name has at most 40 characters (a rule of
//! its CRD), and the longest prefix here leaves room below every limit of Kubernetes.

use crds::well_known::NAMESPACE_PREFIX;

/// Longest name of a Tenant; the CRD refuses longer ones.
pub const MAX_TENANT_NAME: usize = 40;

// A namespace's name is a DNS label (RFC 1123): at most 63 characters.
const _: () = assert!(NAMESPACE_PREFIX.len() + MAX_TENANT_NAME <= 63);

/// Denies everything, in both directions, to every pod of the namespace.
pub const DENY_ALL: &str = "cloister-deny-all";
/// Allows the cluster's DNS, and no other.
pub const ALLOW_DNS: &str = "cloister-allow-dns";
/// Allows Cloister's canary, on the permitted port: the positive control of every proof.
pub const ALLOW_CANARY: &str = "cloister-allow-canary";
/// Lets sandboxes, and no other pod, dial the operator.
pub const ALLOW_DISPATCH: &str = "cloister-allow-dispatch";
/// Every policy that a tenant has of its own, whatever runs in it.
pub const POLICIES: [&str; 4] = [DENY_ALL, ALLOW_DNS, ALLOW_CANARY, ALLOW_DISPATCH];
/// Prefix of the policies that open an Integration's egress.
pub const EGRESS_PREFIX: &str = "cloister-egress-";
/// Prefix of the policies of Workers.
pub const WORKER_POLICY_PREFIX: &str = "cloister-worker-";
/// Prefix of what else a Worker is made of: its Deployment, and so its pods, and its budget.
pub const WORKER_PREFIX: &str = "worker-";
/// Quota of everything but pods, and limit range.
pub const LIMITS: &str = "cloister-limits";
/// Quota of pods.
pub const POD_LIMITS: &str = "cloister-pod-limits";
/// Priority class of probes, which no quota of a tenant counts.
pub const PROBE_PRIORITY: &str = "cloister-probe";
/// Prefix of probe pods.
pub const PROBE_PREFIX: &str = "cloister-probe-";
/// Prefix of sandboxes: the pods of Executions.
pub const SANDBOX_PREFIX: &str = "cloister-run-";

/// Namespace of a tenant.
pub fn namespace(tenant: &str) -> String {
    format!("{NAMESPACE_PREFIX}{tenant}")
}

/// Name of the tenant whose namespace this would be.
pub fn tenant_of_namespace(namespace: &str) -> Option<&str> {
    namespace
        .strip_prefix(NAMESPACE_PREFIX)
        .filter(|tenant| !tenant.is_empty())
}

/// `ClusterRole` and binding that let members see their own Tenant.
pub fn view_role(tenant: &str) -> String {
    format!("cloister:tenant:{tenant}:view")
}

/// `ClusterRole` and binding that let Owners and Admins change their own Tenant.
pub fn manage_role(tenant: &str) -> String {
    format!("cloister:tenant:{tenant}:manage")
}

/// Name of the tenant whose cluster role this would be.
pub fn tenant_of_cluster_role(name: &str) -> Option<&str> {
    let (tenant, kind) = name.strip_prefix("cloister:tenant:")?.rsplit_once(':')?;
    matches!(kind, "view" | "manage").then_some(tenant)
}

/// Name of a probe pod. The same tenant, node and instant give the same name, so that a
/// second attempt after a crash finds the first one's pod instead of making another.
pub fn probe(tenant_uid: &str, node: &str, slot: i64) -> String {
    let tag = crds::digest::of(&(tenant_uid, node, slot));
    format!("{PROBE_PREFIX}{}", &tag[..12])
}

/// Name of an Execution that a schedule creates. The same Integration and time, in seconds since
/// 1970, give the same name: a second attempt after a crash meets the first one's.
pub fn scheduled(integration: &str, integration_uid: &str, second: i64) -> String {
    let tag = crds::digest::of(&(integration_uid, second));
    format!("{integration}-{}", &tag[..12])
}

/// Name of the policy of an Integration. Another Integration of the same name has another one,
/// so that the old one may still be on its way out.
pub fn egress(integration: &str, integration_uid: &str) -> String {
    let tag = crds::digest::of(&integration_uid);
    format!("{EGRESS_PREFIX}{integration}-{}", &tag[..8])
}

/// Name of the policy of a Worker, another one for another Worker of the same name.
pub fn worker_egress(worker: &str, worker_uid: &str) -> String {
    let tag = crds::digest::of(&worker_uid);
    format!("{WORKER_POLICY_PREFIX}{worker}-{}", &tag[..8])
}

/// Name of the Deployment of a Worker, and of its budget.
pub fn worker(worker: &str) -> String {
    format!("{WORKER_PREFIX}{worker}")
}

/// Name of a sandbox. The same Integration and tag give the same name.
pub fn sandbox(integration_uid: &str, tag: &str) -> String {
    let tag = crds::digest::of(&(integration_uid, tag));
    format!("{SANDBOX_PREFIX}{}", &tag[..16])
}
