//! What must stay of a Worker's Deployment or `StatefulSet` and budget as Cloister wrote it.
//!
//! The API server fills them with defaults. Those are left out of what is compared, on
//! both sides, so that what was written and what is read compare equal.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    policy::v1::PodDisruptionBudget,
};
use serde_json::{Value, json};

use super::{Child, ChildKind};

/// Fields, and what the API server puts into them where nothing is said (`apps/v1` and `core/v1`,
/// `SetDefaults_…`). What it defaults otherwise, Cloister says itself.
const DEFAULTS: [(&str, &str); 7] = [
    ("apiVersion", "\"v1\""),
    ("dnsPolicy", "\"ClusterFirst\""),
    ("restartPolicy", "\"Always\""),
    ("schedulerName", "\"default-scheduler\""),
    ("terminationMessagePath", "\"/dev/termination-log\""),
    ("terminationMessagePolicy", "\"File\""),
    ("successThreshold", "1"),
];

/// The other name of `serviceAccountName`, which the API server fills with the same.
const ALIAS: &str = "serviceAccount";

impl Child for Deployment {
    const KIND: ChildKind = ChildKind::Deployment;
    const CONTENT: &'static [&'static str] = &["spec"];
    fn governed(&self) -> Value {
        let mut spec = json!(self.spec);
        // An annotation of somebody's (`kubectl rollout restart`) makes another template.
        strip_defaults(&mut spec);
        spec
    }
}

impl Child for StatefulSet {
    const KIND: ChildKind = ChildKind::StatefulSet;
    const CONTENT: &'static [&'static str] = &["spec"];
    fn governed(&self) -> Value {
        let mut spec = json!(self.spec);
        // What the server says of a claim that it has not made.
        let claims = spec.get_mut("volumeClaimTemplates");
        for claim in claims.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(claim) = claim.as_object_mut() {
                claim.remove("status");
            }
        }
        strip_defaults(&mut spec);
        spec
    }
}

impl Child for PodDisruptionBudget {
    const KIND: ChildKind = ChildKind::PodDisruptionBudget;
    const CONTENT: &'static [&'static str] = &["spec"];
    fn governed(&self) -> Value {
        json!(self.spec)
    }
}

fn strip_defaults(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, held| {
                let text = held.to_string();
                let default = DEFAULTS
                    .iter()
                    .any(|(field, default)| field == key && *default == text);
                !default && key != ALIAS && !held.is_null()
            });
            map.values_mut().for_each(strip_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_defaults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(fill: impl FnOnce(&mut Value)) -> Deployment {
        let mut object = json!({"metadata": {"name": "worker-a"}, "spec": {"replicas": 3,
            "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {}, "spec": {
                "serviceAccountName": "cloister-sandbox",
                "containers": [{"name": "worker", "env": [{"name": "A", "valueFrom": {"fieldRef":
                    {"fieldPath": "status.hostIP"}}}], "readinessProbe": {"periodSeconds": 5}}]}}}});
        fill(&mut object);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_the_api_server_fills_in_is_no_change_and_what_somebody_adds_is() {
        let ours = with(|_| ()).fingerprint();
        let filled = with(|object| {
            let pod = &mut object["spec"]["template"]["spec"];
            pod["serviceAccount"] = json!("cloister-sandbox");
            pod["restartPolicy"] = json!("Always");
            pod["dnsPolicy"] = json!("ClusterFirst");
            pod["schedulerName"] = json!("default-scheduler");
            let container = &mut pod["containers"][0];
            container["terminationMessagePath"] = json!("/dev/termination-log");
            container["terminationMessagePolicy"] = json!("File");
            container["readinessProbe"]["successThreshold"] = json!(1);
            container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] = json!("v1");
        });
        assert_eq!(filled.fingerprint(), ours);
        let others: [fn(&mut Value); 4] = [
            |object| object["spec"]["replicas"] = json!(2),
            |object| object["spec"]["paused"] = json!(true),
            |object| object["spec"]["template"]["spec"]["hostNetwork"] = json!(true),
            |object| object["spec"]["template"]["spec"]["dnsPolicy"] = json!("Default"),
        ];
        for other in others {
            assert_ne!(with(other).fingerprint(), ours);
        }
    }
}
