//! `/proc/self/mountinfo` → what is mounted that should not be. Pure.
//!
//! The list is closed: what a container has from its runtime and its kubelet, and the places that
//! the request names. Everything else is foreign, whatever it is: a path of the node, the socket of
//! a container runtime, a volume that the image declares.

use contract::{Place, SeenRuntime, Strays};

/// What Kubernetes has runtimes cover (`defaultMaskedPaths` of its `pkg/securitycontext/util.go`,
/// 1.34), but for the processors' own files on throttling.
pub const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// What it has them make read-only (`defaultReadonlyPaths`).
pub const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Files that the kubelet mounts into every container; who may write them, their modes say.
const KUBELETS: [&str; 4] = [
    "/dev/termination-log",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
];
/// Devices that are mounted where they cannot be made: in a user namespace.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

/// File systems by which a kernel shows itself; none of them is a volume.
const KERNELS: [&str; 6] = ["cgroup", "cgroup2", "devpts", "devtmpfs", "proc", "sysfs"];

/// One line of the table.
#[derive(Clone, Copy, Debug)]
struct Mount<'a> {
    /// What of its file system is mounted.
    root: &'a str,
    /// Where.
    point: &'a str,
    /// Its own options.
    options: &'a str,
    /// Kind of the file system.
    kind: &'a str,
    /// Options of that.
    whole: &'a str,
}

impl<'a> Mount<'a> {
    /// `id parent device root point options [tag…] - kind source options` (proc(5)).
    fn of(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let mut right = right.split(' ');
        Some(Self {
            root: left.next()?,
            point: left.next()?,
            options: left.next()?,
            kind: right.next()?,
            whole: right.nth(1)?,
        })
    }

    fn is_read_only(self) -> bool {
        let says_so = |options: &str| options.split(',').any(|option| option == "ro");
        says_so(self.options) || says_so(self.whole)
    }

    /// Whether it only takes away from what is there: an empty directory, an empty file, or the
    /// same made read-only.
    fn covers(self) -> bool {
        match self.kind {
            "devtmpfs" => self.root == "/null",
            "tmpfs" => self.root == "/null" || self.is_read_only(),
            "proc" | "sysfs" => self.is_read_only(),
            _ => false,
        }
    }

    /// Whether every container on this kernel has it.
    fn is_usual(self, runtime: SeenRuntime) -> bool {
        let gvisor = runtime == SeenRuntime::GVisor;
        match self.point {
            // Whether it may be written, is asked for by itself.
            "/" => true,
            "/proc" => self.kind == "proc",
            "/sys" => self.kind == "sysfs" && self.is_read_only(),
            "/dev" => self.kind == "tmpfs" || gvisor && self.kind == "devtmpfs",
            "/dev/pts" => self.kind == "devpts",
            "/dev/shm" => self.kind == "tmpfs",
            // gVisor's own is a file system in its memory.
            "/dev/mqueue" => self.kind == "mqueue" || gvisor && self.kind == "tmpfs",
            point if KUBELETS.contains(&point) => true,
            // gVisor lays memory over an empty one.
            "/tmp" if gvisor && self.kind == "tmpfs" => true,
            point if within(point, "/sys/fs/cgroup") => self.is_of_cgroups(gvisor),
            point if within(point, "/proc") || within(point, "/sys") => self.covers(),
            point => self.is_device(point),
        }
    }

    /// gVisor's groups are of its own making: whoever writes them, changes nothing of the node's.
    fn is_of_cgroups(self, gvisor: bool) -> bool {
        match self.kind {
            "cgroup" | "cgroup2" => gvisor || self.is_read_only(),
            // What the hierarchies of version 1 are mounted on; it belongs to the container's root.
            "tmpfs" => self.point == "/sys/fs/cgroup",
            _ => false,
        }
    }

    /// A device of the same name, and nothing else of the node's `/dev`.
    fn is_device(self, point: &str) -> bool {
        let name = point.strip_prefix("/dev/");
        name.is_some_and(|name| DEVICES.contains(&name))
            && self.kind == "devtmpfs"
            && self.root.strip_prefix('/') == name
    }

    /// Whether it is what the pod is to have there. What may be written is in memory, as far as the
    /// kernel tells (gVisor's names no file system of the node), or a volume, which is any file
    /// system but those by which a kernel shows itself.
    fn is_at(self, place: &Place, runtime: SeenRuntime) -> bool {
        let kept = match (place.lasting, place.writable, runtime) {
            (true, ..) => !KERNELS.contains(&self.kind),
            (_, false, _) => self.is_read_only(),
            (_, true, SeenRuntime::Host) => self.kind == "tmpfs",
            (_, true, SeenRuntime::GVisor) => true,
        };
        self.point == place.path && kept
    }

    fn name(self) -> String {
        let access = if self.is_read_only() { "ro" } else { "rw" };
        format!("{} ({}, {access})", self.point, self.kind)
    }
}

fn within(point: &str, above: &str) -> bool {
    let rest = point.strip_prefix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Mounts that are neither usual nor at one of these places, whose paths have no links left in them
/// but for those of lasting ones, where a link is a fault.
/// A line that is none counts as one.
pub fn foreign(table: &str, places: &[Place], runtime: SeenRuntime) -> Strays {
    Strays::of(table.lines().filter_map(|line| match Mount::of(line) {
        Some(mount) if mount.is_usual(runtime) => None,
        Some(mount) if places.iter().any(|place| mount.is_at(place, runtime)) => None,
        Some(mount) => Some(mount.name()),
        None => Some(format!("what cannot be read: {line}")),
    }))
}

/// Which of the paths that have to be covered, or be read-only, are there and are not. gVisor's
/// `/proc` and `/sys` are of its own making and tell nothing of the node: it covers nothing
/// (`specutils.go`), and nothing is asked of it.
pub fn unmasked(table: &str, present: &[&str], runtime: SeenRuntime) -> Strays {
    if runtime == SeenRuntime::GVisor {
        return Strays::default();
    }
    let mounts: Vec<Mount<'_>> = table.lines().filter_map(Mount::of).collect();
    // Mounts at one point stack up; the last one is what is seen.
    let top = |path: &str| mounts.iter().rfind(|mount| mount.point == path);
    let guarded = MASKED.iter().chain(&READ_ONLY);
    let there = guarded.filter(|path| present.contains(path));
    Strays::of(there.filter_map(|path| {
        let covered = top(path).is_some_and(|mount| {
            let same = matches!(mount.kind, "proc" | "sysfs");
            mount.covers() && !(same && MASKED.contains(path))
        });
        (!covered).then(|| (*path).to_owned())
    }))
}

/// Whether the mount at `/` says that nothing is written there.
pub fn is_root_read_only(table: &str) -> bool {
    let mut mounts = table.lines().filter_map(Mount::of);
    mounts
        .rfind(|mount| mount.point == "/")
        .is_some_and(Mount::is_read_only)
}

#[cfg(test)]
mod tests;
