//! A sandbox pod as the dispatcher sees it, and what it has proven.

use std::{sync::Arc, time::Duration};

use contract::{
    ProbeRequest,
    dispatch::Order,
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
use tokio::sync::mpsc::UnboundedSender;

use super::{
    line::{Key, Trouble},
    pod::PLACES,
};
use crate::{
    names,
    probe::{Confinement, Wanted},
    supervised::{self, CONFIG_OPTION, HOST_ADDRESS},
    world::facts::{self, Uid},
};

/// Annotation of a sandbox: fingerprint of what it was made from.
pub const MOLD_ANNOTATION: &str = "cloister.dev/mold";

/// A sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// What the API server says of it.
    pub pod: Facts,
    /// What it says itself.
    pub seat: Option<Seat>,
    /// What it has last seen from inside.
    pub proof: Proof,
    /// What it saw and when, while it is not known yet what it was asked.
    pub unjudged: Option<(String, Timestamp)>,
    /// When it had its last session, or was first seen.
    pub heard: Timestamp,
    /// The Execution that has it, from the moment it is chosen. It is never given back.
    pub claimed: Option<Uid>,
    /// Its removal is under way.
    pub removing: bool,
    /// Its removal failed: until when it is not tried again, and how long that pause is.
    pub kept: Option<(Timestamp, Duration)>,
    /// Since when it could not tell whether it is as it must be.
    pub doubt: Option<Timestamp>,
    /// It had a session before: the next one has to show what that was told.
    pub welcomed: bool,
    /// When its node had fetched what it is made of, if that was seen.
    pub fetched: Option<Timestamp>,
}

/// Its session.
#[derive(Debug)]
pub struct Seat {
    /// Number of the session.
    pub session: u64,
    /// What is sent there, it is told.
    pub orders: UnboundedSender<Order>,
    /// The run that it says it has been given: Execution and attempt.
    pub given: Option<(Uid, u32)>,
    /// It has been told in this session what to run.
    pub assigned: bool,
    /// It has been told in this session to end that.
    pub canceled: bool,
}

/// What a sandbox has last seen from inside.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Proof {
    /// Nothing yet.
    #[default]
    Pending,
    /// All is as it must be.
    Proven {
        /// When it looked.
        at: Timestamp,
        /// How many things.
        passed: usize,
    },
    /// It could not tell; the first thing that it could not.
    Doubtful {
        /// What.
        fault: String,
    },
    /// It is not what it must be.
    Broken {
        /// What: check, target, expected and seen.
        fault: String,
    },
}

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
            fetching: has_network(pod) && every().any(is_being_made),
        })
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

impl Sandbox {
    /// It ends its command when it is cut off.
    pub fn is_fenced(&self) -> bool {
        self.pod.asked.as_ref().is_some_and(|asked| asked.fenced)
    }

    /// One that has just been seen.
    pub fn new(pod: Facts, now: Timestamp) -> Self {
        Self {
            pod,
            seat: None,
            proof: Proof::Pending,
            unjudged: None,
            heard: now,
            claimed: None,
            removing: false,
            kept: None,
            doubt: None,
            welcomed: false,
            fetched: None,
        }
    }

    /// From when on it could have dialled.
    pub fn begun(&self) -> Timestamp {
        self.fetched
            .unwrap_or(self.pod.created)
            .max(self.pod.created)
    }

    /// What the API server says of it now.
    pub fn update(&mut self, pod: Facts, now: Timestamp) {
        if self.pod.fetching && !pod.fetching {
            self.fetched = Some(now);
        }
        self.pod = pod;
    }

    /// Whether it has been sent nothing to run, as far as this leader knows.
    pub fn is_untold(&self) -> bool {
        let told = |seat: &Seat| seat.given.is_some() || seat.assigned;
        !self.seat.as_ref().is_some_and(told)
    }

    /// Whether nobody has it, and nothing says that it is going.
    pub fn is_free(&self) -> bool {
        let given = self.seat.as_ref().is_some_and(|seat| seat.given.is_some());
        self.claimed.is_none()
            && !given
            && !self.removing
            && !self.pod.deleting
            && self.pod.end.is_none()
    }

    /// When it last proved itself, if that counts still.
    pub fn proven(&self, oldest: Timestamp) -> Option<Timestamp> {
        match self.proof {
            Proof::Proven { at, .. } if at >= oldest => Some(at),
            Proof::Proven { .. }
            | Proof::Pending
            | Proof::Doubtful { .. }
            | Proof::Broken { .. } => None,
        }
    }

    /// When it last proved itself, if an Execution may be given to it now.
    pub fn ready(&self, oldest: Timestamp) -> Option<Timestamp> {
        self.proven(oldest)
            .filter(|_| self.is_free() && self.seat.is_some())
    }
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
}
