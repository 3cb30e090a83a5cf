//! Samples of both kernels, and what has to be concluded from them.

use contract::Limit;

use super::*;
use crate::probe::devices::Kind;

/// A container of containerd and runc, Linux 6.x, with Kubernetes' `restricted` profile.
const LINUX_STATUS: &str = "\
Name:\tcloister-sandbo
Umask:\t0022
State:\tR (running)
Tgid:\t1
Ngid:\t0
Pid:\t1
PPid:\t0
TracerPid:\t0
Uid:\t65532\t65532\t65532\t65532
Gid:\t65532\t65532\t65532\t65532
FDSize:\t64
Groups:\t65532 
NStgid:\t1
Threads:\t1
SigQ:\t0/47973
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
CapBnd:\t0000000000000000
CapAmb:\t0000000000000000
NoNewPrivs:\t1
Seccomp:\t2
Seccomp_filters:\t1
Speculation_Store_Bypass:\tthread vulnerable
";

/// Docker's default: root, with 14 capabilities, free to gain more.
const LAX_STATUS: &str = "\
Uid:\t0\t0\t0\t0
Gid:\t0\t0\t0\t0
CapInh:\t0000000000000000
CapPrm:\t00000000a80425fb
CapEff:\t00000000a80425fb
CapBnd:\t00000000a80425fb
CapAmb:\t0000000000000000
NoNewPrivs:\t0
Seccomp:\t0
";

/// What gVisor prints (`statusFD.Generate` of its `fsimpl/proc`): no `CapAmb`, no `NoNewPrivs`.
const GVISOR_STATUS: &str = "\
Name:\tcloister-sandbox
State:\tR (running)
Tgid:\t1
Pid:\t1
PPid:\t0
TracerPid:\t0
Uid:\t65532\t65532\t65532\t65532
Gid:\t65532\t65532\t65532\t65532
FDSize:\t4
Groups:\t 
VmSize:\t2180 kB
VmRSS:\t960 kB
VmData:\t196 kB
Threads:\t1
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
CapBnd:\t0000000000000000
Seccomp:\t0
Mems_allowed:\t1
Mems_allowed_list:\t0
";

const HOST_MAP: &str = "         0          0 4294967295\n";
const POD_MAP: &str = "         0  131072000      65536\n";
const RO_ROOT: &str = "\
596 581 0:81 / / ro,relatime - overlay overlay rw,lowerdir=/a
597 596 0:83 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
";
const RW_ROOT: &str = "596 581 0:81 / / rw,relatime - overlay overlay rw,lowerdir=/a\n";

fn restricted() -> Evidence {
    Evidence {
        status: LINUX_STATUS.to_owned(),
        uid_map: POD_MAP.to_owned(),
        mounts: RO_ROOT.to_owned(),
        proc_version: "Linux version 6.8.0-45-generic (b@h) (gcc) #45 SMP\n".to_owned(),
        kernel_version: "#45 SMP".to_owned(),
        no_new_privs: true,
        root_write: Err(Errno::ROFS),
        places: vec![],
        present: vec![],
        devices: vec![],
        tokens: vec![],
        memory_limit: Some("268435456\n".to_owned()),
        process_limit: Some("max\n".to_owned()),
        memory: "MemTotal:       16384 kB\n".to_owned(),
        hard_processes: Some(512),
    }
}

fn gvisor() -> Evidence {
    Evidence {
        status: GVISOR_STATUS.to_owned(),
        uid_map: HOST_MAP.to_owned(),
        mounts: "1 0 0:2 / / ro - 9p none ro\n2 1 0:4 / /proc rw - proc none rw\n".to_owned(),
        proc_version: format!("Linux version 4.4.0 {GVISOR_VERSION}\n"),
        kernel_version: GVISOR_VERSION.to_owned(),
        no_new_privs: true,
        root_write: Err(Errno::ACCESS),
        memory_limit: None,
        process_limit: None,
        ..restricted()
    }
}

#[test]
fn a_restricted_pod_on_linux_is_seen_as_one() {
    let expected = Inside {
        runtime: SeenRuntime::Host,
        uid: 65532,
        gid: 65532,
        no_new_privs: true,
        capabilities: 0,
        seccomp: 2,
        user_namespace: true,
        root_read_only: true,
        foreign_mounts: Strays::default(),
        unmasked: Strays::default(),
        foreign_devices: Strays::default(),
        tokens: Strays::default(),
        memory_limit: Limit::At(256 << 20),
        process_limit: Limit::At(512),
    };
    assert_eq!(conclude(&restricted()), Ok(expected));
}

#[test]
fn a_restricted_pod_on_gvisor_is_seen_as_one() {
    let expected = Inside {
        runtime: SeenRuntime::GVisor,
        uid: 65532,
        gid: 65532,
        no_new_privs: true,
        capabilities: 0,
        seccomp: 0,
        user_namespace: false,
        root_read_only: true,
        foreign_mounts: Strays::default(),
        unmasked: Strays::default(),
        foreign_devices: Strays::default(),
        tokens: Strays::default(),
        memory_limit: Limit::At(16 << 20),
        process_limit: Limit::Hidden,
    };
    assert_eq!(conclude(&gvisor()), Ok(expected));
}

#[test]
fn a_lax_container_is_not_flattered() {
    let evidence = Evidence {
        status: LAX_STATUS.to_owned(),
        uid_map: HOST_MAP.to_owned(),
        root_write: Ok(()),
        mounts: format!("{RW_ROOT}597 596 254:0 /etc /host rw - ext4 /dev/vda rw\n"),
        present: vec!["/proc/kcore"],
        devices: vec![Device {
            path: "/dev/kvm".to_owned(),
            kind: Kind::Character(10, 232),
        }],
        tokens: vec!["/run/token".to_owned()],
        memory_limit: Some("max".to_owned()),
        process_limit: None,
        hard_processes: None,
        ..restricted()
    };
    let inside = conclude(&evidence).unwrap();
    assert_eq!(
        (inside.uid, inside.gid, inside.capabilities),
        (0, 0, 0xa804_25fb)
    );
    assert!(!inside.no_new_privs && !inside.root_read_only && !inside.user_namespace);
    assert_eq!(inside.seccomp, 0);
    assert_eq!(inside.foreign_mounts.to_string(), "/host (ext4, rw)");
    assert_eq!(inside.unmasked.to_string(), "/proc/kcore");
    assert_eq!(
        inside.foreign_devices.to_string(),
        "/dev/kvm (character 10:232)"
    );
    assert_eq!(inside.tokens.to_string(), "/run/token");
    assert_eq!(inside.memory_limit, Limit::Unlimited);
    assert_eq!(inside.process_limit, Limit::Unlimited);
}

#[test]
fn the_effective_ids_count() {
    let status = LINUX_STATUS.replace("Uid:\t65532\t65532", "Uid:\t65532\t0");
    let inside = conclude(&Evidence {
        status,
        ..restricted()
    })
    .unwrap();
    assert_eq!((inside.uid, inside.gid), (0, 65532));
}

#[test]
fn a_capability_in_any_one_set_counts() {
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let none = format!("{name}:\t0000000000000000");
        let status = LINUX_STATUS.replace(&none, &format!("{name}:\t0000000000200000"));
        let inside = conclude(&Evidence {
            status,
            ..restricted()
        })
        .unwrap();
        assert_eq!(inside.capabilities, 1 << 21, "{name}");
    }
}

#[test]
fn a_status_without_a_capability_set_says_nothing() {
    for name in CAPABILITY_SETS {
        let status = LINUX_STATUS.replace(name, "CapOld");
        let refused = conclude(&Evidence {
            status,
            ..restricted()
        });
        assert_eq!(refused, Err(UnknownForm::Status(name)));
    }
}

#[test]
fn gvisor_is_known_by_its_version_whatever_its_release() {
    for release in ["4.4.0", "4.19.0-gvisor", "5.15.0-gvisor"] {
        let proc_version = format!("Linux version {release} {GVISOR_VERSION}\n");
        assert_eq!(
            runtime(&proc_version, GVISOR_VERSION),
            SeenRuntime::GVisor,
            "{release}"
        );
    }
}

#[test]
fn half_a_signature_is_no_gvisor() {
    let linux = "Linux version 4.4.0-210-generic (b@h) #242-Ubuntu SMP Fri Apr 16 2021\n";
    let forged = format!("Linux version 4.4.0 {GVISOR_VERSION}\n");
    assert_eq!(
        runtime(&forged, "#242-Ubuntu SMP Fri Apr 16 2021"),
        SeenRuntime::Host
    );
    assert_eq!(runtime(linux, GVISOR_VERSION), SeenRuntime::Host);
    assert_eq!(
        runtime(linux, "#242-Ubuntu SMP Fri Apr 16 2021"),
        SeenRuntime::Host
    );
}

#[test]
fn a_read_only_root_refuses_and_says_so_in_the_table() {
    let read_only = |root_write, mounts: &str| {
        let evidence = Evidence {
            root_write,
            mounts: mounts.to_owned(),
            ..restricted()
        };
        conclude(&evidence).unwrap().root_read_only
    };
    for errno in [Errno::ROFS, Errno::ACCESS, Errno::PERM] {
        assert!(read_only(Err(errno), RO_ROOT));
        assert!(!read_only(Err(errno), RW_ROOT));
        assert!(!read_only(Err(errno), ""));
    }
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::IO] {
        assert!(!read_only(Err(errno), RO_ROOT));
    }
    assert!(!read_only(Ok(()), RO_ROOT));
}

#[test]
fn a_user_namespace_maps_root_to_somebody_else() {
    assert_eq!(user_namespace(POD_MAP), Ok(true));
    assert_eq!(user_namespace(HOST_MAP), Ok(false));
    assert_eq!(user_namespace(""), Ok(false));
    assert_eq!(user_namespace("1000 0 1\n"), Ok(false));
    assert_eq!(user_namespace("0 100000 1000\n1000 0 1\n"), Ok(false));
    assert_eq!(user_namespace("0 100000\n"), Err(UnknownForm::UidMap));
}
