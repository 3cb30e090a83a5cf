//! The admission policies without a server, for tests: their rendered text, evaluated by
//! the CEL of kube.
//!
//! In: the name of a policy, and what a request makes of `request`, `object`, `oldObject`
//! and `namespaceObject`. Out: the messages of the validations that fail. Nobody holds any
//! right here: what asks the authorizer is for the tests that have a server.

use std::{collections::HashMap, sync::Arc};

use kube::core::cel::{
    KubeCelExt,
    cel::{self, Context, parser::Parser},
};
use serde_json::{Value, json};

use crate::render;

/// As whom the operator asks.
pub const OPERATOR: &str = "system:serviceaccount:cloister-system:cloister-operator";

/// What a policy says against a request. Nothing: it lets it through.
pub fn refusals(policy: &str, request: &Value) -> Vec<String> {
    let spec = spec(policy);
    let mut context = Context::default().with_all();
    context.add_function("dyn", |it: cel::Value| -> cel::ResolveResult { Ok(it) });
    for name in ["request", "object", "oldObject", "namespaceObject"] {
        context.add_variable_from_value(name, value(&request[name]));
    }
    let list = |field: &str| spec[field].as_array().cloned().unwrap_or_default();
    let holds = |context: &Context<'_>, rule: &Value| {
        evaluate(context, rule) == Some(cel::Value::Bool(true))
    };
    if !list("matchConditions")
        .iter()
        .all(|one| holds(&context, one))
    {
        return vec![];
    }
    let mut variables = HashMap::<String, cel::Value>::new();
    for one in list("variables") {
        // One that fails is a fault of those that use it.
        if let (Some(name), Some(found)) = (one["name"].as_str(), evaluate(&context, &one)) {
            variables.insert(name.to_owned(), found);
            let known = cel::Value::Map(variables.clone().into());
            context.add_variable_from_value("variables", known);
        }
    }
    let failing = list("validations").into_iter();
    failing
        .filter(|one| !holds(&context, one))
        .map(|one| one["message"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn spec(policy: &str) -> Value {
    let files = render::files().unwrap();
    let documents = files["install/admission.yaml"].split("\n---\n");
    let objects = documents.map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    let wanted = |object: &Value| {
        object["kind"] == json!("ValidatingAdmissionPolicy")
            && object["metadata"]["name"] == json!(policy)
    };
    let mut found = objects.into_iter().filter(wanted);
    found.next().unwrap()["spec"].take()
}

/// Nothing where it cannot be evaluated.
fn evaluate(context: &Context<'_>, rule: &Value) -> Option<cel::Value> {
    let text = indexed(rule["expression"].as_str()?);
    let parser = Parser::default().enable_optional_syntax(true);
    cel::Value::resolve(&parser.parse(&text).unwrap(), context).ok()
}

/// `a.?b` as `a[?'b']`, which means the same. This CEL takes the first for an error where
/// there is no `b`.
fn indexed(text: &str) -> String {
    let (first, others) = text.split_once(".?").unwrap_or((text, ""));
    let others = others.split(".?").filter(|part| !part.is_empty());
    let others = others.map(|part| {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, rest) = part.split_at(end.unwrap_or(part.len()));
        format!("[?'{name}']{rest}")
    });
    format!("{first}{}", others.collect::<String>())
}

fn value(json: &Value) -> cel::Value {
    match json {
        Value::Null => cel::Value::Null,
        Value::Bool(is) => cel::Value::Bool(*is),
        Value::Number(number) => cel::Value::Int(number.as_i64().unwrap()),
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(value).collect())),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, held)| (key.clone(), value(held)));
            cel::Value::Map(entries.collect::<HashMap<_, _>>().into())
        }
    }
}
