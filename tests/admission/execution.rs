//! Bad Executions, each refused with the field and the remedy; and what of one may change.

use serde_json::{Value, json};
use tests::server::{Patch, Scratch, Server, assert_accepted, assert_refused, unique};

use super::{ANYWHERE, execution, set};

/// Each change to the minimal Execution is refused with all of the words.
async fn refused(pointer: &str, cases: &[(Value, &[&str])]) {
    let admin = Server::admin().await;
    let least = execution(ANYWHERE, &unique("e"));
    assert_accepted(&admin.dry_run(&least).await);
    for (value, words) in cases {
        assert_refused(&admin.dry_run(&set(&least, pointer, value)).await, words);
    }
}

async fn accepted(pointer: &str, values: &[Value]) {
    let admin = Server::admin().await;
    let least = execution(ANYWHERE, &unique("e"));
    for value in values {
        assert_accepted(&admin.dry_run(&set(&least, pointer, value)).await);
    }
}

#[tokio::test]
async fn rejects_an_input_of_more_than_8192_bytes() {
    let bytes: &[&str] = &["spec.input", "at most 8192 bytes"];
    refused(
        "/spec/input",
        &[
            (json!("a".repeat(8193)), &["spec.input"]),
            // Fewer characters than that, and more bytes.
            (json!("\u{e9}".repeat(4097)), bytes),
            (json!({"a": 1}), &["spec.input"]),
        ],
    )
    .await;
    accepted(
        "/spec/input",
        &[
            json!(""),
            json!("a".repeat(8192)),
            json!("\u{e9}".repeat(4096)),
        ],
    )
    .await;
}

#[tokio::test]
async fn rejects_names_and_keys_that_cannot_be() {
    refused(
        "/spec/integration",
        &[
            (json!(""), &["spec.integration"]),
            (json!("a".repeat(64)), &["spec.integration"]),
            (json!("Foo Bar"), &["spec.integration", "should match"]),
            (json!("-a"), &["spec.integration", "should match"]),
            (Value::Null, &["spec.integration", "Required value"]),
        ],
    )
    .await;
    refused(
        "/spec/idempotencyKey",
        &[
            (json!(""), &["spec.idempotencyKey"]),
            (json!("a".repeat(129)), &["spec.idempotencyKey"]),
        ],
    )
    .await;
    refused(
        "/spec/cancel",
        &[
            (json!("Maybe"), &["spec.cancel", "supported values"]),
            (json!(true), &["spec.cancel"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn rejects_an_unknown_field() {
    for field in ["image", "command", "namespace", "timeout"] {
        let words: &[&str] = &[&format!("unknown field \"spec.{field}\"")];
        refused(&format!("/spec/{field}"), &[(json!("x"), words)]).await;
    }
}

#[tokio::test]
async fn rejects_every_change_but_to_cancel() {
    Scratch::run(async |scratch| {
        let admin = &scratch.admin;
        let bare = execution(&scratch.namespace, &unique("bare"));
        let mut full = execution(&scratch.namespace, &unique("full"));
        full["spec"]["input"] = json!("{}");
        full["spec"]["idempotencyKey"] = json!("once");
        for object in [&bare, &full] {
            assert_accepted(&admin.create(object).await);
        }
        for (object, field, value) in [
            (&bare, "integration", json!("another")),
            (&bare, "input", json!("")),
            (&bare, "idempotencyKey", json!("once")),
            (&full, "input", json!("{ }")),
            (&full, "input", Value::Null),
            (&full, "idempotencyKey", json!("twice")),
            (&full, "idempotencyKey", Value::Null),
        ] {
            let answer = admin
                .patch(object, Patch::Merge, &json!({"spec": {field: value}}))
                .await;
            let words = [&format!("spec.{field}"), "cannot be changed"];
            assert_refused(&answer, &words);
        }
        let label = json!({"metadata": {"labels": {"a": "b"}}});
        assert_accepted(&admin.patch(&full, Patch::Merge, &label).await);
    })
    .await;
}

#[tokio::test]
async fn rejects_taking_a_cancel_back() {
    Scratch::run(async |scratch| {
        let admin = &scratch.admin;
        let object = execution(&scratch.namespace, &unique("cancel"));
        assert_accepted(&admin.create(&object).await);
        let cancel = |value: Value| json!({"spec": {"cancel": value}});
        for _ in 0..2 {
            let answer = admin
                .patch(&object, Patch::Merge, &cancel(json!("Requested")))
                .await;
            assert_accepted(&answer);
        }
        for back in [json!("No"), Value::Null] {
            let answer = admin.patch(&object, Patch::Merge, &cancel(back)).await;
            assert_refused(&answer, &["spec.cancel", "stays canceled"]);
        }
    })
    .await;
}
