//! What a report means, each fault by itself.

use super::*;
use crate::{SeenRuntime, Strays};

const HARDENED: Wanted = Wanted {
    runtime: SeenRuntime::Host,
    user_namespace: true,
    memory: None,
    processes: None,
};

/// A report in which everything is as it must be, then changed.
fn answered(asked: &ProbeRequest, change: impl FnOnce(&mut ProbeReport)) -> Judged {
    let mut answer = sound_answer(asked, sound());
    change(&mut answer);
    read(&serde_json::to_string(&answer).unwrap(), asked, &HARDENED)
}

fn as_text(asked: &ProbeRequest) -> String {
    let mut text = String::new();
    answered(asked, |answer| {
        text = serde_json::to_string(answer).unwrap();
    });
    text
}

fn judged(change: impl FnOnce(&mut ProbeReport)) -> Judged {
    answered(&whole_request(), change)
}

fn saw(answer: &mut ProbeReport, check: Check, saw: Saw) {
    let one = answer.checks.iter_mut().find(|one| one.check == check);
    one.unwrap().saw = saw;
}

#[test]
fn proven_only_if_everything_is_as_it_must_be() {
    let all_well = judged(|_| ());
    assert_eq!(all_well.verdict, Verdict::Proven, "{}", all_well.fault);
    assert_eq!(all_well.findings.len(), REQUIRED.len() + 12);
}

#[test]
fn an_opening_is_a_breach_and_is_named() {
    for opening in [Saw::Connected, Saw::Refused] {
        let breach = judged(|answer| saw(answer, Check::Kubelet, opening));
        assert_eq!((breach.verdict, &*breach.check), (Verdict::Open, "Kubelet"));
        assert!(
            breach
                .fault
                .starts_with("Kubelet 192.0.2.1:1: expected Blocked")
        );
    }
}

#[test]
fn of_two_canaries_one_has_to_answer() {
    let mut asked = whole_request();
    let other = |check: Check, expect: Expect| Target {
        check,
        address: "192.0.2.2:1".into(),
        expect,
    };
    asked.targets.extend([
        other(Check::PermittedCanary, Expect::Reachable),
        other(Check::ForbiddenCanary, Expect::Blocked),
    ]);
    let last = asked.targets.len() - 2;
    let of_each = |first: Saw, second: Saw| {
        answered(&asked, |answer| {
            saw(answer, Check::PermittedCanary, first);
            answer.checks[last].saw = second;
        })
    };
    for (first, second, verdict) in [
        (Saw::Connected, Saw::Silence, Verdict::Proven),
        (Saw::Silence, Saw::Connected, Verdict::Proven),
        (Saw::Silence, Saw::Silence, Verdict::Doubtful),
    ] {
        let judged = of_each(first, second);
        assert_eq!(
            judged.verdict, verdict,
            "{first:?} {second:?}: {}",
            judged.fault
        );
    }
    // What must be shut has to be, of either.
    let opened = answered(&asked, |answer| {
        answer.checks[last + 1].saw = Saw::Connected;
    });
    assert_eq!(opened.verdict, Verdict::Open);
}

#[test]
fn a_dead_network_proves_nothing() {
    for control in [Check::Dns, Check::PermittedCanary] {
        let dead = judged(|answer| saw(answer, control, Saw::Silence));
        assert_eq!(dead.verdict, Verdict::Doubtful);
    }
}

#[test]
fn an_opening_counts_also_in_a_network_that_is_otherwise_dead() {
    let both = judged(|answer| {
        saw(answer, Check::Dns, Saw::Silence);
        saw(answer, Check::OtherTenant, Saw::Connected);
    });
    assert_eq!(both.verdict, Verdict::Open);
}

#[test]
fn what_was_not_looked_at_is_not_proven() {
    let partial = judged(|answer| {
        answer.checks.pop();
    });
    assert_eq!(partial.verdict, Verdict::Doubtful);
    assert!(partial.fault.contains("not looked at"));
    let empty = read("", &whole_request(), &HARDENED);
    assert_eq!(empty.verdict, Verdict::Doubtful);
    assert_eq!(
        judged(|answer| answer.version += 1).verdict,
        Verdict::Doubtful
    );
}

#[test]
fn an_answer_to_another_question_proves_nothing_and_says_where() {
    type Stray = fn(&mut Vec<Observation>);
    let strayed: [(&str, Stray); 7] = [
        ("Kubelet 192.0.2.1:1 (Blocked): not looked at", |all| {
            all.pop();
        }),
        ("asked for Dns 192.0.2.1:1 (Reachable)", |all| {
            all.remove(0);
        }),
        ("Dns 192.0.2.1:1 (Reachable): not asked for", |all| {
            all.push(all[0].clone());
        }),
        ("answered on Dns 192.0.2.1:1", |all| {
            all.insert(1, all[0].clone());
        }),
        ("answered on OtherTenant 192.0.2.1:2", |all| {
            all[3].address = "192.0.2.1:2".into();
        }),
        ("answered on Outside 192.0.2.1:1", |all| {
            all[3].check = Check::Outside;
        }),
        ("answered on OtherTenant 192.0.2.1:1 (Reachable)", |all| {
            all[3].expect = Expect::Reachable;
            all[3].saw = Saw::Connected;
        }),
    ];
    for (fault, stray) in strayed {
        let judged = judged(|answer| stray(&mut answer.checks));
        assert_eq!(judged.verdict, Verdict::Doubtful, "{fault}");
        assert!(judged.fault.contains(fault), "{}", judged.fault);
    }
}

#[test]
fn a_request_without_a_required_check_is_no_proof() {
    let mut asked = whole_request();
    asked.targets.pop();
    let partial = answered(&asked, |_| ());
    assert_eq!(partial.verdict, Verdict::Doubtful);
    assert_eq!(partial.fault, "Kubelet: not looked at");
}

#[test]
fn a_loosened_bolt_is_a_breach_and_is_named() {
    let breach = judged(|answer| answer.inside.root_read_only = false);
    assert_eq!(breach.verdict, Verdict::Loose);
    assert_eq!(breach.check, "ReadOnlyRoot");
    assert_eq!(breach.fault, "ReadOnlyRoot: expected true, saw false");
    let breach = judged(|answer| {
        let path = "/host (ext4, rw)".to_owned();
        answer.inside.foreign_mounts = Strays::of([path.clone(), path]);
    });
    let fault = "Mounts: expected none, saw /host (ext4, rw) and 1 more";
    assert_eq!((breach.verdict, &*breach.fault), (Verdict::Loose, fault));
}

#[test]
fn a_report_that_leaves_out_a_fact_proves_nothing() {
    let whole: serde_json::Value = serde_json::from_str(&as_text(&whole_request())).unwrap();
    for field in whole["inside"].as_object().unwrap().keys() {
        let mut partial = whole.clone();
        let inside = partial["inside"].as_object_mut().unwrap();
        inside.remove(field);
        let judged = read(&partial.to_string(), &whole_request(), &HARDENED);
        assert_eq!(judged.verdict, Verdict::Doubtful, "{field}");
        assert!(judged.fault.contains(field), "{}", judged.fault);
    }
}
