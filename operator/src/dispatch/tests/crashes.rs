//! A process that dies after any write leads to the same end as one that does not.

use serde_json::json;

use super::sim::{Command, NAMESPACE, Sim};

/// What a run may be, and how it must end.
fn story(sim: &mut Sim, which: &str) -> &'static str {
    match which {
        "warm" => {
            sim.integration(NAMESPACE, "hello", &json!({"warm": {"min": 1}}));
            sim.settle();
            "Completed"
        }
        "cold" => {
            sim.integration(NAMESPACE, "hello", &json!({}));
            "Completed"
        }
        "failed" => {
            sim.integration(NAMESPACE, "hello", &json!({}));
            sim.command = Command::Exits(1);
            "Failed"
        }
        "unproven" => {
            sim.integration(NAMESPACE, "hello", &json!({}));
            sim.fault = Some(|seen| seen.root_read_only = false);
            "SandboxUnproven"
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_crash_after_any_write_of_a_run_leads_to_the_same_end() {
    for which in ["warm", "cold", "failed", "unproven"] {
        let mut crashes = 0;
        for done in [true, false] {
            for n in 1.. {
                let mut sim = Sim::new();
                let end = story(&mut sim, which);
                sim.execution(NAMESPACE, "one", &json!({"input": "{}"}));
                sim.fatal = Some((n, done));
                if sim.settle() && sim.pass(3) {
                    break;
                }
                crashes += 1;
                sim.restart();
                assert!(sim.settle() && sim.pass(70));
                assert_eq!(sim.reason("one"), end, "{which}, write {n}, done: {done}");
                let starts = sim.started.values().sum::<u32>();
                let expected = u32::from(which != "unproven");
                assert_eq!(starts, expected, "{which}, write {n}, done: {done}");
                let warm = usize::from(which == "warm");
                assert_eq!(sim.boxes.len(), warm, "{which}, write {n}, done: {done}");
            }
        }
        assert!(crashes >= 6, "{which}: {crashes} crashes");
    }
}
