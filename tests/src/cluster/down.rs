//! From whatever there is to nothing: processes, mounts, cables, cgroups, files, kernel settings.
//!
//! It does not trust that it knows what `up` had come to. Processes are found by three registers, each
//! of which is enough: the files that say who was started, the cgroups, and the namespaces.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;

use super::command::wait_until;
use super::error::Error;
use super::paths::{self, Paths};
use super::process::Identity;
use super::topology::NODES;
use super::{Cluster, network};

/// The kinds of namespaces that tell whether a process belongs to a node.
const KINDS: [&str; 2] = ["net", "mnt"];

/// Settings of the whole machine that the kubelet changes when it starts.
const SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Writes down what the kernel's settings are, to be restored by `down`. What an interrupted `up` has
/// written stays: it was there first.
pub fn save_settings(paths: &Paths) -> Result<(), Error> {
    let file = paths.sysctls();
    if file.exists() {
        return Ok(());
    }
    let value = |name: &&str| {
        let text = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
        Some(format!("{name} {}\n", text.trim()))
    };
    paths::write(&file, SETTINGS.iter().filter_map(value).collect::<String>())
}

/// Puts the kernel's settings back to what was written down. No one needs what the kubelet sets.
pub fn restore_settings(paths: &Paths) {
    for line in fs::read_to_string(paths.sysctls())
        .unwrap_or_default()
        .lines()
    {
        let Some((name, value)) = line.split_once(' ') else {
            continue;
        };
        let file = Path::new("/proc/sys").join(name);
        let now = fs::read_to_string(&file).unwrap_or_default();
        if now.trim() != value {
            // Nothing more can be done about one that cannot be set.
            fs::write(&file, value).ok();
        }
    }
}

impl Cluster {
    /// Removes the cluster and every trace of it. Built binaries and images stay.
    pub fn down(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.remove()
    }

    pub(super) fn remove(&self) -> Result<(), Error> {
        fs::remove_file(self.paths.marker()).ok();
        self.cgroups.thaw();
        self.end_everyone()?;
        unmount_beneath(&self.paths.state())?;
        network::remove_all();
        self.cgroups.remove()?;
        restore_settings(&self.paths);
        let left = network::remains();
        if !left.is_empty() {
            return Err(Error::LeftBehind(left.join(", ")));
        }
        let state = self.paths.state();
        if state.exists() {
            fs::remove_dir_all(&state).map_err(Error::io("remove", &state))?;
        }
        Ok(())
    }

    /// The network namespaces that are pinned, and all that nodes and their pods live in. What runs on
    /// the host does not count: it shares namespaces with others.
    fn own_namespaces(&self) -> BTreeSet<u64> {
        let members = NODES
            .iter()
            .flat_map(|node| self.cgroups.members(node.name));
        let lived_in = members.flat_map(|member| KINDS.map(|kind| namespace(member.pid, kind)));
        let pinned = network::namespaces().map(|(name, _)| {
            fs::metadata(Paths::netns(&name))
                .ok()
                .map(|file| file.ino())
        });
        let mut found: BTreeSet<u64> = lived_in.chain(pinned).flatten().collect();
        // One that has just been started may not have left ours yet.
        for pid in [1, i32::try_from(std::process::id()).unwrap_or(1)] {
            for kind in KINDS {
                found.retain(|inode| namespace(pid, kind) != Some(*inode));
            }
        }
        found
    }

    /// Kills every process and waits until none is left, not even one that is dead and not yet buried.
    /// To bury them is for init alone, so nothing fails if it takes its time.
    fn end_everyone(&self) -> Result<(), Error> {
        let mut killed = BTreeSet::new();
        let what = "all processes of the cluster have ended";
        wait_until(
            what,
            "look for them with `cluster status`",
            Duration::from_mins(1),
            || {
                let left = self.everyone();
                for identity in &left {
                    identity.signal(Signal::KILL);
                    killed.insert((identity.pid, identity.start));
                }
                Ok(left.is_empty())
            },
        )?;
        let buried = || {
            Ok(!killed
                .iter()
                .any(|&(pid, start)| Identity { pid, start }.stat().is_some()))
        };
        wait_until("the dead are buried", "", Duration::from_secs(5), buried).or_else(|error| {
            match error {
                Error::Timeout { .. } => Ok(()),
                other => Err(other),
            }
        })
    }

    /// Every process of the cluster, by all registers.
    fn everyone(&self) -> Vec<Identity> {
        let register = self.processes();
        let mut all: Vec<_> = register
            .names()
            .iter()
            .filter_map(|name| register.alive(name))
            .collect();
        all.extend(self.cgroups.all_members());
        all.extend(inhabitants(&self.own_namespaces()));
        all.sort_by_key(|identity| identity.pid);
        all.dedup();
        all
    }
}

/// Inode numbers of all kinds of namespaces come from one counter: they cannot be confused.
fn namespace(pid: i32, kind: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/{kind}"))
        .ok()
        .map(|file| file.ino())
}

/// Every process that is in one of these namespaces.
fn inhabitants(namespaces: &BTreeSet<u64>) -> Vec<Identity> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let inside = |pid: &i32| {
        KINDS
            .iter()
            .any(|kind| namespace(*pid, kind).is_some_and(|inode| namespaces.contains(&inode)))
    };
    pids.filter(inside).filter_map(Identity::of).collect()
}

/// Unmounts what is mounted beneath a directory, the latest first.
fn unmount_beneath(top: &Path) -> Result<(), Error> {
    let path = "/proc/self/mountinfo";
    let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let points: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(4))
        .collect();
    for point in points
        .iter()
        .rev()
        .filter(|point| Path::new(point).starts_with(top))
    {
        unmount(*point, UnmountFlags::DETACH)
            .map_err(|error| Error::io("unmount", point)(error.into()))?;
    }
    Ok(())
}
