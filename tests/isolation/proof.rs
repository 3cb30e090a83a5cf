//! The boundary whole: what is proven, that it holds, and that the attack is a real one.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tests::live::{
    Live, namespace_of,
    pods::{Seen, conforming, listener, targets_of, under_gvisor},
    text, within,
};
use tests::server::unique;

/// How long a new Tenant may take from `create` to its proof.
const FIRST_PROOF: Duration = Duration::from_secs(30);

/// What every probe dials. `Outside` only where the installation names something.
const DIALLED: [&str; 10] = [
    "Dns",
    "PermittedCanary",
    "ForbiddenCanary",
    "OtherTenant",
    "MetadataV4",
    "MetadataV6",
    "MetadataMapped",
    "ApiServerEndpoint",
    "ApiServerService",
    "Kubelet",
];
/// What every probe finds out about itself.
const CONFINEMENT: [&str; 9] = [
    "Runtime",
    "UserId",
    "GroupId",
    "NoNewPrivileges",
    "Capabilities",
    "ReadOnlyRoot",
    "TokenMounted",
    "Devices",
    "Mounts",
];
/// What only the node's own kernel tells.
const OF_THE_NODES_KERNEL: [&str; 3] = ["Seccomp", "UserNamespace", "MaskedPaths"];
/// What must answer from inside a tenant.
const OPEN: [&str; 2] = ["Dns", "PermittedCanary"];

async fn dialled(live: &Live) -> BTreeSet<&'static str> {
    let mut all = BTreeSet::from(DIALLED);
    let outside = text(&live.settings().await, "/CLOISTER_OUTSIDE_CANARY");
    if !outside.is_empty() {
        all.insert("Outside");
    }
    all
}

/// Fails unless status shows all these checks, and each saw what it must.
fn assert_all_as_expected(tenant: &Value, names: &BTreeSet<&str>) {
    let checks = tenant["status"]["isolation"]["checks"].as_array();
    let checks: Vec<&Value> = checks.into_iter().flatten().collect();
    let shown: BTreeSet<&str> = checks.iter().filter_map(|c| c["check"].as_str()).collect();
    assert_eq!(&shown, names, "the checks in status are not the full list");
    for check in checks {
        let (expected, saw) = (text(check, "/expected"), text(check, "/saw"));
        let as_expected = match expected.as_str() {
            "Reachable" => saw == "Connected",
            "Blocked" => saw == "Silence" || saw == "Unroutable",
            "not 0" => saw.parse::<u32>().is_ok_and(|id| id != 0),
            "0" => saw == "0x0",
            exactly => saw == exactly,
        };
        assert!(as_expected, "{check}");
        assert_ne!(text(check, "/target"), "", "{check}");
    }
}

async fn proves(live: &Live, runtime: &str, confinement: &BTreeSet<&str>) {
    let name = unique("proof");
    live.make_tenant(&name, &json!({"isolation": {"runtime": runtime}}))
        .await;
    let took = live.until_proven(&name, FIRST_PROOF).await;
    within(&format!("{runtime}: created -> proven"), took, FIRST_PROOF);
    let tenant = live.tenant(&name).await;
    let all = dialled(live).await;
    assert_all_as_expected(&tenant, &all.union(confinement).copied().collect());
    let evidence = &tenant["status"]["isolation"]["evidence"][0];
    assert_eq!(evidence["outcome"], "Proven");
    let ready = live.said(&name, "Ready").await;
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("True", "Provisioned"),
        "{ready:?}"
    );
}

#[tokio::test]
async fn proves_a_hardened_tenant_with_every_check() {
    Live::run(async |live| {
        let known = CONFINEMENT.iter().chain(&OF_THE_NODES_KERNEL).copied();
        proves(live, "Hardened", &known.collect()).await;
    })
    .await;
}

#[tokio::test]
async fn proves_a_gvisor_tenant_with_every_check() {
    Live::run(async |live| {
        if live
            .get("/apis/node.k8s.io/v1/runtimeclasses/gvisor")
            .await
            .is_err()
        {
            println!("SKIPPED proves_a_gvisor_tenant_with_every_check: no RuntimeClass gvisor");
            return;
        }
        proves(live, "GVisor", &CONFINEMENT.into()).await;
    })
    .await;
}

fn assert_shut(seen: &Seen, expected: &BTreeSet<&str>, place: &str) {
    let dialled: BTreeSet<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(&dialled, expected, "{place}");
    for (check, saw) in seen {
        if OPEN.contains(&check.as_str()) {
            assert_eq!(
                saw, "Connected",
                "{check} from {place}: the control must work"
            );
        } else {
            let shut = saw == "Silence" || saw == "Unroutable";
            assert!(shut, "{check} from {place} saw {saw}");
        }
    }
}

/// The same binary, the same targets, the same cluster: without the boundary all of it is
/// open, with it nothing is but what must be. So what blocks is the boundary.
#[tokio::test]
async fn what_shuts_a_tenant_in_is_the_boundary() {
    Live::run(async |live| {
        let name = live.proven("attack", &json!({})).await;
        let targets = targets_of(&live.tenant(&name).await);
        let all = dialled(live).await;
        let open = live.open_namespace().await;

        let seen = live.look(&open, None, &targets).await;
        println!("    without a boundary: {seen:?}");
        let mut reached: BTreeSet<&str> = all.clone();
        // No node of the test cluster has an IPv6 route, and somebody else's may have no
        // metadata service at all.
        reached.remove("MetadataV6");
        if !tests::live::owns_cluster() {
            reached.retain(|check| !check.starts_with("Metadata"));
        }
        for check in reached {
            let saw = seen.get(check).map(String::as_str);
            assert_eq!(
                saw,
                Some("Connected"),
                "{check}: the attack itself must work"
            );
        }

        let inside = namespace_of(&name);
        for node in live.list("/api/v1/nodes").await.iter().take(3) {
            let node = text(node, "/metadata/name");
            let seen = live.look(&inside, Some(&node), &targets).await;
            println!("    in a tenant, {node}: {seen:?}");
            assert_shut(&seen, &all, &node);
        }
    })
    .await;
}

#[tokio::test]
async fn shuts_gvisor_pods_in_alike() {
    Live::run(async |live| {
        if live
            .get("/apis/node.k8s.io/v1/runtimeclasses/gvisor")
            .await
            .is_err()
        {
            println!("SKIPPED shuts_gvisor_pods_in_alike: no RuntimeClass gvisor");
            return;
        }
        let spec = json!({"isolation": {"runtime": "GVisor"}});
        let name = live.proven("gattack", &spec).await;
        let targets = targets_of(&live.tenant(&name).await);
        let all = dialled(live).await;
        let pod = |namespace: &str| under_gvisor(conforming(namespace, &unique("look"), &[]));

        let open = live.open_namespace().await;
        let seen = live.look_as(pod(&open), None, &targets).await;
        for check in [
            "ForbiddenCanary",
            "OtherTenant",
            "ApiServerService",
            "Kubelet",
        ] {
            let saw = seen.get(check).map(String::as_str);
            assert_eq!(
                saw,
                Some("Connected"),
                "{check}: the attack itself must work"
            );
        }
        let seen = live
            .look_as(pod(&namespace_of(&name)), None, &targets)
            .await;
        assert_shut(&seen, &all, "a pod under gVisor");
    })
    .await;
}

/// Nobody from outside gets in either, nor one tenant into another.
#[tokio::test]
async fn lets_nobody_in() {
    Live::run(async |live| {
        let (ours, other) = (
            live.proven("in", &json!({})).await,
            live.proven("other", &json!({})).await,
        );
        let open = live.open_namespace().await;
        let control = listener(&open);
        let name = text(&control, "/metadata/name");
        live.start(control, None).await;
        let address = live.running(&open, &name).await;
        let seen = live.dial(&open, None, &format!("{address}:7100")).await;
        assert_eq!(seen, "Connected", "the attack itself must work");

        let name = live.listener(&ours, None).await;
        let address = live.running(&namespace_of(&ours), &name).await;
        for namespace in [open, namespace_of(&other), namespace_of(&ours)] {
            let seen = live
                .dial(&namespace, None, &format!("{address}:7100"))
                .await;
            assert_eq!(seen, "Silence", "from {namespace}");
        }
    })
    .await;
}
