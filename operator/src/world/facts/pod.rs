//! What is kept of a pod, and of a probe pod beyond it.

use std::collections::BTreeMap;

use contract::ProbeRequest;
use crds::well_known::{GVISOR_RUNTIME_CLASS, ROLE_LABEL, ROLE_PROBE};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{LiveReplica, Uid, controller};
use crate::names;

/// What is kept of a pod in a tenant's namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct LivePod {
    /// Its identity.
    pub uid: Uid,
    /// Its labels, which policies select by.
    pub labels: BTreeMap<String, String>,
    /// Node it was placed on.
    pub node: Option<Box<str>>,
    /// Whether a kernel of its own stands between it and the node's.
    pub gvisor: bool,
    /// When it was made.
    pub created: Timestamp,
    /// When it was asked to go, its grace period included.
    pub deleting: Option<Timestamp>,
    /// Something holds it in place after its end.
    pub has_finalizers: bool,
    /// It has ended, one way or the other.
    pub finished: bool,
    /// Only of what has the label, the name and an owner like a probe's: what it is there
    /// for and what came of it. Whose it is, [`LivePod::probe_of`] asks.
    pub probe: Option<Box<LiveProbe>>,
    /// Only of a pod of a Worker.
    pub replica: Option<Box<LiveReplica>>,
}

/// What is kept of a probe pod beyond what is kept of any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveProbe {
    /// The controller it names as its owner.
    pub owner: Uid,
    /// Boundary that it was sent to look at.
    pub boundary: String,
    /// Node that it was sent to.
    pub node: String,
    /// [`Cluster::decoys_version`](super::Cluster::decoys_version) when it was sent.
    pub decoys: Option<u64>,
    /// What it was asked, as far as this operator can read it.
    pub asked: Option<ProbeRequest>,
    /// What it left as its termination message.
    pub report: Option<String>,
    /// When it left it.
    pub ended: Option<Timestamp>,
    /// Why it is not running, in the kubelet's or the scheduler's words.
    pub waiting: Option<String>,
}

/// Annotation of a probe pod: the boundary it was sent to look at.
pub const BOUNDARY_ANNOTATION: &str = "cloister.dev/boundary";
/// Annotation of a probe pod: the node it was sent to.
pub const NODE_ANNOTATION: &str = "cloister.dev/node";
/// Annotation of a probe pod: the version of the decoy's endpoints when it was sent.
pub const DECOYS_ANNOTATION: &str = "cloister.dev/decoys";
/// Option of the probe; the argument after it is the request.
pub const REQUEST_OPTION: &str = "--request";

impl LivePod {
    /// Boils a pod down.
    pub fn of(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        let labels = meta.labels.clone().unwrap_or_default();
        let labelled = labels
            .get(ROLE_LABEL)
            .is_some_and(|role| role == ROLE_PROBE);
        let name = meta.name.as_deref().unwrap_or_default();
        let like_a_probe = labelled && name.starts_with(names::PROBE_PREFIX);
        let owner = controller(meta).filter(|_| like_a_probe);
        let created = meta.creation_timestamp.as_ref().map(|time| time.0);
        Self {
            uid: Uid::of(meta),
            node: pod
                .spec
                .as_ref()
                .and_then(|spec| spec.node_name.as_deref())
                .map(Into::into),
            gvisor: pod
                .spec
                .as_ref()
                .and_then(|spec| spec.runtime_class_name.as_deref())
                == Some(GVISOR_RUNTIME_CLASS),
            created: created.unwrap_or_default(),
            deleting: meta.deletion_timestamp.as_ref().map(|time| time.0),
            has_finalizers: meta
                .finalizers
                .as_ref()
                .is_some_and(|list| !list.is_empty()),
            finished: matches!(phase, Some("Succeeded" | "Failed")),
            probe: owner.map(|owner| Box::new(LiveProbe::of(pod, owner))),
            replica: LiveReplica::of(pod).map(Box::new),
            labels,
        }
    }

    /// What is kept of it as a probe of this tenant. A label anybody can write makes no
    /// probe: anything else is a pod like any other, and its words count for nothing.
    pub fn probe_of(&self, tenant: Uid) -> Option<&LiveProbe> {
        self.probe.as_deref().filter(|probe| probe.owner == tenant)
    }
}

impl LiveProbe {
    fn of(pod: &Pod, owner: Uid) -> Self {
        let annotation = |key: &str| {
            let annotations = pod.metadata.annotations.as_ref();
            annotations
                .and_then(|map| map.get(key))
                .cloned()
                .unwrap_or_default()
        };
        let status = pod.status.as_ref();
        let containers = status.and_then(|status| status.container_statuses.as_deref());
        let current = || {
            containers
                .into_iter()
                .flatten()
                .filter_map(|c| c.state.as_ref())
        };
        let not_placed = || {
            let conditions = status
                .into_iter()
                .flat_map(|s| s.conditions.iter().flatten());
            let mut unmet = conditions.filter(|c| c.type_ == "PodScheduled" && c.status == "False");
            unmet.find_map(|condition| condition.message.clone())
        };
        let not_started = || {
            current().find_map(|state| {
                let waiting = state.waiting.as_ref()?;
                let reason = waiting.reason.clone().unwrap_or_default();
                Some(match &waiting.message {
                    Some(message) => format!("{reason}: {message}"),
                    None => reason,
                })
            })
        };
        // What a probe leaves behind that did not end well is not its report: of a pod that
        // never started, the kubelet itself says something there.
        let reported = || {
            let ended = current().filter_map(|state| state.terminated.as_ref());
            ended
                .filter(|ended| ended.exit_code == 0)
                .find_map(|ended| ended.message.clone())
        };
        let ended_early = || {
            let reason = status.and_then(|status| status.reason.clone())?;
            let message = status.and_then(|status| status.message.clone());
            Some(message.map_or_else(|| reason.clone(), |text| format!("{reason}: {text}")))
        };
        Self {
            owner,
            boundary: annotation(BOUNDARY_ANNOTATION),
            node: annotation(NODE_ANNOTATION),
            decoys: annotation(DECOYS_ANNOTATION).parse().ok(),
            asked: asked(pod),
            report: reported(),
            ended: current()
                .find_map(|state| Some(state.terminated.as_ref()?.finished_at.as_ref()?.0)),
            waiting: ended_early().or_else(not_placed).or_else(not_started),
        }
    }
}

/// The request, from the arguments: they are the whole of what the probe was told, and
/// nobody can change them once the pod exists, as anybody who may edit it could an annotation.
fn asked(pod: &Pod) -> Option<ProbeRequest> {
    let container = pod.spec.as_ref()?.containers.first()?;
    let arguments = container.args.as_deref()?;
    let option = arguments.iter().position(|one| one == REQUEST_OPTION)?;
    serde_json::from_str(arguments.get(option + 1)?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const TENANT: &str = "00000000-0000-4000-8000-00000000000a";

    fn is_a_probe(change: impl FnOnce(&mut Value)) -> bool {
        let owner = json!({"apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant", "name": "a",
            "uid": TENANT, "controller": true});
        let mut meta = json!({"name": "cloister-probe-1", "labels": {ROLE_LABEL: ROLE_PROBE},
            "ownerReferences": [owner]});
        change(&mut meta);
        let pod: Pod = serde_json::from_value(json!({"metadata": meta})).unwrap();
        LivePod::of(&pod).probe_of(Uid::parse(TENANT)).is_some()
    }

    #[test]
    fn label_name_and_owner_together_make_a_probe() {
        type Lack = fn(&mut Value);
        let lacks: [Lack; 4] = [
            |meta| meta["labels"] = json!({}),
            |meta| meta["name"] = json!("probe-1"),
            |meta| meta["ownerReferences"][0]["controller"] = json!(false),
            |meta| meta["ownerReferences"][0]["uid"] = json!("another"),
        ];
        assert!(is_a_probe(|_| ()));
        for lack in lacks {
            assert!(!is_a_probe(lack));
        }
    }
}
