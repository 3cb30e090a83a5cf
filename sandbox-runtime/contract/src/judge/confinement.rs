//! What a probe must have found about itself. Pure.
//!
//! In: what it says of its own process, and what its pod must be. Out: one finding for each check
//! that is asked for, by a name of a closed list. What is asked for, is decided here alone: a
//! report that leaves out one of these facts cannot be read.

use serde::{Deserialize, Serialize};

use super::Finding;
use crate::{Inside, Limit, SeenRuntime, Strays};

/// How a process must find itself confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    /// Whose kernel must answer.
    pub runtime: SeenRuntime,
    /// A user namespace of its own; of no account under gVisor, which hides it.
    pub user_namespace: bool,
    /// Bytes of memory that it must not have more than; `null` asks for no limit.
    #[serde(deserialize_with = "Option::deserialize")]
    pub memory: Option<u64>,
    /// Processes and threads that it must not have more than; `null` asks for no limit.
    #[serde(deserialize_with = "Option::deserialize")]
    pub processes: Option<u64>,
}

/// What is looked at. The names are what status and messages say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bolt {
    /// The kernel that answers, by its own signature.
    Runtime,
    /// Effective user.
    UserId,
    /// Effective group.
    GroupId,
    /// `no_new_privs`.
    NoNewPrivileges,
    /// All sets of capabilities.
    Capabilities,
    /// The root file system, by trying and by its mount.
    ReadOnlyRoot,
    /// What is mounted, by a closed list.
    Mounts,
    /// What lies in `/dev`, by a closed list.
    Devices,
    /// Tokens but the one for the operator.
    TokenMounted,
    /// Filter of system calls. Of the node's own kernel.
    Seccomp,
    /// A user namespace of its own. Of the node's own kernel, where pods must have one.
    UserNamespace,
    /// What of `/proc` and `/sys` a container must not see or write. Of the node's own kernel.
    MaskedPaths,
    /// Memory that it may have. Of sandboxes.
    MemoryLimit,
    /// Processes and threads that it may have. Of sandboxes, where the kernel keeps such a limit.
    ProcessLimit,
}

impl Bolt {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Runtime,
        Self::UserId,
        Self::GroupId,
        Self::NoNewPrivileges,
        Self::Capabilities,
        Self::ReadOnlyRoot,
        Self::Mounts,
        Self::Devices,
        Self::TokenMounted,
        Self::Seccomp,
        Self::UserNamespace,
        Self::MaskedPaths,
        Self::MemoryLimit,
        Self::ProcessLimit,
    ];
}

/// One finding for each check that is asked for. Under gVisor its kernel does not tell of seccomp,
/// user namespaces and limits of processes (all are outside it), and its `/proc` is its own: what
/// stands for them is that it is gVisor, which [`Bolt::Runtime`] asks for.
pub fn findings(inside: &Inside, wanted: &Wanted) -> Vec<Finding> {
    let Inside {
        runtime,
        uid,
        gid,
        no_new_privs,
        capabilities,
        seccomp,
        user_namespace,
        root_read_only,
        foreign_mounts,
        unmasked,
        foreign_devices,
        tokens,
        memory_limit,
        process_limit,
    } = inside;
    let Wanted {
        runtime: expected,
        user_namespace: own_users,
        memory: most_memory,
        processes: most_processes,
    } = *wanted;
    let mut findings = vec![
        exactly(
            Bolt::Runtime,
            &format!("{expected:?}"),
            &format!("{runtime:?}"),
        ),
        not_root(Bolt::UserId, *uid),
        not_root(Bolt::GroupId, *gid),
        exactly(Bolt::NoNewPrivileges, &true, no_new_privs),
        finding(
            Bolt::Capabilities,
            "0",
            format!("{capabilities:#x}"),
            *capabilities == 0,
        ),
        exactly(Bolt::ReadOnlyRoot, &true, root_read_only),
        // A token or a device that is mounted is both; the first fault is the one that is said.
        none(Bolt::TokenMounted, tokens),
        none(Bolt::Devices, foreign_devices),
        none(Bolt::Mounts, foreign_mounts),
    ];
    if expected == SeenRuntime::Host {
        findings.push(exactly(Bolt::Seccomp, &2, seccomp));
        findings.push(none(Bolt::MaskedPaths, unmasked));
        if own_users {
            findings.push(exactly(Bolt::UserNamespace, &true, user_namespace));
        }
    }
    findings.extend(most_memory.map(|most| at_most(Bolt::MemoryLimit, most, *memory_limit)));
    findings.extend(most_processes.map(|most| at_most(Bolt::ProcessLimit, most, *process_limit)));
    findings
}

fn exactly(bolt: Bolt, expected: &impl ToString, saw: &impl ToString) -> Finding {
    let (expected, saw) = (expected.to_string(), saw.to_string());
    let holds = expected == saw;
    finding(bolt, &expected, saw, holds)
}

fn not_root(bolt: Bolt, id: u32) -> Finding {
    finding(bolt, "not 0", id.to_string(), id != 0)
}

fn none(bolt: Bolt, strays: &Strays) -> Finding {
    finding(bolt, "none", strays.to_string(), strays.is_none())
}

fn at_most(bolt: Bolt, most: u64, limit: Limit) -> Finding {
    let expected = format!("at most {most}");
    finding(bolt, &expected, limit.to_string(), limit.is_within(most))
}

fn finding(bolt: Bolt, expected: &str, saw: String, holds: bool) -> Finding {
    Finding {
        check: format!("{bolt:?}"),
        target: "self".to_owned(),
        expected: expected.to_owned(),
        saw,
        holds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::sound;

    const SANDBOX: Wanted = Wanted {
        runtime: SeenRuntime::Host,
        user_namespace: true,
        memory: Some(1 << 20),
        processes: Some(512),
    };
    const ON_GVISOR: Wanted = Wanted {
        runtime: SeenRuntime::GVisor,
        processes: None,
        ..SANDBOX
    };

    /// Checks that are asked for, and those of them that do not hold.
    fn names(inside: &Inside, wanted: Wanted) -> (Vec<String>, Vec<String>) {
        let all = findings(inside, &wanted);
        let name = |finding: &Finding| finding.check.clone();
        let wrong = all.iter().filter(|finding| !finding.holds);
        (all.iter().map(name).collect(), wrong.map(name).collect())
    }

    #[test]
    fn every_check_is_asked_of_a_sandbox_on_the_nodes_kernel() {
        let (mut asked, wrong) = names(&sound(), SANDBOX);
        let mut all = Bolt::ALL.map(|bolt| format!("{bolt:?}"));
        asked.sort_unstable();
        all.sort_unstable();
        assert_eq!(asked, all);
        assert_eq!(wrong, [""; 0]);
    }

    #[test]
    fn what_gvisor_cannot_tell_is_not_asked_of_it_and_that_it_is_gvisor_is() {
        let seen = Inside {
            runtime: SeenRuntime::GVisor,
            seccomp: 0,
            user_namespace: false,
            process_limit: Limit::Hidden,
            ..sound()
        };
        let (asked, wrong) = names(&seen, ON_GVISOR);
        let untold = ["Seccomp", "UserNamespace", "MaskedPaths", "ProcessLimit"];
        assert!(
            untold
                .iter()
                .all(|name| !asked.contains(&(*name).to_owned()))
        );
        assert_eq!(asked.len() + untold.len(), Bolt::ALL.len());
        assert_eq!(wrong, [""; 0]);
        assert_eq!(names(&sound(), ON_GVISOR).1, ["Runtime"]);
    }

    #[test]
    fn each_loosened_bolt_is_named_and_no_other() {
        type Loosen = fn(&mut Inside);
        let loosened: [(&str, Loosen); 18] = [
            ("Runtime", |i| i.runtime = SeenRuntime::GVisor),
            ("UserId", |i| i.uid = 0),
            ("GroupId", |i| i.gid = 0),
            ("NoNewPrivileges", |i| i.no_new_privs = false),
            ("Capabilities", |i| i.capabilities = 1 << 13),
            ("Seccomp", |i| i.seccomp = 0),
            ("UserNamespace", |i| i.user_namespace = false),
            ("ReadOnlyRoot", |i| i.root_read_only = false),
            ("Mounts", |i| i.foreign_mounts = strays()),
            ("MaskedPaths", |i| i.unmasked = strays()),
            ("Devices", |i| i.foreign_devices = strays()),
            ("TokenMounted", |i| i.tokens = strays()),
            ("MemoryLimit", |i| i.memory_limit = Limit::At((1 << 20) + 1)),
            ("MemoryLimit", |i| i.memory_limit = Limit::Unlimited),
            ("MemoryLimit", |i| i.memory_limit = Limit::Hidden),
            ("ProcessLimit", |i| i.process_limit = Limit::At(513)),
            ("ProcessLimit", |i| i.process_limit = Limit::Unlimited),
            ("ProcessLimit", |i| i.process_limit = Limit::Hidden),
        ];
        for (name, loosen) in loosened {
            let mut seen = sound();
            loosen(&mut seen);
            assert_eq!(names(&seen, SANDBOX).1, [name]);
        }
    }

    fn strays() -> Strays {
        Strays::of(["/host (ext4, rw)".to_owned()])
    }

    #[test]
    fn asks_for_what_is_asked_of_such_a_pod_alone() {
        let probe = Wanted {
            runtime: SeenRuntime::Host,
            user_namespace: false,
            memory: None,
            processes: None,
        };
        let seen = Inside {
            user_namespace: false,
            memory_limit: Limit::Unlimited,
            process_limit: Limit::Hidden,
            ..sound()
        };
        let (asked, wrong) = names(&seen, probe);
        for absent in ["UserNamespace", "MemoryLimit", "ProcessLimit"] {
            assert!(!asked.contains(&absent.to_owned()), "{absent}");
        }
        assert_eq!(wrong, [""; 0]);
    }
}
