//! What the answer to a probe means. Pure.
//!
//! In: a [`ProbeReport`], what was asked, and how the one who answers must be confined. Out: a
//! [`Judged`]. The operator judges by it what probe pods and sandboxes tell; a Worker's supervisor
//! what it sees itself. Who may have been silent because it was dead is the caller's to know.

mod confinement;
mod exemplar;
#[cfg(test)]
mod tests;

pub use self::{
    confinement::{Bolt, Wanted, findings},
    exemplar::{sound, sound_answer, whole_request},
};
use crate::{Check, Expect, Observation, ProbeReport, ProbeRequest, Saw, Target, VERSION};

/// Checks without which no report counts.
pub const REQUIRED: [Check; 9] = [
    Check::Dns,
    Check::PermittedCanary,
    Check::ForbiddenCanary,
    Check::OtherTenant,
    Check::MetadataV4,
    Check::MetadataV6,
    Check::MetadataMapped,
    Check::ApiServerEndpoint,
    Check::Kubelet,
];

/// What a report amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was as it must be.
    Proven,
    /// It cannot be told.
    Doubtful,
    /// A way was open that must be shut. A policy that is late looks like this, too.
    Open,
    /// Its process is not confined as it must be, which no waiting changes.
    Loose,
}

impl Verdict {
    /// Whether something is known to be wrong.
    pub const fn is_broken(self) -> bool {
        match self {
            Self::Open | Self::Loose => true,
            Self::Proven | Self::Doubtful => false,
        }
    }
}

/// One thing that was looked at, as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which promise: the name of a [`Check`] or of a [`Bolt`].
    pub check: String,
    /// What was dialled; `self` where it looked at itself.
    pub target: String,
    /// What must be seen.
    pub expected: String,
    /// What was seen.
    pub saw: String,
    /// Whether that is as it must be.
    pub holds: bool,
}

/// A report, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it amounts to.
    pub verdict: Verdict,
    /// Name of the check that is to blame; empty when proven, and where it is no check's fault.
    pub check: String,
    /// The first thing that was not as it must be, as a sentence; empty when proven.
    pub fault: String,
    /// Everything that was looked at; empty where the report is no answer.
    pub findings: Vec<Finding>,
}

impl Judged {
    fn no_answer(fault: String) -> Self {
        Self {
            verdict: Verdict::Doubtful,
            check: String::new(),
            fault,
            findings: Vec::new(),
        }
    }
}

/// What a report in JSON means; see [`judge`].
pub fn read(text: &str, asked: &ProbeRequest, wanted: &Wanted) -> Judged {
    match serde_json::from_str(text) {
        Ok(report) => judge(&report, asked, wanted),
        Err(error) => Judged::no_answer(format!("the probe's report cannot be read: {error}")),
    }
}

/// What a report means as the answer to `asked`, of one that must be as `wanted`.
///
/// An opening is a breach even if the network is otherwise dead. Silence is proof only if
/// everything that must answer did, in the same look. An answer to another question says
/// nothing at all.
pub fn judge(report: &ProbeReport, asked: &ProbeRequest, wanted: &Wanted) -> Judged {
    if report.version != VERSION {
        let (theirs, ours) = (report.version, VERSION);
        return Judged::no_answer(format!(
            "the probe speaks version {theirs} of the contract, the operator {ours}; \
             install both from one release"
        ));
    }
    if let Some(fault) = strayed(&asked.targets, &report.checks) {
        return Judged::no_answer(fault);
    }
    let inside = findings(&report.inside, wanted);
    let (verdict, check, fault) = conclusion(&report.checks, &inside);
    Judged {
        verdict,
        check,
        fault,
        findings: report.checks.iter().map(found).chain(inside).collect(),
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

fn conclusion(seen: &[Observation], inside: &[Finding]) -> (Verdict, String, String) {
    let opened = seen.iter().find(|one| {
        one.expect == Expect::Blocked && matches!(one.saw, Saw::Connected | Saw::Refused)
    });
    if let Some(one) = opened {
        return (Verdict::Open, format!("{:?}", one.check), sentence(one));
    }
    if let Some(finding) = inside.iter().find(|finding| !finding.holds) {
        let Finding {
            check,
            target: _,
            expected,
            saw,
            holds: _,
        } = finding;
        let fault = format!("{check}: expected {expected}, saw {saw}");
        return (Verdict::Loose, check.clone(), fault);
    }
    let fails = |one: &&Observation| match one.expect {
        Expect::Reachable => is_unanswered(one, seen),
        Expect::Blocked => !one.saw.satisfies(one.expect),
    };
    if let Some(one) = seen.iter().find(fails) {
        return (Verdict::Doubtful, format!("{:?}", one.check), sentence(one));
    }
    let reported = |check: &Check| seen.iter().any(|one| one.check == *check);
    match REQUIRED.iter().find(|check| !reported(check)) {
        Some(check) => (
            Verdict::Doubtful,
            format!("{check:?}"),
            format!("{check:?}: not looked at"),
        ),
        None => (Verdict::Proven, String::new(), String::new()),
    }
}

/// Whether this is of something that must answer, and neither it did nor another one of its check.
///
/// One of several canaries may be lost with its zone: while another one answers, the network is not
/// dead. The silence of the lost one proves nothing, and nothing hangs on it.
pub fn is_unanswered(one: &Observation, seen: &[Observation]) -> bool {
    let answers =
        |other: &Observation| other.check == one.check && other.saw.satisfies(Expect::Reachable);
    one.expect == Expect::Reachable && !seen.iter().any(answers)
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

fn found(one: &Observation) -> Finding {
    Finding {
        check: format!("{:?}", one.check),
        target: one.address.clone(),
        expected: format!("{:?}", one.expect),
        saw: format!("{:?}", one.saw),
        holds: one.saw.satisfies(one.expect),
    }
}
