//! Objects → YAML text.
//!
//! In: anything that serializes. Out: JSON values, which the chart can still change, and
//! from those the text of a file. Called by every builder of `render/`.

use std::io;

use serde::Serialize;
use serde_json::Value;

/// First lines of every rendered YAML file.
const HEADER: &str = "# Rendered by `cloister render`; not to be edited. Change operator/src/render, then \
                      `make generate`.\n";

/// One object.
pub fn value(object: &impl Serialize) -> io::Result<Value> {
    serde_json::to_value(object).map_err(io::Error::from)
}

/// Several objects of one kind.
pub fn values<K: Serialize>(objects: &[K]) -> io::Result<Vec<Value>> {
    objects.iter().map(value).collect()
}

/// A file of several documents.
pub fn file(objects: &[Value]) -> io::Result<String> {
    let documents: io::Result<Vec<String>> = objects.iter().map(document).collect();
    Ok(format!("{HEADER}{}", documents?.join("---\n")))
}

/// One document, ending in a line break.
pub fn document(object: &impl Serialize) -> io::Result<String> {
    let mut text = serde_saphyr::to_string(object).map_err(io::Error::other)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
