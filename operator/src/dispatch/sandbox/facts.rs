//! A sandbox's pod, boiled down: what it was told, how it fares, how it ended. Pure.

use std::sync::Arc;

use contract::{
    ProbeRequest,
    serve::{EXIT_CUT_OFF, ServeConfig},
};
use crds::{
    execution::ExecutionReason,
    scalar::Amount,
    tenant::Runtime,
    well_known::{INTEGRATION_LABEL, ROLE_LABEL, ROLE_SANDBOX},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::ResourceExt;

use super::MOLD_ANNOTATION;
use crate::{
    dispatch::{
        line::{Key, Trouble},
        pod::PLACES,
    },
    names,
    probe::{Confinement, Wanted},
    supervised::{self, CONFIG_OPTION, HOST_ADDRESS},
    world::facts::{self, Uid},
};

/// What is kept of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its identity.
    pub uid: Uid,
    /// Its version.
    pub version: u64,
    /// Namespace and name.
    pub key: Key,
    /// The Integration that it was made for.
    pub line: Key,
    /// Identity of that.
    pub owner: Option<Uid>,
    /// What it was made from.
    pub mold: String,
    /// When.
    pub created: Timestamp,
    /// Where it is.
    pub node: Option<Arc<str>>,
    /// Digest of the user's image there.
    pub image_digest: Option<Arc<str>>,
    /// What it was asked to look at, as it was told, and what it may have.
    pub asked: Option<Arc<Asked>>,
    /// It is on its way out.
    pub deleting: bool,
    /// It has ended; how, as far as the kubelet tells.
    pub end: Option<Trouble>,
    /// Why it does not start.
    pub trouble: Option<Trouble>,
    /// Its network stands, and its node fetches what it is made of.
    pub fetching: bool,
    /// Since when its command's container runs.
    pub running: Option<Timestamp>,
}

impl Facts {
    /// Boils a pod down, if it is a sandbox.
    pub fn of(pod: &Pod) -> Option<Self> {
        let labels = pod.labels();
        let integration = labels.get(INTEGRATION_LABEL)?;
        let is_sandbox = labels
            .get(ROLE_LABEL)
            .is_some_and(|role| role == ROLE_SANDBOX)
            && pod.name_any().starts_with(names::SANDBOX_PREFIX);
        if !is_sandbox {
            return None;
        }
        let key = Key::of(pod);
        let status = pod.status.as_ref();
        let containers = || {
            let all = status.and_then(|status| status.container_statuses.as_deref());
            all.into_iter().flatten()
        };
        let before = status.and_then(|status| status.init_container_statuses.as_deref());
        let every = || before.into_iter().flatten().chain(containers());
        let created = pod.metadata.creation_timestamp.as_ref();
        let digest = containers().find_map(|one| one.image_id.rsplit_once('@'));
        Some(Self {
            uid: Uid::of(&pod.metadata),
            version: facts::version(&pod.metadata),
            line: Key::new(&key.namespace, integration),
            key,
            owner: facts::controller(&pod.metadata),
            mold: pod
                .annotations()
                .get(MOLD_ANNOTATION)
                .cloned()
                .unwrap_or_default(),
            created: created.map(|time| time.0).unwrap_or_default(),
            node: pod
                .spec
                .as_ref()
                .and_then(|spec| spec.node_name.as_deref())
                .map(Arc::from),
            image_digest: digest.map(|(_, digest)| digest.into()),
            asked: asked(pod).map(Arc::new),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            end: end(pod),
            trouble: every().find_map(waits).or_else(|| unplaced(pod)),
            fetching: has_network(pod)
                && every().any(is_being_made)
                && !before.into_iter().flatten().any(is_running),
            running: containers().find_map(running),
        })
    }

    /// Whether it ends its command when it is cut off.
    pub fn is_fenced(&self) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.fenced)
    }

    /// Whether it cannot start yet, by no fault of its node's.
    pub const fn is_held_up(&self) -> bool {
        self.node.is_none() || self.trouble.is_some() || self.fetching
    }
}

/// What a sandbox was asked, and what it may have: its spec, which nobody can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it looks at.
    pub request: ProbeRequest,
    /// Bytes of memory of its container, and of the whole pod at any time.
    pub memory: [u64; 2],
    /// It ends its command when it is cut off.
    pub fenced: bool,
}

impl Asked {
    /// What its report is held against. gVisor holds all containers of a pod to what that has.
    pub const fn wanted(&self, confinement: Confinement) -> Wanted {
        let [own, whole] = self.memory;
        let (memory, own_user) = match confinement.runtime {
            Runtime::Hardened => (own, confinement.user_namespace),
            Runtime::GVisor => (whole, false),
        };
        Wanted {
            confinement,
            places: &PLACES,
            memory: Some(memory),
            processes: supervised::processes(own_user),
        }
    }
}

/// What it was asked: its arguments are all that it was told, and nobody can change them.
fn asked(pod: &Pod) -> Option<Asked> {
    let spec = pod.spec.as_ref()?;
    let container = spec.containers.first()?;
    let arguments = container.args.as_deref()?;
    let option = arguments.iter().position(|one| one == CONFIG_OPTION)?;
    let host = pod.status.as_ref()?.host_ip.as_deref()?;
    let text = arguments.get(option + 1)?.replace(HOST_ADDRESS, host);
    let config: ServeConfig = serde_json::from_str(&text).ok()?;
    Some(Asked {
        request: config.probe,
        memory: memory(spec)?,
        fenced: config.fence_ms.is_some(),
    })
}

/// Bytes of memory of the first container, and of the pod: of all containers together, or of the
/// greediest of those that come before them, and what the runtime needs beside them. Nothing if
/// one of them has no limit.
fn memory(spec: &PodSpec) -> Option<[u64; 2]> {
    let limit = |container: &Container| {
        let limits = container.resources.as_ref()?.limits.as_ref()?;
        bytes(limits.get("memory")?)
    };
    let all: Option<Vec<u64>> = spec.containers.iter().map(limit).collect();
    let before = spec.init_containers.iter().flatten().map(limit);
    let before: Option<Vec<u64>> = before.collect();
    let overhead = spec.overhead.as_ref();
    let overhead = overhead.and_then(|overhead| overhead.get("memory"));
    let beside = overhead.map_or(Some(0), bytes)?;
    let all = all?;
    let greediest = before?.into_iter().max().unwrap_or_default();
    let together = all.iter().copied().fold(0, u64::saturating_add);
    let whole = together.max(greediest).saturating_add(beside);
    Some([*all.first()?, whole])
}

fn bytes(quantity: &Quantity) -> Option<u64> {
    let amount: Amount = quantity.0.parse().ok()?;
    Some(amount.bytes())
}

fn trouble(reason: ExecutionReason, message: String) -> Trouble {
    Trouble { reason, message }
}

/// How it ended, if it has.
fn end(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    if !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    let said = status.reason.clone().unwrap_or_default();
    let words = status.message.clone().unwrap_or_default();
    let terminated = |one: &ContainerStatus| Some(one.state.as_ref()?.terminated.as_ref()?.clone());
    let mut before = status.init_container_statuses.iter().flatten();
    let ended = status
        .container_statuses
        .iter()
        .flatten()
        .find_map(terminated)
        // One that ended well is not what ended the pod.
        .or_else(|| before.find_map(|one| terminated(one).filter(|it| it.exit_code != 0)));
    let by = ended.as_ref().and_then(|ended| ended.reason.as_deref());
    Some(match (said.as_str(), by) {
        (_, Some("OOMKilled")) => trouble(
            ExecutionReason::OOMKilled,
            "the sandbox wanted more memory than it may have; raise spec.resources.memory of the \
             Integration"
                .to_owned(),
        ),
        ("Evicted" | "Preempted" | "Preempting", _) => trouble(
            ExecutionReason::Evicted,
            format!("the node took the pod away: {words}"),
        ),
        (_, Some("StartError" | "ContainerCannotRun")) => trouble(
            ExecutionReason::StartDeadlineExceeded,
            format!(
                "the node's runtime cannot start the sandbox: {}",
                ended.and_then(|ended| ended.message).unwrap_or_default()
            ),
        ),
        // Nobody on its node says so: the control plane has given the node up.
        ("", None) if ended.is_none() => return None,
        ("", _) if pod.metadata.deletion_timestamp.is_some() && is_killed(ended.as_ref()) => trouble(
            ExecutionReason::Evicted,
            "the pod was deleted or drained, and its command did not end in the second that it \
             then has"
                .to_owned(),
        ),
        ("", _) => trouble(ExecutionReason::NodeLost, without_report(ended.as_ref())),
        (reason, _) => trouble(
            ExecutionReason::NodeLost,
            format!("the sandbox was ended by its node: {reason}: {words}"),
        ),
    })
}

/// Whether it ended by SIGKILL or SIGTERM.
fn is_killed(ended: Option<&ContainerStateTerminated>) -> bool {
    ended.is_some_and(|ended| matches!(ended.exit_code, 137 | 143))
}

fn without_report(ended: Option<&ContainerStateTerminated>) -> String {
    match ended.map_or(-1, |ended| ended.exit_code) {
        code if code == i32::from(EXIT_CUT_OFF) => {
            "the sandbox was cut off from the operator, and ended its command for another attempt \
             to be possible"
                .to_owned()
        }
        code => format!("the sandbox ended without a report (exit code {code})"),
    }
}

/// Why a container does not start.
fn waits(container: &ContainerStatus) -> Option<Trouble> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let words = waiting.message.clone().unwrap_or_default();
    let message = format!("{reason}: {words}");
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull"
        | "ImageInspectError" => Some(trouble(ExecutionReason::ImageUnavailable, message)),
        "CreateContainerError"
        | "CreateContainerConfigError"
        | "RunContainerError"
        | "CrashLoopBackOff" => Some(trouble(ExecutionReason::StartDeadlineExceeded, message)),
        _ => None,
    }
}

fn is_running(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    state.is_some_and(|state| state.running.is_some())
}

/// Since when a container runs.
fn running(container: &ContainerStatus) -> Option<Timestamp> {
    let running = container.state.as_ref()?.running.as_ref()?;
    running.started_at.as_ref().map(|time| time.0)
}

/// Whether a container is still being made: mostly, its image is being pulled.
fn is_being_made(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref()?.reason.as_deref());
    matches!(waiting, Some("ContainerCreating" | "PodInitializing"))
}

/// Whether its node has taken it up and given it its network (KEP-3085).
fn has_network(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| one.type_ == "PodReadyToStartContainers" && one.status == "True")
}

/// Why no node takes it.
fn unplaced(pod: &Pod) -> Option<Trouble> {
    let conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let mut unmet = conditions.filter(|one| one.type_ == "PodScheduled" && one.status == "False");
    let condition = unmet.next()?;
    let words = condition.message.clone().unwrap_or_default();
    Some(trouble(
        ExecutionReason::StartDeadlineExceeded,
        format!("no node takes the sandbox: {words}"),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn limited(memory: &str) -> Value {
        json!({"name": "a", "resources": {"limits": {"memory": memory}}})
    }

    fn memory_of(spec: &Value) -> Option<[u64; 2]> {
        memory(&serde_json::from_value(spec.clone()).unwrap())
    }

    #[test]
    fn a_pod_may_have_what_its_containers_may_at_any_time_and_its_runtime() {
        let mut spec = json!({"containers": [limited("64Mi")]});
        assert_eq!(memory_of(&spec), Some([64 * MIB, 64 * MIB]));
        spec["initContainers"] = json!([limited("32Mi")]);
        assert_eq!(memory_of(&spec), Some([64 * MIB, 64 * MIB]));
        spec["initContainers"] = json!([limited("96Mi")]);
        assert_eq!(memory_of(&spec), Some([64 * MIB, 96 * MIB]));
        spec["overhead"] = json!({"memory": "100Mi"});
        assert_eq!(memory_of(&spec), Some([64 * MIB, 196 * MIB]));
    }

    #[test]
    fn who_has_no_limit_has_nothing_to_be_held_against() {
        let none = json!({"name": "a"});
        for spec in [
            json!({"containers": []}),
            json!({"containers": [none]}),
            json!({"containers": [limited("much")]}),
            json!({"containers": [limited("1Mi")], "initContainers": [none]}),
            json!({"containers": [limited("1Mi")], "overhead": {"memory": "much"}}),
        ] {
            assert_eq!(memory_of(&spec), None, "{spec}");
        }
    }

    #[test]
    fn what_is_wanted_of_a_sandbox_follows_from_how_it_is_confined() {
        let asked = Asked {
            request: ProbeRequest {
                version: contract::VERSION,
                timeout_ms: 1,
                targets: vec![],
                places: vec![],
            },
            memory: [1, 2],
            fenced: false,
        };
        for (runtime, user_namespace, memory, processes) in [
            (Runtime::Hardened, true, 1, Some(512)),
            (Runtime::Hardened, false, 1, None),
            (Runtime::GVisor, true, 2, None),
        ] {
            let confinement = Confinement {
                runtime,
                user_namespace,
            };
            let wanted = Wanted {
                confinement,
                places: &PLACES,
                memory: Some(memory),
                processes,
            };
            assert_eq!(asked.wanted(confinement), wanted);
        }
    }

    fn facts(beside: &Value, status: &Value) -> Facts {
        let mut metadata = json!({"name": "cloister-run-x", "namespace": "tenant-x",
            "labels": {"cloister.dev/role": "sandbox", "cloister.dev/integration": "x"}});
        metadata["deletionTimestamp"] = beside["deletionTimestamp"].clone();
        let pod = json!({"metadata": metadata, "status": status});
        Facts::of(&serde_json::from_value(pod).unwrap()).unwrap()
    }

    fn container(name: &str, state: &Value) -> Value {
        json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": state})
    }

    #[test]
    fn a_node_fetches_while_a_container_waits_and_no_other_one_runs_before_it() {
        let waits = |reason: &str| json!({"waiting": {"reason": reason}});
        let (runs, ended) = (
            json!({"running": {}}),
            json!({"terminated": {"exitCode": 0}}),
        );
        let (made, network) = (waits("ContainerCreating"), "PodReadyToStartContainers");
        for (condition, before, own, expected) in [
            (network, &waits("PodInitializing"), &made, true),
            (network, &ended, &waits("PodInitializing"), true),
            (network, &ended, &made, true),
            // Its network does not stand yet: that may be the node's fault.
            ("Ready", &waits("PodInitializing"), &made, false),
            // What copies the supervisor runs, and has no reason to take long.
            (network, &runs, &waits("PodInitializing"), false),
            (network, &ended, &runs, false),
            (network, &ended, &waits("ErrImagePull"), false),
        ] {
            let status = json!({"conditions": [{"type": condition, "status": "True"}],
                "initContainerStatuses": [container("before", before)],
                "containerStatuses": [container("own", own)]});
            let found = facts(&json!({}), &status).fetching;
            assert_eq!(found, expected, "{condition} {before} {own}");
        }
    }

    #[test]
    fn what_an_init_container_lacks_or_ended_by_is_told() {
        let before = |state: &Value| {
            let status = json!({"phase": "Failed",
                "initContainerStatuses": [container("before", state)],
                "containerStatuses": [container("own", &json!({"waiting": {}}))]});
            facts(&json!({}), &status)
        };
        let missing = before(&json!({"waiting": {"reason": "ErrImagePull", "message": "no such"}}));
        let trouble = missing.trouble.unwrap();
        assert_eq!(trouble.reason, ExecutionReason::ImageUnavailable);
        let failed = before(&json!({"terminated": {"exitCode": 3}})).end.unwrap();
        assert!(failed.message.contains("exit code 3"), "{}", failed.message);
        assert_eq!(before(&json!({"terminated": {"exitCode": 0}})).end, None);
    }

    #[test]
    fn a_pod_that_was_killed_by_its_deletion_was_evicted() {
        for (deleted, code, expected) in [
            (json!("2026-01-01T00:00:00Z"), 137, ExecutionReason::Evicted),
            (json!("2026-01-01T00:00:00Z"), 143, ExecutionReason::Evicted),
            (json!("2026-01-01T00:00:00Z"), 1, ExecutionReason::NodeLost),
            (Value::Null, 137, ExecutionReason::NodeLost),
        ] {
            let state = json!({"terminated": {"exitCode": code, "reason": "Error"}});
            let status =
                json!({"phase": "Failed", "containerStatuses": [container("own", &state)]});
            let end = facts(&json!({"deletionTimestamp": deleted}), &status).end;
            assert_eq!(end.unwrap().reason, expected, "{deleted} {code}");
        }
    }
}
