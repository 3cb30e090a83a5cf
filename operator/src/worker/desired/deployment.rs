//! The Deployment of a Worker: its pods, where they go, and how a new version takes over.
//!
//! Spread is a rule, not a wish: a replica that cannot be placed by it waits, and says so, rather
//! than stand where the next lost zone takes too many. Each version is spread by itself
//! (`matchLabelKeys`), so that a rollout needs room for `surge` more pods, and no zone or node more.

use std::collections::BTreeMap;

use crds::{
    Worker,
    scalar::Amount,
    tenant::Runtime,
    well_known::{
        GVISOR_RUNTIME_CLASS, ROLE_LABEL, ROLE_WORKER, SANDBOX_SERVICE_ACCOUNT, WORKER_LABEL,
        ZONE_LABEL,
    },
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Affinity, Container, ExecAction, PodSpec, PodTemplateSpec, Probe, Toleration,
            TopologySpreadConstraint,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::config::{self, PLACES};
use crate::{
    digest, meta, names,
    probe::pod::{as_nobody, confined},
    supervised::{
        self, CONFIG_OPTION, ENTRYPOINT, bringer, host_address, in_memory, mount, resources,
    },
    worker::validate::ValidWorker,
    world::facts::REVISION_LABEL,
};

/// How long a pod stays bound to a node that is lost: less, and a hiccup moves it; more, and a lost
/// zone is acted on late. Kubernetes' own default is five minutes.
const TOLERATION_SECONDS: i64 = 5;
/// How long a new version may take to come up, each replica from the last one on.
const PROGRESS_SECONDS: i32 = 120;
/// Between two looks at whether a replica is ready.
const READY_SECONDS: i32 = 5;
/// How long the supervisor may take to say so; under gVisor a process takes its time to start.
const READY_TIMEOUT_SECONDS: i32 = 3;
/// Looks in a row that find it is not, before it counts as not ready.
const READY_FAILURES: i32 = 2;
/// From the end of the command's grace to the kill of the supervisor.
const FAREWELL_SECONDS: i64 = 5;
/// Versions that are kept to go back to: none is gone back to but by the spec.
const HISTORY: i32 = 2;
/// Label that tells the pods of one version from those of another, by the Deployment's controller.
const HASH_LABEL: &str = "pod-template-hash";
/// Label of a node by which it is told from all others.
const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// Labels that all its pods carry, and nothing else.
pub fn selector(valid: &ValidWorker) -> LabelSelector {
    let labels = [
        (ROLE_LABEL, ROLE_WORKER),
        (WORKER_LABEL, valid.name.as_str()),
    ];
    LabelSelector {
        match_labels: Some(
            labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        ),
        match_expressions: None,
    }
}

/// Metadata of what a Worker is made of.
pub fn child(valid: &ValidWorker) -> ObjectMeta {
    let mut labels = valid.tenant.labels();
    labels.insert(WORKER_LABEL.to_owned(), valid.name.clone());
    ObjectMeta {
        name: Some(names::worker(&valid.name)),
        namespace: Some(valid.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![meta::controller::<Worker>(&valid.name, valid.uid)]),
        ..ObjectMeta::default()
    }
}

/// Fingerprint of what its pods are made from.
pub fn revision(deployment: &Deployment) -> &str {
    let spec = deployment.spec.as_ref();
    let labels = spec.and_then(|spec| spec.template.metadata.as_ref()?.labels.as_ref());
    let revision = labels.and_then(|labels| labels.get(REVISION_LABEL));
    revision.map(String::as_str).unwrap_or_default()
}

/// The same with another number of pods.
pub fn with_replicas(mut deployment: Deployment, replicas: i32) -> Deployment {
    if let Some(spec) = &mut deployment.spec {
        spec.replicas = Some(replicas);
    }
    deployment
}

/// The Deployment.
///
/// The addresses of the API server come and go, and pods that run need no other for it: what they
/// were told is kept while one of those is still there, and nothing else has changed.
pub fn deployment(valid: &ValidWorker) -> Deployment {
    let now = config::api_servers(&valid.cluster);
    let fresh = made(valid, &now);
    let Some(live) = valid.deployment() else {
        return fresh;
    };
    let told = &live.api_servers;
    if *told == now || !told.iter().any(|one| valid.cluster.has_api_server(one)) {
        return fresh;
    }
    let kept = made(valid, told);
    if revision(&kept) == &*live.revision {
        kept
    } else {
        fresh
    }
}

fn made(valid: &ValidWorker, api_servers: &[String]) -> Deployment {
    let terms = &valid.terms;
    let pod = pod(valid, api_servers);
    let mut labels = valid.tenant.labels();
    labels.extend(selector(valid).match_labels.unwrap_or_default());
    labels.insert(
        REVISION_LABEL.to_owned(),
        digest::of(&(&labels, &pod))[..16].to_owned(),
    );
    Deployment {
        metadata: child(valid),
        spec: Some(DeploymentSpec {
            progress_deadline_seconds: Some(PROGRESS_SECONDS),
            replicas: Some(terms.replicas),
            revision_history_limit: Some(HISTORY),
            selector: selector(valid),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(terms.surge)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn pod(valid: &ValidWorker, api_servers: &[String]) -> PodSpec {
    let ValidWorker {
        terms,
        confinement,
        supervisor,
        by_image_volume,
        ..
    } = valid;
    let gvisor = confinement.runtime == Runtime::GVisor;
    let scratch = terms.resources[2].to_string();
    let grace = i64::try_from(terms.grace.as_secs()).unwrap_or(i64::MAX);
    PodSpec {
        affinity: places(valid),
        automount_service_account_token: Some(false),
        containers: vec![container(valid, api_servers)],
        enable_service_links: Some(false),
        host_users: (confinement.user_namespace && !gvisor).then_some(false),
        init_containers: (!by_image_volume).then(|| vec![bringer(supervisor)]),
        runtime_class_name: gvisor.then(|| GVISOR_RUNTIME_CLASS.to_owned()),
        security_context: Some(as_nobody()),
        service_account_name: Some(SANDBOX_SERVICE_ACCOUNT.to_owned()),
        termination_grace_period_seconds: Some(grace.saturating_add(FAREWELL_SECONDS)),
        tolerations: Some(tolerations()),
        topology_spread_constraints: Some(spread(valid)),
        volumes: Some(vec![
            supervised::supervisor(supervisor, *by_image_volume),
            in_memory("work", &scratch),
            in_memory("tmp", &scratch),
        ]),
        ..PodSpec::default()
    }
}

fn container(valid: &ValidWorker, api_servers: &[String]) -> Container {
    let [cpu, memory, _] = valid.terms.resources.each_ref().map(Amount::to_string);
    // One that is too long is no Worker that is kept; see `validate`.
    let config = config::argument(valid, api_servers).unwrap_or_default();
    let mounts = ["supervisor", "work", "tmp"].into_iter().zip(PLACES);
    Container {
        name: "worker".to_owned(),
        image: Some(valid.terms.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec![ENTRYPOINT.to_owned()]),
        args: Some(vec!["work".to_owned(), CONFIG_OPTION.to_owned(), config]),
        env: Some(vec![host_address()]),
        readiness_probe: Some(Probe {
            exec: Some(ExecAction {
                command: Some(vec![ENTRYPOINT.to_owned(), "ready".to_owned()]),
            }),
            period_seconds: Some(READY_SECONDS),
            timeout_seconds: Some(READY_TIMEOUT_SECONDS),
            failure_threshold: Some(READY_FAILURES),
            ..Probe::default()
        }),
        resources: Some(resources(&cpu, &memory)),
        security_context: Some(confined()),
        volume_mounts: Some(
            mounts
                .map(|(name, (path, writable))| mount(name, path, !writable))
                .collect(),
        ),
        working_dir: Some("/".to_owned()),
        ..Container::default()
    }
}

/// Nodes that the residency allows, and of them those in zones that were named.
fn places(valid: &ValidWorker) -> Option<Affinity> {
    let (regions, allowed) = valid
        .residency
        .as_ref()
        .map_or((&[][..], &[][..]), |place| {
            (place.regions.as_slice(), place.zones.as_slice())
        });
    let named = valid.terms.zone_names.as_slice();
    supervised::places(regions, if named.is_empty() { allowed } else { named })
}

fn tolerations() -> Vec<Toleration> {
    [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ]
    .map(|key| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(TOLERATION_SECONDS),
        ..Toleration::default()
    })
    .into()
}

/// Over zones, then over nodes. A zone of which all nodes are tainted, because it is lost, still
/// counts as one: what it had is not piled up in the others. A node that is drained does not count,
/// so that its zone's others can take what it had.
fn spread(valid: &ValidWorker) -> Vec<TopologySpreadConstraint> {
    let over = |key: &str, taints: &str, least: Option<i32>| TopologySpreadConstraint {
        label_selector: Some(selector(valid)),
        match_label_keys: Some(vec![HASH_LABEL.to_owned()]),
        max_skew: 1,
        min_domains: least,
        node_affinity_policy: Some("Honor".to_owned()),
        node_taints_policy: Some(taints.to_owned()),
        topology_key: key.to_owned(),
        when_unsatisfiable: "DoNotSchedule".to_owned(),
    };
    vec![
        over(ZONE_LABEL, "Ignore", Some(valid.terms.zones)),
        over(HOSTNAME_LABEL, "Honor", None),
    ]
}

/// The selector as text, for who reads it from the status.
pub fn selector_text(worker: &str) -> String {
    let labels: BTreeMap<_, _> = [(ROLE_LABEL, ROLE_WORKER), (WORKER_LABEL, worker)].into();
    let pairs = labels.iter().map(|(key, value)| format!("{key}={value}"));
    pairs.collect::<Vec<_>>().join(",")
}
