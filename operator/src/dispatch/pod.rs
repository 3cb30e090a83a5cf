//! The sandbox pod: the user's image behind Cloister's supervisor. Pure.
//!
//! It knows nothing of any run: what to run it is told in its session, once it has proven
//! itself. So whatever of an Integration is not said here can change without a new pod.

use std::{collections::BTreeSet, sync::Arc};

use contract::{
    ProbeRequest,
    serve::{SERVE_VERSION, ServeConfig},
};
use crds::{
    Integration, digest,
    scalar::Amount,
    tenant::{Residency, Runtime},
    well_known::{
        DISPATCH, DISPATCH_AUDIENCE, DISPATCH_PORT, GVISOR_RUNTIME_CLASS, INTEGRATION_LABEL,
        ROLE_LABEL, ROLE_SANDBOX, SANDBOX_SERVICE_ACCOUNT, SYSTEM_NAMESPACE,
    },
};
use k8s_openapi::{
    api::core::v1::{
        Container, Pod, PodSecurityContext, PodSpec, ProjectedVolumeSource,
        ServiceAccountTokenProjection, Volume, VolumeProjection,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Serialize;

use super::{
    line::{Key, Terms},
    placement::affinity,
    sandbox::MOLD_ANNOTATION,
};
use crate::{
    meta::{self, Owner},
    names,
    probe::{
        Confinement, Place,
        pod::{NOBODY, as_nobody, confined},
    },
    supervised::{
        self, CONFIG_OPTION, ENTRYPOINT, SUPERVISOR, TMP, WORK, bringer, in_memory, mount,
        resources,
    },
    world::facts::Uid,
};

/// Where the token lies. No command may read below it.
pub const TOKEN: &str = "/run/cloister";

/// Where something is mounted for a sandbox. Whatever else it finds mounted, it is not one.
pub const PLACES: [Place; 4] = [
    (SUPERVISOR, false),
    (TOKEN, false),
    (WORK, true),
    (TMP, true),
];

/// How long a token is good for. The kubelet renews it when a fifth of that is left.
const TOKEN_SECONDS: i64 = 3600;
/// Between two looks of a sandbox that waits.
pub const PROOF_INTERVAL_MS: u32 = 30_000;

/// How long a command may go on without the operator where another attempt may follow. A leader
/// that is lost is replaced within 10 s, and dialled within 2 s more.
pub const FENCE_MS: u32 = 25_000;

/// Everything that sandboxes of one Integration have in common, and that a sandbox cannot
/// change in its life. One of another mold is not used any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mold {
    /// The user's image.
    pub image: String,
    /// Image of the supervisor.
    pub supervisor: String,
    /// Whether that comes by an image volume, or else by an init container.
    pub image_volumes: bool,
    /// Whom the sandbox believes to be the operator.
    pub authorities: String,
    /// Cores, bytes, bytes of a writable directory.
    pub resources: [String; 3],
    /// On gVisor's kernel.
    pub gvisor: bool,
    /// In a user namespace of its own.
    pub user_namespace: bool,
    /// Regions and zones.
    pub residency: Option<(Vec<String>, Vec<String>)>,
    /// Milliseconds after which it ends its command where it is cut off, so that another attempt
    /// may begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence_ms: Option<u32>,
    /// Identity and generation of the policy that opens the Integration's egress. It is no part
    /// of the pod; but what a sandbox has proven under one, it has not under another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// How this operator makes sandboxes, whomever for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workshop {
    /// Image of the supervisor.
    pub supervisor: String,
    /// Whether that comes by an image volume, or else by an init container.
    pub image_volumes: bool,
    /// Certificates of the operator's authorities, PEM.
    pub authorities: String,
    /// Whether nodes can give a pod a user namespace of its own.
    pub user_namespaces: bool,
}

impl Mold {
    /// What a sandbox of these terms is made from.
    pub fn of(
        workshop: &Workshop,
        terms: &Terms,
        confinement: Confinement,
        residency: Option<&Residency>,
        policy: Option<String>,
    ) -> Self {
        let Terms {
            image,
            cpu,
            memory,
            scratch,
            ..
        } = terms;
        let gvisor = confinement.runtime == Runtime::GVisor;
        // gVisor brings its own, and refuses the node's.
        let user_namespace = confinement.user_namespace && !gvisor;
        Self {
            image: image.clone(),
            supervisor: workshop.supervisor.clone(),
            image_volumes: supervised::by_image_volume(workshop.image_volumes, user_namespace),
            authorities: workshop.authorities.clone(),
            resources: [cpu, memory, scratch].map(Amount::to_string),
            gvisor,
            user_namespace,
            residency: residency.map(|place| (place.regions.clone(), place.zones.clone())),
            fence_ms: (terms.retries > 0).then_some(FENCE_MS),
            policy,
        }
    }

    /// Its fingerprint.
    pub fn fingerprint(&self) -> String {
        digest::of(self)[..16].to_owned()
    }
}

/// One sandbox to be made.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The tenant.
    pub owner: &'a Owner,
    /// The Integration.
    pub line: &'a Key,
    /// Its identity.
    pub uid: Uid,
    /// What it is made from.
    pub mold: &'a Mold,
    /// What it looks at.
    pub probe: ProbeRequest,
    /// Tells it from every other of the Integration.
    pub tag: &'a str,
    /// Nodes that it had better not be placed on.
    pub avoid: &'a BTreeSet<Arc<str>>,
    /// Zones that it may not be placed in: Drills take them.
    pub lost: Option<&'a BTreeSet<Box<str>>>,
}

/// The pod.
pub fn pod(order: &Order<'_>) -> Pod {
    let mold = order.mold;
    let mut spec = PodSpec {
        affinity: affinity(mold.residency.as_ref(), order.avoid, order.lost),
        automount_service_account_token: Some(false),
        containers: vec![container(order)],
        enable_service_links: Some(false),
        host_users: mold.user_namespace.then_some(false),
        restart_policy: Some("Never".to_owned()),
        runtime_class_name: mold.gvisor.then(|| GVISOR_RUNTIME_CLASS.to_owned()),
        security_context: Some(PodSecurityContext {
            // The kubelet hands a token to a group; without one, only root could read it.
            fs_group: Some(NOBODY),
            ..as_nobody()
        }),
        service_account_name: Some(SANDBOX_SERVICE_ACCOUNT.to_owned()),
        termination_grace_period_seconds: Some(1),
        volumes: Some(volumes(mold)),
        ..PodSpec::default()
    };
    if !mold.image_volumes {
        spec.init_containers = Some(vec![bringer(
            &mold.supervisor,
            SUPERVISOR,
            &mold.resources[0],
        )]);
    }
    Pod {
        metadata: metadata(order),
        spec: Some(spec),
        status: None,
    }
}

fn metadata(order: &Order<'_>) -> ObjectMeta {
    let Order {
        owner,
        line,
        uid,
        mold,
        probe: _,
        tag,
        avoid: _,
        lost: _,
    } = order;
    let mut labels = owner.labels();
    labels.insert(ROLE_LABEL.to_owned(), ROLE_SANDBOX.to_owned());
    labels.insert(INTEGRATION_LABEL.to_owned(), line.name.to_string());
    ObjectMeta {
        name: Some(names::sandbox(&uid.to_string(), tag)),
        namespace: Some(line.namespace.to_string()),
        labels: Some(labels),
        annotations: Some([(MOLD_ANNOTATION.to_owned(), mold.fingerprint())].into()),
        owner_references: Some(vec![meta::controller::<Integration>(&line.name, *uid)]),
        ..ObjectMeta::default()
    }
}

fn container(order: &Order<'_>) -> Container {
    let mold = order.mold;
    let mut probe = order.probe.clone();
    probe.places = PLACES
        .map(|(path, writable)| contract::Place {
            path: path.to_owned(),
            writable,
            lasting: false,
        })
        .into();
    let config = ServeConfig {
        version: SERVE_VERSION,
        dispatch: format!("{DISPATCH}.{SYSTEM_NAMESPACE}.svc:{DISPATCH_PORT}"),
        authorities: mold.authorities.clone(),
        token: format!("{TOKEN}/token"),
        probe,
        probe_interval_ms: PROOF_INTERVAL_MS,
        processes: supervised::processes(mold.user_namespace),
        fence_ms: mold.fence_ms,
    };
    // Plain data; one that cannot be written would be refused by the supervisor.
    let config = serde_json::to_string(&config).unwrap_or_default();
    let [cpu, memory, _] = &mold.resources;
    Container {
        name: "sandbox".to_owned(),
        image: Some(mold.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec![ENTRYPOINT.to_owned()]),
        args: Some(vec!["serve".to_owned(), CONFIG_OPTION.to_owned(), config]),
        env: Some(vec![supervised::host_address()]),
        resources: Some(resources(cpu, memory)),
        security_context: Some(confined()),
        volume_mounts: Some(
            ["supervisor", "token", "work", "tmp"]
                .into_iter()
                .zip(PLACES)
                .map(|(name, (path, writable))| mount(name, path, !writable))
                .collect(),
        ),
        working_dir: Some("/".to_owned()),
        ..Container::default()
    }
}

fn volumes(mold: &Mold) -> Vec<Volume> {
    let scratch = &mold.resources[2];
    let token = Volume {
        name: "token".to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o440),
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(DISPATCH_AUDIENCE.to_owned()),
                    expiration_seconds: Some(TOKEN_SECONDS),
                    path: "token".to_owned(),
                }),
                ..VolumeProjection::default()
            }]),
        }),
        ..Volume::default()
    };
    vec![
        supervised::supervisor(&mold.supervisor, mold.image_volumes),
        token,
        in_memory("work", scratch),
        in_memory("tmp", scratch),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gatekeeper::{OPERATOR, refusals};

    fn made_from(mold: &Mold) -> Pod {
        made_but_for(mold, &BTreeSet::new())
    }

    fn made_but_for(mold: &Mold, avoid: &BTreeSet<Arc<str>>) -> Pod {
        let owner = Owner {
            tenant: "acme".to_owned(),
            uid: Uid::parse("00000000-0000-4000-8000-00000000000a"),
        };
        let probe = ProbeRequest {
            version: contract::VERSION,
            timeout_ms: 250,
            targets: vec![],
            places: vec![],
        };
        pod(&Order {
            owner: &owner,
            line: &Key::new("tenant-acme", "hello"),
            uid: Uid::parse("00000000-0000-4000-8000-00000000000b"),
            mold,
            probe,
            tag: "1",
            avoid,
            lost: None,
        })
    }

    fn plain() -> Mold {
        Mold {
            image: "localhost/cloister/examples:dev".to_owned(),
            supervisor: "localhost/cloister/sandbox:dev".to_owned(),
            image_volumes: true,
            authorities: String::new(),
            resources: ["500m", "256Mi", "64Mi"].map(ToOwned::to_owned),
            gvisor: false,
            user_namespace: true,
            residency: None,
            fence_ms: None,
            policy: None,
        }
    }

    #[test]
    fn nodes_are_avoided_where_there_are_others() {
        let silent: BTreeSet<Arc<str>> = ["node-a".into(), "node-b".into()].into();
        let affinity = json!(made_but_for(&plain(), &silent))["spec"]["affinity"].take();
        let wish =
            |name: &str| json!({"key": "metadata.name", "operator": "NotIn", "values": [name]});
        let wished = json!([{"weight": 100,
            "preference": {"matchFields": [wish("node-a"), wish("node-b")]}}]);
        let key = "preferredDuringSchedulingIgnoredDuringExecution";
        assert_eq!(affinity, json!({"nodeAffinity": {key: wished}}));
        assert_eq!(json!(made_from(&plain()))["spec"]["affinity"], json!(null));
    }

    /// What admission says to it in a tenant with this runtime and these regions.
    fn said(pod: &Pod, runtime: Runtime, regions: &str) -> Vec<String> {
        let annotations = json!({"cloister.dev/runtime": runtime.as_str(),
            "cloister.dev/regions": regions, "cloister.dev/zones": "*"});
        let labels = json!({"cloister.dev/tenant": "acme", "cloister.dev/state": "Active"});
        let request = json!({"operation": "CREATE", "userInfo": {"username": OPERATOR},
            "kind": {"kind": "Pod"}, "resource": {"resource": "pods"},
            "namespace": "tenant-acme", "name": pod.metadata.name});
        let context = json!({"request": request, "object": pod,
            "namespaceObject": {"metadata": {"labels": labels, "annotations": annotations}}});
        let policies = ["cloister-pods", "cloister-operator", "cloister-probes"];
        let said = policies.map(|policy| refusals(policy, &context));
        said.concat()
    }

    #[test]
    fn admission_accepts_every_sandbox_that_is_made_here() {
        let plain = plain();
        let on_gvisor = Mold {
            gvisor: true,
            user_namespace: false,
            ..plain.clone()
        };
        for (mold, runtime) in [
            (plain, Runtime::Hardened),
            (on_gvisor.clone(), Runtime::GVisor),
            // The Integration asks for more than the tenant does.
            (on_gvisor, Runtime::Hardened),
        ] {
            for image_volumes in [true, false] {
                let anywhere = Mold {
                    image_volumes,
                    ..mold.clone()
                };
                assert_eq!(said(&made_from(&anywhere), runtime, "*"), [""; 0]);
                let regions = vec!["local-1".to_owned()];
                let somewhere = Mold {
                    residency: Some((regions, vec![])),
                    ..anywhere
                };
                let made = made_but_for(&somewhere, &["node-a".into()].into());
                assert_eq!(said(&made, runtime, "local-1"), [""; 0]);
            }
        }
    }
}
