//! Tables as kernels print them, and what has to be concluded from them.

use super::*;

const HOST: SeenRuntime = SeenRuntime::Host;

/// A sandbox of containerd and runc in a user namespace, cgroups of version 1, Linux 6.18; tags
/// and some lines of cgroups left out.
const SANDBOX: &str = "\
833 707 0:189 / / ro,relatime - overlay overlay rw,lowerdir=/tmp/a/fs,uuid=on
835 833 0:208 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
836 833 0:209 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755,uid=3122003968
837 836 0:210 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=3122003973,mode=620
838 836 0:181 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw
839 833 0:192 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
840 839 0:211 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
844 840 0:32 /kubepods/a /sys/fs/cgroup/memory ro,nosuid master:39 - cgroup cgroup rw,memory
848 840 0:36 /kubepods/a /sys/fs/cgroup/pids ro,nosuid master:43 - cgroup cgroup rw,pids
850 833 254:0 /kubelet/etc-hosts /etc/hosts rw,relatime,idmapped - ext4 /dev/vda rw,discard
851 836 254:0 /kubelet/30be5084 /dev/termination-log rw,relatime - ext4 /dev/vda rw,discard
852 833 254:0 /containerd/hostname /etc/hostname ro,relatime - ext4 /dev/vda rw,discard
853 833 254:0 /containerd/resolv.conf /etc/resolv.conf ro,relatime - ext4 /dev/vda rw,discard
854 836 0:103 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k
855 836 0:6 /null /dev/null rw,relatime master:47 - devtmpfs devtmpfs rw,size=12334432k
856 836 0:6 /random /dev/random rw,relatime master:47 - devtmpfs devtmpfs rw,size=12334432k
858 836 0:6 /tty /dev/tty rw,relatime master:47 - devtmpfs devtmpfs rw,size=12334432k
861 833 0:220 / /cloister ro,relatime - tmpfs tmpfs rw,size=16384k
862 833 0:221 / /run/cloister ro,relatime - tmpfs tmpfs rw,size=262144k
863 833 0:222 / /work rw,relatime - tmpfs tmpfs rw,size=65536k
864 833 0:223 / /tmp rw,relatime - tmpfs tmpfs rw,size=65536k
708 835 0:208 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw
709 835 0:208 /fs /proc/fs ro,nosuid,nodev,noexec,relatime - proc proc rw
710 835 0:208 /irq /proc/irq ro,nosuid,nodev,noexec,relatime - proc proc rw
711 835 0:208 /sys /proc/sys ro,nosuid,nodev,noexec,relatime - proc proc rw
712 835 0:212 / /proc/acpi ro,relatime - tmpfs tmpfs ro,uid=3122003968
714 835 0:6 /null /proc/interrupts rw,relatime master:47 - devtmpfs devtmpfs rw,mode=755
715 835 0:6 /null /proc/keys rw,relatime master:47 - devtmpfs devtmpfs rw,mode=755
716 835 0:209 /null /proc/timer_list rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
717 839 0:213 / /sys/firmware ro,relatime - tmpfs tmpfs ro,uid=3122003968
";
/// The same under gVisor; some options and lines of cgroups left out.
const ON_GVISOR: &str = "\
16 15 0:17 / / ro - 9p none ro,trans=fd,rfdno=3
18 16 0:18 / /dev rw - tmpfs none rw,mode=0755
19 16 0:19 / /sys ro,noexec - sysfs none ro,dentry_cache_limit=1000
20 16 0:20 / /tmp rw - 9p none rw,trans=fd,rfdno=11
21 16 0:21 / /proc rw,noexec - proc none rw,dentry_cache_limit=1000
22 16 0:22 / /work rw - tmpfs none rw,mode=0755
23 18 0:23 / /dev/shm rw,noexec - tmpfs none rw,mode=1777,size=65536k
24 18 0:24 / /dev/pts rw,noexec - devpts none rw
25 16 0:25 / /cloister ro - 9p none ro,trans=fd,rfdno=8
26 16 0:26 / /etc/hosts rw - 9p none rw,trans=fd,rfdno=4
27 16 0:27 / /etc/hostname ro - 9p none ro,trans=fd,rfdno=6
28 16 0:28 / /run/cloister ro - 9p none ro,trans=fd,rfdno=9
29 19 0:29 / /sys/fs/cgroup ro,noexec - tmpfs none ro
35 29 0:14 /a /sys/fs/cgroup/memory rw - cgroup none rw,memory
37 16 0:30 / /etc/resolv.conf ro - 9p none ro,trans=fd,rfdno=7
38 18 0:31 / /dev/termination-log rw - 9p none rw,trans=fd,rfdno=5
";
/// What of the guarded paths that machine has.
const PRESENT: [&str; 9] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/keys",
    "/proc/timer_list",
    "/sys/firmware",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
];

fn places() -> Vec<Place> {
    let place = |(path, writable): (&str, bool)| Place {
        path: path.to_owned(),
        writable,
        lasting: false,
    };
    let all = [
        ("/cloister", false),
        ("/run/cloister", false),
        ("/work", true),
        ("/tmp", true),
    ];
    all.map(place).into()
}

#[test]
fn a_sandbox_has_nothing_foreign_and_nothing_uncovered() {
    assert_eq!(foreign(SANDBOX, &places(), HOST), Strays::default());
    assert_eq!(unmasked(SANDBOX, &PRESENT, HOST), Strays::default());
    assert!(is_root_read_only(SANDBOX));
}

#[test]
fn cgroups_of_version_2_are_one_read_only_mount() {
    let line = |access: &str| {
        format!("30 839 0:29 / /sys/fs/cgroup {access},nosuid - cgroup2 cgroup rw,nsdelegate\n")
    };
    assert!(foreign(&line("ro"), &[], HOST).is_none());
    let named = "/sys/fs/cgroup (cgroup2, rw)";
    assert_eq!(foreign(&line("rw"), &[], HOST).to_string(), named);
}

/// What must not be there beside a sandbox's own, and how it is named.
const FOREIGN: [(&str, &str); 17] = [
    // A path of the node, and the socket of its runtime.
    (
        "9 1 254:0 /etc /host rw,relatime - ext4 /dev/vda rw",
        "/host (ext4, rw)",
    ),
    (
        "9 1 0:25 /containerd.sock /run/containerd.sock ro - tmpfs tmpfs rw",
        "/run/containerd.sock (tmpfs, ro)",
    ),
    // A volume that the image declares.
    (
        "9 1 254:0 /volumes/1 /data rw - ext4 /dev/vda rw",
        "/data (ext4, rw)",
    ),
    // A path of the node where something in memory has to be.
    (
        "9 1 254:0 /a /work rw - ext4 /dev/vda rw",
        "/work (ext4, rw)",
    ),
    // One that must not be written.
    (
        "9 1 0:99 / /cloister rw - tmpfs tmpfs rw",
        "/cloister (tmpfs, rw)",
    ),
    (
        "9 1 0:99 / /work/more rw - tmpfs tmpfs rw",
        "/work/more (tmpfs, rw)",
    ),
    // The token that Kubernetes mounts where nobody forbids it.
    (
        "9 1 0:98 / /var/run/secrets/kubernetes.io/serviceaccount ro - tmpfs tmpfs rw",
        "/var/run/secrets/kubernetes.io/serviceaccount (tmpfs, ro)",
    ),
    // The node's own, in place of the container's.
    ("9 1 0:6 / /dev rw - devtmpfs dev rw", "/dev (devtmpfs, rw)"),
    (
        "9 1 0:6 /kmsg /dev/kmsg rw - devtmpfs dev rw",
        "/dev/kmsg (devtmpfs, rw)",
    ),
    (
        "9 1 0:6 /mem /dev/null rw - devtmpfs dev rw",
        "/dev/null (devtmpfs, rw)",
    ),
    ("9 1 0:7 / /sys rw - sysfs sysfs rw", "/sys (sysfs, rw)"),
    (
        "9 1 0:7 / /sys/kernel/debug rw - debugfs debugfs rw",
        "/sys/kernel/debug (debugfs, rw)",
    ),
    (
        "9 1 0:8 /sys /proc/sys rw - proc proc rw",
        "/proc/sys (proc, rw)",
    ),
    (
        "9 1 0:9 /meminfo /proc/meminfo rw - fuse.lxcfs lxcfs rw",
        "/proc/meminfo (fuse.lxcfs, rw)",
    ),
    (
        "9 1 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
        "/sys/fs/cgroup/memory (cgroup, rw)",
    ),
    ("no line", "what cannot be read: no line"),
    ("9 1 0:9 / /a rw", "what cannot be read: 9 1 0:9 / /a rw"),
];

#[test]
fn each_place_has_to_be_what_was_asked_for() {
    for (line, named) in FOREIGN {
        let table = format!("{SANDBOX}{line}\n");
        assert_eq!(foreign(&table, &places(), HOST).to_string(), named);
    }
    let all = foreign(SANDBOX, &[], HOST);
    assert_eq!(all.to_string(), "/cloister (tmpfs, ro) and 3 more");
}

#[test]
fn a_volume_is_at_its_very_path_and_shows_no_kernel() {
    let volume = Place {
        path: "/data".to_owned(),
        writable: true,
        lasting: true,
    };
    let named = |line: &str| foreign(line, std::slice::from_ref(&volume), HOST).to_string();
    for kind in ["ext4", "xfs", "nfs4", "fuse.a", "tmpfs"] {
        let line = format!("9 1 254:0 /claims/1 /data rw,relatime,idmapped - {kind} /dev/vda rw");
        assert_eq!(named(&line), "none", "{kind}");
    }
    for kind in KERNELS {
        let line = format!("9 1 0:9 / /data rw - {kind} none rw");
        assert_eq!(named(&line), format!("/data ({kind}, rw)"));
    }
    for point in ["/sys/fs/cgroup", "/cloister", "/data/more", "/dat"] {
        let line = format!("9 1 254:0 /claims/1 {point} rw - ext4 /dev/vda rw");
        assert_eq!(named(&line), format!("{point} (ext4, rw)"));
    }
}

#[test]
fn a_path_that_only_begins_like_a_usual_one_is_foreign() {
    for point in [
        "/process",
        "/system",
        "/sys/fs/cgroups",
        "/etc/hosts2",
        "/device",
    ] {
        let line = format!("9 1 0:9 / {point} rw - tmpfs tmpfs rw\n");
        assert_eq!(foreign(&line, &[], HOST).count, 1, "{point}");
    }
}

#[test]
fn what_is_there_and_not_covered_is_named() {
    for path in PRESENT {
        let others = SANDBOX.lines();
        let others = others.filter(|line| !line.contains(&format!(" {path} ")));
        let table = others.collect::<Vec<_>>().join("\n");
        assert_eq!(unmasked(&table, &PRESENT, HOST).to_string(), path);
        assert!(unmasked(&table, &[], HOST).is_none(), "it is not there");
    }
    let present = ["/proc/kcore"];
    assert_eq!(unmasked(SANDBOX, &present, HOST).to_string(), "/proc/kcore");
}

#[test]
fn what_has_to_be_covered_is_not_by_itself_made_read_only() {
    let line = "9 1 0:8 /kcore /proc/kcore ro - proc proc rw\n";
    assert_eq!(unmasked(line, &["/proc/kcore"], HOST).count, 1);
    // Nor by what somebody has laid over the cover.
    let open = format!("{SANDBOX}9 1 0:8 /keys /proc/keys rw - proc proc rw\n");
    assert_eq!(unmasked(&open, &PRESENT, HOST).to_string(), "/proc/keys");
}

#[test]
fn gvisor_covers_nothing_and_need_not() {
    let runtime = SeenRuntime::GVisor;
    assert!(unmasked("", &PRESENT, runtime).is_none());
}

#[test]
fn a_sandbox_under_gvisor_has_nothing_foreign() {
    let runtime = SeenRuntime::GVisor;
    assert_eq!(foreign(ON_GVISOR, &places(), runtime), Strays::default());
    assert!(is_root_read_only(ON_GVISOR));
    for (line, named) in [
        ("9 1 0:1 / /data rw - 9p none rw", "/data (9p, rw)"),
        ("9 1 0:1 / /cloister rw - 9p none rw", "/cloister (9p, rw)"),
        ("9 1 0:1 / /sys rw - sysfs none rw", "/sys (sysfs, rw)"),
        ("9 1 0:1 / /proc/x rw - 9p none rw", "/proc/x (9p, rw)"),
    ] {
        let table = format!("{ON_GVISOR}{line}\n");
        assert_eq!(foreign(&table, &places(), runtime).to_string(), named);
    }
}

#[test]
fn what_gvisor_lays_over_an_empty_directory_is_its_own_and_nobody_elses() {
    let own = "9 1 0:1 / /tmp rw - tmpfs none rw,mode=01777\n";
    assert!(foreign(own, &[], SeenRuntime::GVisor).is_none());
    assert_eq!(foreign(own, &[], HOST).to_string(), "/tmp (tmpfs, rw)");
    let other = "9 1 0:1 / /tmp rw - 9p none rw\n";
    let seen = foreign(other, &[], SeenRuntime::GVisor);
    assert_eq!(seen.to_string(), "/tmp (9p, rw)");
}

#[test]
fn the_topmost_root_counts() {
    assert!(!is_root_read_only(""));
    let covered = format!("{SANDBOX}598 596 0:90 / / rw - tmpfs tmpfs rw\n");
    assert!(!is_root_read_only(&covered));
    assert!(is_root_read_only("1 0 0:2 / / rw - erofs none ro\n"));
}
