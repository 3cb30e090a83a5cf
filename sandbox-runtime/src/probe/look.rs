//! Reads what the kernel tells about this process; [`super::inside`] draws the conclusions.
//!
//! Leaves nothing behind: where the root file system takes a file, it is removed.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use contract::Inside;
use rustix::io::Errno;

use super::inside::{self, Evidence, UnknownForm};

/// Where Kubernetes mounts the token of a service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Why nothing can be said about this process.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A file of `/proc` cannot be read.
    #[error("failed to read {path}")]
    Read {
        path: &'static str,
        source: io::Error,
    },
    /// `prctl` does not know the question.
    #[error("failed to ask for no_new_privs")]
    NoNewPrivs(#[source] Errno),
    /// It was read and not understood.
    #[error("failed to understand the kernel")]
    Understand(#[from] UnknownForm),
}

/// Looks once.
pub fn inside() -> Result<Inside, LookError> {
    let evidence = Evidence {
        status: read("/proc/self/status")?,
        uid_map: read("/proc/self/uid_map")?,
        mounts: read("/proc/self/mountinfo")?,
        proc_version: read("/proc/version")?,
        kernel_version: rustix::system::uname()
            .version()
            .to_string_lossy()
            .into_owned(),
        no_new_privs: rustix::thread::no_new_privs().map_err(LookError::NoNewPrivs)?,
        root_write: write_in(Path::new("/")),
        token_mounted: is_there(Path::new(TOKEN)),
    };
    Ok(inside::conclude(&evidence)?)
}

/// Bytes that are no text (a path in a mount table) are replaced, and matter to nobody.
fn read(path: &'static str) -> Result<String, LookError> {
    let bytes = fs::read(path).map_err(|source| LookError::Read { path, source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Creates a file that was not there, and removes it again.
fn write_in(directory: &Path) -> Result<(), Errno> {
    let path = directory.join(format!(".cloister-probe-{}", std::process::id()));
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(_) => {
            // It was written, which is all that counts; the pod goes away with the file.
            let _ = fs::remove_file(&path);
            Ok(())
        }
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}

/// Absent only if the kernel says so: what may not be looked at may be there.
fn is_there(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(_) => true,
        Err(error) => !matches!(
            Errno::from_io_error(&error),
            Some(Errno::NOENT | Errno::NOTDIR)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_at_the_process_that_runs_this_test() {
        let inside = inside().unwrap();
        assert_eq!(inside.uid, rustix::process::geteuid().as_raw());
        assert_eq!(inside.gid, rustix::process::getegid().as_raw());
        assert_eq!(inside.no_new_privs, rustix::thread::no_new_privs().unwrap());
    }

    #[test]
    fn leaves_nothing_where_it_could_write() {
        let directory = std::env::temp_dir().join(format!("cloister-look-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        assert_eq!(write_in(&directory), Ok(()));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir(&directory).unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_is_no_read_only_root() {
        assert_eq!(write_in(Path::new("/nowhere/at/all")), Err(Errno::NOENT));
    }

    #[test]
    fn sees_what_is_there_and_what_is_not() {
        assert!(is_there(Path::new("/proc/self/status")));
        assert!(!is_there(Path::new("/nowhere/token")));
        assert!(!is_there(Path::new("/proc/version/token")));
    }
}
