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

/// As many arguments of 4096 bytes, ends included.
fn arguments(count: usize, text: &str) -> Value {
    json!(vec![text.repeat(4095 / text.len()); count])
}

#[test]
fn what_has_more_bytes_than_a_sandbox_takes_is_refused_in_words_of_the_spec() {
    // `/hello` and its end are 7 bytes of 96 times 4096.
    let good = json!({"command": ["/hello"], "args": arguments(64, "a"),
        "env": (0..31).map(|n| json!({"name": format!("N{n:02}"), "value": "v".repeat(4091)}))
            .collect::<Vec<_>>()});
    assert_eq!(Terms::of(&object(&good)).err(), None);
    let mut bad = good;
    let more = json!({"name": "N31", "value": "v".repeat(4091)});
    bad["env"].as_array_mut().unwrap().push(more);
    let fault = Terms::of(&object(&bad)).unwrap_err();
    let expected = "spec.command, spec.args and spec.env have 393223 bytes together, and 393216 is \
                    the most; make them shorter";
    assert!(fault.starts_with(expected), "{fault}");
}

#[test]
fn what_is_too_long_for_the_message_to_a_sandbox_is_refused() {
    for (text, good) in [("a", true), ("\"", true), ("\n", true), ("\u{1}", false)] {
        let terms = Terms::of(&object(&json!({"args": arguments(64, text)})));
        assert_eq!(terms.is_ok(), good, "{text:?}");
        if let Err(fault) = terms {
            assert!(
                fault.contains("bytes of JSON together, and 983040 is"),
                "{fault}"
            );
        }
    }
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
fn no_sandbox_is_made_for_it() {
    let mut sim = Sim::new();
    let bad = json!({"args": ["\0"], "warm": {"min": 1}});
    sim.integration(NAMESPACE, "hello", &bad);
    sim.execution(NAMESPACE, "one", &json!({}));
    assert!(sim.settle() && sim.pass(3));
    assert!(sim.pods.is_empty());
    let ready = &sim.line("hello")["conditions"][0];
    assert_eq!(
        [&ready["status"], &ready["reason"]],
        ["False", "InvalidSpec"]
    );
    assert!(sim.message("one").contains("spec.args: has a NUL"));
}
