//! Tenant + Inputs → [`ValidTenant`], or the one reason why not. Pure.
//!
//! Admission has refused most of what is wrong; here it is refused again, because rules
//! can be missing from a cluster, and what admission cannot know is judged: the nodes,
//! their addresses, and who owns the namespace.

use std::{collections::BTreeMap, sync::Arc};

use crds::{
    Tenant,
    scalar::{Amount, Cidr},
    tenant::{
        EgressRule, Isolation, IsolationStatus, Limits, Member, Residency, Role, Runtime, State,
    },
    well_known::GVISOR_RUNTIME_CLASS,
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{drill, gather::Inputs};
use crate::{
    egress::{self, Holder, Opening},
    error::Error,
    meta::Owner,
    names,
    probe::{Confinement, ProbeSettings},
    world::{
        Surroundings,
        facts::{ChildKind, Cluster, LiveNode, Loss, Uid},
    },
};

/// A Tenant of which every rule holds, with the moment it is looked at.
#[derive(Clone, Debug)]
pub struct ValidTenant {
    /// Whose all this is.
    pub owner: Owner,
    /// The tenant's namespace.
    pub namespace: String,
    /// By role, each subject once.
    pub members: Vec<Member>,
    /// Whether anything new may start.
    pub state: State,
    /// Kernel boundary.
    pub runtime: Runtime,
    /// Where pods may run; nothing means anywhere.
    pub residency: Option<Residency>,
    /// What a Drill takes from the tenant.
    pub loss: Loss,
    /// What the tenant may have at once.
    pub quota: Quota,
    /// Nodes that a pod of the tenant may run on now.
    pub nodes: BTreeMap<String, LiveNode>,
    /// Residency names that no node carries.
    pub nowhere: Vec<String>,
    /// What of the spec the cluster cannot hold with, field and remedy.
    pub fault: Option<String>,
    /// What the Integrations and Workers of the namespace may reach.
    pub openings: Vec<Granted>,
    /// What is in and about the namespace.
    pub around: Arc<Surroundings>,
    /// What every tenant shares.
    pub cluster: Arc<Cluster>,
    /// What is known of the isolation so far.
    pub isolation: Option<IsolationStatus>,
    /// How probes are to be run.
    pub probing: ProbeSettings,
    /// As many probes as may run at once do.
    pub crowded: bool,
    /// Why the API server would not have the probe of this pass.
    pub refused: Option<String>,
    /// Now.
    pub now: Timestamp,
}

impl ValidTenant {
    /// How the tenant's pods are confined.
    pub const fn confinement(&self) -> Confinement {
        Confinement {
            runtime: self.runtime,
            user_namespace: self.probing.user_namespaces,
        }
    }
}

/// What one Integration or Worker asks for, and its tenant allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Its kind.
    pub holder: Holder,
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: Uid,
    /// Its whole list.
    pub list: Vec<Opening>,
}

/// Limits that have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Pods.
    pub pods: u32,
    /// Execution objects.
    pub executions: u32,
    /// Cores.
    pub cpu: Amount,
    /// Bytes.
    pub memory: Amount,
    /// Bytes.
    pub storage: Amount,
}

/// Judges.
///
/// # Errors
/// [`Error::NamespaceTaken`], or [`Error::Invalid`] naming the field and the remedy.
pub fn validate(object: &Tenant, inputs: Inputs) -> Result<ValidTenant, Error> {
    let owner = Owner {
        tenant: object.name_any(),
        uid: Uid::of(&object.metadata),
    };
    let namespace = names::namespace(&owner.tenant);
    let spec = &object.spec;
    let Inputs {
        around,
        cluster,
        isolation,
        probing,
        crowded,
        now,
    } = inputs;

    refuse_taken(&around, &namespace, owner.uid)?;
    refuse_names(&owner.tenant)?;
    refuse_ownerless(&spec.members)?;
    let fault = fault(&spec.isolation, &cluster);
    let (nodes, nowhere) = places(spec.residency.as_ref(), &cluster);
    let openings = openings(object, &around, &cluster);
    Ok(ValidTenant {
        namespace,
        members: spec.members.clone(),
        state: spec.state,
        runtime: spec.isolation.runtime,
        residency: spec.residency.clone(),
        loss: drill::loss(object, &around, &cluster),
        quota: quota(&spec.limits)?,
        owner,
        nodes,
        nowhere,
        fault,
        openings,
        around,
        cluster,
        isolation,
        probing,
        crowded,
        refused: None,
        now,
    })
}

/// What of the spec the cluster cannot hold with. Another node or a RuntimeClass less can
/// bring it about, so it must not end the keeping of the boundary, which it does not open:
/// a ceiling allows nothing by itself, and admission lets no pod in without the runtime.
fn fault(isolation: &Isolation, cluster: &Cluster) -> Option<String> {
    let ceiling = isolation.egress_ceiling.iter();
    let forbidden = ceiling.map(|rule| refuse_forbidden(rule, cluster));
    let runtime = refuse_missing_runtime(isolation.runtime, cluster);
    let found = forbidden.chain([runtime]).find_map(Result::err);
    found.map(|error| error.to_string())
}

fn refuse_taken(around: &Surroundings, namespace: &str, uid: Uid) -> Result<(), Error> {
    let key = (ChildKind::Namespace, namespace.into());
    match around.children.get(&key) {
        Some(held) if held.fact.owner != Some(uid) => Err(Error::NamespaceTaken {
            namespace: namespace.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn refuse_names(tenant: &str) -> Result<(), Error> {
    if tenant.len() <= names::MAX_TENANT_NAME {
        return Ok(());
    }
    let most = names::MAX_TENANT_NAME;
    Err(invalid(
        "metadata.name",
        format!("longer than {most} characters; choose a shorter one"),
    ))
}

fn refuse_ownerless(members: &[Member]) -> Result<(), Error> {
    if members.iter().any(|member| member.role == Role::Owner) {
        return Ok(());
    }
    Err(invalid(
        "spec.members",
        "at least one member needs the role Owner".to_owned(),
    ))
}

/// A block may hold no reserved address, and none of this cluster's own, wherever they are.
fn refuse_forbidden(rule: &EgressRule, cluster: &Cluster) -> Result<(), Error> {
    const FIELD: &str = "spec.isolation.egressCeiling.cidr";
    let cidr: Cidr = rule
        .cidr
        .parse()
        .map_err(|error| invalid(FIELD, format!("{error}")))?;
    egress::refuse_own(cidr, cluster).map_err(|problem| invalid(FIELD, problem))
}

/// What Integrations and Workers may reach. One of whose list anything is not allowed gets nothing
/// of it: its own status says why, and nothing of it starts. A Worker's policy is there all the
/// same, and shuts.
fn openings(object: &Tenant, around: &Surroundings, cluster: &Cluster) -> Vec<Granted> {
    let ceiling = egress::ceiling(&object.spec.isolation.egress_ceiling);
    let tenant = object.name_any();
    let allowed = |rules: &[EgressRule]| {
        let list = egress::list(rules).ok()?;
        let fault = egress::fault(&list, &ceiling, &tenant, cluster);
        fault.is_none().then_some(list)
    };
    let asked = around.integrations.iter();
    let integrations = asked.filter_map(|(name, held)| {
        Some(Granted {
            holder: Holder::Integration,
            name: name.to_string(),
            uid: held.fact.uid,
            list: allowed(&held.fact.egress)?,
        })
    });
    let workers = around.workers.iter().map(|(name, held)| Granted {
        holder: Holder::Worker,
        name: name.to_string(),
        uid: held.fact.uid,
        list: allowed(&held.fact.egress).unwrap_or_default(),
    });
    integrations.chain(workers).collect()
}

/// Whether pods can have this kernel boundary here.
pub fn has_runtime(runtime: Runtime, cluster: &Cluster) -> bool {
    runtime == Runtime::Hardened || cluster.runtime_classes.contains_key(GVISOR_RUNTIME_CLASS)
}

fn refuse_missing_runtime(runtime: Runtime, cluster: &Cluster) -> Result<(), Error> {
    if has_runtime(runtime, cluster) {
        return Ok(());
    }
    Err(invalid(
        "spec.isolation.runtime",
        "the cluster has no RuntimeClass gvisor; install gVisor on the nodes, or say Hardened"
            .to_owned(),
    ))
}

/// The usable nodes that the residency allows, and the names in it that no node carries.
fn places(
    residency: Option<&Residency>,
    cluster: &Cluster,
) -> (BTreeMap<String, LiveNode>, Vec<String>) {
    let usable = cluster.nodes.iter().filter(|(_, node)| node.usable);
    let Some(residency) = residency else {
        return (
            usable
                .map(|(name, node)| (name.clone(), node.clone()))
                .collect(),
            vec![],
        );
    };
    let allowed = usable
        .filter(|(_, node)| allows(Some(residency), node))
        .map(|(name, node)| (name.clone(), node.clone()))
        .collect();
    let unknown = |wanted: &str, of: fn(&LiveNode) -> &str| {
        !cluster.nodes.values().any(|node| of(node) == wanted)
    };
    let regions = residency
        .regions
        .iter()
        .filter(|name| unknown(name, |node| &node.region));
    let zones = residency
        .zones
        .iter()
        .filter(|name| unknown(name, |node| &node.zone));
    let nowhere = regions
        .map(|name| format!("region {name}"))
        .chain(zones.map(|name| format!("zone {name}")))
        .collect();
    (allowed, nowhere)
}

/// Whether a residency allows a node.
pub fn allows(residency: Option<&Residency>, node: &LiveNode) -> bool {
    residency.is_none_or(|residency| {
        residency.regions.contains(&node.region)
            && (residency.zones.is_empty() || residency.zones.contains(&node.zone))
    })
}

fn quota(limits: &Limits) -> Result<Quota, Error> {
    let Limits {
        pods,
        executions,
        cpu,
        memory,
        storage,
    } = limits;
    let amount = |field: &'static str, text: &str| {
        text.parse::<Amount>()
            .map_err(|error| invalid(field, format!("{error}")))
    };
    let count = |field: &'static str, number: i32| {
        u32::try_from(number).map_err(|_| invalid(field, "must not be negative".to_owned()))
    };
    Ok(Quota {
        pods: count("spec.limits.pods", *pods)?,
        executions: count("spec.limits.executions", *executions)?,
        cpu: amount("spec.limits.cpu", cpu)?,
        memory: amount("spec.limits.memory", memory)?,
        storage: amount("spec.limits.storage", storage)?,
    })
}

fn invalid(field: &'static str, problem: String) -> Error {
    Error::Invalid { field, problem }
}
