//! Cases in YAML, one file each: what goes in, and below `expect` what comes of it. `UPDATE_GOLDEN=1`
//! rewrites that, and the diff is to be read.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Runs every case of a folder of these sources, of which there are `count`, so that none gets lost.
pub async fn each<C: DeserializeOwned>(folder: &str, count: usize, run: impl AsyncFn(&C) -> Value) {
    let folder = Path::new("src").join(folder);
    let mut failures = Vec::new();
    let mut found = 0;
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let case: C = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let input = text.split("\nexpect:\n").next().unwrap_or_default();
        let told = json!({"expect": Box::pin(run(&case)).await});
        let told = serde_saphyr::to_string(&told).unwrap();
        let whole = format!("{}\n{}\n", input.trim_end(), told.trim_end());
        #[expect(clippy::disallowed_methods, reason = "the switch of a golden test")]
        if std::env::var("UPDATE_GOLDEN").is_ok() {
            fs::write(&path, &whole).unwrap();
        } else if whole != text {
            failures.push(format!("{name}: is now\n{told}"));
        }
        found += 1;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(found, count, "cases were found");
}

/// The conditions of a status, each as one line.
pub fn conditions(status: &Value) -> Value {
    let mut lines = json!({});
    for one in status["conditions"].as_array().into_iter().flatten() {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let said = format!("{} {}: {}", text("status"), text("reason"), text("message"));
        lines[text("type")] = json!(said);
    }
    lines
}
