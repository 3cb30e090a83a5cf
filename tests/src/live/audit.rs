//! What the API server's log of requests says that the operator has written, and from where.
//!
//! Only where the nodes, and so the API server, are ours.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Live, must, text};

/// Groups that every replica may write to: its claim to the Lease, and to ask who somebody is.
const ASIDE: [&str; 2] = ["coordination.k8s.io", "authentication.k8s.io"];

impl Live {
    /// Since when whoever leads does so, as the Lease says.
    pub async fn leading_since(&self) -> Timestamp {
        let lease =
            "/apis/coordination.k8s.io/v1/namespaces/cloister-system/leases/cloister-operator";
        let lease = must(self.get(lease).await, "lease");
        let since = text(&lease, "/spec/acquireTime");
        must(since.parse(), &since)
    }

    /// Writes of the replica on this node that the server received after this moment, but for the
    /// Lease and for asking who somebody is.
    pub async fn writes_from(&self, node: &str, since: Timestamp) -> Vec<String> {
        let object = must(self.get(&format!("/api/v1/nodes/{node}")).await, node);
        let address = text(&object, "/status/addresses/0/address");
        let log = self.nodes().audit_log();
        let log = must(fs::read_to_string(log), "audit log");
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let by_it = lines.filter(|line| is_write(line, &address, since));
        let said = by_it.map(|line: Value| {
            let at = text(&line, "/requestReceivedTimestamp");
            format!(
                "{at} {} {}",
                text(&line, "/verb"),
                text(&line, "/requestURI")
            )
        });
        said.collect()
    }
}

fn is_write(line: &Value, address: &str, since: Timestamp) -> bool {
    let read = ["get", "list", "watch"].contains(&&*text(line, "/verb"));
    let aside = ASIDE.contains(&&*text(line, "/objectRef/apiGroup"));
    let at: Result<Timestamp, _> = text(line, "/requestReceivedTimestamp").parse();
    text(line, "/user/username").ends_with(":cloister-operator")
        && line["sourceIPs"][0] == json!(address)
        && at.is_ok_and(|at| at > since)
        && !read
        && !aside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_counts_by_who_from_where_when_and_to_what() {
        let since: Timestamp = "2026-01-01T00:00:10Z".parse().unwrap();
        let line = json!({
            "verb": "patch", "user": {"username": "system:serviceaccount:x:cloister-operator"},
            "sourceIPs": ["10.90.0.11"], "requestReceivedTimestamp": "2026-01-01T00:00:11Z",
            "objectRef": {"apiGroup": "cloister.dev"},
        });
        assert!(is_write(&line, "10.90.0.11", since));
        for (pointer, value) in [
            ("/verb", json!("watch")),
            ("/user/username", json!("system:node:node-a")),
            ("/sourceIPs/0", json!("10.90.0.12")),
            ("/requestReceivedTimestamp", json!("2026-01-01T00:00:10Z")),
            ("/objectRef/apiGroup", json!("coordination.k8s.io")),
        ] {
            let mut other = line.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert!(!is_write(&other, "10.90.0.11", since), "{pointer}");
        }
    }
}
