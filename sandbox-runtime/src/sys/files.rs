//! [`FileRules`] → a Landlock ruleset. Nothing is best effort: a right that the kernel does
//! not know ends it, as does a directory that is not there.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    PathFdError, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError,
    Scope,
};

use crate::step::FileRules;

/// Devices that are files to everyone; the pod's `/dev` is not writable otherwise.
const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// Why there is no ruleset.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The kernel lacks a right of the ABI that it claims, or has no memory.
    #[error("failed to make a Landlock ruleset")]
    Ruleset(#[from] RulesetError),
    /// A directory cannot be opened.
    #[error("failed to open {}", .0.display())]
    Open(PathBuf, #[source] PathFdError),
    /// A path leads nowhere.
    #[error("failed to find {}", .0.display())]
    Resolve(PathBuf, #[source] io::Error),
    /// What is to be hidden lies where all may be written, once links are followed.
    #[error("{} is to be hidden, and lies in a writable directory", .0.display())]
    HiddenIsWritable(PathBuf),
    /// A directory with something hidden in it cannot be listed.
    #[error("failed to list {}", .0.display())]
    List(PathBuf, #[source] io::Error),
    /// The library fell back to none.
    #[error("Landlock is not there")]
    None,
}

/// Makes the ruleset: all of the ABI's rights taken, and these given back.
pub(super) fn ruleset(rules: &FileRules) -> Result<OwnedFd, FilesError> {
    let abi = ABI::from(i32::from(rules.abi));
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    if rules.has_scopes() {
        ruleset = ruleset.scope(Scope::Signal | Scope::AbstractUnixSocket)?;
    }
    let hidden = hidden(rules)?;
    let mut made = ruleset.create()?;
    made = allow_reading(made, Path::new("/"), &hidden)?;
    for path in &rules.writable {
        // Devices come from the pod, never from its user.
        let devices = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
        let rights = AccessFs::from_all(abi) & !devices;
        made = allow(made, path, rights)?;
    }
    for device in DEVICES.map(Path::new) {
        // One that the pod lacks needs no rule: less is allowed, not more.
        if device.exists() {
            let rights = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
            made = allow(made, device, rights)?;
        }
    }
    Option::<OwnedFd>::from(made).ok_or(FilesError::None)
}

/// Where what is hidden really is: a name that leads through a link (`/var/run`) would hide
/// nothing, and one that leads into a writable directory would be writable.
fn hidden(rules: &FileRules) -> Result<Vec<PathBuf>, FilesError> {
    let real = |path: &PathBuf| {
        fs::canonicalize(path).map_err(|error| FilesError::Resolve(path.clone(), error))
    };
    let hidden = rules
        .hidden
        .iter()
        .map(real)
        .collect::<Result<Vec<_>, _>>()?;
    for writable in &rules.writable {
        let writable = real(writable)?;
        let overlap = hidden.iter().find(|path| path.starts_with(&writable));
        if let Some(path) = overlap {
            return Err(FilesError::HiddenIsWritable(path.clone()));
        }
    }
    Ok(hidden)
}

/// Gives reading of a tree back, but for what is hidden in it. A rule holds for a whole tree,
/// so a directory on the way to something hidden gets one for its names, and its entries one
/// each. What appears there later is not readable.
fn allow_reading(
    made: RulesetCreated,
    path: &Path,
    hidden: &[PathBuf],
) -> Result<RulesetCreated, FilesError> {
    let read = AccessFs::Execute | AccessFs::ReadFile | AccessFs::ReadDir;
    if hidden.iter().any(|hidden| hidden == path) {
        return Ok(made);
    }
    if !hidden.iter().any(|hidden| hidden.starts_with(path)) {
        let rights = if path.is_dir() {
            read
        } else {
            AccessFs::Execute | AccessFs::ReadFile
        };
        return match open(path) {
            Ok(opened) => Ok(made.add_rule(PathBeneath::new(opened, rights))?),
            // Gone since it was listed.
            Err(FilesError::Open(_, PathFdError::OpenCall { source, .. }))
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(made)
            }
            Err(error) => Err(error),
        };
    }
    let mut made = allow(made, path, AccessFs::ReadDir)?;
    let failed = |error| FilesError::List(path.to_owned(), error);
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A link gives no right; what it leads to has its own rule, or is hidden.
        if !entry.file_type().map_err(failed)?.is_symlink() {
            made = allow_reading(made, &entry.path(), hidden)?;
        }
    }
    Ok(made)
}

fn allow(
    made: RulesetCreated,
    path: &Path,
    rights: impl Into<BitFlags<AccessFs>>,
) -> Result<RulesetCreated, FilesError> {
    Ok(made.add_rule(PathBeneath::new(open(path)?, rights))?)
}

fn open(path: &Path) -> Result<PathFd, FilesError> {
    PathFd::new(path).map_err(|error| FilesError::Open(path.to_owned(), error))
}

/// The number that the kernel gives, as far as this crate knows it: a newer kernel is used
/// up to the newest ABI known here.
pub(super) fn known_abi(kernel: i64) -> u8 {
    let known = ABI::from(i32::try_from(kernel).unwrap_or(0)) as i32;
    u8::try_from(known).unwrap_or(0)
}
