//! What an Integration may reach outside: what its list opens under its tenant's ceiling, from its
//! own sandboxes, and nothing else. The outside of the local cluster answers on 203.0.113.10.

use std::time::Duration;

use serde_json::{Value, json};
use tests::live::{
    Live, boundary_of, executions::path, must, namespace_of, policies_path, said, text, until,
};

const LIMIT: Duration = Duration::from_mins(1);
/// How long until status says that a list is beyond the ceiling, and its policy is gone.
const NARROWED: Duration = Duration::from_secs(5);

/// Open to one Integration; the same host on the port beside it; and what nobody may reach.
const LISTED: &str = "203.0.113.10:443";
const ANOTHER_PORT: &str = "203.0.113.10:80";
const METADATA: &str = "169.254.169.254:80";

fn block(cidr: &str, ports: &[u16]) -> Value {
    let ports = ports
        .iter()
        .map(|port| json!({"port": port, "protocol": "TCP"}));
    json!([{"cidr": cidr, "ports": ports.collect::<Vec<_>>()}])
}

fn ceiling() -> Value {
    json!({"isolation": {"egressCeiling": block("203.0.113.0/24", &[80, 443])}})
}

/// Makes an Integration that dials all three.
async fn dialler(live: &Live, tenant: &str, name: &str, egress: &Value) {
    let arguments = ["dial", LISTED, ANOTHER_PORT, METADATA];
    let spec = json!({"egress": egress});
    live.integrate(tenant, name, &arguments, &spec).await;
}

/// Which of the three it reached.
async fn reached(live: &Live, tenant: &str, name: &str) -> [bool; 3] {
    let (object, ended) = live.run_once(tenant, name, LIMIT).await;
    assert_eq!(ended.reason, "Completed", "{object}");
    assert_eq!(said(&object, "SandboxVerified").status, "True", "{object}");
    let result = text(&object, "/status/result");
    let result: Value = must(serde_json::from_str(&result), &result);
    [LISTED, ANOTHER_PORT, METADATA].map(|address| result[address] == json!(true))
}

/// Names of the policies that open something to an Integration.
async fn policies(live: &Live, tenant: &str, name: &str) -> Vec<Value> {
    let labels = format!("cloister.dev%2Fintegration%3D{name}");
    live.list(&format!("{}?labelSelector={labels}", policies_path(tenant)))
        .await
}

async fn until_ready(live: &Live, tenant: &str, name: &str, reason: &str) -> String {
    let path = format!("{}/{name}", path(tenant, "integrations"));
    let check = async || match said(&must(live.get(&path).await, name), "Ready") {
        said if said.reason == reason => Ok(said.message),
        said => Err(format!("{said:?}")),
    };
    until(&format!("{name} is {reason}"), NARROWED, check)
        .await
        .0
}

#[tokio::test]
async fn a_list_opens_its_ports_of_its_addresses_to_its_own_sandboxes() {
    Live::run(async |live| {
        // Both answer who is not shut in: silence below is the policy's.
        let open = live.open_namespace().await;
        for address in [LISTED, ANOTHER_PORT] {
            assert_eq!(
                live.dial(&open, None, address).await,
                "Connected",
                "{address}"
            );
        }
        let tenant = live.proven("egress", &ceiling()).await;
        let before = boundary_of(&live.tenant(&tenant).await);
        dialler(live, &tenant, "listed", &block("203.0.113.10/32", &[443])).await;
        dialler(
            live,
            &tenant,
            "elsewhere",
            &block("203.0.113.11/32", &[80, 443]),
        )
        .await;
        dialler(live, &tenant, "unlisted", &json!([])).await;
        assert_eq!(reached(live, &tenant, "listed").await, [true, false, false]);
        for name in ["elsewhere", "unlisted"] {
            assert_eq!(reached(live, &tenant, name).await, [false; 3], "{name}");
        }
        assert!(policies(live, &tenant, "unlisted").await.is_empty());

        // It comes back when somebody deletes it, as another one, and goes on opening.
        let policy = policies(live, &tenant, "listed").await.remove(0);
        let name = text(&policy, "/metadata/name");
        assert_eq!(
            text(&policy, "/metadata/ownerReferences/0/kind"),
            "Integration"
        );
        assert_eq!(policy["spec"]["policyTypes"], json!(["Egress"]));
        live.delete(&format!("{}/{name}", policies_path(&tenant)))
            .await;
        let back = async || match policies(live, &tenant, "listed").await.first() {
            Some(one) if one["metadata"]["uid"] != policy["metadata"]["uid"] => Ok(()),
            other => Err(format!("{other:?}")),
        };
        until("it is back", NARROWED, back).await;
        assert_eq!(reached(live, &tenant, "listed").await, [true, false, false]);

        // None of this was the Tenant's boundary, or cost its proof.
        let object = live.tenant(&tenant).await;
        assert_eq!(
            said(&object, "IsolationVerified").status,
            "True",
            "{object}"
        );
        assert_eq!(boundary_of(&object), before);

        // What is asked for no more is shut again.
        let integration = format!("{}/listed", path(&tenant, "integrations"));
        live.change(&integration, &json!({"spec": {"egress": null}}))
            .await;
        assert_eq!(reached(live, &tenant, "listed").await, [false; 3]);
        assert!(policies(live, &tenant, "listed").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_somebody_opens_to_all_is_named_or_put_back_and_proven_anew() {
    Live::run(async |live| {
        let tenant = live.proven("opened", &ceiling()).await;
        dialler(live, &tenant, "listed", &block("203.0.113.10/32", &[443])).await;
        until_ready(live, &tenant, "listed", "Accepted").await;
        let policy = policies(live, &tenant, "listed").await.remove(0);
        let path = format!(
            "{}/{}",
            policies_path(&tenant),
            text(&policy, "/metadata/name")
        );
        let all = json!({"spec": {"podSelector": {"matchLabels": null}, "egress": [{}]}});
        live.change(&path, &all).await;
        let restored = async || {
            let now = must(live.get(&path).await, &path);
            if now["spec"] == policy["spec"] {
                Ok(())
            } else {
                Err(now["spec"].to_string())
            }
        };
        until("it is put back", NARROWED, restored).await;
        live.until_proven(&tenant, LIMIT).await;
        assert_eq!(reached(live, &tenant, "listed").await, [true, false, false]);
    })
    .await;
}

#[tokio::test]
async fn a_list_beyond_the_ceiling_opens_nothing_and_starts_nothing_until_it_is_within() {
    Live::run(async |live| {
        let tenant = live.proven("narrowed", &ceiling()).await;
        dialler(live, &tenant, "listed", &block("203.0.113.10/32", &[443])).await;
        assert_eq!(reached(live, &tenant, "listed").await, [true, false, false]);

        let of_tenant = format!("/apis/cloister.dev/v1alpha1/tenants/{tenant}");
        let narrower = json!({"egressCeiling": block("203.0.113.0/24", &[80])});
        live.change(&of_tenant, &json!({"spec": {"isolation": narrower}}))
            .await;
        let message = until_ready(live, &tenant, "listed", "EgressBeyondCeiling").await;
        assert!(message.contains("203.0.113.10/32 TCP 443"), "{message}");
        let gone = async || match policies(live, &tenant, "listed").await.len() {
            0 => Ok(()),
            count => Err(format!("{count} policies")),
        };
        until("its policy is gone", NARROWED, gone).await;
        let waiting = live.execute(&tenant, "listed", &json!({})).await;
        let object = live
            .until_reason(&tenant, &waiting, "Queued", NARROWED)
            .await;
        let message = said(&object, "Succeeded").message;
        assert!(message.contains("spec.egress[0]"), "{message}");
        let namespace = namespace_of(&tenant);
        assert!(
            live.sandboxes(&tenant, "listed").await.is_empty(),
            "{namespace}"
        );

        live.change(&of_tenant, &json!({"spec": ceiling()})).await;
        let (object, _) = live.until_over(&tenant, &waiting, LIMIT).await;
        assert_eq!(said(&object, "Succeeded").reason, "Completed", "{object}");
    })
    .await;
}
