//! A pod of a Worker, where it may go, and what else is made for it has in common.
//!
//! Spread is a rule, not a wish: a replica that cannot be placed by it waits, and says so, rather
//! than stand where the next lost zone takes too many. Of a Deployment, each version is spread by
//! itself (`matchLabelKeys`), so that a rollout needs room for `surge` more pods, and no zone or node
//! more. Of a `StatefulSet`, each replica is replaced where it is.

use std::collections::BTreeMap;

use crds::{
    Worker, digest,
    scalar::Amount,
    tenant::Runtime,
    well_known::{
        GVISOR_RUNTIME_CLASS, ROLE_LABEL, ROLE_WORKER, SANDBOX_SERVICE_ACCOUNT, WORKER_LABEL,
        ZONE_LABEL,
    },
};
use k8s_openapi::{
    api::core::v1::{
        Affinity, Container, ExecAction, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
        TopologySpreadConstraint,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use super::config::{self, ENTRYPOINT, SUPERVISOR};
use crate::{
    meta, names,
    probe::pod::{NOBODY, as_nobody, confined},
    supervised::{
        self, CONFIG_OPTION, TMP, WORK, bringer, host_address, in_memory, mount, resources,
    },
    worker::validate::ValidWorker,
    world::facts::{REVISION_LABEL, SUPERVISED},
};

/// Between two looks at whether a replica is ready.
const READY_SECONDS: i32 = 5;
/// How long the supervisor may take to say so; under gVisor a process takes its time to start.
const READY_TIMEOUT_SECONDS: i32 = 3;
/// Looks in a row that find it is not, before it counts as not ready.
const READY_FAILURES: i32 = 2;
/// From the end of the command's grace to the kill of the supervisor.
const FAREWELL_SECONDS: i64 = 5;
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

/// What the pods are made from, under a label that says what that is.
pub fn template(valid: &ValidWorker, api_servers: &[String]) -> PodTemplateSpec {
    let pod = pod(valid, api_servers);
    let mut labels = valid.tenant.labels();
    labels.extend(selector(valid).match_labels.unwrap_or_default());
    labels.insert(
        REVISION_LABEL.to_owned(),
        digest::of(&(&labels, &pod))[..16].to_owned(),
    );
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            ..ObjectMeta::default()
        }),
        spec: Some(pod),
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
    let [cpu, _, scratch] = terms.resources.each_ref().map(Amount::to_string);
    let grace = i64::try_from(terms.grace.as_secs()).unwrap_or(i64::MAX);
    PodSpec {
        affinity: places(valid),
        automount_service_account_token: Some(false),
        containers: vec![container(valid, api_servers)],
        enable_service_links: Some(false),
        host_users: (confinement.user_namespace && !gvisor).then_some(false),
        init_containers: (!by_image_volume).then(|| vec![bringer(supervisor, SUPERVISOR, &cpu)]),
        runtime_class_name: gvisor.then(|| GVISOR_RUNTIME_CLASS.to_owned()),
        security_context: Some(nobody(valid)),
        service_account_name: Some(SANDBOX_SERVICE_ACCOUNT.to_owned()),
        termination_grace_period_seconds: Some(grace.saturating_add(FAREWELL_SECONDS)),
        tolerations: Some(supervised::short_tolerations()),
        topology_spread_constraints: Some(spread(valid)),
        volumes: Some(vec![
            supervised::supervisor(supervisor, *by_image_volume),
            in_memory("work", &scratch),
            in_memory("tmp", &scratch),
        ]),
        ..PodSpec::default()
    }
}

/// As whom it runs. Volumes are made its group's as they are mounted, but for those that are so
/// already: a large one takes its time.
fn nobody(valid: &ValidWorker) -> PodSecurityContext {
    let lasts = !valid.terms.volumes.is_empty();
    PodSecurityContext {
        fs_group: lasts.then_some(NOBODY),
        fs_group_change_policy: lasts.then(|| "OnRootMismatch".to_owned()),
        ..as_nobody()
    }
}

fn container(valid: &ValidWorker, api_servers: &[String]) -> Container {
    let [cpu, memory, _] = valid.terms.resources.each_ref().map(Amount::to_string);
    // One that is too long is no Worker that is kept; see `validate`.
    let config = config::argument(valid, api_servers).unwrap_or_default();
    let mounts = [
        mount("supervisor", SUPERVISOR, true),
        mount("work", WORK, false),
        mount("tmp", TMP, false),
    ];
    let volumes = &valid.terms.volumes;
    let of_volumes = volumes.iter().map(|one| mount(&one.name, &one.path, false));
    Container {
        name: SUPERVISED.to_owned(),
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
        volume_mounts: Some(mounts.into_iter().chain(of_volumes).collect()),
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

/// Over zones, then over nodes. A zone of which all nodes are tainted, because it is lost, still
/// counts as one: what it had is not piled up in the others. A node that is drained does not count,
/// so that its zone's others can take what it had.
fn spread(valid: &ValidWorker) -> Vec<TopologySpreadConstraint> {
    let each_version = valid.terms.volumes.is_empty();
    let over = |key: &str, taints: &str, least: Option<i32>| TopologySpreadConstraint {
        label_selector: Some(selector(valid)),
        match_label_keys: each_version.then(|| vec![HASH_LABEL.to_owned()]),
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
