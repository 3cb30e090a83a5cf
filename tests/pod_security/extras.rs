//! One refusal per extra, each a single change to a pod that is admitted, and what must go
//! on working next to them.

use http::Method;
use serde_json::{Value, json};
use tests::server::{Patch, Scratch, assert_accepted, assert_refused, eventually, unique};

use super::conforming;

/// A test: the conforming pod with one value changed is refused with these words.
macro_rules! refuses {
    ($($(#[$meta:meta])* $name:ident: $pointer:literal = $value:tt, $words:expr;)+) => {$(
        $(#[$meta])*
        #[tokio::test]
        async fn $name() {
            refused_with($pointer, &json!($value), &$words).await;
        }
    )+};
}

async fn refused_with(pointer: &str, value: &Value, words: &[&str]) {
    Scratch::run(async |scratch| {
        let pod = conforming(&scratch.namespace);
        assert_accepted(&scratch.admin.dry_run(&pod).await);
        let changed = set(&pod, pointer, value);
        let words: Vec<&str> = [&["'cloister-pods'"], words].concat();
        assert_refused(&scratch.admin.dry_run(&changed).await, &words);
    })
    .await;
}

/// The pod with the value at a path, which is made where it is not there. Null takes away.
fn set(pod: &Value, pointer: &str, value: &Value) -> Value {
    let mut pod = pod.clone();
    let mut place = &mut pod;
    for key in pointer.split('/').skip(1) {
        place = match key.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[key],
        };
    }
    *place = value.clone();
    pod
}

refuses! {
    rejects_the_root_group: "/spec/securityContext/runAsGroup" = 0,
        ["securityContext.runAsGroup:", "containers: main"];
    rejects_a_group_that_the_image_decides: "/spec/securityContext/runAsGroup" = null,
        ["securityContext.runAsGroup:"];
    rejects_the_root_group_on_one_container:
        "/spec/containers/0/securityContext/runAsGroup" = 0, ["securityContext.runAsGroup:"];
    rejects_the_root_group_as_supplemental_group:
        "/spec/securityContext/supplementalGroups" = [1000, 0], ["supplementalGroups"];
    rejects_the_root_group_as_owner_of_volumes: "/spec/securityContext/fsGroup" = 0,
        ["fsGroup"];
    rejects_a_writable_root:
        "/spec/containers/0/securityContext/readOnlyRootFilesystem" = false,
        ["securityContext.readOnlyRootFilesystem:", "containers: main"];
    rejects_a_root_that_is_writable_by_default:
        "/spec/containers/0/securityContext/readOnlyRootFilesystem" = null,
        ["securityContext.readOnlyRootFilesystem:"];
    rejects_a_mounted_token: "/spec/automountServiceAccountToken" = true,
        ["spec.automountServiceAccountToken:"];
    rejects_a_token_that_is_mounted_by_default: "/spec/automountServiceAccountToken" = null,
        ["spec.automountServiceAccountToken:"];
    rejects_the_users_of_the_node: "/spec/hostUsers" = true, ["spec.hostUsers:"];
    rejects_the_users_of_the_node_by_default: "/spec/hostUsers" = null, ["spec.hostUsers:"];
    rejects_a_container_without_cpu_limit:
        "/spec/containers/0/resources/limits" = {"memory": "32Mi"},
        ["resources.limits:", "containers: main"];
    rejects_a_container_without_memory_limit:
        "/spec/containers/0/resources/limits" = {"cpu": "1"}, ["resources.limits:"];
    rejects_a_cpu_limit_that_is_none:
        "/spec/containers/0/resources/limits" = {"cpu": "0", "memory": "32Mi"}, ["resources.limits:"];
    rejects_a_memory_limit_that_is_none:
        "/spec/containers/0/resources/limits" = {"cpu": "1", "memory": "0"}, ["resources.limits:"];
    rejects_a_pod_that_names_its_node: "/spec/nodeName" = "somewhere", ["spec.nodeName:"];
    rejects_a_shared_process_namespace: "/spec/shareProcessNamespace" = true,
        ["spec.shareProcessNamespace:"];
    rejects_a_scheduler_of_its_own: "/spec/schedulerName" = "mine", ["spec.schedulerName:"];
    rejects_a_priority_of_the_cluster: "/spec/priorityClassName" = "system-node-critical",
        ["spec.priorityClassName:"];
    rejects_the_priority_of_probes: "/spec/priorityClassName" = "cloister-probe",
        ["spec.priorityClassName:", "which no quota counts"];
    rejects_a_pod_that_tolerates_everything: "/spec/tolerations" = [{"operator": "Exists"}],
        ["spec.tolerations:"];
    rejects_a_pod_for_the_nodes_of_the_control_plane: "/spec/tolerations" = [{
            "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule",
        }], ["spec.tolerations:", "remove: node-role.kubernetes.io/control-plane:NoSchedule"];
    rejects_a_pod_for_the_nodes_of_somebody_else: "/spec/tolerations" = [{
            "key": "dedicated", "operator": "Equal", "value": "payments", "effect": "NoSchedule",
        }], ["spec.tolerations:", "remove: dedicated:NoSchedule"];
    rejects_a_pod_for_nodes_whose_network_is_not_up: "/spec/tolerations" = [{
            "key": "node.kubernetes.io/network-unavailable", "operator": "Exists",
            "effect": "NoSchedule",
        }], ["spec.tolerations:", "remove: node.kubernetes.io/network-unavailable:NoSchedule"];
    rejects_a_pod_that_cordons_and_lost_nodes_do_not_stop: "/spec/tolerations" = [{
            "key": "node.kubernetes.io/not-ready", "operator": "Exists",
        }], ["spec.tolerations:", "remove: node.kubernetes.io/not-ready:"];
    rejects_a_token_for_the_api_server: "/spec/volumes" = [{
            "name": "token",
            "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
        }], ["spec.volumes:", "cloister-dispatch"];
    rejects_a_token_for_somebody_else: "/spec/volumes" = [{
            "name": "token",
            "projected": {"sources": [
                {"serviceAccountToken": {"path": "a", "audience": "cloister-dispatch"}},
                {"serviceAccountToken": {"path": "b", "audience": "vault"}},
            ]},
        }], ["spec.volumes:", "cloister-dispatch"];
    rejects_an_init_container_without_any_of_it: "/spec/initContainers" = [{
            "name": "first", "image": "x",
            "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            },
        }], ["securityContext.readOnlyRootFilesystem:", "containers: first"];
}

#[tokio::test]
async fn rejects_a_foreign_service_account() {
    Scratch::run(async |scratch| {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "foreign", "namespace": scratch.namespace},
        });
        assert_accepted(&scratch.admin.create(&account).await);
        let pod = conforming(&scratch.namespace);
        let foreign = set(&pod, "/spec/serviceAccountName", &json!("foreign"));
        assert_refused(
            &scratch.admin.dry_run(&foreign).await,
            &["spec.serviceAccountName:"],
        );
    })
    .await;
}

/// The first two of them the API server adds where they are not said.
#[tokio::test]
async fn accepts_the_tolerations_that_kubernetes_itself_adds() {
    Scratch::run(async |scratch| {
        let pod = conforming(&scratch.namespace);
        let added = scratch.admin.dry_run(&pod).await.unwrap();
        let tolerations = added["spec"]["tolerations"].as_array();
        assert_eq!(tolerations.map(Vec::len), Some(2), "{added}");
        let pressure = json!([{
            "key": "node.kubernetes.io/memory-pressure", "operator": "Exists",
            "effect": "NoSchedule",
        }]);
        let pod = set(&pod, "/spec/tolerations", &pressure);
        assert_accepted(&scratch.admin.dry_run(&pod).await);
    })
    .await;
}

#[tokio::test]
async fn accepts_the_token_that_a_sandbox_shows_the_operator() {
    Scratch::run(async |scratch| {
        let volume = json!([{
            "name": "token",
            "projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "audience": "cloister-dispatch"}},
            ]},
        }]);
        let pod = set(&conforming(&scratch.namespace), "/spec/volumes", &volume);
        assert_accepted(&scratch.admin.dry_run(&pod).await);
    })
    .await;
}

#[tokio::test]
async fn rejects_whatever_enters_a_running_pod() {
    Scratch::run(async |scratch| {
        let pod = conforming(&scratch.namespace);
        assert_accepted(&scratch.admin.create(&pod).await);
        let change = json!({"spec": {"ephemeralContainers": [{
            "name": "debug", "image": "x",
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
        }]}});
        let answer = scratch
            .admin
            .patch_subresource(&pod, "ephemeralcontainers", Patch::Merge, &change)
            .await;
        assert_refused(&answer, &["'cloister-pods'", "spec.ephemeralContainers:"]);
    })
    .await;
}

#[tokio::test]
async fn rejects_another_runtime_where_gvisor_is_asked_for() {
    Scratch::run(async |scratch| {
        let pod = conforming(&scratch.namespace);
        scratch.annotate("cloister.dev/runtime", "GVisor").await;
        eventually(async || match scratch.admin.dry_run(&pod).await {
            Err(refusal) if refusal.message.contains("spec.runtimeClassName:") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        // gVisor has no user namespaces, so hostUsers may be absent with it. A cluster
        // without the RuntimeClass refuses the pod for that, after policies are through.
        let gvisor = set(&pod, "/spec/runtimeClassName", &json!("gvisor"));
        let gvisor = set(&gvisor, "/spec/hostUsers", &Value::Null);
        if let Err(refusal) = scratch.admin.dry_run(&gvisor).await {
            assert!(
                refusal
                    .message
                    .contains("RuntimeClass \"gvisor\" not found"),
                "{refusal}"
            );
        }
        scratch.annotate("cloister.dev/runtime", "Unheard-of").await;
        eventually(async || match scratch.admin.dry_run(&pod).await {
            Err(refusal) if refusal.message.contains("is: Unheard-of") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn rejects_a_runtime_class_where_none_is_asked_for() {
    Scratch::run(async |scratch| {
        // One that there is: of one that there is not, the API server says that first.
        let name = unique("class");
        let class = json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "runc",
            "metadata": {"name": name},
        });
        let classes = "/apis/node.k8s.io/v1/runtimeclasses";
        let (content, admin) = ("application/json", &scratch.admin);
        assert_accepted(&admin.send(Method::POST, classes, content, &class).await);
        let pod = conforming(&scratch.namespace);
        let pod = set(&pod, "/spec/runtimeClassName", &json!(name));
        let answer = admin.dry_run(&pod).await;
        let path = format!("{classes}/{name}");
        assert_accepted(
            &admin
                .send(Method::DELETE, &path, content, &Value::Null)
                .await,
        );
        assert_refused(&answer, &["spec.runtimeClassName:", "it is: Hardened"]);
    })
    .await;
}

/// A pod pinned by a node affinity with these terms.
fn pinned(pod: &Value, terms: &Value) -> Value {
    set(
        pod,
        "/spec/affinity",
        &json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": terms,
        }}}),
    )
}

fn term(key: &str, operator: &str, values: &[&str]) -> Value {
    if values.is_empty() {
        json!({"matchExpressions": [{"key": key, "operator": operator}]})
    } else {
        json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
    }
}

#[tokio::test]
async fn rejects_a_pod_that_could_run_in_another_region() {
    const REGION: &str = "topology.kubernetes.io/region";
    Scratch::run(async |scratch| {
        let pod = conforming(&scratch.namespace);
        scratch.annotate("cloister.dev/regions", "eu-1,eu-2").await;
        eventually(async || match scratch.admin.dry_run(&pod).await {
            Err(refusal) if refusal.message.contains("namespace: eu-1,eu-2") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        let inside = term(REGION, "In", &["eu-1", "eu-2"]);
        let selected = |region| set(&pod, "/spec/nodeSelector", &json!({REGION: region}));
        for accepted in [
            selected("eu-2"),
            pinned(&pod, &json!([inside])),
            pinned(&pod, &json!([inside, term(REGION, "In", &["eu-2"])])),
        ] {
            assert_accepted(&scratch.admin.dry_run(&accepted).await);
        }
        for refused in [
            selected("us-1"),
            selected("eu-1,eu-2"),
            selected(""),
            pinned(&pod, &json!([term(REGION, "In", &["eu-1", "us-1"])])),
            pinned(&pod, &json!([term(REGION, "NotIn", &["us-1"])])),
            pinned(&pod, &json!([term(REGION, "Exists", &[])])),
            // Alternatives: one of them leads outside.
            pinned(
                &pod,
                &json!([inside, term("kubernetes.io/os", "In", &["linux"])]),
            ),
            pinned(
                &pod,
                &json!([inside, {"matchFields": [
                    {"key": "metadata.name", "operator": "In", "values": ["somewhere"]},
                ]}]),
            ),
        ] {
            let answer = scratch.admin.dry_run(&refused).await;
            assert!(answer.is_err(), "must be refused: {refused}");
        }
    })
    .await;
}

#[tokio::test]
async fn rejects_a_pod_that_could_run_in_another_zone() {
    const ZONE: &str = "topology.kubernetes.io/zone";
    Scratch::run(async |scratch| {
        let pod = conforming(&scratch.namespace);
        scratch.annotate("cloister.dev/zones", "zone-a").await;
        let elsewhere = set(&pod, "/spec/nodeSelector", &json!({ZONE: "zone-b"}));
        eventually(async || match scratch.admin.dry_run(&elsewhere).await {
            Err(refusal) if refusal.message.contains(ZONE) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        let inside = set(&pod, "/spec/nodeSelector", &json!({ZONE: "zone-a"}));
        assert_accepted(&scratch.admin.dry_run(&inside).await);
    })
    .await;
}

#[tokio::test]
async fn rejects_every_pod_where_the_namespace_says_nothing_of_residency() {
    Scratch::run(async |scratch| {
        let pod = conforming(&scratch.namespace);
        for value in ["", " ", ","] {
            scratch.annotate("cloister.dev/regions", value).await;
            eventually(async || match scratch.admin.dry_run(&pod).await {
                Err(refusal) if refusal.message.contains("spec.nodeSelector:") => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        }
    })
    .await;
}

/// A suspended tenant: nothing new starts, and nothing that is there gets stuck.
#[tokio::test]
async fn nothing_starts_in_a_suspended_tenant_and_nothing_gets_stuck() {
    Scratch::run(async |scratch| {
        let mut pod = conforming(&scratch.namespace);
        pod["metadata"]["finalizers"] = json!(["cloister.dev/test"]);
        assert_accepted(&scratch.admin.create(&pod).await);
        scratch.label("cloister.dev/state", "Suspended").await;
        // Tightened afterwards as well: a pod that is there keeps its right to end.
        scratch.annotate("cloister.dev/regions", "elsewhere").await;
        let another = set(
            &conforming(&scratch.namespace),
            "/metadata/name",
            &json!("another"),
        );
        eventually(async || match scratch.admin.dry_run(&another).await {
            Err(refusal) if refusal.message.contains("not Active") => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        let label = json!({"metadata": {"labels": {"seen": "yes"}}});
        assert_accepted(&scratch.admin.patch(&pod, Patch::Merge, &label).await);
        let status = json!({"status": {"reason": "test"}});
        let answer = scratch
            .admin
            .patch_subresource(&pod, "status", Patch::Merge, &status)
            .await;
        assert_accepted(&answer);
        assert_accepted(&scratch.admin.delete(&pod).await);
        let released = json!({"metadata": {"finalizers": null}});
        assert_accepted(&scratch.admin.patch(&pod, Patch::Merge, &released).await);
        eventually(async || match scratch.admin.get(&pod).await {
            Err(refusal) if refusal.code == 404 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    })
    .await;
}
