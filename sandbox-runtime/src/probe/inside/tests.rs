//! Samples of both kernels, and what has to be concluded from them.

use super::*;

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
const RW_ROOT: &str = "\
596 581 0:81 / / rw,relatime - overlay overlay rw,lowerdir=/a
597 596 0:83 / /secret ro,relatime - tmpfs tmpfs ro
";

fn restricted() -> Evidence {
    Evidence {
        status: LINUX_STATUS.to_owned(),
        uid_map: POD_MAP.to_owned(),
        mounts: RO_ROOT.to_owned(),
        proc_version: "Linux version 6.8.0-45-generic (b@h) (gcc) #45 SMP\n".to_owned(),
        kernel_version: "#45 SMP".to_owned(),
        no_new_privs: true,
        root_write: Err(Errno::ROFS),
        token_mounted: false,
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
        token_mounted: false,
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
        root_read_only: true,
        token_mounted: false,
        user_namespace: true,
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
        root_read_only: true,
        token_mounted: false,
        user_namespace: false,
    };
    assert_eq!(conclude(&gvisor()), Ok(expected));
}

#[test]
fn a_lax_container_is_not_flattered() {
    let evidence = Evidence {
        status: LAX_STATUS.to_owned(),
        uid_map: HOST_MAP.to_owned(),
        root_write: Ok(()),
        token_mounted: true,
        ..restricted()
    };
    let inside = conclude(&evidence).unwrap();
    assert_eq!(
        (inside.uid, inside.gid, inside.capabilities),
        (0, 0, 0xa804_25fb)
    );
    assert!(!inside.no_new_privs && !inside.root_read_only && !inside.user_namespace);
    assert!(inside.token_mounted);
    assert_eq!(inside.seccomp, 0);
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
fn a_lack_of_permission_alone_is_no_read_only_root() {
    for errno in [Errno::ACCESS, Errno::PERM] {
        assert!(root_read_only(Err(errno), RO_ROOT));
        assert!(!root_read_only(Err(errno), RW_ROOT));
        assert!(!root_read_only(Err(errno), ""));
    }
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::IO] {
        assert!(!root_read_only(Err(errno), RO_ROOT));
    }
    assert!(!root_read_only(Ok(()), RO_ROOT));
}

#[test]
fn the_topmost_root_counts() {
    let covered = format!("{RO_ROOT}598 596 0:90 / / rw - tmpfs tmpfs rw\n");
    assert!(!root_mounted_read_only(&covered));
    assert!(root_mounted_read_only("1 0 0:2 / / rw - erofs none ro\n"));
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
