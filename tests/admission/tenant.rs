//! Bad input, each refused with the field and the remedy, and the largest good one.

use serde_json::{Value, json};
use tests::server::{Server, assert_accepted, assert_refused, unique};

use super::{ANYWHERE, minimal, set};

/// Each change to the minimal Tenant is refused with all of the words.
pub(crate) async fn refused(pointer: &str, cases: &[(Value, &[&str])]) {
    let admin = Server::admin().await;
    let tenant = minimal(&unique("t"));
    assert_accepted(&admin.dry_run(&tenant).await);
    for (value, words) in cases {
        assert_refused(&admin.dry_run(&set(&tenant, pointer, value)).await, words);
    }
}

pub(crate) async fn accepted(pointer: &str, values: &[Value]) {
    let admin = Server::admin().await;
    let tenant = minimal(&unique("t"));
    for value in values {
        assert_accepted(&admin.dry_run(&set(&tenant, pointer, value)).await);
    }
}

fn user(name: &str, role: &str) -> Value {
    json!({"kind": "User", "name": name, "role": role})
}

#[tokio::test]
async fn accepts_the_examples() {
    let admin = Server::admin().await;
    for file in [
        "tenant.yaml",
        "tenant-minimal.yaml",
        "integration.yaml",
        "execution.yaml",
        "worker.yaml",
        "worker-volumes.yaml",
        "drill.yaml",
    ] {
        let path = format!("../manifests/examples/{file}");
        let text = std::fs::read_to_string(path).unwrap();
        let mut object: Value = serde_saphyr::from_str(&text).unwrap();
        object["metadata"]["name"] = json!(unique("t"));
        if object["metadata"]["namespace"].is_string() {
            object["metadata"]["namespace"] = json!(ANYWHERE);
        }
        assert_accepted(&admin.dry_run(&object).await);
    }
}

#[tokio::test]
async fn rejects_a_tenant_without_owner() {
    let words: &[&str] = &["spec.members", "at least one member needs the role Owner"];
    refused(
        "/spec/members",
        &[
            (json!([user("a@example.com", "Admin")]), words),
            (
                json!([
                    user("a@example.com", "User"),
                    user("b@example.com", "Admin")
                ]),
                words,
            ),
            (json!([]), &["spec.members", "should have at least 1 items"]),
            (Value::Null, &["spec.members", "Required value"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn rejects_a_member_named_twice() {
    let twice = json!([
        user("a@example.com", "Owner"),
        user("a@example.com", "User")
    ]);
    refused(
        "/spec/members",
        &[(
            twice,
            &["spec.members[1]: Duplicate value", "a@example.com"],
        )],
    )
    .await;
}

#[tokio::test]
async fn rejects_ten_thousand_members() {
    let members = |count: u32| -> Value {
        (0..count)
            .map(|index| user(&format!("m{index}@example.com"), "Owner"))
            .collect()
    };
    refused(
        "/spec/members",
        &[
            (
                members(10_000),
                &[
                    "spec.members",
                    "Too many: 10000: must have at most 256 items",
                ],
            ),
            (
                members(257),
                &["spec.members", "must have at most 256 items"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn rejects_members_that_are_the_cluster_itself() {
    let account = |namespace: &str| {
        json!([
            user("a@example.com", "Owner"),
            {"kind": "ServiceAccount", "namespace": namespace, "name": "x", "role": "User"},
        ])
    };
    let reserved: &[&str] = &["spec.members[0].name", "names that begin with system:"];
    let cluster: &[&str] = &["spec.members[1].namespace", "cannot be members"];
    refused(
        "/spec/members",
        &[
            (json!([user("system:admin", "Owner")]), reserved),
            (
                json!([{"kind": "Group", "name": "system:masters", "role": "Owner"}]),
                reserved,
            ),
            (
                json!([{"kind": "Group", "name": "system:authenticated", "role": "Owner"}]),
                reserved,
            ),
            (account("kube-system"), cluster),
            (account("cloister-system"), cluster),
            (account("cloister-decoy"), cluster),
            (
                account(""),
                &[
                    "spec.members[1].namespace",
                    "a ServiceAccount needs its namespace",
                ],
            ),
            (
                json!([{"kind": "User", "name": "a", "namespace": "b", "role": "Owner"}]),
                &["spec.members[0].namespace", "a User or Group has none"],
            ),
            (
                json!([user("a@example.com", "Boss")]),
                &["spec.members[0].role", "supported values"],
            ),
            (
                json!([{"kind": "Robot", "name": "a", "role": "Owner"}]),
                &["spec.members[0].kind", "supported values"],
            ),
            (
                json!([user("", "Owner")]),
                &["spec.members[0].name", "at least 1 char"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn rejects_a_service_account_that_rbac_would_refuse() {
    let words: &[&str] = &["spec.members", "ServiceAccount are lower case"];
    for (namespace, name) in [("bots", "a/b c"), ("X Y/../z", "bot"), ("bots", "Bot")] {
        let members = json!([
            user("owner@example.com", "Owner"),
            {"kind": "ServiceAccount", "namespace": namespace, "name": name, "role": "User"},
        ]);
        refused("/spec/members", &[(members, words)]).await;
    }
}

#[tokio::test]
async fn rejects_a_member_outside_the_allowed_domains() {
    let spec = |owner: &str, domains: &[&str]| json!({"members": [user(owner, "Owner")], "access": {"allowedDomains": domains}});
    let words: &[&str] = &[
        "spec.members",
        "is not in access.allowedDomains",
        "allow its domain",
    ];
    refused(
        "/spec",
        &[
            (spec("a@example.org", &["example.com"]), words),
            // The end of a domain is not the domain.
            (spec("a@not-example.com", &["example.com"]), words),
            (spec("a@sub.example.com", &["example.com"]), words),
            (spec("example.com", &["example.com"]), words),
            (spec("a@x", &["X"]), &["spec.access.allowedDomains[0]"]),
        ],
    )
    .await;
    accepted(
        "/spec",
        &[
            spec("a@example.com", &["example.org", "example.com"]),
            spec("a@example.com", &[]),
            json!({
                "members": [user("a@example.com", "Owner"), {"kind": "Group", "name": "g", "role": "User"}],
                "access": {"allowedDomains": ["example.com"]},
            }),
        ],
    )
    .await;
}

#[tokio::test]
async fn rejects_zero_and_absurd_counts() {
    for (limit, most) in [("pods", 10_000), ("executions", 100_000)] {
        let field = format!("spec.limits.{limit}");
        let too_few: &[&str] = &[&field, "greater than or equal to 1"];
        let too_many: &[&str] = &[&field, &format!("less than or equal to {most}")];
        refused(
            &format!("/spec/limits/{limit}"),
            &[
                (json!(0), too_few),
                (json!(-1), too_few),
                (json!(most + 1), too_many),
                (json!(4_294_967_296_u64), &[&field]),
                (json!("many"), &[&field]),
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn rejects_zero_and_absurd_quantities() {
    for (limit, range, bad) in [
        (
            "cpu",
            "from 10m to 10000",
            ["0", "9m", "10001", "-4", "lots"],
        ),
        (
            "memory",
            "from 16Mi to 1Pi",
            ["0", "15Mi", "2Pi", "-1Gi", "4 GB"],
        ),
        (
            "storage",
            "from 0 to 100Pi",
            ["-1", "-1Gi", "101Pi", "1e30", "big"],
        ),
    ] {
        let field = format!("spec.limits.{limit}");
        let words: &[&str] = &[&field, "must be a quantity", range];
        for value in bad {
            refused(&format!("/spec/limits/{limit}"), &[(json!(value), words)]).await;
        }
        refused(&format!("/spec/limits/{limit}"), &[(json!(""), &[&field])]).await;
    }
}

#[tokio::test]
async fn accepts_limits_at_their_ends() {
    let least = json!({"pods": 1, "executions": 1, "cpu": "10m", "memory": "16Mi", "storage": "0"});
    let most = json!({
        "pods": 10_000, "executions": 100_000, "cpu": "10k", "memory": "1Pi", "storage": "100Pi",
    });
    accepted("/spec/limits", &[least, most]).await;
}

#[tokio::test]
async fn rejects_names_that_no_namespace_could_have() {
    let admin = Server::admin().await;
    for (name, words) in [
        // More than any object's may have: what ours may have is said all the same.
        ("a".repeat(300), "metadata.name: at most 40 characters"),
        ("a".repeat(41), "metadata.name: at most 40 characters"),
        ("a.b".to_owned(), "metadata.name: only a-z, 0-9 and '-'"),
        ("A".to_owned(), "metadata.name"),
        ("-a".to_owned(), "metadata.name"),
    ] {
        assert_refused(&admin.dry_run(&minimal(&name)).await, &[words]);
    }
    assert_accepted(&admin.dry_run(&minimal(&"a".repeat(40))).await);
}

#[tokio::test]
async fn rejects_places_that_cannot_be() {
    refused(
        "/spec/residency",
        &[
            (
                json!({"regions": []}),
                &["spec.residency.regions", "at least 1 items"],
            ),
            (
                json!({"zones": ["zone-a"]}),
                &["spec.residency.regions", "Required value"],
            ),
            // A comma would be two regions where the list is kept as text.
            (
                json!({"regions": ["a,b"]}),
                &["spec.residency.regions[0]", "should match"],
            ),
            (
                json!({"regions": ["*"]}),
                &["spec.residency.regions[0]", "should match"],
            ),
            (json!({"regions": [""]}), &["spec.residency.regions[0]"]),
            (
                json!({"regions": ["local-1"], "zones": ["zone a"]}),
                &["spec.residency.zones[0]", "should match"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn rejects_words_that_are_not_in_the_list() {
    for (pointer, field) in [
        ("/spec/state", "spec.state"),
        ("/spec/deletionPolicy", "spec.deletionPolicy"),
        ("/spec/isolation/runtime", "spec.isolation.runtime"),
    ] {
        refused(pointer, &[(json!("Maybe"), &[field, "supported values"])]).await;
    }
}

#[tokio::test]
async fn rejects_an_unknown_field_at_any_depth() {
    for (pointer, field) in [
        ("/spec/colour", "unknown field \"spec.colour\""),
        (
            "/spec/members/0/email",
            "unknown field \"spec.members[0].email\"",
        ),
        ("/spec/limits/gpus", "unknown field \"spec.limits.gpus\""),
    ] {
        refused(pointer, &[(json!("x"), &[field])]).await;
    }
}

/// Every list and text at its maximum: the rules must not run out of budget.
#[tokio::test]
async fn accepts_the_largest_tenant() {
    let admin = Server::admin().await;
    let domain = |index: u32| format!("{}.{index:03}.example", "d".repeat(63));
    let domains: Vec<String> = (0..32).map(domain).collect();
    let members: Vec<Value> = (0..256)
        .map(|index| {
            user(
                &format!("{}{index:03}@{}", "m".repeat(150), domain(31)),
                "Owner",
            )
        })
        .collect();
    let ports: Vec<Value> = (1..=16)
        .map(|port| json!({"port": port, "endPort": 65535}))
        .collect();
    let rules: Vec<Value> = (0..64)
        .map(|index| json!({"cidr": format!("2001:4860:4860:{index:x}::/64"), "ports": ports}))
        .collect();
    let mut tenant = minimal(&unique("t"));
    tenant["spec"] = json!({
        "members": members,
        "access": {"allowedDomains": domains},
        "residency": {
            "regions": (0..16).map(|index| format!("{}{index:02}", "r".repeat(61))).collect::<Vec<_>>(),
            "zones": (0..32).map(|index| format!("{}{index:02}", "z".repeat(61))).collect::<Vec<_>>(),
        },
        "isolation": {"runtime": "GVisor", "egressCeiling": rules},
    });
    assert_accepted(&admin.dry_run(&tenant).await);
    // And it can be changed: the policy on owners compares them all.
    assert_accepted(&admin.create(&tenant).await);
    let fewer = set(&tenant, "/spec/members/0/role", &json!("Admin"));
    let change = json!({"spec": {"members": fewer["spec"]["members"], "deletionPolicy": "Purge"}});
    let changed = admin
        .patch(&tenant, tests::server::Patch::Merge, &change)
        .await;
    let deleted = admin.delete(&tenant).await;
    assert_accepted(&changed);
    assert_accepted(&deleted);
}
