//! Whether the Worker of this container is ready, for the kubelet, which runs it beside process 1.
//!
//! In: the name of process 1, which only that can set ([`crate::work::title`]), and the clock. Out:
//! one line, and the answer. It waits for nobody and opens nothing that a command could hold.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::clock::since_start;
use crate::work::name;
use crate::work::title::Title;

/// Whether it is ready, and one line that says why or why not.
pub fn run() -> (bool, String) {
    // Before anything: no process of the same user may look into this one.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        return (false, format!("not ready: failed to hide: {error}"));
    }
    match name::shown() {
        Ok(shown) => answer(&shown, since_start().as_secs()),
        Err(error) => (
            false,
            format!("not ready: failed to read the name of process 1: {error}"),
        ),
    }
}

/// The same of that name at that second since the node's start. Pure.
fn answer(name: &str, now: u64) -> (bool, String) {
    let Some(title) = Title::read(name) else {
        let line = "not ready: process 1 is no Worker's supervisor, or has not begun";
        return (false, line.to_owned());
    };
    match title.fault(now) {
        None => (true, "ready: proven, and the command runs".to_owned()),
        Some(fault) => (false, format!("not ready: {fault}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proof_that_is_still_good_is_ready_and_all_else_says_why() {
        assert!(answer("ready 100", 99).0);
        for (name, words) in [
            ("ready 99", "ended 0 s ago"),
            ("ready 9", "ended 90 s ago"),
            ("starting", "nothing is proven yet"),
            ("not Kubelet", "Kubelet is not as it must be"),
            ("ending", "over"),
            ("cloister-sandbo", "no Worker's supervisor"),
            ("sh", "no Worker's supervisor"),
        ] {
            let (is_ready, line) = answer(name, 99);
            assert!(!is_ready && line.contains(words), "{name}: {line}");
            assert_eq!(line.lines().count(), 1);
        }
    }
}
