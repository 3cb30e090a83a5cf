//! A tenant suspended, and a tenant removed: what still works, what no longer does, and that
//! the network stays shut until nothing is left that could use it.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use http::Method;
use serde_json::{Value, json};
use tests::{
    cluster::topology::NODES,
    live::{
        Live, POLICIES, must, namespace_of, pause,
        pods::{PROBE_VERSION, conforming, listener, pod_path},
        policies_path, probes_of,
        system::OPERATOR,
        tenant_path, text, until, within,
    },
    server::{assert_accepted, assert_refused, eventually, unique},
};

/// How long a changed state may take to be in force.
const IN_FORCE: Duration = Duration::from_secs(5);
/// How long until every tenant has been probed once more, at an interval of 30 s.
const ROUND: Duration = Duration::from_mins(2);
/// Image of a process that no SIGTERM ends.
const STUBBORN: &str = "localhost/cloister/stubborn:test";
/// How long a purge may take, whatever is in the way.
const PURGE: Duration = Duration::from_mins(2);

/// Waits for a probe that had not reported before: what runs in a suspended tenant is still
/// shut in, and so that has still to be shown.
async fn probed_once_more(live: &Live, name: &str) {
    let before = probes_of(&live.tenant(name).await);
    until("a probe since then", ROUND, async || {
        let newest = probes_of(&live.tenant(name).await).swap_remove(0);
        if before.contains(&newest) {
            Err(newest)
        } else {
            Ok(())
        }
    })
    .await;
}

#[tokio::test]
async fn a_suspended_tenant_starts_nothing_and_keeps_what_runs() {
    Live::run(async |live| {
        let name = live.proven("suspended", &json!({})).await;
        let namespace = namespace_of(&name);
        let pod = live.listener(&name, None).await;
        let before = must(live.get(&pod_path(&namespace, &pod)).await, "pod");

        live.change(
            &tenant_path(&name),
            &json!({"spec": {"state": "Suspended"}}),
        )
        .await;
        let wanted = ("True", ["Suspended"].as_slice());
        let (said, took) = live.until_said(&name, "Ready", wanted, IN_FORCE).await;
        within("spec.state set -> status says Suspended", took, IN_FORCE);
        println!("    says: {}", said.message);

        let mut another = conforming(&namespace, &unique("late"), &["canary"]);
        another["spec"]["containers"][0]["image"] = json!("nobody/runs:this");
        let words = ["nothing new starts", "spec.state", "Suspended"];
        eventually(async || {
            let answer = live.admin.dry_run(&another).await;
            answer.map_or(Ok(()), |_| Err("a pod is still admitted".to_owned()))
        })
        .await;
        assert_refused(&live.admin.dry_run(&another).await, &words);

        let owner = live.admin.user("owner@example.com", &[]);
        let list = format!("/api/v1/namespaces/{namespace}/pods");
        let json = "application/json";
        assert_accepted(&owner.send(Method::GET, &list, json, &Value::Null).await);
        assert_accepted(
            &owner
                .send(Method::GET, &tenant_path(&name), json, &Value::Null)
                .await,
        );
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "new", "namespace": namespace},
        });
        assert_refused(&owner.dry_run(&secret).await, &["cannot create"]);

        probed_once_more(live, &name).await;
        let after = must(live.get(&pod_path(&namespace, &pod)).await, "pod");
        for same in ["/metadata/uid", "/status/phase", "/status/podIP"] {
            assert_eq!(before.pointer(same), after.pointer(same), "{same}");
        }
        let ready = live.said(&name, "Ready").await;
        assert_eq!(
            (&*ready.status, &*ready.reason),
            ("True", "Suspended"),
            "{ready:?}"
        );
        let isolation = live.said(&name, "IsolationVerified").await;
        assert_eq!(isolation.status, "True", "{isolation:?}");

        live.change(&tenant_path(&name), &json!({"spec": {"state": "Active"}}))
            .await;
        let wanted = ("True", ["Provisioned"].as_slice());
        let (_, took) = live.until_said(&name, "Ready", wanted, IN_FORCE).await;
        within("spec.state set -> status says Active", took, IN_FORCE);
        live.listener(&name, None).await;
        assert_accepted(&owner.dry_run(&secret).await);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_to_be_retained_is_not_deleted() {
    Live::run(async |live| {
        let name = unique("retained");
        live.make_tenant(&name, &json!({"deletionPolicy": "Retain"}))
            .await;
        let object = tests::live::tenant(&name, &json!({}));
        let answer = live.admin.delete(&object).await;
        assert_refused(&answer, &["spec.deletionPolicy", "Retain", "Purge"]);
        live.change(
            &tenant_path(&name),
            &json!({"spec": {"deletionPolicy": "Purge"}}),
        )
        .await;
        purged(live, &name, async || Ok(())).await;
    })
    .await;
}

/// Deletes a tenant and watches it go. Returns how long it took.
async fn purged<F: AsyncFnMut() -> Result<(), String>>(
    live: &Live,
    name: &str,
    mut meanwhile: F,
) -> Duration {
    let path = tenant_path(name);
    let namespace = format!("/api/v1/namespaces/{}", namespace_of(name));
    live.delete(&path).await;
    let (mut last, begun) = (String::new(), Instant::now());
    let ((), took) = until("purged", PURGE, async || {
        must(meanwhile().await, "while it goes");
        // Only the server's word that it is gone counts as that: any other refusal does not.
        let tenant = match live.get(&path).await {
            Ok(tenant) => tenant,
            Err(refusal) if refusal.code == 404 => return Ok(()),
            Err(refusal) => return Err(refusal.to_string()),
        };
        let said = tests::live::said(&tenant, "Ready").message;
        if said != last {
            println!("      {:5.1} s  {said}", begun.elapsed().as_secs_f64());
            last.clone_from(&said);
        }
        Err(said)
    })
    .await;
    let left = live.get(&namespace).await.map_err(|refusal| refusal.code);
    assert_eq!(
        left,
        Err(404),
        "the Tenant is gone, but its namespace is not"
    );
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let selector = format!("{bindings}?labelSelector=cloister.dev%2Ftenant%3D{name}");
    assert_eq!(live.list(&selector).await, Vec::<Value>::new());
    took
}

/// A pod that ignores SIGTERM and asks for an hour: process 1 without a handler. It answers
/// on port 80, whoever gets through to it.
fn stubborn(namespace: &str, name: &str) -> Value {
    let mut pod = conforming(namespace, name, &["outside-listen"]);
    let container = &mut pod["spec"]["containers"][0];
    container["image"] = json!(STUBBORN);
    container["command"] = json!(["/cluster"]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(3600);
    pod
}

/// A pod that knocks at the outside all the time.
fn knocking(namespace: &str, name: &str) -> Value {
    let target = |port: u16| {
        let address = format!("203.0.113.10:{port}");
        json!({"check": "Outside", "address": address, "expect": "Blocked"})
    };
    let targets = [target(443), target(80)];
    let request = json!({"version": PROBE_VERSION, "timeoutMs": 10_000, "targets": targets,
        "places": []})
    .to_string();
    let mut pod = conforming(namespace, name, &["probe", "--request", &request]);
    pod["spec"]["restartPolicy"] = json!("Always");
    pod["spec"]["terminationGracePeriodSeconds"] = json!(3600);
    pod
}

/// Gives the nodes the image of [`stubborn`]: the cluster tool, which is static.
fn load_stubborn_image(live: &Live) {
    let context = std::env::temp_dir().join(unique("stubborn"));
    must(fs::create_dir(&context), "folder for the image");
    must(
        fs::write(
            context.join("Containerfile"),
            "FROM scratch\nCOPY cluster /cluster\n",
        ),
        "Containerfile",
    );
    let tool = env!("CARGO_BIN_EXE_cluster");
    must(fs::copy(tool, context.join("cluster")), tool);
    let archive = must(live.nodes().build_image(&context, STUBBORN), "build");
    must(live.nodes().load_image(&archive), "load");
    must(fs::remove_dir_all(&context), "clear away");
}

/// Names of pods, or of policies, that are left.
async fn names(live: &Live, path: &str) -> BTreeSet<String> {
    let items = live.list(path).await;
    items
        .iter()
        .map(|one| text(one, "/metadata/name"))
        .collect()
}

/// Fails if a pod is left but a policy is not. The policies are looked at first: what is
/// missing then while a pod is there later was missing while the pod was there.
async fn shut(live: &Live, tenant: &str) -> Result<(), String> {
    let policies = names(live, &policies_path(tenant)).await;
    let pods = names(
        live,
        &format!("/api/v1/namespaces/{}/pods", namespace_of(tenant)),
    )
    .await;
    if pods.is_empty() || policies.len() == POLICIES.len() {
        Ok(())
    } else {
        Err(format!("pods {pods:?} are left with only {policies:?}"))
    }
}

/// Fills a tenant with pods that do not want to go, one of each kind, on two nodes.
async fn fill(live: &Live, namespace: &str, node: &str, frozen: &str) {
    let mut held = listener(namespace);
    held["metadata"]["name"] = json!("held");
    held["metadata"]["finalizers"] = json!(["example.com/never-done"]);
    let pods = [
        (held, node),
        (listener(namespace), node),
        (stubborn(namespace, "stubborn"), node),
        (knocking(namespace, "knocking"), node),
        (knocking(namespace, "knocking-frozen"), frozen),
        (stubborn(namespace, "stubborn-frozen"), frozen),
    ];
    let names = pods.each_ref().map(|(pod, _)| text(pod, "/metadata/name"));
    for (pod, node) in pods {
        live.start(pod, Some(node)).await;
    }
    for name in names {
        live.running(namespace, &name).await;
    }
}

/// A node without the leader, to be frozen, and another one.
async fn two_nodes(live: &Live, leader: &str) -> (&'static str, &'static str) {
    let leader = must(live.get(&pod_path("cloister-system", leader)).await, leader);
    let leads_on = text(&leader, "/spec/nodeName");
    let mut others = NODES.iter().filter(|node| node.name != leads_on);
    let mut next = || others.next().map_or("", |node| node.name);
    (next(), next())
}

#[tokio::test]
async fn a_purge_ends_in_time_whatever_is_in_the_way() {
    let name = "a_purge_ends_in_time_whatever_is_in_the_way";
    Live::run_on_own(name, async |live| {
        load_stubborn_image(live);
        let open = live.open_namespace().await;
        // As stubborn, but its namespace is to go at the end without an hour of grace.
        let mut alike = stubborn(&open, "control");
        alike["spec"]["terminationGracePeriodSeconds"] = json!(0);
        live.start(alike, None).await;
        let control = live.running(&open, "control").await;
        let seen = live.dial(&open, None, &format!("{control}:80")).await;
        assert_eq!(seen, "Connected", "the attack itself must work");

        let name = live.proven("purged", &json!({})).await;
        let namespace = namespace_of(&name);
        let (leader, _) = live.until_led(Duration::from_secs(10), |_| true).await;
        let (frozen, node) = two_nodes(live, &leader).await;
        fill(live, &namespace, node, frozen).await;
        let stubborn = format!("{}:80", live.running(&namespace, "stubborn").await);
        let log = live.nodes().outside_log();
        let heard = || must(fs::read_to_string(&log), "outside's log");
        let before = heard().len();
        must(live.nodes().freeze(frozen), "freeze");
        println!("    {frozen} is frozen; {leader} leads, and is killed 5 s into the purge");

        let (begun, mut killed) = (Instant::now(), false);
        let took = purged(live, &name, async || {
            if begun.elapsed() > Duration::from_secs(5) && !killed {
                live.kill_process(&leader);
                killed = true;
                // Not on the frozen node, which counts as ready for a while.
                let seen = live.dial(&open, Some(node), &stubborn).await;
                assert_eq!(
                    seen, "Silence",
                    "the stubborn pod must be shut in to its end"
                );
                let still = live.get(&pod_path(&namespace, "stubborn")).await;
                assert_accepted(&still);
            }
            shut(live, &name).await
        })
        .await;
        within("deleted -> nothing is left", took, PURGE);
        assert!(killed, "the operator was to be killed in the middle");
        assert_eq!(
            &heard()[before..],
            "",
            "somebody got out while the tenant went"
        );

        must(live.nodes().thaw(frozen), "thaw");
        pause(Duration::from_secs(5)).await;
        println!(
            "    got out once its node was back: {:?}",
            &heard()[before..]
        );
        live.stands("cloister-system", OPERATOR).await;
    })
    .await;
}
