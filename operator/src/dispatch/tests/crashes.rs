//! A process that dies after any write leads to the same end as one that does not.

use contract::run::{Cause, Exit};
use serde_json::json;

use super::{
    at_work,
    sim::{Command, NAMESPACE, Sim},
};

/// What a run may be.
const STORIES: [&str; 8] = [
    "warm", "cold", "failed", "unproven", "canceled", "timeout", "overtime", "retried",
];

/// How it must end: with this reason, after so many starts of the command.
fn story(sim: &mut Sim, which: &str) -> (&'static str, u32) {
    let spec = match which {
        "warm" => json!({"warm": {"min": 1}}),
        "retried" => json!({"retries": 1}),
        "overtime" => json!({"timeout": "10s"}),
        _ => json!({}),
    };
    sim.integration(NAMESPACE, "hello", &spec);
    match which {
        "warm" => {
            sim.settle();
            ("Completed", 1)
        }
        "cold" => ("Completed", 1),
        "failed" => {
            sim.command = Command::Exits(1);
            ("Failed", 1)
        }
        "unproven" => {
            sim.fault = Some(|seen| seen.root_read_only = false);
            ("SandboxUnproven", 0)
        }
        "canceled" => {
            sim.command = Command::Waits;
            ("Canceled", 1)
        }
        "timeout" | "overtime" => {
            sim.command = Command::Waits;
            ("TimedOut", 1)
        }
        "retried" => {
            sim.command = Command::FailsFirst;
            ("Completed", 2)
        }
        other => panic!("{other}"),
    }
}

/// What happens to it once it runs. One that goes into overtime nobody ends.
fn meanwhile(sim: &mut Sim, which: &str) {
    match which {
        "canceled" => sim.cancel("one"),
        "timeout" => {
            let name = at_work(sim);
            sim.end(&name, Cause::TimedOut, Exit::Signal(15));
        }
        _ => {}
    }
}

/// Goes on to the end, what happens meanwhile included unless it has. False if the process died.
fn goes_on(sim: &mut Sim, which: &str, happened: &mut bool) -> bool {
    if !sim.settle() {
        return false;
    }
    if !std::mem::replace(happened, true) {
        meanwhile(sim, which);
    }
    sim.settle() && sim.pass(70)
}

#[test]
fn a_crash_after_any_write_of_a_run_leads_to_the_same_end() {
    for which in STORIES {
        let mut crashes = 0;
        for done in [true, false] {
            for n in 1.. {
                let mut sim = Sim::new();
                let (end, starts) = story(&mut sim, which);
                sim.execution(NAMESPACE, "one", &json!({"input": "{}"}));
                sim.fatal = Some((n, done));
                let mut happened = false;
                let died = !goes_on(&mut sim, which, &mut happened);
                if died {
                    crashes += 1;
                    sim.restart();
                    assert!(goes_on(&mut sim, which, &mut happened));
                }
                let at = format!("{which}, write {n}, done: {done}, died: {died}");
                assert_eq!(sim.reason("one"), end, "{at}");
                assert_eq!(sim.started.values().sum::<u32>(), starts, "{at}");
                let attempt = &sim.executions["one"]["status"]["attempt"];
                assert_eq!(*attempt, json!(starts), "{at}");
                let warm = usize::from(which == "warm");
                assert_eq!(sim.boxes.len(), warm, "{at}");
                if !died {
                    break;
                }
            }
        }
        assert!(crashes >= 6, "{which}: {crashes} crashes");
    }
}
