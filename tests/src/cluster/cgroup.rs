//! Control groups of version 1: one directory `cloister` in each hierarchy, and in it one for each
//! place where processes live. The `pids` hierarchy is the register of who belongs where: daemons are
//! put there before they run, the kubelet puts its pods beneath, and no process can leave by itself.
//! The other hierarchies are used by the kubelet only; our daemons stay there where they were started.
//!
//! Beside those daemons, the pods of a node weigh as much as the processors that it says it has: else all
//! pods of all nodes together get no more of a full machine than a single daemon does, and no pod what it
//! has asked for.

use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::wait_until;
use super::error::Error;
use super::process::Identity;
use super::topology::NODES;

/// The directory of ours at the top of each hierarchy.
const ROOT: &str = "cloister";
/// What a directory of the hierarchy `cpu` weighs.
const SHARES: &str = "cpu.shares";

/// The mounted hierarchies.
#[derive(Debug, Clone)]
pub struct Cgroups {
    hierarchies: Vec<PathBuf>,
    register: PathBuf,
}

impl Cgroups {
    /// Finds out what this machine has mounted.
    pub fn of_this_machine() -> Result<Self, Error> {
        let path = "/proc/self/mountinfo";
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let hierarchies = parse_hierarchies(&text);
        let register = hierarchies
            .iter()
            .find(|path| path.ends_with("pids"))
            .cloned()
            .ok_or_else(|| {
                Error::Machine(
                    "no cgroup v1 hierarchy `pids` is mounted under /sys/fs/cgroup".to_owned(),
                )
            })?;
        Ok(Self {
            hierarchies,
            register,
        })
    }

    /// Where the daemons of a place are put.
    pub fn daemons(&self, place: &str) -> PathBuf {
        self.register.join(ROOT).join(place).join("daemons")
    }

    /// What the kubelet of a node is told to be its root.
    pub fn kubelet_root(node: &str) -> String {
        format!("/{ROOT}/{node}")
    }

    /// Makes a place, in each hierarchy if pods are to live there.
    pub fn create(&self, place: &str, with_pods: bool) -> Result<(), Error> {
        make(&self.daemons(place))?;
        for hierarchy in self.hierarchies.iter().filter(|_| with_pods) {
            for path in [hierarchy.join(ROOT), hierarchy.join(ROOT).join(place)] {
                make(&path)?;
                if hierarchy.ends_with("cpuset") {
                    inherit_cpuset(&path)?;
                }
            }
            // Mounted alone, or as `cpu,cpuacct`.
            if hierarchy.join(ROOT).join(SHARES).exists() {
                weigh(&hierarchy.join(ROOT), NODES.len())?;
                weigh(&hierarchy.join(ROOT).join(place), 1)?;
            }
        }
        Ok(())
    }

    /// All processes of a place, those in its containers included.
    pub fn members(&self, place: &str) -> Vec<Identity> {
        identities(&[self.register.join(ROOT).join(place)])
    }

    /// All processes of ours, wherever they are.
    pub fn all_members(&self) -> Vec<Identity> {
        identities(
            &self
                .hierarchies
                .iter()
                .map(|path| path.join(ROOT))
                .collect::<Vec<_>>(),
        )
    }

    /// Lets go of whatever a container runtime froze and could not thaw any more.
    pub fn thaw(&self) {
        for hierarchy in self
            .hierarchies
            .iter()
            .filter(|path| path.ends_with("freezer"))
        {
            for directory in tree(&hierarchy.join(ROOT)) {
                fs::write(directory.join("freezer.state"), "THAWED").ok();
            }
        }
    }

    /// Removes the directories of a place's pods, none of which runs. After a power failure there are
    /// none, and a kubelet that finds some tries for seconds to make sense of each.
    pub fn forget_pods(&self, place: &str) {
        for hierarchy in &self.hierarchies {
            for directory in tree(&hierarchy.join(ROOT).join(place).join("kubepods")) {
                fs::remove_dir(directory).ok();
            }
        }
    }

    /// Removes all directories of ours. The kernel needs a moment after the last process has gone.
    pub fn remove(&self) -> Result<(), Error> {
        wait_until(
            "cgroup directories are removed",
            "a process is still in one",
            Duration::from_secs(10),
            || {
                for hierarchy in &self.hierarchies {
                    for directory in tree(&hierarchy.join(ROOT)) {
                        fs::remove_dir(directory).ok();
                    }
                }
                Ok(!self.exist())
            },
        )
    }

    /// Whether any directory of ours is there.
    pub fn exist(&self) -> bool {
        self.hierarchies.iter().any(|path| path.join(ROOT).exists())
    }
}

fn make(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io("create the cgroup", path))
}

/// Gives a directory the weight of so many nodes: 1,024 for each processor, as a kubelet does.
fn weigh(path: &Path, nodes: usize) -> Result<(), Error> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let file = path.join(SHARES);
    let shares = 1024 * processors * nodes;
    fs::write(&file, shares.to_string()).map_err(Error::io("write", &file))
}

fn inherit_cpuset(path: &Path) -> Result<(), Error> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let parent = path.parent().unwrap_or(path).join(file);
        let value = fs::read_to_string(&parent).map_err(Error::io("read", &parent))?;
        let own = path.join(file);
        fs::write(&own, value.trim()).map_err(Error::io("write", &own))?;
    }
    Ok(())
}

/// A directory and all beneath it, the deepest first.
fn tree(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries: io::Result<Vec<_>> = fs::read_dir(top).and_then(Iterator::collect);
    for entry in entries.into_iter().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(tree(&entry.path()));
        }
    }
    if top.is_dir() {
        found.push(top.to_path_buf());
    }
    found
}

fn identities(tops: &[PathBuf]) -> Vec<Identity> {
    let mut pids: Vec<i32> = tops
        .iter()
        .flat_map(|top| tree(top))
        .filter_map(|directory| fs::read_to_string(directory.join("cgroup.procs")).ok())
        .flat_map(|text| {
            text.lines()
                .filter_map(|line| line.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().filter_map(Identity::of).collect()
}

/// The mount points of all hierarchies that lie under `/sys/fs/cgroup`. One of version 2 may be among
/// them, without controllers: container runtimes use it all the same.
fn parse_hierarchies(mountinfo: &str) -> Vec<PathBuf> {
    let point = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let path = left.split_whitespace().nth(4)?;
        ((right.starts_with("cgroup ") || right.starts_with("cgroup2 "))
            && path.starts_with("/sys/fs/cgroup/"))
        .then(|| PathBuf::from(path))
    };
    mountinfo.lines().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_hierarchies_where_they_belong() {
        let text = "30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                    31 30 0:27 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids\n\
                    32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                    33 30 0:29 / /elsewhere/pids rw - cgroup cgroup rw,pids\n";
        assert_eq!(
            parse_hierarchies(text),
            ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"].map(PathBuf::from)
        );
    }

    #[test]
    fn a_tree_ends_with_its_top() {
        let top = std::env::temp_dir().join(format!("cloister-tree-{}", std::process::id()));
        fs::create_dir_all(top.join("a/b")).unwrap();
        let found = tree(&top);
        assert_eq!(found, [top.join("a/b"), top.join("a"), top.clone()]);
        fs::remove_dir_all(top).unwrap();
    }
}
