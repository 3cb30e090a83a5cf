//! Which rights the operator can hand out: those of members, and no other that it holds.

use serde_json::{Value, json};
use tests::{
    rights::{Members, cluster_role, cluster_role_binding},
    server::{Patch, Scratch, assert_accepted, assert_refused},
};

const REFUSED: &[&str] = &[
    "'cloister-operator'",
    "the operator of Cloister may write no",
];
const VIEW: &[&str] = &["get", "list", "watch"];

fn role_binding(scratch: &Scratch, name: &str, role: &str) -> Value {
    let group = "rbac.authorization.k8s.io";
    json!({
        "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": scratch.namespace},
        "subjects": [{"kind": "User", "apiGroup": group, "name": "mallory"}],
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
    })
}

#[tokio::test]
async fn accepts_the_operator_that_gives_members_their_rights() {
    Scratch::run(async |scratch| {
        let operator = scratch.admin.operator();
        let rights = Members::of(&scratch.tenant).rights(&scratch.tenant, &scratch.namespace);
        for object in &rights {
            assert_accepted(&operator.create(object).await);
        }
        for object in &rights {
            assert_accepted(&operator.delete(object).await);
        }
    })
    .await;
}

#[tokio::test]
async fn rejects_the_operator_that_makes_a_cluster_role_of_anything_else() {
    Scratch::run(async |scratch| {
        let operator = scratch.admin.operator();
        let name = format!("cloister:tenant:{}:view", scratch.tenant);
        let tenant = scratch.tenant.as_str();
        let good = cluster_role(&name, VIEW, &[tenant]);
        assert_accepted(&operator.dry_run(&good).await);
        let mut deletes_pods = good.clone();
        deletes_pods["rules"] =
            json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}]);
        let mut more = good.clone();
        more["rules"] = json!([good["rules"][0], deletes_pods["rules"][0]]);
        let mut empty = good.clone();
        empty["rules"] = json!([]);
        // All of it the operator holds, so that RBAC would let it.
        for object in [
            deletes_pods,
            more,
            empty,
            cluster_role(&name, VIEW, &[]),
            cluster_role(&name, VIEW, &["another"]),
            cluster_role(&name, &["get"], &[tenant]),
            cluster_role(
                &name,
                &["get", "list", "watch", "update", "patch"],
                &[tenant],
            ),
        ] {
            assert_refused(&operator.dry_run(&object).await, REFUSED);
        }
    })
    .await;
}

#[tokio::test]
async fn rejects_the_operator_that_binds_another_role() {
    Scratch::run(async |scratch| {
        let operator = scratch.admin.operator();
        let name = format!("cloister:tenant:{}:view", scratch.tenant);
        let mut its_own = cluster_role_binding(&name, &[]);
        its_own["roleRef"]["name"] = json!("cloister-operator");
        for object in [
            its_own,
            role_binding(scratch, "cloister-operator", "cloister-operator"),
            role_binding(scratch, "cloister-tenant-user", "cloister-operator"),
            role_binding(scratch, "cloister-tenant-user", "cloister-tenant-owner"),
            role_binding(scratch, "another", "cloister-tenant-user"),
        ] {
            assert_refused(&operator.dry_run(&object).await, REFUSED);
        }
        let users = role_binding(scratch, "cloister-tenant-user", "cloister-tenant-user");
        assert_accepted(&operator.create(&users).await);
        let harmless = json!({"metadata": {"labels": {"a": "b"}}});
        assert_accepted(&operator.patch(&users, Patch::Merge, &harmless).await);
    })
    .await;
}

#[tokio::test]
async fn rejects_the_operator_that_would_have_the_nodes() {
    Scratch::run(async |scratch| {
        let operator = scratch.admin.operator();
        let namespace = scratch.namespace_object();
        for labels in [
            json!({"pod-security.kubernetes.io/enforce": "privileged"}),
            json!({"pod-security.kubernetes.io/enforce": null}),
            json!({"pod-security.kubernetes.io/enforce-version": "v1.20"}),
        ] {
            let change = json!({"metadata": {"labels": labels}});
            let answer = operator.patch(&namespace, Patch::Merge, &change).await;
            assert_refused(&answer, REFUSED);
        }
        for (name, role) in [
            ("other", "probe"),
            ("cloister-probe-a", "other"),
            ("cloister-probe-a", "sandbox"),
            // Of no Integration.
            ("cloister-run-a", "sandbox"),
        ] {
            let labels = json!({"name": name, "labels": {"cloister.dev/role": role}});
            let pod = super::probes::pod(scratch, &labels);
            let answer = operator.dry_run(&pod).await;
            assert_refused(
                &answer,
                &["the operator of Cloister may make no pod but probes and sandboxes"],
            );
        }
        let harmless = json!({"metadata": {"labels": {"a": "b"}}});
        assert_accepted(&operator.patch(&namespace, Patch::Merge, &harmless).await);
    })
    .await;
}

#[tokio::test]
async fn rejects_the_operator_that_runs_what_no_schedule_asked_for() {
    Scratch::run(async |scratch| {
        let operator = scratch.admin.operator();
        let integration = super::integration(&scratch.namespace, "hello");
        let made = scratch.admin.create(&integration).await.unwrap_or_default();
        let mut good = super::execution(&scratch.namespace, "hello-0123456789ab");
        good["metadata"]["annotations"] =
            json!({"cloister.dev/scheduled-time": "2026-05-02T03:00:00Z"});
        good["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Integration", "name": "hello",
            "uid": made["metadata"]["uid"], "controller": true,
        }]);
        assert_accepted(&operator.dry_run(&good).await);
        for (pointer, value) in [
            ("/metadata/annotations", Value::Null),
            ("/metadata/ownerReferences", Value::Null),
            ("/metadata/ownerReferences/0/controller", json!(false)),
            ("/spec/integration", json!("another")),
            ("/spec/input", json!("{}")),
        ] {
            let answer = operator.dry_run(&super::set(&good, pointer, &value)).await;
            assert_refused(
                &answer,
                &["the operator of Cloister may create no Execution but of a schedule"],
            );
        }
    })
    .await;
}
