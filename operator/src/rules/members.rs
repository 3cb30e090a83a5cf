//! What a tenant's members may do in its namespace, by role, each what the one below may and more.

use crds::well_known::{GROUP, OWN_VERB};

use super::{RBAC, READ, Rule};

/// What members run, and each time it does.
const RUNS: &[&str] = &["drills", "executions", "integrations", "workers"];

/// What a tenant's Users may do in its namespace: look. No Secret, no config map (they hold
/// secrets often enough), and nothing that runs or reaches into a pod.
pub fn user() -> Vec<Rule> {
    [looking(), made_of_workers()].concat()
}

fn looking() -> Vec<Rule> {
    vec![
        Rule {
            group: "",
            resources: &[
                "events",
                "limitranges",
                "pods",
                "resourcequotas",
                "serviceaccounts",
                "services",
            ],
            verbs: READ,
            names: &[],
            why: "to see what runs, and what it may use",
        },
        Rule {
            group: "",
            resources: &["pods/log"],
            verbs: &["get"],
            names: &[],
            why: "to see what it says",
        },
        Rule {
            group: "events.k8s.io",
            resources: &["events"],
            verbs: READ,
            names: &[],
            why: "the same events by their newer group",
        },
        Rule {
            group: "networking.k8s.io",
            resources: &["networkpolicies"],
            verbs: READ,
            names: &[],
            why: "to see the boundary",
        },
        Rule {
            group: GROUP,
            resources: RUNS,
            verbs: READ,
            names: &[],
            why: "to see what can run, what did, and what came of it",
        },
        Rule {
            group: RBAC,
            resources: &["rolebindings", "roles"],
            verbs: READ,
            names: &[],
            why: "to see who else has access",
        },
    ]
}

fn made_of_workers() -> Vec<Rule> {
    vec![
        Rule {
            group: "apps",
            resources: &["deployments", "replicasets", "statefulsets"],
            verbs: READ,
            names: &[],
            why: "to see what a Worker is made of, and how a new version comes up",
        },
        Rule {
            group: "",
            resources: &["persistentvolumeclaims"],
            verbs: READ,
            names: &[],
            why: "to see what the replicas of a Worker keep, and what counts against the quota",
        },
        Rule {
            group: "autoscaling",
            resources: &["horizontalpodautoscalers"],
            verbs: READ,
            names: &[],
            why: "to see what scales a Worker",
        },
        Rule {
            group: "policy",
            resources: &["poddisruptionbudgets"],
            verbs: READ,
            names: &[],
            why: "to see how many of a Worker may go",
        },
    ]
}

/// What Admins may do in the namespace besides.
pub fn admin() -> Vec<Rule> {
    let mut rules = user();
    rules.push(Rule {
        group: "",
        resources: &["secrets"],
        // Nothing but create. get, list and watch read a Secret; update, patch, delete and
        // deletecollection answer with the object, so they read it too.
        verbs: &["create"],
        names: &[],
        why: "to hand a credential in, and never to get one out",
    });
    rules.push(Rule {
        group: GROUP,
        resources: RUNS,
        // No status: what came of a run, the operator alone says.
        verbs: &["create", "update", "patch", "delete"],
        names: &[],
        why: "to say what can run, to run it, and to end it: of an Execution, only `cancel` ever \
              changes, by a rule of its CRD",
    });
    rules.push(Rule {
        group: GROUP,
        resources: &["workers/scale"],
        verbs: &["get", "update", "patch"],
        names: &[],
        why: "to have more or fewer of a Worker, as by kubectl scale",
    });
    rules.push(Rule {
        group: "autoscaling",
        resources: &["horizontalpodautoscalers"],
        // No status: that is its controller's.
        verbs: &["create", "update", "patch", "delete"],
        names: &[],
        why: "to have a Worker scaled: one can scale nothing that an Admin cannot, for of all that \
              is in the namespace nobody but the operator writes what makes a Worker's pods",
    });
    rules.push(Rule {
        group: "",
        resources: &["persistentvolumeclaims"],
        verbs: &["delete"],
        names: &[],
        why: "to give back what a Worker keeps that was scaled down; one in use stays until its pod \
              goes",
    });
    rules
}

/// What Owners may do in the namespace besides.
pub fn owner() -> Vec<Rule> {
    let mut rules = admin();
    rules.push(Rule {
        group: GROUP,
        resources: &["tenants"],
        // No verb of the API: the admission policy cloister-tenants asks for it, with the
        // tenant's namespace, before it lets anyone change who the Owners are.
        verbs: &[OWN_VERB],
        names: &[],
        why: "to add, change and remove Owners",
    });
    rules
}
