//! What is kept of a Worker for its tenant's boundary, of what makes its pods, and of those.

use contract::{
    Check,
    work::{EXIT_BROKEN, EXIT_FAILED, EXIT_REFUSED, WorkConfig},
};
use crds::{
    Worker,
    tenant::EgressRule,
    well_known::{ROLE_LABEL, ROLE_WORKER, WORKER_LABEL},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ContainerStateTerminated, Pod, PodTemplateSpec},
};

use super::Uid;
use crate::supervised::CONFIG_OPTION;

/// Label of a pod of a Worker, and of the template it is made from: fingerprint of that.
pub const REVISION_LABEL: &str = "cloister.dev/revision";

/// A Worker that is not on its way out. The whole of it is in a store of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveWorker {
    /// Its identity.
    pub uid: Uid,
    /// What it asks for; often nothing.
    pub egress: Vec<EgressRule>,
}

impl LiveWorker {
    /// Boils a Worker down. Nothing of one that goes.
    pub fn of(object: &Worker) -> Option<Self> {
        let going = object.metadata.deletion_timestamp.is_some();
        (!going).then(|| Self {
            uid: Uid::of(&object.metadata),
            egress: object.spec.egress.clone(),
        })
    }
}

/// What is kept of the Deployment or `StatefulSet` of a Worker beyond what is kept of any child.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveWorkload {
    /// Its template's [`REVISION_LABEL`].
    pub revision: Box<str>,
    /// Addresses of the API server that its pods were told to look at.
    pub api_servers: Vec<String>,
    /// Its controller has not taken note of the newest spec yet.
    pub behind: bool,
    /// A new version did not come up in time; the controller's words, if it says so.
    pub stuck: Option<Box<str>>,
    /// No pod can be made; the API server's words, if the controller tells.
    pub failure: Option<Box<str>>,
}

impl LiveWorkload {
    /// Boils a Deployment down.
    pub fn of_deployment(object: &Deployment) -> Self {
        let status = object.status.as_ref();
        let conditions = status.iter().flat_map(|s| s.conditions.iter().flatten());
        let message = |type_: &str, status: &str, reason: Option<&str>| -> Option<Box<str>> {
            let mut of_type = conditions.clone().filter(|c| c.type_ == type_);
            let found = of_type.find(|c| c.status == status)?;
            let meant = reason.is_none_or(|reason| found.reason.as_deref() == Some(reason));
            meant.then(|| found.message.clone().unwrap_or_default().into())
        };
        Self {
            behind: status.and_then(|s| s.observed_generation) < object.metadata.generation,
            stuck: message("Progressing", "False", Some("ProgressDeadlineExceeded")),
            failure: message("ReplicaFailure", "True", None),
            ..Self::of_template(object.spec.as_ref().map(|spec| &spec.template))
        }
    }

    /// Boils a `StatefulSet` down: its controller says in events alone what is in its way.
    pub fn of_stateful_set(object: &StatefulSet) -> Self {
        let status = object.status.as_ref();
        Self {
            behind: status.and_then(|s| s.observed_generation) < object.metadata.generation,
            ..Self::of_template(object.spec.as_ref().map(|spec| &spec.template))
        }
    }

    fn of_template(template: Option<&PodTemplateSpec>) -> Self {
        let labels = template.and_then(|template| template.metadata.as_ref()?.labels.as_ref());
        let revision = labels.and_then(|labels| labels.get(REVISION_LABEL));
        Self {
            revision: revision
                .map(|text| text.as_str().into())
                .unwrap_or_default(),
            api_servers: template.and_then(api_servers).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Addresses of the API server in what the supervisors of a template's pods are told.
fn api_servers(template: &PodTemplateSpec) -> Option<Vec<String>> {
    let pod = template.spec.as_ref()?;
    let arguments = pod.containers.first()?.args.as_deref()?;
    let option = arguments.iter().position(|one| one == CONFIG_OPTION)?;
    let config: WorkConfig = serde_json::from_str(arguments.get(option + 1)?).ok()?;
    let targets = config.probe.targets.into_iter();
    let of_api = targets.filter(|target| target.check == Check::ApiServerEndpoint);
    Some(of_api.map(|target| target.address).collect())
}

/// What is kept of a pod of a Worker beyond what is kept of any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveReplica {
    /// Name of the Worker.
    pub worker: Box<str>,
    /// [`REVISION_LABEL`] of what it was made from.
    pub revision: Box<str>,
    /// By its readiness probe: proven lately, with the command running.
    pub ready: bool,
    /// Why it is not, in the scheduler's, the kubelet's or the supervisor's words.
    pub trouble: Option<Trouble>,
}

/// Why a pod is not ready.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// No node takes it; the scheduler's words.
    Unschedulable(Box<str>),
    /// It is not started, or its supervisor ended; the kubelet's words, or the supervisor's.
    NotStarted(Box<str>),
}

/// Name of the container that the supervisor is process 1 of.
pub const SUPERVISED: &str = "worker";
/// The exit code of a broken proof.
const BROKEN: i32 = EXIT_BROKEN as i32;
/// How the supervisor begins what it says of the command's own end, and of nothing else.
const OF_COMMAND: &str = "the command ";

/// What the kubelet says of a container that is only on its way.
const ON_ITS_WAY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

impl LiveReplica {
    /// Boils a pod down, if it is one of a Worker's, by its labels: admission lets nobody but
    /// the controller of our own Deployments make a pod that carries them.
    pub fn of(pod: &Pod) -> Option<Self> {
        let labels = pod.metadata.labels.as_ref()?;
        let label = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
        let worker = label(WORKER_LABEL);
        if label(ROLE_LABEL) != ROLE_WORKER || worker.is_empty() {
            return None;
        }
        let conditions = pod
            .status
            .iter()
            .flat_map(|s| s.conditions.iter().flatten());
        let mut ready = conditions.filter(|c| c.type_ == "Ready");
        let ready = ready.any(|condition| condition.status == "True");
        Some(Self {
            worker: worker.into(),
            revision: label(REVISION_LABEL).into(),
            ready,
            trouble: trouble(pod).filter(|_| !ready),
        })
    }
}

/// What a container left when it ended.
///
/// What is in the termination message, the supervisor wrote if it ended by itself. If it was killed,
/// it may be the command's: under gVisor nothing keeps that from writing there. So it is a fault of
/// the proof by [`EXIT_BROKEN`] alone, with which nobody but the supervisor ends the container; and
/// with other codes it is believed only if it says what anybody may.
fn last_words(container: &str, ended: &ContainerStateTerminated) -> String {
    let message = ended.message.as_deref().map(str::trim).unwrap_or_default();
    let of_command = message.starts_with(OF_COMMAND);
    let codes = [EXIT_FAILED, EXIT_REFUSED].map(i32::from);
    let by_itself = codes.contains(&ended.exit_code) || container != SUPERVISED;
    if message.is_empty() || !(of_command || by_itself || ended.exit_code == BROKEN) {
        let reason = ended.reason.as_deref().unwrap_or("Error");
        return format!("{reason}: exit code {}", ended.exit_code);
    }
    if ended.exit_code == BROKEN && !of_command {
        return format!("the proof is broken: {message}");
    }
    message.to_owned()
}

fn trouble(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let mut unmet = status.conditions.iter().flatten();
    let unplaced = unmet.find(|c| c.type_ == "PodScheduled" && c.status == "False");
    if let Some(condition) = unplaced {
        let words = condition.message.clone().unwrap_or_default();
        return Some(Trouble::Unschedulable(words.into()));
    }
    let first = status.init_container_statuses.iter().flatten();
    let containers = first.chain(status.container_statuses.iter().flatten());
    let mut said = containers.filter_map(|container| {
        // What its last end left says more than that it is being started again.
        let last = container.last_state.as_ref();
        let now = container.state.as_ref();
        let ended = now.and_then(|state| state.terminated.as_ref());
        let ended = ended.or_else(|| last?.terminated.as_ref());
        let left = ended.filter(|ended| ended.exit_code != 0);
        let left = left.map(|ended| last_words(&container.name, ended));
        let waiting = now
            .and_then(|state| state.waiting.as_ref())
            .and_then(|state| {
                let reason = state.reason.as_deref().unwrap_or_default();
                let message = state.message.as_deref();
                let stopped = !reason.is_empty() && !ON_ITS_WAY.contains(&reason);
                stopped.then(|| match message {
                    // It names the pod and how long it waits, which changes from try to try.
                    Some(message) if reason != "CrashLoopBackOff" => format!("{reason}: {message}"),
                    _ => reason.to_owned(),
                })
            });
        match (waiting, left) {
            (Some(waiting), Some(left)) => Some(format!("{waiting}: {left}")),
            (waiting, left) => waiting.or(left),
        }
    });
    said.next().map(|words| Trouble::NotStarted(words.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn replica(status: &Value) -> Option<LiveReplica> {
        let labels = json!({"cloister.dev/role": "worker", "cloister.dev/worker": "poller",
            "cloister.dev/revision": "1"});
        let pod = json!({"metadata": {"name": "a", "labels": labels}, "status": status});
        LiveReplica::of(&serde_json::from_value(pod).unwrap())
    }

    fn said(status: &Value) -> Option<Trouble> {
        replica(status).unwrap().trouble
    }

    #[test]
    fn a_pod_that_is_not_ready_says_why_in_the_words_of_who_keeps_it_from_it() {
        let scheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/3 nodes are available"}]});
        let words = Trouble::Unschedulable("0/3 nodes are available".into());
        assert_eq!(said(&scheduled), Some(words));

        let container = |state: Value, last: Value| {
            json!({"containerStatuses": [{"name": "worker", "image": "a", "imageID": "", "ready": false,
                "restartCount": 0, "state": state, "lastState": last}]})
        };
        let waiting = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
        let pulling = container(waiting("ImagePullBackOff", "no such image"), json!({}));
        let words = Trouble::NotStarted("ImagePullBackOff: no such image".into());
        assert_eq!(said(&pulling), Some(words));

        let fault = "Kubelet 10.0.0.1:10250: expected Blocked, saw Connected";
        let left = |code: i32, message: &str| {
            let ended = json!({"terminated": {"exitCode": code, "reason": "Error",
                "message": format!("{message}\n")}});
            let looping = container(waiting("CrashLoopBackOff", "back-off 40s"), ended);
            let Some(Trouble::NotStarted(words)) = said(&looping) else {
                panic!("{looping}")
            };
            words.strip_prefix("CrashLoopBackOff: ").unwrap().to_owned()
        };
        assert_eq!(left(124, fault), format!("the proof is broken: {fault}"));
        // A command cannot have it said, whatever it writes and however it ends.
        let by_itself = "the command exited with code 124, by itself";
        assert_eq!(left(124, by_itself), by_itself);
        for code in [3, 125, 137, 139] {
            assert_eq!(left(code, fault), format!("Error: exit code {code}"));
        }
        assert_eq!(left(2, "not run: no Landlock"), "not run: no Landlock");
        let killed = "the command was ended by signal 9, by itself";
        assert_eq!(left(137, killed), killed);
        assert_eq!(left(1, ""), "Error: exit code 1");

        let creating = container(waiting("ContainerCreating", ""), json!({}));
        assert_eq!(said(&creating), None);
    }

    #[test]
    fn only_a_pod_with_both_labels_is_a_replica_and_a_ready_one_has_no_trouble() {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"},
            {"type": "PodScheduled", "status": "False", "message": "old"}]});
        let found = replica(&ready).unwrap();
        assert!(found.ready && found.trouble.is_none());
        let pod = json!({"metadata": {"labels": {"cloister.dev/role": "worker"}}});
        assert_eq!(LiveReplica::of(&serde_json::from_value(pod).unwrap()), None);
    }

    #[test]
    fn a_deployment_says_what_keeps_it() {
        let of = |conditions: Value| {
            let object = json!({"metadata": {"generation": 2},
                "spec": {"replicas": 3, "selector": {}, "template": {"metadata": {
                    "labels": {"cloister.dev/revision": "7"}}}},
                "status": {"observedGeneration": 2, "conditions": conditions}});
            LiveWorkload::of_deployment(&serde_json::from_value(object).unwrap())
        };
        let quiet = of(json!([{"type": "Progressing", "status": "True", "reason": "a"}]));
        assert_eq!((&*quiet.revision, quiet.behind), ("7", false));
        assert_eq!((quiet.stuck, quiet.failure), (None, None));
        let failing = of(
            json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "exceeded quota"}]),
        );
        assert_eq!(failing.failure.as_deref(), Some("exceeded quota"));
        let late = of(json!([{"type": "Progressing", "status": "False",
            "reason": "ProgressDeadlineExceeded", "message": "timed out"}]));
        assert_eq!(late.stuck.as_deref(), Some("timed out"));
    }
}
