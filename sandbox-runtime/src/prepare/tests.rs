//! Which steps are done at once and which are left to the child, against a recording kernel.

use std::ffi::OsString;
use std::path::Path;

use super::*;
use crate::enforce::enforce;
use crate::step::{FileRules, Resource};
use crate::sys::recording::Recording;

fn plan() -> Plan {
    Plan {
        steps: vec![
            Step::HideSupervisor,
            Step::PlaceInput("/work/input".into()),
            Step::NewSession,
            Step::Limit(Resource::Core, 0),
            Step::NoNewPrivileges,
            Step::RestrictFiles(FileRules {
                abi: 7,
                writable: vec!["/work".into()],
                hidden: vec![],
            }),
            Step::FilterCalls,
        ],
        candidates: vec!["/usr/bin/run".into(), "/bin/run".into()],
        arguments: vec![OsString::from("run")],
        environment: vec![],
        directory: "/work".into(),
        stdin: b"input".to_vec(),
    }
}

fn sys() -> Recording {
    Recording {
        executables: vec!["/bin/run".into()],
        directories: vec!["/work".into()],
        ..Recording::default()
    }
}

fn pipes() -> Pipes {
    let null = || std::fs::File::open("/dev/null").unwrap().into();
    Pipes {
        stdout: null(),
        stderr: null(),
    }
}

#[test]
fn the_supervisors_steps_are_done_and_the_childs_are_kept_in_order() {
    let sys = sys();
    let prepared = prepare(plan(), pipes(), &[], &sys).unwrap();
    assert_eq!(
        *sys.calls.borrow(),
        [
            "hide memory",
            "create /work/input 5",
            "ruleset 7",
            "readable 5"
        ]
    );
    let seals = &prepared.launch.seals;
    assert!(matches!(
        seals.as_slice(),
        [
            Seal::NewSession,
            Seal::Limit(Resource::Core, 0),
            Seal::NoNewPrivileges,
            Seal::Files(_),
            Seal::Calls(_),
        ]
    ));
    assert_eq!(prepared.steps.len(), seals.len(), "each seal has its step");
    assert_eq!(prepared.launch.program, Path::new("/bin/run"));
    enforce(prepared, &sys).unwrap();
    assert_eq!(sys.calls.borrow().last().unwrap(), "launch /bin/run");
}

#[test]
fn without_a_command_or_a_directory_nothing_is_prepared() {
    let nothing = Recording {
        executables: vec![],
        ..sys()
    };
    let refused = prepare(plan(), pipes(), &[], &nothing).unwrap_err();
    assert_eq!(refused.reason(), RefusalReason::CommandNotFound);
    assert!(refused.to_string().contains("/usr/bin/run, /bin/run"));
    let nowhere = Recording {
        directories: vec![],
        ..sys()
    };
    let refused = prepare(plan(), pipes(), &[], &nowhere).unwrap_err();
    assert_eq!(refused.reason(), RefusalReason::DirectoryNotFound);
}
