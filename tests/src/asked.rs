//! What the operator has asked an API server for, read from its audit log.

use std::collections::BTreeSet;

use serde_json::Value;

const OPERATOR: &str = "system:serviceaccount:cloister-system:cloister-operator";

/// Rights of the dispatch of Executions. Without a node there is no sandbox that dials, so they
/// are looked for in the log of a cluster that has nodes, and only there.
pub const OF_DISPATCH: [(&str, &str, &str); 13] = [
    ("cloister.dev", "integrations", "list"),
    ("cloister.dev", "integrations", "watch"),
    ("cloister.dev", "integrations/status", "patch"),
    ("cloister.dev", "executions", "list"),
    ("cloister.dev", "executions", "watch"),
    ("cloister.dev", "executions", "create"),
    ("cloister.dev", "executions", "delete"),
    ("cloister.dev", "executions/status", "patch"),
    ("authentication.k8s.io", "tokenreviews", "create"),
    ("", "secrets", "create"),
    ("", "secrets", "get"),
    ("", "secrets", "update"),
    ("discovery.k8s.io", "endpointslices", "patch"),
];

/// A right as RBAC counts them: group, resource with its subresource, verb.
pub type Right = (String, String, String);

/// One right, owned.
pub fn right((group, resource, verb): (&str, &str, &str)) -> Right {
    (group.to_owned(), resource.to_owned(), verb.to_owned())
}

/// Every right that the lines of an audit log show in use by the operator, and the requests of
/// it that were refused for want of one.
pub fn used(lines: &[Value]) -> (BTreeSet<Right>, Vec<String>) {
    let (mut used, mut forbidden) = (BTreeSet::new(), Vec::new());
    for line in lines {
        let reference = &line["objectRef"];
        if line["user"]["username"] != OPERATOR || reference.is_null() {
            continue;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let resource = match text(&reference["subresource"]).as_str() {
            "" => text(&reference["resource"]),
            sub => format!("{}/{sub}", text(&reference["resource"])),
        };
        let why = text(&line["responseStatus"]["message"]);
        // A namespace on its way out admits nothing: that is no missing right.
        if line["responseStatus"]["code"] == 403 && !why.contains("being terminated") {
            forbidden.push(format!("{} {}: {why}", line["verb"], line["requestURI"]));
        }
        used.insert((text(&reference["apiGroup"]), resource, text(&line["verb"])));
    }
    (used, forbidden)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_is_told_from_a_namespace_that_goes() {
        let line = |message: &str| {
            json!({"user": {"username": OPERATOR}, "verb": "create", "requestURI": "/x",
                "objectRef": {"resource": "pods", "subresource": "status"},
                "responseStatus": {"code": 403, "message": message}})
        };
        let lines = [
            line("cannot create"),
            line("because it is being terminated"),
        ];
        let (used, forbidden) = used(&lines);
        assert!(used.contains(&right(("", "pods/status", "create"))));
        assert_eq!(forbidden.len(), 1, "{forbidden:?}");
    }
}
