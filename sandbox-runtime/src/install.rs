//! Copies this program to where a sandbox finds it: what an init container does on a cluster
//! without image volumes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The program that this process runs (`proc_pid_exe(5)`).
const SELF: &str = "/proc/self/exe";
/// Everybody may run it, nobody may change it.
const MODE: u32 = 0o555;

/// The copy could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to copy this program to {}", to.display())]
pub struct InstallError {
    to: PathBuf,
    #[source]
    source: io::Error,
}

/// Copies it. A file that is there is left as it is, and an error.
pub fn run(to: &Path) -> Result<(), InstallError> {
    copy(to).map_err(|source| InstallError {
        to: to.to_owned(),
        source,
    })
}

fn copy(to: &Path) -> io::Result<()> {
    let mut from = File::open(SELF)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(to)?;
    io::copy(&mut from, &mut file)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn makes_a_copy_that_may_be_run_and_no_second_one() {
        let folder = std::env::temp_dir().join(format!("cloister-install-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let to = folder.join("copy");
        run(&to).unwrap();
        assert_eq!(
            fs::metadata(&to).unwrap().permissions().mode() & 0o777,
            0o555
        );
        assert_eq!(fs::read(&to).unwrap(), fs::read(SELF).unwrap());
        assert!(run(&to).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
