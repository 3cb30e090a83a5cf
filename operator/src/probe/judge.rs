//! What a probe's answer means, and what all answers together say of a tenant. Pure.

use contract::{
    Check, Expect, Observation, Place, ProbeReport, ProbeRequest, Saw, Target, VERSION,
};
use crds::tenant::{CheckStatus, Evidence, IsolationStatus, Outcome};
use jiff::Timestamp;

use super::{
    Confinement, PATIENCE, Wanted,
    confinement::{Finding, findings},
    decoys::{self, Decoys},
    targets::REQUIRED,
};
use crate::world::facts::{LivePod, LiveProbe, Uid};

/// Most nodes whose evidence is kept in status.
const MAX_EVIDENCE: usize = 16;
/// Longest fault, in characters, so that a status stays small.
const MAX_FAULT: usize = 300;

/// One probe's answer, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What came of it.
    pub outcome: Outcome,
    /// The first thing that was not as it must be; empty when proven.
    pub fault: String,
    /// Everything it looked at.
    pub checks: Vec<CheckStatus>,
    /// Whether it says nothing at all, so that an earlier proof stands until its own end.
    pub void: bool,
}

impl Judged {
    fn inconclusive(fault: String) -> Self {
        Self {
            outcome: Outcome::Inconclusive,
            fault,
            checks: Vec::new(),
            void: false,
        }
    }
}

/// What a report means as the answer to `asked`, for pods that must be as `wanted`.
///
/// An opening is a breach even if the network is otherwise dead. Silence is proof only if
/// everything that must answer did, in the same look. An answer to another question says
/// nothing at all.
pub fn report(text: &str, asked: &ProbeRequest, wanted: Wanted) -> Judged {
    let report: ProbeReport = match serde_json::from_str(text) {
        Ok(report) => report,
        Err(error) => {
            return Judged::inconclusive(format!("the probe's report cannot be read: {error}"));
        }
    };
    if report.version != VERSION {
        let (theirs, ours) = (report.version, VERSION);
        return Judged::inconclusive(format!(
            "the probe speaks version {theirs} of the contract, the operator {ours}; \
             install both from one release"
        ));
    }
    let wants = |place: &Place, wanted: &super::Place| (&*place.path, place.writable) == *wanted;
    let places = asked.places.iter().zip(wanted.places);
    if asked.places.len() != wanted.places.len() || places.clone().any(|(a, w)| !wants(a, w)) {
        let fault = "Mounts: the probe was asked about other places than its pod must have";
        return Judged::inconclusive(fault.to_owned());
    }
    if let Some(fault) = strayed(&asked.targets, &report.checks) {
        return Judged::inconclusive(fault);
    }
    let findings = findings(&report.inside, wanted);
    let mut checks: Vec<CheckStatus> = report.checks.iter().map(status_of).collect();
    checks.extend(findings.iter().map(|finding| finding.status.clone()));
    let (outcome, fault) = conclusion(&report.checks, &findings);
    Judged {
        outcome,
        fault,
        checks,
        void: false,
    }
}

/// Where an answer first leaves what was asked: it has one entry per target, in the order
/// of the request, so whatever is missing, added, doubled or changed shows in its place.
fn strayed(asked: &[Target], seen: &[Observation]) -> Option<String> {
    let places = 0..asked.len().max(seen.len());
    places
        .map(|place| (asked.get(place), seen.get(place)))
        .find_map(|pair| match pair {
            (Some(target), Some(one)) if answers(one, target) => None,
            (Some(target), Some(one)) => Some(format!(
                "the probe was asked for {}, and answered on {}",
                named(target.check, &target.address, target.expect),
                named(one.check, &one.address, one.expect)
            )),
            (Some(target), None) => {
                let target = named(target.check, &target.address, target.expect);
                Some(format!("{target}: not looked at"))
            }
            (None, Some(one)) => {
                let one = named(one.check, &one.address, one.expect);
                Some(format!("{one}: not asked for"))
            }
            (None, None) => None,
        })
}

fn answers(one: &Observation, target: &Target) -> bool {
    let Target {
        check,
        address,
        expect,
    } = target;
    one.check == *check && one.address == *address && one.expect == *expect
}

fn named(check: Check, address: &str, expect: Expect) -> String {
    format!("{check:?} {address} ({expect:?})")
}

fn conclusion(seen: &[Observation], inside: &[Finding]) -> (Outcome, String) {
    let opened = seen.iter().find(|one| {
        one.expect == Expect::Blocked && matches!(one.saw, Saw::Connected | Saw::Refused)
    });
    if let Some(one) = opened {
        return (Outcome::Breached, sentence(one));
    }
    if let Some(finding) = inside.iter().find(|finding| !finding.holds) {
        let CheckStatus {
            check,
            target: _,
            expected,
            saw,
        } = &finding.status;
        let fault = format!("{check}: expected {expected}, saw {saw}");
        return (Outcome::Breached, fault);
    }
    if let Some(one) = seen.iter().find(|one| !one.saw.satisfies(one.expect)) {
        return (Outcome::Inconclusive, sentence(one));
    }
    let reported = |check: &Check| seen.iter().any(|one| one.check == *check);
    match REQUIRED.iter().find(|check| !reported(check)) {
        Some(check) => (Outcome::Inconclusive, format!("{check:?}: not looked at")),
        None => (Outcome::Proven, String::new()),
    }
}

fn sentence(one: &Observation) -> String {
    let Observation {
        check,
        address,
        expect,
        saw,
    } = one;
    format!("{check:?} {address}: expected {expect:?}, saw {saw:?}")
}

fn status_of(one: &Observation) -> CheckStatus {
    CheckStatus {
        check: format!("{:?}", one.check),
        target: one.address.clone(),
        expected: format!("{:?}", one.expect),
        saw: format!("{:?}", one.saw),
    }
}

/// What the report of a sandbox means, that looked first `at` that time. As [`report`], and what
/// the decoy was does count: the silence of one that may have been dead proves nothing.
pub fn of_sandbox(
    text: &str,
    asked: &ProbeRequest,
    wanted: Wanted,
    (decoys, at): (&Decoys, Timestamp),
) -> Judged {
    let judged = report(text, asked, wanted);
    if judged.outcome != Outcome::Proven {
        return judged;
    }
    match decoys.doubt(asked, at) {
        Some(fault) => voided(judged, fault),
        None => judged,
    }
}

/// All well, but for what it rests on.
fn voided(judged: Judged, fault: String) -> Judged {
    Judged {
        outcome: Outcome::Inconclusive,
        fault,
        void: true,
        ..judged
    }
}

/// What the answers of probes are held against.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Whose probes count.
    pub tenant: Uid,
    /// How the tenant's pods must be confined.
    pub confinement: Confinement,
    /// Version of the decoy's endpoints.
    pub decoys: u64,
    /// Now.
    pub now: Timestamp,
}

/// What a probe pod says, once it has ended or run out of time; nothing before that.
pub fn of_pod(pod: &LivePod, probe: &LiveProbe, measure: Measure) -> Option<Judged> {
    if let Some(text) = &probe.report {
        return Some(answer(text, pod, probe, measure));
    }
    let overdue =
        measure.now.duration_since(pod.created).as_secs() > PATIENCE.as_secs().cast_signed();
    let why = match (&probe.waiting, pod.finished, overdue) {
        (Some(cause), true, _) => format!("the probe ended without a report: {cause}"),
        (None, true, _) => "the probe ended without a report".to_owned(),
        (Some(waiting), false, true) => format!("the probe did not start: {waiting}"),
        (None, false, true) => "the probe did not start in time; is the node alive?".to_owned(),
        (_, false, false) => return None,
    };
    Some(Judged::inconclusive(why))
}

/// What was seen from one node says nothing of another, where it would be noted. Nor does
/// the silence of a decoy that may have been dead, while an answer of it is one in any case.
/// The canary needs no such care: it has to answer in the same look, on its other port.
fn answer(text: &str, pod: &LivePod, probe: &LiveProbe, measure: Measure) -> Judged {
    let node = pod.node.as_deref().unwrap_or("no node");
    if node != probe.node {
        let sent = &probe.node;
        return Judged::inconclusive(format!("the probe ran on {node}, and was sent to {sent}"));
    }
    let Some(asked) = &probe.asked else {
        return Judged::inconclusive("what the probe was asked cannot be read".to_owned());
    };
    let judged = report(text, asked, Wanted::of_probe(measure.confinement));
    if judged.outcome == Outcome::Proven && probe.decoys != Some(measure.decoys) {
        return voided(judged, decoys::CHANGED.to_owned());
    }
    judged
}

/// Adds what the probe pods say to what was known, if it was about the same boundary.
pub fn collect<'a>(
    previous: Option<&IsolationStatus>,
    boundary: &str,
    pods: impl Iterator<Item = &'a LivePod>,
    measure: Measure,
) -> IsolationStatus {
    let known = previous.filter(|known| known.boundary == boundary);
    let mut next = known.cloned().unwrap_or_else(|| IsolationStatus {
        boundary: boundary.to_owned(),
        ..IsolationStatus::default()
    });
    for pod in pods {
        let Some(probe) = pod.probe_of(measure.tenant) else {
            continue;
        };
        let uid = pod.uid.to_string();
        let told = next.evidence.iter().any(|one| one.probe == uid);
        if told || probe.boundary != boundary {
            continue;
        }
        if let Some(judged) = of_pod(pod, probe, measure) {
            let mut evidence_of_node = next.evidence.iter_mut();
            let earlier = evidence_of_node.find(|one| one.node == probe.node);
            if let Some(proof) = earlier.filter(|one| judged.void && one.outcome == Outcome::Proven)
            {
                proof.probe = uid;
                continue;
            }
            next.evidence.retain(|one| one.node != probe.node);
            next.evidence
                .insert(0, evidence(probe, uid, &judged, measure.now));
            make_room(&mut next.evidence);
            next.checks = judged.checks;
        }
    }
    next
}

/// Forgets the oldest proofs first: what did not prove stays until it is looked at again.
fn make_room(evidence: &mut Vec<Evidence>) {
    while evidence.len() > MAX_EVIDENCE {
        let proven = evidence
            .iter()
            .rposition(|one| one.outcome == Outcome::Proven);
        evidence.remove(proven.unwrap_or(evidence.len() - 1));
    }
}

/// Dated by when the probe ended, not by when somebody came to read it.
fn evidence(probe: &LiveProbe, uid: String, judged: &Judged, now: Timestamp) -> Evidence {
    Evidence {
        node: probe.node.clone(),
        time: crate::conditions::whole_second(probe.ended.unwrap_or(now).min(now)).0,
        probe: uid,
        outcome: judged.outcome,
        fault: judged.fault.chars().take(MAX_FAULT).collect(),
    }
}

#[cfg(test)]
mod tests {
    use contract::{Strays, Target};
    use crds::tenant::Runtime;

    use super::*;
    use crate::{probe::confinement::sound, world::facts::Cluster};

    const HARDENED: Wanted = Wanted::of_probe(Confinement {
        runtime: Runtime::Hardened,
        user_namespace: true,
    });

    /// A request for everything that is required.
    fn request() -> ProbeRequest {
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

    /// A report in which everything is as it must be, then changed.
    fn answered(asked: &ProbeRequest, change: impl FnOnce(&mut ProbeReport)) -> Judged {
        let observe = |target: &Target| Observation {
            check: target.check,
            address: target.address.clone(),
            expect: target.expect,
            saw: match target.expect {
                Expect::Reachable => Saw::Connected,
                Expect::Blocked => Saw::Silence,
            },
        };
        let mut answer = ProbeReport {
            version: VERSION,
            checks: asked.targets.iter().map(observe).collect(),
            inside: sound(),
        };
        change(&mut answer);
        report(&serde_json::to_string(&answer).unwrap(), asked, HARDENED)
    }

    fn as_text(asked: &ProbeRequest) -> String {
        let mut text = String::new();
        answered(asked, |answer| {
            text = serde_json::to_string(answer).unwrap();
        });
        text
    }

    fn judged(change: impl FnOnce(&mut ProbeReport)) -> Judged {
        answered(&request(), change)
    }

    fn saw(answer: &mut ProbeReport, check: Check, saw: Saw) {
        let one = answer.checks.iter_mut().find(|one| one.check == check);
        one.unwrap().saw = saw;
    }

    #[test]
    fn proven_only_if_everything_is_as_it_must_be() {
        let all_well = judged(|_| ());
        assert_eq!(all_well.outcome, Outcome::Proven, "{}", all_well.fault);
        assert_eq!(all_well.checks.len(), REQUIRED.len() + 12);
    }

    #[test]
    fn an_opening_is_a_breach_and_is_named() {
        for opening in [Saw::Connected, Saw::Refused] {
            let breach = judged(|answer| saw(answer, Check::Kubelet, opening));
            assert_eq!(breach.outcome, Outcome::Breached);
            assert!(
                breach
                    .fault
                    .starts_with("Kubelet 192.0.2.1:1: expected Blocked")
            );
        }
    }

    #[test]
    fn a_dead_network_proves_nothing() {
        for control in [Check::Dns, Check::PermittedCanary] {
            let dead = judged(|answer| saw(answer, control, Saw::Silence));
            assert_eq!(dead.outcome, Outcome::Inconclusive);
        }
    }

    #[test]
    fn an_opening_counts_also_in_a_network_that_is_otherwise_dead() {
        let both = judged(|answer| {
            saw(answer, Check::Dns, Saw::Silence);
            saw(answer, Check::OtherTenant, Saw::Connected);
        });
        assert_eq!(both.outcome, Outcome::Breached);
    }

    #[test]
    fn what_was_not_looked_at_is_not_proven() {
        let partial = judged(|answer| {
            answer.checks.pop();
        });
        assert_eq!(partial.outcome, Outcome::Inconclusive);
        assert!(partial.fault.contains("not looked at"));
        let empty = report("", &request(), HARDENED);
        assert_eq!(empty.outcome, Outcome::Inconclusive);
        assert_eq!(
            judged(|answer| answer.version += 1).outcome,
            Outcome::Inconclusive
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
            assert_eq!(judged.outcome, Outcome::Inconclusive, "{fault}");
            assert!(judged.fault.contains(fault), "{}", judged.fault);
        }
    }

    #[test]
    fn a_request_without_a_required_check_is_no_proof() {
        let mut asked = request();
        asked.targets.pop();
        let partial = answered(&asked, |_| ());
        assert_eq!(partial.outcome, Outcome::Inconclusive);
        assert_eq!(partial.fault, "Kubelet: not looked at");
    }

    #[test]
    fn a_loosened_bolt_is_a_breach_and_is_named() {
        let breach = judged(|answer| answer.inside.root_read_only = false);
        assert_eq!(breach.outcome, Outcome::Breached);
        assert_eq!(breach.fault, "ReadOnlyRoot: expected true, saw false");
        let breach = judged(|answer| {
            let path = "/host (ext4, rw)".to_owned();
            answer.inside.foreign_mounts = Strays::of([path.clone(), path]);
        });
        let fault = "Mounts: expected none, saw /host (ext4, rw) and 1 more";
        assert_eq!((breach.outcome, &*breach.fault), (Outcome::Breached, fault));
    }

    #[test]
    fn a_report_that_leaves_out_a_fact_proves_nothing() {
        let whole: serde_json::Value = serde_json::from_str(&as_text(&request())).unwrap();
        for field in whole["inside"].as_object().unwrap().keys() {
            let mut partial = whole.clone();
            let inside = partial["inside"].as_object_mut().unwrap();
            inside.remove(field);
            let judged = report(&partial.to_string(), &request(), HARDENED);
            assert_eq!(judged.outcome, Outcome::Inconclusive, "{field}");
            assert!(judged.fault.contains(field), "{}", judged.fault);
        }
    }

    #[test]
    fn who_was_asked_about_other_places_proves_nothing() {
        const PLACES: &[crate::probe::Place] = &[("/work", true)];
        let wanted = Wanted {
            places: PLACES,
            ..HARDENED
        };
        let place = |path: &str, writable| Place {
            path: path.to_owned(),
            writable,
        };
        let work = place("/work", true);
        for (places, proven) in [
            (vec![work.clone()], true),
            (vec![], false),
            (vec![place("/work", false)], false),
            (vec![place("/host", true)], false),
            (vec![work.clone(), work], false),
        ] {
            let asked = ProbeRequest {
                places,
                ..request()
            };
            let judged = report(&as_text(&asked), &asked, wanted);
            assert_eq!(
                judged.outcome == Outcome::Proven,
                proven,
                "{:?}",
                asked.places
            );
        }
    }

    #[test]
    fn a_sandbox_proves_nothing_by_the_silence_of_a_decoy_that_may_have_been_dead() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let cluster = |version, decoy: Option<&str>| Cluster {
            decoys: decoy.iter().map(|text| text.parse().unwrap()).collect(),
            decoys_version: version,
            ..Cluster::default()
        };
        let asked = request();
        let judged =
            |text: &str, decoys: &Decoys| of_sandbox(text, &asked, HARDENED, (decoys, at(100)));
        let text = as_text(&asked);
        let mut decoys = Decoys::default();
        decoys.sees(&cluster(1, Some("192.0.2.1")), at(100));
        assert_eq!(judged(&text, &decoys).outcome, Outcome::Proven);
        for (version, decoy, words) in [
            (2, Some("192.0.2.1"), "changed during the look"),
            (3, Some("192.0.2.9"), "is not among its ready pods"),
            (4, None, "is not among its ready pods"),
        ] {
            decoys.sees(&cluster(version, decoy), at(101));
            let void = judged(&text, &decoys);
            assert_eq!((void.outcome, void.void), (Outcome::Inconclusive, true));
            assert!(void.fault.starts_with("OtherTenant"), "{}", void.fault);
            assert!(void.fault.contains(words), "{}", void.fault);
            // An answer of it is one in any case.
            let open = text.replacen(r#""Silence""#, r#""Connected""#, 2);
            assert_eq!(judged(&open, &decoys).outcome, Outcome::Breached);
        }
    }
}
