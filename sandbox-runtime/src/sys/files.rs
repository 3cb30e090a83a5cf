//! [`FileRules`] → a Landlock ruleset. Nothing is best effort: a right that the kernel does
//! not know ends it, as does a directory that is not there.

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
    let mut made = ruleset.create()?;
    made = allow(made, Path::new("/"), AccessFs::from_read(abi))?;
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

fn allow(
    made: RulesetCreated,
    path: &Path,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, FilesError> {
    let opened = PathFd::new(path).map_err(|error| FilesError::Open(path.to_owned(), error))?;
    Ok(made.add_rule(PathBeneath::new(opened, rights))?)
}

/// The number that the kernel gives, as far as this crate knows it: a newer kernel is used
/// up to the newest ABI known here.
pub(super) fn known_abi(kernel: i64) -> u8 {
    let known = ABI::from(i32::try_from(kernel).unwrap_or(0)) as i32;
    u8::try_from(known).unwrap_or(0)
}
