//! Names, labels and references that several builders spell alike.
//!
//! In: names. Out: parts of objects. Called by every builder of `render/`.

use std::collections::BTreeMap;

use crds::well_known::COMPONENT_LABEL;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

/// Label of everything that is installed once. Not `managed-by`: that one says what the
/// operator keeps, and these objects it does not.
const PART_OF_LABEL: &str = "app.kubernetes.io/part-of";

/// Annotation that says what an object is for, by the Kubernetes well-known annotations.
const DESCRIPTION_ANNOTATION: &str = "kubernetes.io/description";

/// Labels of the pods of one component, which select them as well.
pub fn labels(component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (COMPONENT_LABEL.to_owned(), component.to_owned()),
        (PART_OF_LABEL.to_owned(), "cloister".to_owned()),
    ])
}

/// Selector of the pods of one component.
pub fn selector(component: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(
            COMPONENT_LABEL.to_owned(),
            component.to_owned(),
        )])),
        ..LabelSelector::default()
    }
}

/// Metadata of an object in a namespace.
pub fn namespaced(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        ..cluster_scoped(name)
    }
}

/// Metadata of an object outside namespaces.
pub fn cluster_scoped(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(BTreeMap::from([(
            PART_OF_LABEL.to_owned(),
            "cloister".to_owned(),
        )])),
        ..ObjectMeta::default()
    }
}

/// The same with a sentence that says what the object is for.
pub fn described(metadata: ObjectMeta, description: &str) -> ObjectMeta {
    let mut annotations = metadata.annotations.unwrap_or_default();
    annotations.insert(DESCRIPTION_ANNOTATION.to_owned(), description.to_owned());
    ObjectMeta {
        annotations: Some(annotations),
        ..metadata
    }
}

/// Texts, owned.
pub fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}
