//! The Helm chart: the install manifests, with a handful of values to set.
//!
//! In: the manifests that `install/` is made of. Out: the files of `chart/`. Called by
//! `render.rs`.
//!
//! A template is the manifest's own text with `{{ .Values… }}` in a few places, so there is
//! one source. Each place is checked against the default of its value: rendered with
//! defaults, the chart is what kustomize installs.

use std::{collections::BTreeMap, io};

use serde_json::{Value, json};

use super::{
    Manifest,
    values::{self, Place, Setting, Shape},
    yaml,
};

/// Files of the chart.
pub fn files(manifests: &[Manifest]) -> io::Result<BTreeMap<String, String>> {
    let settings = values::settings();
    let mut files = BTreeMap::from([
        ("chart/Chart.yaml".to_owned(), yaml::file(&[about()])?),
        ("chart/values.yaml".to_owned(), values::file(&settings)?),
    ]);
    let mut places = Places::of(&settings);
    for manifest in manifests {
        let path = format!("chart/templates/{}.yaml", manifest.name);
        files.insert(path, places.template(&manifest.objects)?);
    }
    places.all_found()?;
    Ok(files)
}

fn about() -> Value {
    json!({
        "apiVersion": "v2",
        "name": "cloister",
        "description": "Isolation for the tenants of an integration platform, kept and proven.",
        "type": "application",
        "version": env!("CARGO_PKG_VERSION"),
        "appVersion": env!("CARGO_PKG_VERSION"),
        // The oldest that everything is tested on.
        "kubeVersion": ">= 1.34.0-0",
    })
}

/// Every place of every setting, and whether it has been found.
struct Places<'a> {
    places: Vec<(&'a Setting, &'a Place, bool)>,
}

impl<'a> Places<'a> {
    fn of(settings: &'a [Setting]) -> Self {
        let places = settings
            .iter()
            .flat_map(|setting| {
                setting
                    .places
                    .iter()
                    .map(move |place| (setting, place, false))
            })
            .collect();
        Self { places }
    }

    /// One template of the chart.
    fn template(&mut self, objects: &[Value]) -> io::Result<String> {
        let mut objects = objects.to_vec();
        let mut marks = Vec::new();
        for object in &mut objects {
            keep(object);
            for (index, (setting, place, found)) in self.places.iter_mut().enumerate() {
                if place.is_of(object) {
                    let mark = format!("value-{index}-of-the-chart");
                    put(object, setting, place, &mark)?;
                    marks.push((mark, *setting, place.shape));
                    *found = true;
                }
            }
        }
        // What Helm would take for its own, it has to print instead.
        let text = yaml::file(&objects)?.replace("{{", "{{ \"{{\" }}");
        Ok(marks.iter().fold(text, |text, (mark, setting, shape)| {
            filled(&text, mark, setting, *shape)
        }))
    }

    fn all_found(&self) -> io::Result<()> {
        match self.places.iter().find(|(.., found)| !found) {
            None => Ok(()),
            Some((setting, place, _)) => Err(io::Error::other(format!(
                "value {} of the chart: there is no {} {}",
                setting.path(),
                place.kind,
                place.name
            ))),
        }
    }
}

/// Uninstalling the chart leaves definitions, and so everything that is defined by them.
fn keep(object: &mut Value) {
    if object["kind"] == json!("CustomResourceDefinition") {
        object["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    }
}

/// Puts a mark where the value goes, if what is there now is the value's default.
fn put(object: &mut Value, setting: &Setting, place: &Place, mark: &str) -> io::Result<()> {
    let fault = |what: String| {
        let path = setting.path();
        Err(io::Error::other(format!(
            "value {path} of the chart: {what}"
        )))
    };
    let default = place.shape.of_default(&setting.default);
    if object.pointer(&place.pointer) != default.as_ref() {
        return fault(format!(
            "{} {} does not hold its default",
            place.kind, place.name
        ));
    }
    let (parent, key) = place.pointer.rsplit_once('/').unwrap_or_default();
    match object.pointer_mut(parent) {
        Some(Value::Object(map)) => map.insert(key.to_owned(), json!(mark)),
        Some(_) | None => return fault(format!("{parent} is no map")),
    };
    Ok(())
}

/// The text with the value where its mark is.
fn filled(text: &str, mark: &str, setting: &Setting, shape: Shape) -> String {
    let path = setting.path();
    let template = match shape {
        Shape::Value | Shape::Optional => format!("{{{{ .Values.{path} | toJson }}}}"),
        Shape::Text => format!("{{{{ .Values.{path} | toString | toJson }}}}"),
        Shape::Not => format!("{{{{ not .Values.{path} }}}}"),
    };
    let line = |line: &str| {
        let filled = line.replace(mark, &template);
        match shape {
            Shape::Optional if line.contains(mark) => {
                format!("{{{{- if .Values.{path} }}}}\n{filled}\n{{{{- end }}}}\n")
            }
            Shape::Optional | Shape::Value | Shape::Text | Shape::Not => format!("{filled}\n"),
        }
    };
    text.lines().map(line).collect()
}
