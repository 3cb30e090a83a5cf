//! The token that this process shows to the operator, as it lies in a file.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Tokens of Kubernetes have some 1.5 KiB.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads it, without the line end of its file.
pub fn read(path: &Path) -> io::Result<String> {
    let mut token = String::new();
    File::open(path)?
        .take(MAX_BYTES)
        .read_to_string(&mut token)?;
    token.truncate(token.trim_end().len());
    Ok(token)
}
