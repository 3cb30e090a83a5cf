//! Who has written what, since somebody asked last: the end of the API server's audit log.
//!
//! In: the log, which is rotated when it is full. Out: the operator's writes, and everybody's; when the
//! operator asked for each pod.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use ::tests::measure::writes::Writes;
use crds::well_known::{OPERATOR_SERVICE_ACCOUNT, SYSTEM_NAMESPACE};
use serde_json::Value;

use super::{
    Anything,
    share::{Posted, milliseconds},
};

/// How far it has been read.
#[derive(Debug)]
pub(crate) struct Audit {
    log: PathBuf,
    read: u64,
}

/// Who wrote what.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The operator.
    pub(crate) operator: Writes,
    /// Anybody, the operator included.
    pub(crate) all: Writes,
    /// Pods that the operator asked for.
    pub(crate) posted: Posted,
}

impl Audit {
    /// From the beginning.
    pub(crate) fn new(log: PathBuf) -> Self {
        Self { log, read: 0 }
    }

    /// Reads on to the end.
    pub(crate) fn read_on(&mut self) -> Result<Written, Anything> {
        let mut written = Written::default();
        let length = fs::metadata(&self.log)?.len();
        if length < self.read {
            // What was not read of it lies beside it now, under a later name than any before.
            let rotated = rotated(&self.log)?.ok_or("the audit log was cut")?;
            read(&rotated, self.read, &mut written)?;
            self.read = 0;
        }
        self.read = read(&self.log, self.read, &mut written)?;
        Ok(written)
    }
}

/// The newest that was rotated out: `audit-<time>.log`.
fn rotated(log: &Path) -> Result<Option<PathBuf>, Anything> {
    let folder = log.parent().ok_or("a log in no folder")?;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with("audit-")) {
            found.push(path);
        }
    }
    Ok(found.into_iter().max())
}

/// Counts from there on; says where the last whole line ended.
fn read(path: &Path, from: u64, written: &mut Written) -> Result<u64, Anything> {
    let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut lines = BufReader::new(file);
    let mut position = from;
    let mut text = String::new();
    loop {
        text.clear();
        let length = lines.read_line(&mut text)?;
        if length == 0 || !text.ends_with('\n') {
            return Ok(position);
        }
        position += u64::try_from(length)?;
        let line: Value = serde_json::from_str(&text)?;
        written.all.count(&line);
        if line["user"]["username"] == user.as_str() {
            written.operator.count(&line);
            written.posted.extend(pod(&line));
        }
    }
}

/// The pod that a line says was made, and when it was asked for.
fn pod(line: &Value) -> Option<(String, f64)> {
    let object = &line["objectRef"];
    let made = line["verb"] == "create" && object["resource"] == "pods";
    if !made || !object["subresource"].is_null() {
        return None;
    }
    let name = object["name"].as_str()?;
    Some((
        name.to_owned(),
        milliseconds(&line["requestReceivedTimestamp"])?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_on_where_it_stopped_also_across_a_rotation() {
        let folder = std::env::temp_dir().join(format!("cloister-audit-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let log = folder.join("audit.log");
        let line = |user: &str| {
            format!(
                "{{\"verb\":\"create\",\"user\":{{\"username\":\"{user}\"}},\
                 \"objectRef\":{{\"resource\":\"pods\"}}}}\n"
            )
        };
        let ours = "{\"verb\":\"create\",\
             \"user\":{\"username\":\"system:serviceaccount:cloister-system:cloister-operator\"},\
             \"requestReceivedTimestamp\":\"2026-01-01T00:00:00.001Z\",\
             \"objectRef\":{\"resource\":\"pods\",\"name\":\"ours\"}}\n";
        fs::write(&log, format!("{}{ours}", line("ada"))).unwrap();
        let mut audit = Audit::new(log.clone());
        let first = audit.read_on().unwrap();
        assert_eq!((first.all.total(), first.operator.total()), (2, 1));
        assert_eq!(first.posted.keys().collect::<Vec<_>>(), ["ours"]);
        assert_eq!(audit.read_on().unwrap().all.total(), 0);

        let before = fs::read_to_string(&log).unwrap();
        fs::write(folder.join("audit-2026.log"), format!("{before}{ours}")).unwrap();
        fs::write(&log, line("ada")).unwrap();
        let second = audit.read_on().unwrap();
        assert_eq!((second.all.total(), second.operator.total()), (2, 1));
        fs::remove_dir_all(&folder).unwrap();
    }
}
