//! When a server holds its admission policies in force.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ControlPlane, eventually};

impl ControlPlane {
    /// Waits until the admission policies are in force, which the server says nowhere. It takes
    /// them in the order of their making: when one more is in force, all before it are.
    pub(super) async fn await_admission(&self) {
        let (kinds, name) = ("/apis/admissionregistration.k8s.io/v1", "marker");
        let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
            "resources": ["configmaps"], "resourceNames": [name]});
        let policy = json!({"metadata": {"name": name}, "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "false"}]}});
        let binding = json!({"metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]}});
        let policies = format!("{kinds}/validatingadmissionpolicies");
        let bindings = format!("{kinds}/validatingadmissionpolicybindings");
        for (path, object) in [(&policies, &policy), (&bindings, &binding)] {
            let made = self.post(path, object).await;
            assert!(made.is_ok(), "{path}: {made:?}");
        }
        let refused = json!({"metadata": {"name": name}});
        let path = "/api/v1/namespaces/default/configmaps?dryRun=All";
        eventually(Duration::from_mins(1), async || {
            match self.post(path, &refused).await {
                Ok(_) => Err("the admission policies are not in force".to_owned()),
                Err(_) => Ok(()),
            }
        })
        .await;
        for path in [bindings, policies] {
            let gone = self.delete(&format!("{path}/{name}"), &Value::Null).await;
            assert!(gone.is_ok(), "{path}: {gone:?}");
        }
    }
}
