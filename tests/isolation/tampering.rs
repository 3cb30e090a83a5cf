//! The boundary broken, behind the operator's back and before its eyes: status must never
//! claim what no longer holds, and the boundary must come back and be proven anew.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tests::live::{
    Live, POLICIES, boundary_of, must, namespace_of, pause, pods::targets_of, policies_path,
    probes_of, said, system::OPERATOR, text, until, within,
};

/// The one that is not about every pod.
const OF_SANDBOXES: &str = "cloister-allow-dispatch";
/// From the moment that somebody leads: how long an old claim may still stand in status.
const OLD_CLAIM: Duration = Duration::from_secs(2);
/// From there: how long until everything is restored and proven anew.
const NEW_PROOF: Duration = Duration::from_secs(30);
/// How long until a policy that opens the tenant is named in the condition.
const NAMED: Duration = Duration::from_secs(5);

/// Everybody may go anywhere.
fn allow_all(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "podSelector": {}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{}], "egress": [{}],
        },
    })
}

/// Makes a policy select no pod at all, by the hand of somebody with a name.
async fn select_nothing(live: &Live, tenant: &str, policy: &str) {
    let path = format!("{}/{policy}?fieldManager=mallory", policies_path(tenant));
    let content = "application/json-patch+json";
    let nothing = json!({"matchLabels": {"nobody": "has-this"}});
    let change = json!([{"op": "replace", "path": "/spec/podSelector", "value": nothing}]);
    let answer = live.admin.send(Method::PATCH, &path, content, &change);
    must(answer.await, "edit the policy");
}

/// Whether all policies are there and select the pods that they are about.
async fn in_force(live: &Live, tenant: &str) -> Result<(), String> {
    for policy in POLICIES {
        let path = format!("{}/{policy}", policies_path(tenant));
        let live = live
            .get(&path)
            .await
            .map_err(|refusal| refusal.to_string())?;
        let selector = &live["spec"]["podSelector"];
        let due = if policy == OF_SANDBOXES {
            json!({"matchLabels": {"cloister.dev/role": "sandbox"}})
        } else {
            json!({})
        };
        if *selector != due {
            return Err(format!("{policy} selects {selector}"));
        }
    }
    Ok(())
}

/// Follows status from the moment that somebody leads: an old claim may stand only until
/// the first word of the new leader, and what is claimed then rests on new evidence alone.
async fn assert_proven_anew(live: &Live, name: &str, before: &Value) {
    let (boundary, probes) = (boundary_of(before), probes_of(before));
    let begun = Instant::now();
    let (mut denied, mut said_before) = (None, String::new());
    loop {
        let tenant = live.tenant(name).await;
        let now = said(&tenant, "IsolationVerified");
        let old = boundary_of(&tenant) == boundary
            || probes_of(&tenant).iter().any(|one| probes.contains(one));
        let words = format!("{} {}", now.status, now.reason);
        if words != said_before {
            println!(
                "      {:5.2} s  {words}: {}",
                begun.elapsed().as_secs_f64(),
                now.message
            );
            said_before = words;
        }
        match (now.status.as_str(), old) {
            ("True", true) => {
                assert!(
                    denied.is_none(),
                    "claims again, on evidence of the old boundary"
                );
                assert!(
                    begun.elapsed() < OLD_CLAIM,
                    "still claims on old evidence: {tenant}"
                );
            }
            ("True", false) => break,
            _ => {
                denied.get_or_insert_with(|| begun.elapsed());
            }
        }
        assert!(begun.elapsed() < NEW_PROOF, "not proven anew: {now:?}");
        pause(Duration::from_millis(10)).await;
    }
    let took = begun.elapsed();
    assert!(
        denied.is_some(),
        "the new proof came without a word in between"
    );
    within(
        "leads -> no longer claims",
        denied.unwrap_or(took),
        OLD_CLAIM,
    );
    within("leads -> restored and proven anew", took, NEW_PROOF);
    let restored = in_force(live, name).await;
    assert_eq!(restored, Ok(()));
}

/// Breaks the boundary while no operator runs, shows that it is really open, starts the
/// operator and watches what it says.
async fn behind_its_back<T: AsyncFnOnce(&Live, &str)>(live: &Live, tamper: T) {
    let name = live.proven("tamper", &json!({})).await;
    live.listener(&name, None).await;
    let before = live.tenant(&name).await;
    let targets = targets_of(&before);
    live.scale(OPERATOR, 0).await;
    tamper(live, &name).await;
    let seen = live.look(&namespace_of(&name), None, &targets).await;
    for check in [
        "ForbiddenCanary",
        "OtherTenant",
        "ApiServerService",
        "Kubelet",
    ] {
        assert_eq!(
            seen[check], "Connected",
            "{check}: tampering must have opened it"
        );
    }
    println!("    open while the operator is away: {seen:?}");
    live.ask_for(OPERATOR, 3).await;
    live.until_led(Duration::from_mins(1), |_| true).await;
    assert_proven_anew(live, &name, &before).await;
    let seen = live.look(&namespace_of(&name), None, &targets).await;
    for check in [
        "ForbiddenCanary",
        "OtherTenant",
        "ApiServerService",
        "Kubelet",
    ] {
        assert_eq!(seen[check], "Silence", "{check}: must be shut again");
    }
}

#[tokio::test]
async fn policies_deleted_while_the_operator_is_away_are_restored_and_proven_anew() {
    Live::run_on_own(
        "policies_deleted_while_the_operator_is_away_are_restored_and_proven_anew",
        async |live| {
            behind_its_back(live, async |live, name| {
                for policy in POLICIES {
                    live.delete(&format!("{}/{policy}", policies_path(name)))
                        .await;
                }
            })
            .await;
        },
    )
    .await;
}

#[tokio::test]
async fn policies_that_select_nothing_are_restored_and_proven_anew() {
    Live::run_on_own(
        "policies_that_select_nothing_are_restored_and_proven_anew",
        async |live| {
            behind_its_back(live, async |live, name| {
                for policy in POLICIES {
                    select_nothing(live, name, policy).await;
                }
            })
            .await;
        },
    )
    .await;
}

/// The first words of an Event about this tenant that says all of these.
async fn event(live: &Live, tenant: &str, reason: &str, words: &[&str]) -> Result<String, String> {
    let events = live.list("/apis/events.k8s.io/v1/events?limit=2000").await;
    let ours = events
        .iter()
        .filter(|e| e["regarding"]["name"] == tenant && e["reason"] == reason);
    let notes: Vec<String> = ours.map(|event| text(event, "/note")).collect();
    let found = notes
        .iter()
        .find(|note| words.iter().all(|word| note.contains(word)));
    found.cloned().ok_or_else(|| format!("{reason}: {notes:?}"))
}

#[tokio::test]
async fn an_edited_policy_comes_back_and_the_event_names_who_edited_it() {
    Live::run(async |live| {
        let name = live.proven("edited", &json!({})).await;
        let before = live.tenant(&name).await;
        let path = format!("{}/{}", policies_path(&name), POLICIES[0]);
        let edited = must(live.get(&path).await, "policy")["metadata"]["generation"].clone();
        select_nothing(live, &name, POLICIES[0]).await;
        let ((), took) = until("restored", Duration::from_secs(5), async || {
            in_force(live, &name).await
        })
        .await;
        within("edited -> as it was", took, Duration::from_millis(500));
        let after = must(live.get(&path).await, "policy")["metadata"]["generation"].clone();
        assert_ne!(edited, after, "nothing was edited");
        let words = ["NetworkPolicy", POLICIES[0], "mallory"];
        let (note, _) = until("an Event", Duration::from_secs(5), async || {
            event(live, &name, "Repaired", &words).await
        })
        .await;
        println!("    event: {note}");
        let ((), took) = until("proven anew", NEW_PROOF, async || {
            let tenant = live.tenant(&name).await;
            let anew = boundary_of(&tenant) != boundary_of(&before);
            let said = said(&tenant, "IsolationVerified");
            if anew && said.status == "True" {
                Ok(())
            } else {
                Err(format!("{said:?}"))
            }
        })
        .await;
        within("edited -> proven anew", took, NEW_PROOF);
    })
    .await;
}

#[tokio::test]
async fn a_policy_of_somebody_else_that_opens_the_tenant_is_named_and_seen() {
    Live::run(async |live| {
        let name = live.proven("widened", &json!({})).await;
        let namespace = namespace_of(&name);
        let opening = allow_all("let-me-through", &namespace);
        must(live.admin.create(&opening).await, "allow-all");
        let (now, took) = live
            .until_said(
                &name,
                "IsolationVerified",
                ("False", &["WidenedByOthers"]),
                NAMED,
            )
            .await;
        within("allow-all added -> False, WidenedByOthers", took, NAMED);
        assert!(now.message.contains("let-me-through"), "{now:?}");
        let (fault, took) = until("a probe sees it", NEW_PROOF, async || {
            let tenant = live.tenant(&name).await;
            let newest = &tenant["status"]["isolation"]["evidence"][0];
            match text(newest, "/outcome").as_str() {
                "Breached" => Ok(text(newest, "/fault")),
                _ => Err(newest.to_string()),
            }
        })
        .await;
        within("allow-all added -> a probe was through it", took, NEW_PROOF);
        assert!(fault.contains("expected Blocked, saw Connected"), "{fault}");
        println!("    fault: {fault}");
        let ready = live.said(&name, "Ready").await;
        assert_eq!(ready.reason, "Degraded", "{ready:?}");

        let path = format!("{}/let-me-through", policies_path(&name));
        live.delete(&path).await;
        let took = live.until_proven(&name, NEW_PROOF).await;
        within("allow-all removed -> proven anew", took, NEW_PROOF);
    })
    .await;
}
