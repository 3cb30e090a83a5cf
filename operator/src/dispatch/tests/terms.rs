//! What no process can be started with is refused before a sandbox is made for it.

use crds::Integration;
use serde_json::{Value, json};

use super::sim::{NAMESPACE, Sim};
use crate::dispatch::line::Terms;

fn object(extra: &Value) -> Integration {
    let mut spec = json!({"image": "example", "command": ["/hello"]});
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(
        json!({"apiVersion": "cloister.dev/v1alpha1", "kind": "Integration",
        "metadata": {"name": "hello", "namespace": NAMESPACE}, "spec": spec}),
    )
    .unwrap()
}

#[test]
fn what_has_more_bytes_than_a_sandbox_takes_is_refused_in_words_of_the_spec() {
    // `/hello` is 6 bytes, each name 3, of 16 times 4096.
    let texts = |count: usize, text: &str| json!(vec![text.repeat(4096 / text.len()); count]);
    let env = |last: usize| {
        let value = |n: usize| if n == 7 { last } else { 4093 };
        let each =
            (0..8).map(|n| json!({"name": format!("N{n:02}"), "value": "v".repeat(value(n))}));
        json!(each.collect::<Vec<_>>())
    };
    let good = json!({"args": texts(8, "\u{e9}"), "env": env(4087)});
    assert_eq!(Terms::of(&object(&good)).err(), None);
    let bad = json!({"args": texts(8, "\u{e9}"), "env": env(4088)});
    let fault = Terms::of(&object(&bad)).unwrap_err();
    let expected = "spec.command, spec.args and spec.env have 65537 bytes together, and 65536 is \
                    the most; make them shorter";
    assert!(fault.starts_with(expected), "{fault}");
}

#[test]
fn a_nul_is_refused_where_it_stands() {
    for (field, value) in [
        ("command", json!(["/hello", "a\0"])),
        ("args", json!(["\0"])),
        ("env", json!([{"name": "A\0", "value": ""}])),
        ("env", json!([{"name": "A", "value": "\0"}])),
    ] {
        let fault = Terms::of(&object(&json!({field: value}))).unwrap_err();
        let expected = format!("spec.{field}: has a NUL character");
        assert!(fault.starts_with(&expected), "{fault}");
    }
}

#[test]
fn what_the_rules_of_the_crd_would_refuse_is_refused_without_them() {
    for (field, value, fault) in [
        ("timeout", "0s", "must be from 1s to 24h"),
        ("timeout", "25h", "must be from 1s to 24h"),
        ("startDeadline", "0s", "must be from 1s to 24h"),
        ("gracePeriod", "601s", "must be from 0s to 10m"),
        ("gracePeriod", "-1s", "must not be negative"),
        ("ttl", "721h", "must be from 0s to 720h"),
        ("ttl", "soon", "\"soon\" is no duration"),
    ] {
        let said = Terms::of(&object(&json!({field: value}))).unwrap_err();
        let expected = format!("spec.{field}: {fault}");
        assert!(said.starts_with(&expected), "{said}");
    }
    for (field, value) in [("gracePeriod", "0s"), ("gracePeriod", "10m"), ("ttl", "0s")] {
        assert_eq!(Terms::of(&object(&json!({field: value}))).err(), None);
    }
}

#[test]
fn no_sandbox_is_made_for_it() {
    let mut sim = Sim::new();
    let bad = json!({"args": ["\0"], "warm": {"min": 1}});
    sim.integration(NAMESPACE, "hello", &bad);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle() && sim.pass(3));
    assert!(sim.pods.is_empty());
    let [status, reason, _] = sim.condition("Ready");
    assert_eq!([&*status, &*reason], ["False", "InvalidSpec"]);
    assert!(sim.message("one").contains("spec.args: has a NUL"));
}
