//! From inside, as the user's code: nothing that must be shut is open, on either kernel, and what
//! one takes, no other one is short of.

use std::time::Duration;

use serde_json::{Value, json};
use tests::live::{
    Live, must, namespace_of,
    pods::{pod_path, targets_of},
    text, until,
};

const LIMIT: Duration = Duration::from_secs(90);

/// What gVisor, which has no Landlock and heeds no `PR_SET_DUMPABLE` here, leaves open to a
/// command that runs as the supervisor's user, and why nothing comes of it. A gap that is known,
/// see docs/threat-model.md; one more, or one fewer, fails.
const KNOWN: [&str; 3] = [
    // Opens no session any more: that takes what the first one was told.
    "read /run/cloister/token",
    // The node's address, and what image and kubelet put there: nothing secret.
    "read /proc/1/environ",
    // Where its memory would be; the memory itself is shut.
    "read /proc/1/maps",
];

/// Whatever a probe of the tenant found shut, by address.
fn forbidden(tenant: &Value) -> Vec<String> {
    let targets = targets_of(tenant).into_iter();
    let shut = targets.filter(|target| target["expect"] == "Blocked");
    let shut = shut.map(|target| text(&target, "/address"));
    shut.collect()
}

/// An Execution of a tenant that has left a secret wherever it could, and rests; its address.
async fn hoarder(live: &Live, tenant: &str) -> String {
    live.integrate(tenant, "hoard", &["hoard"], &json!({}))
        .await;
    let victim = live.execute(tenant, "hoard", &json!({})).await;
    let victim = live.until_reason(tenant, &victim, "Running", LIMIT).await;
    let pod = text(&victim, "/status/sandbox/pod");
    let hoarded = async || match live.log_of(tenant, &pod).await {
        log if log.contains("resting") => Ok(log),
        log => Err(log),
    };
    let (log, _) = until("the secrets are there", LIMIT, hoarded).await;
    for place in ["/work/secret kept", "/tmp/secret kept"] {
        assert!(log.contains(place), "{log}");
    }
    let path = pod_path(&namespace_of(tenant), &pod);
    text(&must(live.get(&path).await, &pod), "/status/podIP")
}

#[tokio::test]
async fn hostile_code_gets_nowhere_on_either_kernel() {
    Live::run(async |live| {
        // All on one node, where they have most in common.
        let here = json!({"residency": {"regions": ["local-1"], "zones": ["zone-a"]}});
        let tenant = live.proven("hostile", &here).await;
        let other = live.proven("victim", &here).await;

        let mut addresses = forbidden(&live.tenant(&tenant).await);
        assert!(addresses.len() > 8, "{addresses:?}");
        for victims in [&tenant, &other] {
            addresses.push(format!("{}:80", hoarder(live, victims).await));
        }
        // What keeps the supervisor's session must not let the command in.
        let mut arguments = vec!["hostile"];
        arguments.extend(addresses.iter().map(String::as_str));
        for runtime in ["Hardened", "GVisor"] {
            let name = runtime.to_lowercase();
            live.integrate(&tenant, &name, &arguments, &json!({"runtime": runtime}))
                .await;
            let (object, ended) = live.run_once(&tenant, &name, LIMIT).await;
            let result = text(&object, "/status/result");
            println!("    {runtime}: {result}");
            if runtime == "Hardened" {
                assert_eq!(ended.reason, "Completed", "{object}");
            }
            let open = result.split_once(": ").map(|(_, list)| list.to_owned());
            let open: Vec<String> = must(serde_json::from_str(&open.unwrap_or_default()), &result);
            let known: &[&str] = if runtime == "GVisor" { &KNOWN } else { &[] };
            assert_eq!(open, known, "{object}");
        }
    })
    .await;
}

#[tokio::test]
async fn who_takes_all_there_is_ends_alone() {
    Live::run(async |live| {
        let tenant = live.proven("greed", &json!({})).await;
        live.neighbour(&tenant, LIMIT).await;
        for what in ["processes", "memory", "disk", "files", "output"] {
            let spec =
                json!({"timeout": "30s", "resources": {"memory": "128Mi", "scratch": "32Mi"}});
            live.integrate(&tenant, what, &["greedy", what], &spec)
                .await;
            let greedy = live.execute(&tenant, what, &json!({})).await;
            let (_, neighbour) = live.run_once(&tenant, "hello", LIMIT).await;
            assert_eq!(
                neighbour.reason, "Completed",
                "beside {what}: {neighbour:?}"
            );
            let (object, _) = live.until_over(&tenant, &greedy, LIMIT).await;
            let said = tests::live::said(&object, "Succeeded");
            println!("    {what}: {}: {}", said.reason, said.message);
            let stopped = ["Failed", "OOMKilled", "TimedOut"].contains(&&*said.reason);
            // Output is passed on within bounds, and whoever says more is only slowed down.
            assert!(
                stopped || what == "output" && said.reason == "Completed",
                "{object}"
            );
        }
    })
    .await;
}
