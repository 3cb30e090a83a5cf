//! Writes that an API server has served, by what they did to what.
//!
//! In: its page of metrics, or lines of its audit log. Out: [`Writes`], which can be taken from each
//! other. Pure. Events and leases are left out: they come on a clock, and not with the work.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

/// Verbs of the metrics that write.
const VERBS: [&str; 5] = ["POST", "PUT", "PATCH", "APPLY", "DELETE"];
/// The same, as an audit log says them.
const AUDIT_VERBS: [&str; 4] = ["create", "update", "patch", "delete"];
/// What comes on a clock.
const ASIDE: [&str; 2] = ["leases", "events"];

/// How many writes there were of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes(BTreeMap<String, u64>);

impl Writes {
    /// From the metrics of an API server: all that anybody has written since it started.
    pub fn of_metrics(page: &str) -> Self {
        let mut writes = Self::default();
        let lines = page.lines();
        for line in lines.filter(|line| line.starts_with("apiserver_request_total{")) {
            let verb = label(line, "verb");
            let count = line.rsplit(' ').next().and_then(|text| text.parse().ok());
            if let Some(count) = count.filter(|_| VERBS.contains(&verb)) {
                let what = (label(line, "resource"), label(line, "subresource"));
                writes.add(verb, what, count);
            }
        }
        writes
    }

    /// Counts one line of an audit log.
    pub fn count(&mut self, line: &Value) {
        let text = |pointer| line.pointer(pointer).and_then(Value::as_str);
        let verb = text("/verb").unwrap_or_default();
        if AUDIT_VERBS.contains(&verb) {
            let resource = text("/objectRef/resource").unwrap_or_default();
            let subresource = text("/objectRef/subresource").unwrap_or_default();
            self.add(verb, (resource, subresource), 1);
        }
    }

    fn add(&mut self, verb: &str, (resource, subresource): (&str, &str), count: u64) {
        if ASIDE.contains(&resource) {
            return;
        }
        let slash = if subresource.is_empty() { "" } else { "/" };
        let verb = verb.to_lowercase();
        let kind = format!("{verb} {resource}{slash}{subresource}");
        *self.0.entry(kind).or_default() += count;
    }

    /// What came on top of `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let more = self.0.iter().filter_map(|(kind, count)| {
            let more = count.saturating_sub(before.0.get(kind).copied().unwrap_or_default());
            (more > 0).then(|| (kind.clone(), more))
        });
        Self(more.collect())
    }

    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// For each of so many things: all together, then by kind, what is seldom left out.
    pub fn each(&self, count: usize) -> Each<'_> {
        Each {
            writes: self,
            count,
        }
    }
}

/// See [`Writes::each`].
#[derive(Clone, Copy, Debug)]
pub struct Each<'a> {
    writes: &'a Writes,
    count: usize,
}

impl fmt::Display for Each<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a benchmark's figures have three digits"
        )]
        let each = |count: u64| count as f64 / self.count.max(1) as f64;
        write!(formatter, "{:.2}:", each(self.writes.total()))?;
        let mut kinds: Vec<_> = self.writes.0.iter().collect();
        kinds.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
        for (kind, count) in kinds {
            if each(*count) >= 0.005 {
                write!(formatter, " {kind} {:.2}", each(*count))?;
            }
        }
        Ok(())
    }
}

/// The value of a label in a line of metrics; empty if there is none.
fn label<'a>(line: &'a str, name: &str) -> &'a str {
    let mut parts = line.split(['{', ',', '}']);
    let found = parts.find_map(|part| {
        let value = part.strip_prefix(name)?.strip_prefix("=\"")?;
        value.strip_suffix('"')
    });
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PAGE: &str = r#"
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",resource="pods",subresource="",verb="POST"} 7
apiserver_request_total{code="409",resource="pods",subresource="",verb="POST"} 1
apiserver_request_total{code="200",resource="executions",subresource="status",verb="APPLY"} 4
apiserver_request_total{code="200",resource="pods",subresource="",verb="LIST"} 900
apiserver_request_total{code="200",resource="leases",subresource="",verb="PUT"} 50
apiserver_request_duration_seconds_count{resource="pods",verb="POST"} 3
"#;

    #[test]
    fn metrics_count_what_writes_by_verb_and_resource() {
        let writes = Writes::of_metrics(PAGE);
        assert_eq!(writes.total(), 12);
        let said = writes.each(4).to_string();
        assert_eq!(said, "3.00: post pods 2.00 apply executions/status 1.00");
        assert_eq!(writes.since(&writes).total(), 0);
        assert_eq!(writes.since(&Writes::default()), writes);
    }

    #[test]
    fn an_audit_log_counts_what_writes_and_not_what_reads() {
        let mut writes = Writes::default();
        for (verb, resource, subresource) in [
            ("create", "pods", json!(null)),
            ("create", "pods", json!("binding")),
            ("get", "pods", json!(null)),
            ("update", "leases", json!(null)),
        ] {
            let object = json!({"resource": resource, "subresource": subresource});
            writes.count(&json!({"verb": verb, "objectRef": object}));
        }
        let said = writes.each(1).to_string();
        assert_eq!(said, "2.00: create pods 1.00 create pods/binding 1.00");
    }

    #[test]
    fn what_is_seldom_is_counted_and_not_named() {
        let mut writes = Writes::default();
        writes.count(&json!({"verb": "patch", "objectRef": {"resource": "tenants"}}));
        assert_eq!(writes.each(1000).to_string(), "0.00:");
        assert_eq!(writes.total(), 1);
    }
}
