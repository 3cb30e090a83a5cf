//! Reads what the kernel tells about this process; [`super::inside`] draws the conclusions.
//!
//! Leaves nothing behind: where the root file system takes a file, it is removed.

use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use contract::{Inside, Place};
use rustix::fs::{major, minor};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::devices::{Device, Kind};
use super::inside::{self, Evidence, UnknownForm};
use super::mounts;

/// Where Kubernetes mounts the token of a service account. One path is mostly a link to the other.
const TOKENS: [&str; 2] = [
    "/run/secrets/kubernetes.io/serviceaccount/token",
    "/var/run/secrets/kubernetes.io/serviceaccount/token",
];
/// So many entries beside the own token are looked at.
const MOST_TOKENS: usize = 16;
/// So deep, and at so many entries of `/dev`, is looked.
const DEEPEST: usize = 4;
const MOST_ENTRIES: usize = 256;
/// Where the own cgroup has its limits: version 2, and 1.
const MEMORY_LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];
const PROCESS_LIMITS: [&str; 2] = ["/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"];

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

/// Looks once, in well under a millisecond. In: where something may be mounted for the pod, and the
/// file with the token that this process shows to the operator, if it has one.
pub fn inside(places: &[Place], token: Option<&Path>) -> Result<Inside, LookError> {
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
        places: places.iter().map(resolved).collect(),
        present: present(),
        devices: devices_in(Path::new("/dev")),
        tokens: tokens(token),
        memory_limit: first(&MEMORY_LIMITS),
        process_limit: first(&PROCESS_LIMITS),
        memory: read("/proc/meminfo")?,
        hard_processes: getrlimit(Resource::Nproc).maximum,
    };
    Ok(inside::conclude(&evidence)?)
}

/// Bytes that are no text (a path in a mount table) are replaced, and matter to nobody.
fn read(path: &'static str) -> Result<String, LookError> {
    let bytes = fs::read(path).map_err(|source| LookError::Read { path, source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The content of the first of these that can be read.
fn first(paths: &[&str]) -> Option<String> {
    paths.iter().find_map(|path| fs::read_to_string(path).ok())
}

/// A place as the table of mounts spells it: an image may lead there by links of its own. But not to
/// where a volume lies, whose content is the user's: it could be laid over what this look reads.
fn resolved(place: &Place) -> Place {
    let mut place = place.clone();
    if let (false, Ok(path)) = (place.lasting, fs::canonicalize(&place.path)) {
        place.path = path.display().to_string();
    }
    place
}

fn present() -> Vec<&'static str> {
    let guarded = mounts::MASKED.into_iter().chain(mounts::READ_ONLY);
    guarded.filter(|path| is_there(Path::new(path))).collect()
}

/// Tokens at their usual paths, and whatever lies beside the own one.
fn tokens(own: Option<&Path>) -> Vec<String> {
    let usual = TOKENS.into_iter().filter(|path| is_there(Path::new(path)));
    let mut found: Vec<String> = usual.map(ToOwned::to_owned).collect();
    if let Some(own) = own {
        found.extend(beside(own));
    }
    found
}

/// What the kubelet keeps of its own in such a directory begins with two dots.
fn beside(own: &Path) -> Vec<String> {
    let Some(directory) = own.parent() else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir(directory) else {
        return vec![format!("{} (cannot be listed)", directory.display())];
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let others = paths.filter(|path| {
        let name = path.file_name().unwrap_or_default();
        path != own && !name.to_string_lossy().starts_with("..")
    });
    let named = others.map(|path| path.display().to_string());
    named.take(MOST_TOKENS).collect()
}

/// Everything below a directory that is no directory, plain file or link. What cannot be looked at, or
/// lies too deep, or is one too many, counts.
fn devices_in(directory: &Path) -> Vec<Device> {
    let mut found = Vec::new();
    walk(directory, DEEPEST, &mut found, &mut 0);
    found
}

fn walk(directory: &Path, depth: usize, found: &mut Vec<Device>, seen: &mut usize) {
    let unseen = |path: &Path| device(path, Kind::Unseen);
    let Ok(entries) = fs::read_dir(directory) else {
        found.push(unseen(directory));
        return;
    };
    for entry in entries {
        *seen += 1;
        let (Ok(entry), true) = (entry, *seen <= MOST_ENTRIES && depth > 0) else {
            found.push(unseen(directory));
            return;
        };
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => walk(&path, depth - 1, found, seen),
            Ok(metadata) => found.extend(kind_of(&metadata).map(|kind| device(&path, kind))),
            Err(_) => found.push(unseen(&path)),
        }
    }
}

fn device(path: &Path, kind: Kind) -> Device {
    Device {
        path: path.display().to_string(),
        kind,
    }
}

fn kind_of(metadata: &Metadata) -> Option<Kind> {
    let (kind, number) = (metadata.file_type(), metadata.rdev());
    if kind.is_char_device() {
        Some(Kind::Character(major(number), minor(number)))
    } else if kind.is_block_device() {
        Some(Kind::Block(major(number), minor(number)))
    } else {
        (kind.is_socket() || kind.is_fifo()).then_some(Kind::Door)
    }
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
        let inside = inside(&[], None).unwrap();
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
    fn what_lies_beside_the_own_token_is_named() {
        let directory =
            std::env::temp_dir().join(format!("cloister-beside-{}", std::process::id()));
        fs::create_dir_all(directory.join("..data")).unwrap();
        let own = directory.join("token");
        fs::write(&own, "").unwrap();
        assert_eq!(beside(&own), [""; 0]);
        fs::write(directory.join("vault"), "").unwrap();
        let other = directory.join("vault").display().to_string();
        assert_eq!(beside(&own), [other]);
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(beside(&own).len(), 1, "what cannot be listed counts");
    }

    #[test]
    fn a_place_is_looked_for_where_the_links_of_the_image_lead() {
        let directory = std::env::temp_dir().join(format!("cloister-link-{}", std::process::id()));
        fs::create_dir_all(directory.join("true")).unwrap();
        std::os::unix::fs::symlink("true", directory.join("link")).unwrap();
        let place = |path: &Path| Place {
            path: path.display().to_string(),
            writable: true,
            lasting: false,
        };
        let straight = fs::canonicalize(directory.join("true")).unwrap();
        assert_eq!(resolved(&place(&directory.join("link"))), place(&straight));
        let volume = Place {
            lasting: true,
            ..place(&directory.join("link"))
        };
        assert_eq!(resolved(&volume), volume, "a link is not followed");
        fs::remove_dir_all(&directory).unwrap();
        let nowhere = place(Path::new("/nowhere/at/all"));
        assert_eq!(resolved(&nowhere), nowhere);
    }

    #[test]
    fn sees_what_is_there_and_what_is_not() {
        assert!(is_there(Path::new("/proc/self/status")));
        assert!(!is_there(Path::new("/nowhere/token")));
        assert!(!is_there(Path::new("/proc/version/token")));
    }

    #[test]
    fn looks_below_and_says_what_it_could_not_look_at() {
        let directory = std::env::temp_dir().join(format!("cloister-dev-{}", std::process::id()));
        fs::create_dir_all(directory.join("a/b")).unwrap();
        fs::write(directory.join("a/plain"), "").unwrap();
        assert_eq!(devices_in(&directory), []);
        let socket = directory.join("a/b/socket");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let found = devices_in(&directory);
        assert_eq!(
            found.iter().map(|one| one.kind).collect::<Vec<_>>(),
            [Kind::Door]
        );
        drop(listener);
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(devices_in(&directory)[0].kind, Kind::Unseen);
    }

    #[test]
    fn more_than_is_looked_at_is_foreign() {
        let directory = std::env::temp_dir().join(format!("cloister-many-{}", std::process::id()));
        fs::create_dir_all(directory.join("1/2/3/4/5")).unwrap();
        assert_eq!(devices_in(&directory)[0].kind, Kind::Unseen);
        fs::remove_dir_all(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        for number in 0..=MOST_ENTRIES {
            fs::write(directory.join(number.to_string()), "").unwrap();
        }
        assert_eq!(devices_in(&directory)[0].kind, Kind::Unseen);
        fs::remove_dir_all(&directory).unwrap();
    }
}
