//! Contracts and kernels, and what comes of them.

use contract::run::{Input, Limits, OutputBounds, Time};

use super::*;

fn contract() -> RunContract {
    RunContract {
        version: 1,
        profile: Profile::Hardened { landlock_abi: 6 },
        command: "python3".to_owned(),
        arguments: vec!["-c".to_owned(), "1".to_owned()],
        environment: [("A".to_owned(), "b".to_owned())].into(),
        directory: "/work".to_owned(),
        writable: vec!["/work".to_owned(), "/tmp".to_owned()],
        hidden: vec!["/run/token".to_owned()],
        input: Some(Input {
            text: "{}".to_owned(),
            file: "/work/input.json".to_owned(),
        }),
        result: Some("/work/result.json".to_owned()),
        time: Time {
            limit_ms: Some(1000),
            grace_ms: 100,
        },
        limits: Limits {
            files: 1024,
            processes: Some(100),
            file_bytes: 1 << 30,
            address_space_bytes: None,
        },
        output: OutputBounds {
            line_bytes: 4096,
            total_bytes: 1 << 20,
        },
    }
}

fn kernel() -> Kernel {
    Kernel {
        runtime: SeenRuntime::Host,
        landlock_abi: 7,
        seccomp_filter: true,
        no_new_privs: true,
        process: 1,
        hard_limits: vec![(Resource::Files, 1 << 20)],
    }
}

fn gvisor() -> (RunContract, Kernel) {
    let mut contract = contract();
    contract.profile = Profile::GVisor;
    contract.limits.processes = None;
    contract.hidden = vec![];
    let kernel = Kernel {
        runtime: SeenRuntime::GVisor,
        landlock_abi: 0,
        ..kernel()
    };
    (contract, kernel)
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}

#[test]
fn a_hardened_run_is_planned_whole_and_in_order() {
    let plan = plan(&contract(), &kernel()).unwrap();
    assert_eq!(
        lines(&plan),
        [
            "hide the supervisor's memory",
            "place the input at /work/input.json",
            "open a session",
            "reset signals",
            "set umask 077",
            "limit core dumps to 0",
            "limit open files to 1024",
            "limit processes to 100",
            "limit file size to 1073741824",
            "close descriptors above 2",
            "drop capabilities",
            "set no_new_privs",
            "restrict files by Landlock ABI 7, writable /work /tmp, hidden /run/token, signals and abstract sockets scoped",
            "filter system calls",
        ]
    );
    let is_childs: Vec<bool> = plan.steps.iter().map(Step::is_childs).collect();
    assert!(is_childs.is_sorted(), "the supervisor's steps come first");
    assert_eq!(plan.arguments, ["python3", "-c", "1"]);
    assert_eq!(plan.candidates[1], Path::new("/usr/local/bin/python3"));
    let environment: Vec<_> = plan.environment.iter().map(|(name, _)| name).collect();
    assert_eq!(environment, ["A", "PATH"]);
    assert_eq!(plan.stdin, b"{}");
}

#[test]
fn gvisor_stands_for_landlock() {
    let (contract, kernel) = gvisor();
    let lines = lines(&plan(&contract, &kernel).unwrap());
    assert!(!lines.iter().any(|line| line.contains("Landlock")));
    assert!(lines.iter().any(|line| line == "filter system calls"));
}

#[test]
fn gvisor_hides_no_file() {
    let (mut contract, kernel) = gvisor();
    contract.hidden = vec!["/run/token".to_owned()];
    assert_eq!(plan(&contract, &kernel), Err(Refused::NotHidden));
}

#[test]
fn gvisor_keeps_no_limit_of_processes() {
    let (mut contract, kernel) = gvisor();
    contract.limits.processes = Some(10);
    let refused = Refused::NotKept(Resource::Processes);
    assert_eq!(plan(&contract, &kernel), Err(refused));
}

#[test]
fn an_old_landlock_is_said_to_scope_nothing() {
    let mut contract = contract();
    contract.profile = Profile::Hardened { landlock_abi: 3 };
    let kernel = Kernel {
        landlock_abi: 5,
        ..kernel()
    };
    let lines = lines(&plan(&contract, &kernel).unwrap());
    assert!(lines.iter().any(|line| line.ends_with("NOT scoped")));
}

#[test]
fn what_the_kernel_lacks_is_a_refusal() {
    for (change, expected) in [
        (
            Kernel {
                landlock_abi: 5,
                ..kernel()
            },
            Refused::Landlock { asked: 6, has: 5 },
        ),
        (
            Kernel {
                landlock_abi: 0,
                ..kernel()
            },
            Refused::Landlock { asked: 6, has: 0 },
        ),
        (
            Kernel {
                seccomp_filter: false,
                ..kernel()
            },
            Refused::Seccomp,
        ),
        (
            Kernel {
                no_new_privs: false,
                ..kernel()
            },
            Refused::NoNewPrivileges,
        ),
        (
            Kernel {
                process: 12,
                ..kernel()
            },
            Refused::NotInit(12),
        ),
        (
            Kernel {
                hard_limits: vec![(Resource::Files, 1023)],
                ..kernel()
            },
            Refused::Limit {
                resource: Resource::Files,
                asked: 1024,
                has: 1023,
            },
        ),
    ] {
        assert_eq!(plan(&contract(), &change), Err(expected));
    }
    let (contract, _) = gvisor();
    assert_eq!(plan(&contract, &kernel()), Err(Refused::NotGVisor));
}

type Change = fn(&mut RunContract);

/// Each change, made to a good contract, is refused for its field.
fn refuses(cases: &[(&str, Change)]) {
    for (index, (expected, change)) in cases.iter().enumerate() {
        let mut contract = contract();
        change(&mut contract);
        match plan(&contract, &kernel()) {
            Err(refused @ Refused::OutOfBounds { field, .. }) => {
                assert_eq!(field, *expected, "case {index}");
                assert_eq!(refused.reason(), RefusalReason::BadContract);
            }
            other => panic!("case {index}, {expected}: {other:?}"),
        }
    }
}

#[test]
fn every_text_has_its_bounds() {
    refuses(&[
        ("version", |c| c.version = 2),
        ("profile", |c| {
            c.profile = Profile::Hardened { landlock_abi: 2 };
        }),
        ("command", |c| c.command.clear()),
        ("command", |c| c.command.push('\0')),
        ("arguments", |c| c.arguments.push("\0".to_owned())),
        ("arguments", |c| c.arguments.push("x".repeat(400 * 1024))),
        ("environment", |c| {
            c.environment = [(String::new(), String::new())].into();
        }),
        ("environment", |c| {
            c.environment = [("A=".to_owned(), String::new())].into();
        }),
        ("environment", |c| {
            c.environment = [("A".to_owned(), "\0".to_owned())].into();
        }),
        ("directory", |c| c.directory = "work".to_owned()),
        ("directory", |c| c.directory = "/work/../etc".to_owned()),
        ("directory", |c| c.directory = "/work/".to_owned()),
        ("writable", |c| c.writable.push("/".to_owned())),
        ("writable", |c| c.writable.push("/a/./b".to_owned())),
        ("writable", |c| c.writable = vec!["/work".to_owned(); 33]),
        ("hidden", |c| c.hidden.push("/".to_owned())),
        ("hidden", |c| c.hidden.push("/work/secret".to_owned())),
        ("hidden", |c| c.hidden = vec!["/run/x".to_owned(); 9]),
        ("hidden", |c| {
            c.writable.push("/run/token/below".to_owned());
        }),
        ("input.text", |c| {
            c.input.as_mut().unwrap().text = "x".repeat(8193);
        }),
        ("input.file", |c| {
            c.input.as_mut().unwrap().file = "/work/a/input".to_owned();
        }),
        ("input.file", |c| {
            c.input.as_mut().unwrap().file = "/etc/input".to_owned();
        }),
        ("result", |c| c.result = Some("/work".to_owned())),
        ("result", |c| {
            c.result = Some("/work/../etc/passwd".to_owned());
        }),
    ]);
}

#[test]
fn every_number_has_its_bounds() {
    refuses(&[
        ("time.limitMs", |c| c.time.limit_ms = Some(0)),
        ("time.limitMs", |c| c.time.limit_ms = Some(u64::MAX)),
        ("time.graceMs", |c| c.time.grace_ms = 3_600_001),
        ("limits.files", |c| c.limits.files = 3),
        ("limits.processes", |c| c.limits.processes = Some(0)),
        ("limits.addressSpaceBytes", |c| {
            c.limits.address_space_bytes = Some(4096);
        }),
        ("output.lineBytes", |c| c.output.line_bytes = 63),
        ("output.lineBytes", |c| c.output.line_bytes = 65_537),
    ]);
}

#[test]
fn the_largest_of_everything_is_accepted() {
    let mut contract = contract();
    contract.input.as_mut().unwrap().text = "x".repeat(8192);
    contract.time = Time {
        limit_ms: Some(7 * 24 * 60 * 60 * 1000),
        grace_ms: 3_600_000,
    };
    contract.limits.files = 1 << 20;
    contract.output.line_bytes = 65_536;
    assert!(plan(&contract, &kernel()).is_ok());
}

#[test]
fn commands_are_looked_for_as_execvp_does() {
    let mut contract = contract();
    let candidates = |contract: &RunContract| plan(contract, &kernel()).unwrap().candidates;
    contract.command = "/bin/sh".to_owned();
    assert_eq!(candidates(&contract), [Path::new("/bin/sh")]);
    contract.command = "bin/run".to_owned();
    assert_eq!(candidates(&contract), [Path::new("/work/bin/run")]);
    contract.command = "run".to_owned();
    contract
        .environment
        .insert("PATH".to_owned(), "/opt/bin:own:".to_owned());
    assert_eq!(
        candidates(&contract),
        ["/opt/bin/run", "/work/own/run", "/work/run"].map(PathBuf::from)
    );
}
