//! Who may do what, as data: the RBAC of the operator and of a tenant's members.
//!
//! In: nothing. Out: [`Rule`]s with their reason, rendered by `render/roles.rs` into the
//! install manifests. Least privilege: a rule that nothing uses is a fault, and so is one
//! that is broader than its reason.

mod drills;
mod members;

use crds::well_known::{ADMIN_ROLE, DISPATCH, GROUP, OWNER_ROLE, USER_ROLE};

pub use self::members::{admin, owner, user};
use crate::lease;

/// One right, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// API group; empty is the core group.
    pub group: &'static str,
    /// Resources and subresources.
    pub resources: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// Only objects of these names; empty is all of them.
    pub names: &'static [&'static str],
    /// What it is for.
    pub why: &'static str,
}

const RBAC: &str = "rbac.authorization.k8s.io";

const READ: &[&str] = &["get", "list", "watch"];

/// What it takes to know of everything there is. No `get`: what is known, the watch brought.
const FOLLOW: &[&str] = &["list", "watch"];

/// What it takes to make a child, see it and repair it. No `update`: the operator writes by
/// server-side apply, which is `patch`.
const KEEP: &[&str] = &["list", "watch", "create", "patch"];

/// And to take it away. No `deletecollection`: it deletes by UID.
const KEEP_AND_REMOVE: &[&str] = &["list", "watch", "create", "patch", "delete"];

/// What the operator may do in the whole cluster.
pub fn operator() -> Vec<Rule> {
    [
        tenants(),
        children(),
        binding(),
        placement(),
        executions(),
        workers(),
        drills::rules(),
    ]
    .concat()
}

fn tenants() -> Vec<Rule> {
    vec![
        Rule {
            group: GROUP,
            resources: &["tenants"],
            verbs: READ,
            names: &[],
            why: "to know what is asked for; and a member can be granted no more than the granter has",
        },
        Rule {
            group: GROUP,
            resources: &["tenants"],
            verbs: &["patch", "update"],
            names: &[],
            why: "patch: its own finalizer. Both: RBAC lets nobody grant what they do not hold, and \
                  the operator grants them to Owners and Admins of one Tenant each. The admission \
                  policy cloister-tenants keeps the operator itself from changing a spec",
        },
        Rule {
            group: GROUP,
            resources: &["tenants/status"],
            verbs: &["patch"],
            names: &[],
            why: "to answer",
        },
    ]
}

fn children() -> Vec<Rule> {
    vec![
        Rule {
            group: "",
            resources: &["namespaces", "resourcequotas"],
            verbs: KEEP_AND_REMOVE,
            names: &[],
            why: "children of a Tenant; a quota whose scopes somebody set is made anew, and so is one of \
                  Cloister's own until Kubernetes counts its kinds",
        },
        Rule {
            group: "",
            resources: &["limitranges", "serviceaccounts"],
            verbs: KEEP,
            names: &[],
            why: "children of a Tenant, which go with its namespace",
        },
        Rule {
            group: "networking.k8s.io",
            resources: &["networkpolicies"],
            verbs: KEEP_AND_REMOVE,
            names: &[],
            why: "children of a Tenant, of its Workers, and of its Integrations that ask for egress; \
                  those of others are read, to name the ones that widen access",
        },
        Rule {
            group: "",
            resources: &["pods"],
            verbs: KEEP_AND_REMOVE,
            names: &[],
            why: "probes and sandboxes come and go; pods of a tenant are watched for residency and \
                  deleted at teardown; patch only takes a foreign finalizer off a pod that would \
                  hold up teardown",
        },
    ]
}

fn binding() -> Vec<Rule> {
    vec![
        Rule {
            group: RBAC,
            resources: &["rolebindings"],
            verbs: KEEP_AND_REMOVE,
            names: &[],
            why: "members get their role in the tenant's namespace; bindings of others are named",
        },
        Rule {
            group: RBAC,
            resources: &["clusterroles", "clusterrolebindings"],
            verbs: KEEP_AND_REMOVE,
            names: &[],
            why: "access to the Tenant object itself, which is cluster-scoped: a ClusterRole with \
                  its name, per Tenant. No escalate: the operator holds every verb that it grants",
        },
        Rule {
            group: RBAC,
            resources: &["clusterroles"],
            verbs: &["bind"],
            names: &[OWNER_ROLE, ADMIN_ROLE, USER_ROLE],
            why: "to give members rights that the operator itself has no need of",
        },
    ]
}

fn placement() -> Vec<Rule> {
    vec![
        Rule {
            group: "",
            resources: &["nodes"],
            verbs: FOLLOW,
            names: &[],
            why: "zones and regions; a probe per node; node addresses, which no policy may open",
        },
        Rule {
            group: "node.k8s.io",
            resources: &["runtimeclasses"],
            verbs: FOLLOW,
            names: &[],
            why: "whether gVisor is to be had",
        },
        Rule {
            group: "storage.k8s.io",
            resources: &["storageclasses"],
            verbs: FOLLOW,
            names: &[],
            why: "whether a Worker's volumes can be made, and only where a replica can go",
        },
        Rule {
            group: "",
            resources: &["persistentvolumes"],
            verbs: FOLLOW,
            names: &[],
            why: "where the volumes of a tenant's claims lie: residency",
        },
        Rule {
            group: "events.k8s.io",
            resources: &["events"],
            verbs: &["create", "patch"],
            names: &[],
            why: "what happened, where a person looks first; of a Tenant, in namespace default",
        },
    ]
}

fn executions() -> Vec<Rule> {
    vec![
        Rule {
            group: GROUP,
            resources: &["integrations"],
            verbs: FOLLOW,
            names: &[],
            why: "to know what runs, how, how much of it at once, and what it may reach",
        },
        Rule {
            group: GROUP,
            resources: &["executions"],
            // No patch: what is asked for is theirs who ask.
            verbs: &["list", "watch", "create", "delete"],
            names: &[],
            why: "to know what is to run; to create what an Integration's schedule has due, and \
                  nothing else (admission policy cloister-operator); finished ones go by its ttl \
                  and history",
        },
        Rule {
            group: GROUP,
            resources: &["integrations/status", "executions/status"],
            verbs: &["patch"],
            names: &[],
            why: "to answer",
        },
        Rule {
            group: "authentication.k8s.io",
            resources: &["tokenreviews"],
            verbs: &["create"],
            names: &[],
            why: "whether who dials is the sandbox that it says it is, by its token and the UID of \
                  its pod",
        },
    ]
}

fn workers() -> Vec<Rule> {
    vec![
        Rule {
            group: GROUP,
            resources: &["workers"],
            verbs: FOLLOW,
            names: &[],
            why: "to know what is to run all the time, and what it may reach",
        },
        Rule {
            group: GROUP,
            resources: &["workers/status"],
            verbs: &["patch"],
            names: &[],
            why: "to answer",
        },
        Rule {
            group: "apps",
            resources: &["deployments", "statefulsets"],
            verbs: KEEP,
            names: &[],
            why: "a Worker's pods, which go with it, and with volumes its claims; the admission \
                  policy cloister-operator asks for the Worker and what may be in them",
        },
        Rule {
            group: "policy",
            resources: &["poddisruptionbudgets"],
            verbs: KEEP,
            names: &[],
            why: "how many of a Worker a drain must leave",
        },
    ]
}

/// What the operator may do in its own namespace.
pub fn operator_in_system() -> Vec<Rule> {
    [leading(), dispatching()].concat()
}

fn leading() -> Vec<Rule> {
    vec![
        Rule {
            group: "coordination.k8s.io",
            resources: &["leases"],
            verbs: &["create"],
            names: &[],
            why: "the first replica ever; a name cannot be asked for at creation",
        },
        Rule {
            group: "coordination.k8s.io",
            resources: &["leases"],
            verbs: &["get", "update"],
            names: &[lease::NAME],
            why: "one leader",
        },
        endpoints(
            "addresses of the canary, the positive control of every probe; and whether sandboxes \
             still find the leader",
        ),
    ]
}

/// What sandboxes dial, and by which certificate they know it.
fn dispatching() -> Vec<Rule> {
    vec![
        Rule {
            group: "",
            resources: &["secrets"],
            verbs: &["create"],
            names: &[],
            why: "the authority of the dispatch certificate, made by the first leader ever. A name \
                  cannot be asked for at creation; the admission policy cloister-operator does",
        },
        Rule {
            group: "",
            resources: &["secrets"],
            // Not patch: what is in it is random, and of two writers one has to be told no.
            verbs: &["get", "update"],
            names: &[DISPATCH],
            why: "the same authority for the next leader, so that sandboxes know it again; and \
                  another one once it is old",
        },
        Rule {
            group: "discovery.k8s.io",
            resources: &["endpointslices"],
            verbs: &["create"],
            names: &[],
            why: "the address of the leader, the first time; the admission policy cloister-operator \
                  asks for the name",
        },
        Rule {
            group: "discovery.k8s.io",
            resources: &["endpointslices"],
            verbs: &["patch"],
            names: &[DISPATCH],
            why: "the leader alone is dialled: each one puts its own address there",
        },
    ]
}

/// What the operator may do in namespace `default`.
pub fn operator_in_default() -> Vec<Rule> {
    vec![endpoints(
        "addresses of the API server, which probes must find shut",
    )]
}

/// What the operator may do in the decoy's namespace.
pub fn operator_in_decoy() -> Vec<Rule> {
    vec![endpoints(
        "addresses of the decoy, which probes must find shut",
    )]
}

fn endpoints(why: &'static str) -> Rule {
    Rule {
        group: "discovery.k8s.io",
        resources: &["endpointslices"],
        verbs: FOLLOW,
        names: &[],
        why,
    }
}
