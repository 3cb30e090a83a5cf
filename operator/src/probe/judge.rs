//! What a probe's answer means, and what all answers together say of a tenant. Pure.

use contract::{
    Place, ProbeRequest,
    judge::{Finding, Verdict},
};
use crds::tenant::{CheckStatus, Evidence, IsolationStatus, Outcome};
use jiff::Timestamp;

use super::{
    Confinement, PATIENCE, Wanted,
    decoys::{self, Decoys},
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

/// What a report means as the answer to `asked`, for pods that must be as `wanted`: what
/// [`contract::judge`] says, of one who was asked about the places that its pod must have.
pub fn report(text: &str, asked: &ProbeRequest, wanted: Wanted) -> Judged {
    let wants = |place: &Place, wanted: &super::Place| {
        (&*place.path, place.writable) == *wanted && !place.lasting
    };
    let places = asked.places.iter().zip(wanted.places);
    if asked.places.len() != wanted.places.len() || places.clone().any(|(a, w)| !wants(a, w)) {
        let fault = "Mounts: the probe was asked about other places than its pod must have";
        return Judged::inconclusive(fault.to_owned());
    }
    let judged = contract::judge::read(text, asked, &wanted.of_process());
    Judged {
        outcome: match judged.verdict {
            Verdict::Proven => Outcome::Proven,
            Verdict::Doubtful => Outcome::Inconclusive,
            Verdict::Open | Verdict::Loose => Outcome::Breached,
        },
        fault: judged.fault,
        checks: judged.findings.into_iter().map(status_of).collect(),
        void: false,
    }
}

fn status_of(finding: Finding) -> CheckStatus {
    let Finding {
        check,
        target,
        expected,
        saw,
        holds: _,
    } = finding;
    CheckStatus {
        check,
        target,
        expected,
        saw,
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
            next.checks = judged.checks.into();
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
    use contract::{
        Check, ProbeReport, Saw,
        judge::{REQUIRED, sound, sound_answer, whole_request},
    };
    use crds::tenant::Runtime;

    use super::*;
    use crate::world::facts::Cluster;

    const HARDENED: Wanted = Wanted::of_probe(Confinement {
        runtime: Runtime::Hardened,
        user_namespace: true,
    });

    /// A report in which everything is as it must be, then changed.
    fn answered(asked: &ProbeRequest, change: impl FnOnce(&mut ProbeReport)) -> Judged {
        let mut answer = sound_answer(asked, sound());
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
        answered(&whole_request(), change)
    }

    fn saw(answer: &mut ProbeReport, check: Check, saw: Saw) {
        let one = answer.checks.iter_mut().find(|one| one.check == check);
        one.unwrap().saw = saw;
    }

    #[test]
    fn what_the_judge_says_is_what_status_says() {
        let all_well = judged(|_| ());
        assert_eq!((all_well.outcome, &*all_well.fault), (Outcome::Proven, ""));
        assert_eq!(all_well.checks.len(), REQUIRED.len() + 12);
        let open = judged(|answer| saw(answer, Check::Kubelet, Saw::Connected));
        let fault = "Kubelet 192.0.2.1:1: expected Blocked, saw Connected";
        assert_eq!((open.outcome, &*open.fault), (Outcome::Breached, fault));
        let loose = judged(|answer| answer.inside.uid = 0);
        let fault = "UserId: expected not 0, saw 0";
        assert_eq!((loose.outcome, &*loose.fault), (Outcome::Breached, fault));
        let dead = judged(|answer| saw(answer, Check::Dns, Saw::Silence));
        assert_eq!(dead.outcome, Outcome::Inconclusive);
        assert!(!dead.void);
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
            lasting: false,
        };
        let work = place("/work", true);
        let lasting = Place {
            lasting: true,
            ..work.clone()
        };
        for (places, proven) in [
            (vec![work.clone()], true),
            (vec![], false),
            (vec![place("/work", false)], false),
            (vec![place("/host", true)], false),
            (vec![lasting], false),
            (vec![work.clone(), work], false),
        ] {
            let asked = ProbeRequest {
                places,
                ..whole_request()
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
        let asked = whole_request();
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
