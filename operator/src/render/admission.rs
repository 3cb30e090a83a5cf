//! Admission policies: what nobody may do in a tenant's namespace, whoever they are.
//!
//! In: names of `crds`. Out: `ValidatingAdmissionPolicies` with their bindings, installed
//! once. They run inside the API server, so they hold with the operator stopped, and when
//! Cloister is uninstalled nothing of them is left in the way. Called by `render.rs`.
//!
//! Every expression is written so that it fails closed: what is absent counts as wrong.

mod drills;
mod integrations;
mod namespaces;
mod operator;
mod pods;
mod probes;
mod reach;
#[cfg(test)]
mod sandboxes;
mod tenants;
mod workers;

use std::{collections::BTreeMap, io};

use crds::well_known::{OPERATOR_SERVICE_ACCOUNT, SYSTEM_NAMESPACE, TENANT_LABEL};
use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec,
        ValidatingAdmissionPolicySpec, Validation, Variable,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};
use serde_json::Value;

use super::{
    meta::{self, texts},
    yaml::value,
};

/// Every policy, each followed by its binding.
pub fn objects() -> io::Result<Vec<Value>> {
    let policies = [
        pods::policy(),
        probes::policy(),
        workers::policy(),
        workers::autoscalers(),
        reach::services(),
        reach::tokens(),
        reach::token_secrets(),
        namespaces::policy(),
        tenants::policy(),
        integrations::policy(),
        drills::policy(),
        operator::policy(),
    ];
    let mut objects = Vec::new();
    for policy in policies {
        let binding = value(&policy.binding())?;
        objects.extend([value(&policy.resource())?, binding]);
    }
    Ok(objects)
}

/// One policy, as it is written in this folder.
struct Policy {
    name: &'static str,
    description: &'static str,
    rules: Vec<NamedRuleWithOperations>,
    scope: Scope,
    /// Requests for which one of these is false cost nothing more.
    conditions: Vec<MatchCondition>,
    variables: Vec<Variable>,
    validations: Vec<Validation>,
}

/// Where a policy holds.
enum Scope {
    /// In every namespace that carries the tenant label.
    TenantNamespaces,
    /// On objects outside namespaces.
    Cluster,
}

impl Policy {
    fn resource(self) -> ValidatingAdmissionPolicy {
        ValidatingAdmissionPolicy {
            metadata: meta::described(meta::cluster_scoped(self.name), self.description),
            spec: Some(ValidatingAdmissionPolicySpec {
                // What cannot be evaluated is refused.
                failure_policy: Some("Fail".to_owned()),
                match_constraints: Some(MatchResources {
                    resource_rules: Some(self.rules),
                    ..MatchResources::default()
                }),
                match_conditions: (!self.conditions.is_empty()).then_some(self.conditions),
                variables: (!self.variables.is_empty()).then_some(self.variables),
                validations: Some(self.validations),
                ..ValidatingAdmissionPolicySpec::default()
            }),
            status: None,
        }
    }

    fn binding(&self) -> ValidatingAdmissionPolicyBinding {
        let match_resources = match self.scope {
            Scope::TenantNamespaces => Some(MatchResources {
                namespace_selector: Some(tenant_namespaces()),
                ..MatchResources::default()
            }),
            Scope::Cluster => None,
        };
        ValidatingAdmissionPolicyBinding {
            metadata: meta::cluster_scoped(self.name),
            spec: Some(ValidatingAdmissionPolicyBindingSpec {
                policy_name: Some(self.name.to_owned()),
                validation_actions: Some(texts(&["Deny"])),
                match_resources,
                param_ref: None,
            }),
        }
    }
}

fn tenant_namespaces() -> LabelSelector {
    LabelSelector {
        match_labels: None::<BTreeMap<_, _>>,
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: TENANT_LABEL.to_owned(),
            operator: "Exists".to_owned(),
            values: None,
        }]),
    }
}

/// User name of the operator.
fn operator_user() -> String {
    format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}")
}

/// Which requests a policy looks at.
fn rule(group: &str, version: &str, resources: &[&str], verbs: &[&str]) -> NamedRuleWithOperations {
    NamedRuleWithOperations {
        api_groups: Some(texts(&[group])),
        api_versions: Some(texts(&[version])),
        resources: Some(texts(resources)),
        operations: Some(texts(verbs)),
        // The default. Said, because lists are compared whole: without it, whoever applies
        // from Git sees a difference for ever.
        scope: Some("*".to_owned()),
        ..NamedRuleWithOperations::default()
    }
}

fn condition(name: &str, expression: &str) -> MatchCondition {
    MatchCondition {
        name: name.to_owned(),
        expression: block(expression),
    }
}

fn variable(name: &str, expression: &str) -> Variable {
    Variable {
        name: name.to_owned(),
        expression: block(expression),
    }
}

/// An expression: the key `k` begins with one of these.
fn begins(prefixes: &[&str]) -> String {
    let each = prefixes.iter();
    let each: Vec<String> = each
        .map(|prefix| format!("k.startsWith('{prefix}')"))
        .collect();
    each.join(" || ")
}

/// An expression: every key `k` of labels or annotations that is `reserved` is as it was, in
/// both directions.
fn kept(map: &str, reserved: &str) -> String {
    let each = |from: &str, to: &str| {
        format!(
            "{from}.metadata.?{map}.orValue({{}}).all(k, !({reserved}) ||\n  \
             {to}.metadata.?{map}[?k].hasValue() &&\n  \
             {to}.metadata.{map}[k] == {from}.metadata.{map}[k])"
        )
    };
    format!(
        "{} &&\n{}",
        each("object", "oldObject"),
        each("oldObject", "object")
    )
}

/// A rule with a message that is always the same.
fn must(expression: &str, message: &str) -> Validation {
    Validation {
        expression: block(expression),
        message: Some(message.to_owned()),
        // Nothing is malformed: it is not for this person, or not for this place.
        reason: Some("Forbidden".to_owned()),
        ..Validation::default()
    }
}

/// A rule with a message that names what is wrong: `details` is a CEL expression for the
/// words that follow `message`.
fn must_or_name(expression: &str, message: &str, details: &str) -> Validation {
    Validation {
        message_expression: Some(format!("'{}: ' + {details}", message.replace('\'', "\\'"))),
        ..must(expression, message)
    }
}

/// An expression as it stands in the source, without the source's indentation.
fn block(text: &str) -> String {
    let text = text.trim_matches('\n').trim_end();
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let common = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(indentation)
        .min()
        .unwrap_or(0);
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.get(common..).unwrap_or_default())
        .collect();
    lines.join("\n")
}
