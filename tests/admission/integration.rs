//! Bad Integrations, each refused with the field and the remedy, and the largest good one.

use serde_json::{Value, json};
use tests::server::{Server, assert_accepted, assert_refused, unique};

use super::{ANYWHERE, integration, set};

/// Each change to the minimal Integration is refused with all of the words.
async fn refused(pointer: &str, cases: &[(Value, &[&str])]) {
    let admin = Server::admin().await;
    let least = integration(ANYWHERE, &unique("i"));
    assert_accepted(&admin.dry_run(&least).await);
    for (value, words) in cases {
        assert_refused(&admin.dry_run(&set(&least, pointer, value)).await, words);
    }
}

async fn accepted(pointer: &str, values: &[Value]) {
    let admin = Server::admin().await;
    let least = integration(ANYWHERE, &unique("i"));
    for value in values {
        assert_accepted(&admin.dry_run(&set(&least, pointer, value)).await);
    }
}

#[tokio::test]
async fn accepts_the_least_and_says_what_it_takes_it_for() {
    let admin = Server::admin().await;
    let answer = admin.dry_run(&integration(ANYWHERE, &unique("i"))).await;
    let spec = &answer.unwrap()["spec"];
    for (pointer, value) in [
        (
            "/resources",
            json!({"cpu": "500m", "memory": "256Mi", "scratch": "64Mi"}),
        ),
        ("/timeout", json!("15m")),
        ("/gracePeriod", json!("10s")),
        ("/startDeadline", json!("5m")),
        ("/retries", json!(0)),
        ("/concurrency", json!({"limit": 10, "policy": "Queue"})),
        ("/warm", json!({"min": 0})),
        ("/ttl", json!("1h")),
        ("/history", json!({})),
    ] {
        assert_eq!(spec.pointer(pointer), Some(&value), "spec{pointer}");
    }
}

#[tokio::test]
async fn rejects_durations_that_are_none_or_out_of_bounds() {
    for (name, range, good, bad) in [
        (
            "timeout",
            "from 1s to 24h",
            ["1s", "1h30m", "24h"],
            ["0s", "24h1s"],
        ),
        (
            "gracePeriod",
            "from 0s to 10m",
            ["0s", "1m30s", "10m"],
            ["601s", "1h"],
        ),
        (
            "startDeadline",
            "from 1s to 24h",
            ["1s", "90s", "24h"],
            ["0m", "25h"],
        ),
        (
            "ttl",
            "from 0s to 720h",
            ["0s", "24h", "720h"],
            ["721h", "720h1s"],
        ),
    ] {
        let pointer = format!("/spec/{name}");
        let field = format!("spec.{name}");
        accepted(&pointer, &good.map(|value| json!(value))).await;
        let words: &[&str] = &[&field, range];
        for value in bad
            .into_iter()
            .chain(["5 m", "-5m", "1d", "1.5h", "PT5M", "5m1h", "ten"])
        {
            refused(&pointer, &[(json!(value), words)]).await;
        }
        let field: &[&str] = &[&field];
        for value in [json!(""), json!(90), json!("9999999999999h")] {
            refused(&pointer, &[(value, field)]).await;
        }
    }
}

#[tokio::test]
async fn rejects_zero_and_absurd_counts() {
    for (pointer, field, least, most) in [
        (
            "/spec/concurrency/limit",
            "spec.concurrency.limit",
            1,
            1_000,
        ),
        ("/spec/warm/min", "spec.warm.min", 0, 100),
        (
            "/spec/history/succeeded",
            "spec.history.succeeded",
            0,
            10_000,
        ),
        ("/spec/history/failed", "spec.history.failed", 0, 10_000),
        ("/spec/retries", "spec.retries", 0, 10),
    ] {
        let too_few: &[&str] = &[field, &format!("greater than or equal to {least}")];
        let too_many: &[&str] = &[field, &format!("less than or equal to {most}")];
        refused(
            pointer,
            &[
                (json!(least - 1), too_few),
                (json!(most + 1), too_many),
                (json!(4_294_967_296_u64), &[field]),
                (json!("many"), &[field]),
            ],
        )
        .await;
        accepted(pointer, &[json!(least), json!(most)]).await;
    }
}

#[tokio::test]
async fn rejects_a_schedule_that_is_none() {
    let with = |field: &str, value: &str| {
        let mut schedule = json!({"cron": "0 3 * * *"});
        schedule[field] = json!(value);
        schedule
    };
    for (field, words, good, bad) in [
        (
            "cron",
            "must be minute (0-59), hour (0-23)",
            [
                "* * * * *",
                "*/15 8-18 1,15 jan-JUN MON-fri",
                "59 23 31 12 7",
                "0 0 30 2 *",
            ],
            [
                "60 * * * *",
                "* * * * * *",
                "@hourly aa",
                "TZ=UTC 0 3 * * *",
            ],
        ),
        (
            "timeZone",
            "IANA time zone database",
            ["Etc/UTC", "America/Argentina/Ushuaia", "Etc/GMT+5", "UTC"],
            ["+02:00", "../etc/passwd", "Europe Berlin", "Europe/"],
        ),
        (
            "startingDeadline",
            "must be from 1m to 720h",
            ["1m", "90s", "1h", "720h"],
            ["59s", "721h", "1d", "soon"],
        ),
        (
            "missed",
            "supported values",
            ["RunOnce", "Skip", "RunOnce", "Skip"],
            ["RunAll", "", "runOnce", "true"],
        ),
    ] {
        let path = format!("spec.schedule.{field}");
        accepted("/spec/schedule", &good.map(|value| with(field, value))).await;
        for value in bad {
            let words: &[&str] = &[&path, words];
            refused("/spec/schedule", &[(with(field, value), words)]).await;
        }
    }
}

#[tokio::test]
async fn says_what_it_takes_a_schedule_for_and_rejects_what_is_less_or_more() {
    let admin = Server::admin().await;
    let least = integration(ANYWHERE, &unique("i"));
    let object = set(&least, "/spec/schedule", &json!({"cron": "0 3 * * *"}));
    let answer = admin.dry_run(&object).await;
    assert_eq!(
        answer.unwrap()["spec"]["schedule"],
        json!({"cron": "0 3 * * *", "timeZone": "Etc/UTC", "missed": "RunOnce",
            "startingDeadline": "1h"})
    );
    refused(
        "/spec/schedule",
        &[
            (json!({}), &["spec.schedule.cron", "Required value"]),
            (json!({"cron": "* * * *"}), &["spec.schedule.cron"]),
            (json!({"cron": "1,".repeat(65)}), &["spec.schedule.cron"]),
            (
                json!({"cron": "* * * * *", "seconds": "*"}),
                &["unknown field \"spec.schedule.seconds\""],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn rejects_zero_and_absurd_quantities() {
    for (name, range, good, bad) in [
        (
            "cpu",
            "from 10m to 64",
            ["10m", "64"],
            ["0", "9m", "65", "-4"],
        ),
        (
            "memory",
            "from 32Mi to 256Gi",
            ["32Mi", "256Gi"],
            ["0", "31Mi", "257Gi", "1 Gi"],
        ),
        (
            "scratch",
            "from 1Mi to 1Ti",
            ["1Mi", "1Ti"],
            ["0", "1023Ki", "2Ti", "much"],
        ),
    ] {
        let pointer = format!("/spec/resources/{name}");
        let field = format!("spec.resources.{name}");
        let words: &[&str] = &[&field, "must be a quantity", range];
        for value in bad {
            refused(&pointer, &[(json!(value), words)]).await;
        }
        refused(&pointer, &[(json!(""), &[&field])]).await;
        accepted(&pointer, &good.map(|value| json!(value))).await;
    }
}

#[tokio::test]
async fn rejects_an_image_and_a_command_that_cannot_be() {
    let image: &[&str] = &["spec.image", "should match"];
    refused(
        "/spec/image",
        &[
            (json!("example.test/a b:1"), image),
            (json!("-rm"), image),
            (json!("example.test/a\nb"), image),
            (json!(""), &["spec.image"]),
            (json!("a".repeat(513)), &["spec.image"]),
            (Value::Null, &["spec.image", "Required value"]),
        ],
    )
    .await;
    accepted(
        "/spec/image",
        &[
            json!("hello"),
            json!(format!(
                "registry.example:5000/a/b_c:v1.0@sha256:{}",
                "0".repeat(64)
            )),
        ],
    )
    .await;
    refused(
        "/spec/command",
        &[
            (json!([]), &["spec.command", "at least 1 items"]),
            (json!([""]), &["spec.command[0]", "at least 1 char"]),
            (json!(vec!["a"; 65]), &["spec.command", "at most 64 items"]),
            (json!("/hello"), &["spec.command"]),
            (Value::Null, &["spec.command", "Required value"]),
            (json!(["/hello\0"]), &["spec.command[0]", "should match"]),
        ],
    )
    .await;
    let ended: &[&str] = &["spec.args[1]", "should match"];
    refused("/spec/args", &[(json!(["a", "b\0c"]), ended)]).await;
    accepted("/spec/args", &[json!(["", "a\nb\té"])]).await;
}

#[tokio::test]
async fn rejects_an_environment_that_no_process_could_have() {
    refused(
        "/spec/env",
        &[
            (
                json!([{"name": "1A"}]),
                &["spec.env[0].name", "should match"],
            ),
            (
                json!([{"name": "A=B"}]),
                &["spec.env[0].name", "should match"],
            ),
            (
                json!([{"name": "A", "value": "\0"}]),
                &["spec.env[0].value", "should match"],
            ),
            (
                json!([{"name": "A"}, {"name": "A", "value": "b"}]),
                &["spec.env[1]", "Duplicate value"],
            ),
            // Nothing from a Secret: credentials come over the session.
            (
                json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]),
                &["unknown field \"spec.env[0].valueFrom\""],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn rejects_words_that_are_not_in_the_list() {
    for (pointer, field) in [
        ("/spec/runtime", "spec.runtime"),
        ("/spec/concurrency/policy", "spec.concurrency.policy"),
    ] {
        refused(pointer, &[(json!("Maybe"), &[field, "supported values"])]).await;
    }
}

#[tokio::test]
async fn rejects_an_unknown_field_at_any_depth() {
    for (pointer, field) in [
        ("/spec/template", "unknown field \"spec.template\""),
        (
            "/spec/resources/gpu",
            "unknown field \"spec.resources.gpu\"",
        ),
        ("/spec/warm/most", "unknown field \"spec.warm.most\""),
    ] {
        refused(pointer, &[(json!("x"), &[field])]).await;
    }
}

#[tokio::test]
async fn rejects_a_name_that_no_label_could_hold() {
    let admin = Server::admin().await;
    let named = |length: usize| integration(ANYWHERE, &"a".repeat(length));
    assert_accepted(&admin.dry_run(&named(63)).await);
    let words = ["metadata.name: at most 63 characters"];
    assert_refused(&admin.dry_run(&named(64)).await, &words);
}

/// Every list at its maximum, and all texts of what is run together: the rules must not run out
/// of budget. Another character is one too many.
#[tokio::test]
async fn accepts_the_largest_integration_and_no_larger_one() {
    let texts = |count: usize, length: usize| vec!["\u{e9}".repeat(length); count];
    let env: Vec<Value> = (0..64)
        .map(|index| {
            let name = format!("{}{index:02}", "A".repeat(126));
            json!({"name": name, "value": "v".repeat(128)})
        })
        .collect();
    let mut spec = json!({"image": "a".repeat(512), "command": texts(64, 256), "env": env,
        "args": texts(8, 4096), "runtime": "GVisor", "suspend": true});
    accepted("/spec", &[spec.clone()]).await;
    spec["args"].as_array_mut().unwrap().push(json!("a"));
    let words: &[&str] = &["spec", "command, args and env: at most 65536 characters"];
    refused("/spec", &[(spec, words)]).await;
}

#[tokio::test]
async fn rejects_egress_to_what_no_tenant_may_reach_and_too_much_of_it() {
    let rule = |cidr: &str| json!({"cidr": cidr, "ports": [{"port": 443}]});
    for cidr in [
        "10.0.0.0/8",
        "0.0.0.0/0",
        "169.254.169.254/32",
        "fd00:ec2::254/128",
    ] {
        let words: &[&str] = &["spec.egress[0].cidr", "which no tenant may reach"];
        refused("/spec/egress", &[(json!([rule(cidr)]), words)]).await;
    }
    let many = |count: usize| json!(vec![rule("8.8.8.0/24"); count]);
    let ports = |ports: Value| json!([{"cidr": "8.8.8.0/24", "ports": ports}]);
    refused(
        "/spec/egress",
        &[
            (
                json!([rule("8.8.8.8/24")]),
                &["spec.egress[0].cidr", "not a CIDR, or bits are set"],
            ),
            (many(65), &["spec.egress", "at most 64 items"]),
            (ports(json!([])), &["egress[0].ports", "at least 1 items"]),
            (
                ports(json!([{"port": 443, "endPort": 442}])),
                &["ports[0].endPort", "endPort must not be below port"],
            ),
        ],
    )
    .await;
    accepted("/spec/egress", &[many(64), json!([rule("2001:4860::/32")])]).await;
}
