//! Who may change what of a Tenant: each role, by each way of writing.

use http::Method;
use serde_json::{Value, json};
use tests::rights::{cluster_role, cluster_role_binding};
use tests::server::{Answer, Patch, Scratch, Server, assert_accepted, assert_refused};

use super::cast::{Cast, members};

const OWNERS_ONLY: &[&str] = &[
    "spec.members",
    "only an Owner of the tenant",
    "ask one of the Owners",
];
const MEMBERS_ONLY: &[&str] = &["a member of the tenant may change spec.members and nothing else"];

#[track_caller]
fn all_refused(answers: &[(&str, Answer)], words: &[&str]) {
    for (way, answer) in answers {
        println!("by {way}");
        assert_refused(answer, words);
    }
}

#[track_caller]
fn all_accepted(answers: &[(&str, Answer)]) {
    for (way, answer) in answers {
        println!("by {way}");
        assert_accepted(answer);
    }
}

#[tokio::test]
async fn rejects_an_admin_who_changes_owners() {
    Cast::run(async |cast| {
        let other = ("mallory@example.com", "Owner");
        // Apply merges by member: one that is left out stays another manager's, so removal
        // is tried by the other three ways.
        all_refused(
            &cast.every_way(&cast.admin, &cast.with(&[other])).await,
            OWNERS_ONLY,
        );
        all_refused(
            &cast
                .every_way(&cast.admin, &cast.but("Admin", Some("Owner")))
                .await,
            OWNERS_ONLY,
        );
        let demoted = cast.but("Owner", Some("User"));
        let replaced = {
            let mut all = demoted.clone();
            if let (Some(all), Value::Array(more)) = (all.as_array_mut(), members(&[other])) {
                all.extend(more);
            }
            all
        };
        all_refused(&cast.every_way(&cast.admin, &replaced).await, OWNERS_ONLY);
        let mut without = cast.but("Owner", None);
        if let (Some(all), Value::Array(more)) = (without.as_array_mut(), members(&[other])) {
            all.extend(more);
        }
        all_refused(&cast.every_way(&cast.admin, &without).await, OWNERS_ONLY);
    })
    .await;
}

#[tokio::test]
async fn rejects_an_admin_who_goes_through_the_status() {
    Cast::run(async |cast| {
        let change = json!({"spec": {"members": cast.with(&[("mallory@example.com", "Owner")])}});
        for who in [&cast.owner, &cast.admin, &cast.user] {
            let answer = who
                .patch_subresource(&cast.object, "status", Patch::Merge, &change)
                .await;
            assert_refused(&answer, &["tenants/status", "forbidden"]);
        }
        // The operator may write there, and what it says of the spec is not heard.
        let answer = cast
            .operator
            .patch_subresource(&cast.object, "status", Patch::Merge, &change)
            .await;
        assert_accepted(&answer);
        let now = cast.root.get(&cast.object).await.unwrap();
        assert_eq!(now["spec"]["members"].as_array().map(Vec::len), Some(3));
    })
    .await;
}

/// Rights follow the spec a moment later; whoever was taken out must not put itself back.
#[tokio::test]
async fn rejects_an_admin_who_is_one_no_more_and_still_has_the_rights() {
    Cast::run(async |cast| {
        let demoted = cast.but("Admin", Some("User"));
        let change = json!({"spec": {"members": demoted}});
        assert_accepted(&cast.root.patch(&cast.object, Patch::Merge, &change).await);
        let back = cast.with(&[("new@example.com", "Admin")]);
        let (how, back) = (
            "application/merge-patch+json",
            json!({"spec": {"members": back}}),
        );
        let answer = cast.dry(&cast.admin, how, "", &back).await;
        assert_refused(&answer, &["neither Owner nor Admin of the tenant any more"]);
        assert_accepted(&cast.dry(&cast.owner, how, "", &back).await);
    })
    .await;
}

#[tokio::test]
async fn accepts_an_admin_who_manages_the_others() {
    Cast::run(async |cast| {
        for list in [
            cast.with(&[("new@example.com", "Admin"), ("newer@example.com", "User")]),
            cast.but("User", Some("Admin")),
            cast.but("User", None),
            cast.but("Admin", None),
        ] {
            all_accepted(&cast.every_way(&cast.admin, &list).await);
        }
    })
    .await;
}

#[tokio::test]
async fn accepts_an_owner_who_manages_owners() {
    Cast::run(async |cast| {
        let handed_over = {
            let mut list = cast.but("Owner", Some("User"));
            list[1]["role"] = json!("Owner");
            list
        };
        for list in [
            cast.with(&[("new@example.com", "Owner")]),
            cast.but("Admin", Some("Owner")),
            handed_over,
        ] {
            all_accepted(&cast.every_way(&cast.owner, &list).await);
        }
        let none_left = cast.but("Owner", Some("Admin"));
        let words = ["spec.members", "at least one member needs the role Owner"];
        all_refused(&cast.every_way(&cast.owner, &none_left).await, &words);
    })
    .await;
}

#[tokio::test]
async fn rejects_a_user_who_touches_members() {
    Cast::run(async |cast| {
        for list in [
            cast.with(&[("new@example.com", "User")]),
            cast.but("User", Some("Admin")),
            cast.but("User", None),
        ] {
            all_refused(&cast.every_way(&cast.user, &list).await, &["forbidden"]);
        }
        assert_accepted(&cast.user.get(&cast.object).await);
    })
    .await;
}

#[tokio::test]
async fn rejects_a_member_who_changes_anything_but_members() {
    Cast::run(async |cast| {
        for who in [&cast.owner, &cast.admin] {
            for (spec, field) in [
                (json!({"limits": {"pods": 9999}}), "spec.limits"),
                (
                    json!({"isolation": {"runtime": "GVisor"}}),
                    "spec.isolation",
                ),
                (
                    json!({"residency": {"regions": ["elsewhere"]}}),
                    "spec.residency",
                ),
                (
                    json!({"access": {"allowedDomains": ["example.com"]}}),
                    "spec.access",
                ),
                (json!({"state": "Suspended"}), "spec.state"),
                (json!({"deletionPolicy": "Retain"}), "spec.deletionPolicy"),
            ] {
                let change = json!({"spec": spec});
                let answer = cast
                    .dry(who, "application/merge-patch+json", "", &change)
                    .await;
                assert_refused(&answer, &[MEMBERS_ONLY, &[field]].concat());
            }
            for metadata in [
                json!({"labels": {"a": "b"}}),
                json!({"annotations": {"a": "b"}}),
                json!({"finalizers": ["example.com/stuck"]}),
                json!({"ownerReferences": [
                    {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x"},
                ]}),
            ] {
                let change = json!({"metadata": metadata});
                let answer = cast
                    .dry(who, "application/merge-patch+json", "", &change)
                    .await;
                assert_refused(&answer, MEMBERS_ONLY);
            }
            // What the next apply of somebody else would go by.
            let applied = json!({"metadata": {"annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            }}});
            assert_refused(
                &cast
                    .dry(who, "application/merge-patch+json", "", &applied)
                    .await,
                MEMBERS_ONLY,
            );
            assert_refused(&who.delete(&cast.object).await, &["forbidden"]);
        }
    })
    .await;
}

#[tokio::test]
async fn rejects_a_gitops_engine_that_changes_owners_and_nothing_else_of_it() {
    Cast::run(async |cast| {
        let owners = cast.with(&[("mallory@example.com", "Owner")]);
        all_refused(&cast.every_way(&cast.delivery, &owners).await, OWNERS_ONLY);
        let others = cast.with(&[("new@example.com", "Admin")]);
        all_accepted(&cast.every_way(&cast.delivery, &others).await);
        let change = json!({
            "metadata": {"labels": {"a": "b"}},
            "spec": {"limits": {"pods": 7}, "state": "Suspended"},
        });
        assert_accepted(
            &cast
                .dry(&cast.delivery, "application/merge-patch+json", "", &change)
                .await,
        );
        // A cluster admin holds every verb, `own` too.
        all_accepted(&cast.every_way(&cast.root, &owners).await);
    })
    .await;
}

#[tokio::test]
async fn rejects_the_operator_that_changes_a_spec() {
    Cast::run(async |cast| {
        let patch = "application/merge-patch+json";
        for change in [
            json!({"spec": {"state": "Suspended"}}),
            json!({"spec": {"members": cast.with(&[("new@example.com", "User")])}}),
            json!({"metadata": {"labels": {"a": "b"}}}),
            json!({"metadata": {"annotations": {"a": "b"}}}),
        ] {
            let answer = cast.dry(&cast.operator, patch, "", &change).await;
            assert_refused(&answer, &["the operator itself may change nothing"]);
        }
        let finalizer = json!({"metadata": {"finalizers": ["cloister.dev/teardown"]}});
        assert_accepted(&cast.dry(&cast.operator, patch, "", &finalizer).await);
        assert_refused(&cast.operator.delete(&cast.object).await, &["forbidden"]);
    })
    .await;
}

/// Its RBAC has to be wider than what it does; admission closes the gap.
#[tokio::test]
async fn rejects_the_operator_that_writes_outside_tenants() {
    Scratch::run(async |scratch| {
        let operator = scratch.admin.operator();
        let account = |namespace: &str| {
            json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": "operator-test", "namespace": namespace},
            })
        };
        let namespace = |name: &str, labels: Value| {
            json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": labels},
            })
        };
        let words = [
            "'cloister-operator'",
            "the operator of Cloister may write no",
        ];
        let mut disguised = cluster_role_binding("cloister-tenant-admin", &[]);
        disguised["metadata"]["name"] = json!("cloister:tenant:disguised:view");
        for object in [
            account("default"),
            account("kube-system"),
            account("cloister-system"),
            account("cloister-decoy"),
            namespace("tenant-without-label", json!({})),
            namespace("mine", json!({"cloister.dev/tenant": "mine"})),
            cluster_role("operator-test", &["get"], &[]),
            cluster_role_binding("cloister-tenant-user", &[]),
            disguised,
        ] {
            assert_refused(&operator.dry_run(&object).await, &words);
        }
        assert_accepted(&operator.dry_run(&account(&scratch.namespace)).await);
        let own = format!("cloister:tenant:{}:view", scratch.tenant);
        let view = cluster_role(&own, &["get", "list", "watch"], &[&scratch.tenant]);
        assert_accepted(&operator.dry_run(&view).await);
        let dry = json!({"dryRun": ["All"]});
        for path in [
            "/api/v1/namespaces/kube-node-lease",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/cluster-admin",
        ] {
            let answer = operator
                .send(Method::DELETE, path, "application/json", &dry)
                .await;
            assert_refused(&answer, &words);
        }
        let adopted = json!({"metadata": {"labels": {"cloister.dev/tenant": "x"}}});
        let path = "/api/v1/namespaces/kube-node-lease?dryRun=All";
        let merge = "application/merge-patch+json";
        assert_refused(
            &operator.send(Method::PATCH, path, merge, &adopted).await,
            &words,
        );
    })
    .await;
}

/// The verb `own` is asked for in the namespace of the very tenant.
#[tokio::test]
async fn rejects_the_owner_of_another_tenant() {
    Cast::run(async |theirs| {
        let ours = Cast::run(async |ours| {
            let owners = ours.with(&[("mallory@example.com", "Owner")]);
            all_refused(
                &ours.every_way(&theirs.owner, &owners).await,
                &["forbidden"],
            );
            assert_refused(&theirs.owner.get(&ours.object).await, &["forbidden"]);
        });
        Box::pin(ours).await;
    })
    .await;
}

#[tokio::test]
async fn rejects_deletion_under_retain_and_says_what_to_set() {
    Cast::run(async |cast| {
        let words = [
            "spec.deletionPolicy: is Retain",
            "set spec.deletionPolicy to Purge",
            "delete again",
        ];
        let name = cast.object["metadata"]["name"].as_str().unwrap_or_default();
        let one = format!("/apis/cloister.dev/v1alpha1/tenants/{name}");
        let many =
            format!("/apis/cloister.dev/v1alpha1/tenants?fieldSelector=metadata.name%3D{name}");
        // A body stands above the query, so it is the body that says dry run.
        let dry = json!({"dryRun": ["All"]});
        let delete = async |who: &Server, path: &str| {
            who.send(Method::DELETE, path, "application/json", &dry)
                .await
        };
        for path in [&one, &many] {
            assert_accepted(&delete(&cast.root, path).await);
        }
        let retain = json!({"spec": {"deletionPolicy": "Retain"}});
        assert_accepted(&cast.root.patch(&cast.object, Patch::Merge, &retain).await);
        for who in [&cast.root, &cast.delivery] {
            for path in [&one, &many] {
                assert_refused(&delete(who, path).await, &words);
            }
        }
        // Retain is what is meant where nothing is said.
        let silent = json!({"spec": {"deletionPolicy": null}});
        assert_accepted(&cast.root.patch(&cast.object, Patch::Merge, &silent).await);
        assert_refused(&delete(&cast.root, &one).await, &words);
    })
    .await;
}
