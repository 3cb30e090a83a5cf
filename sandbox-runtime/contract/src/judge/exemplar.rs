//! A report in which everything is as it must be: for tests of either side, and for what stands in
//! for a sandbox. Pure, and made up: nothing was looked at.

use super::REQUIRED;
use crate::{
    Check, Expect, Inside, Limit, Observation, ProbeReport, ProbeRequest, Saw, SeenRuntime, Strays,
    Target, VERSION,
};

/// What a process says of itself that is as it must be, on the node's kernel.
pub fn sound() -> Inside {
    Inside {
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
        memory_limit: Limit::At(1 << 20),
        process_limit: Limit::At(1),
    }
}

/// A request for everything without which no report counts.
pub fn whole_request() -> ProbeRequest {
    let targets = REQUIRED.map(|check| {
        let open = matches!(check, Check::Dns | Check::PermittedCanary);
        Target {
            check,
            address: "192.0.2.1:1".into(),
            expect: if open {
                Expect::Reachable
            } else {
                Expect::Blocked
            },
        }
    });
    ProbeRequest {
        version: VERSION,
        timeout_ms: 1,
        targets: targets.into(),
        places: vec![],
    }
}

/// The answer of one that is as it must be: all that must answer did, and nothing else.
pub fn sound_answer(asked: &ProbeRequest, inside: Inside) -> ProbeReport {
    let observe = |target: &Target| Observation {
        check: target.check,
        address: target.address.clone(),
        expect: target.expect,
        saw: match target.expect {
            Expect::Reachable => Saw::Connected,
            Expect::Blocked => Saw::Silence,
        },
    };
    ProbeReport {
        version: VERSION,
        checks: asked.targets.iter().map(observe).collect(),
        inside,
    }
}
