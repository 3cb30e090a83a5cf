//! One at a time: a lock on a file, released when dropped or when its process ends in any way.

use std::fs::File;
use std::path::Path;

use super::error::Error;
use super::paths;

/// Held by whoever changes what it guards.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for its turn.
    pub fn take(path: &Path) -> Result<Self, Error> {
        paths::make_dir(path.parent().unwrap_or(path))?;
        let file = File::create(path).map_err(Error::io("create", path))?;
        if file.try_lock().is_err() {
            eprintln!("waiting for another `cluster` command to end");
            file.lock().map_err(Error::io("lock", path))?;
        }
        Ok(Self { _file: file })
    }
}
