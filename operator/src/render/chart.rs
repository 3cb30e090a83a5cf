//! The Helm chart (being written).
use std::{collections::BTreeMap, io};

use super::Manifest;

/// Files of the chart.
pub fn files(_: &[Manifest]) -> io::Result<BTreeMap<String, String>> {
    Ok(BTreeMap::new())
}
