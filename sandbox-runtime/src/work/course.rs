//! What is made of one look after another: whether it is ready, when to look again, whether to end.
//! Pure: verdicts, times and dice come in.
//!
//! **Doubt is not a fault.** A look that cannot tell (a name that was not resolved, a canary that was
//! away) leaves the last proof to its own end, and is made again soon. With no proof, nothing starts.
//!
//! **A fault counts once for readiness, and twice for the end.** What was seen open was open: from that
//! moment on it is not ready. But to end every replica of a Worker for one packet would hand whoever
//! restarts a node's network plugin an outage of all of them, so a command that runs is ended by the
//! second such look, made after [`CONFIRM`], with no proof between them: a hole that stays is there
//! for a look's interval and some seconds, whichever way it is counted. Before the start one is enough,
//! but for a network that has had no time to settle: nothing runs that would have to be ended.

use std::time::Duration;

use contract::judge::{Judged, Verdict};

use super::title::Title;

/// From a fault to the look that confirms it.
pub const CONFIRM: Duration = Duration::from_secs(2);
/// From a doubt to the next look.
pub const AGAIN: Duration = Duration::from_secs(2);
/// So many faults, with no proof between them, end a command.
const FAULTS: u32 = 2;

/// How it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again after so long, and say this, if there is something new to say.
    Look(Duration, Option<String>),
    /// It is not what it must be, by this fault: nothing may run any more.
    End(String),
}

/// What a Worker is told of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From one look to the next.
    pub interval: Duration,
    /// How long a proof is good.
    pub limit: Duration,
    /// How long from the beginning on an open network may be a late policy.
    pub settle: Duration,
}

/// Where it stands.
#[derive(Debug)]
pub struct Course {
    pace: Pace,
    begin: Duration,
    stage: Stage,
    /// When the look began that proved everything.
    proven: Option<Duration>,
    /// Faults since then.
    faults: u32,
    /// What was not as it must be when it was last looked at: its check, and the sentence.
    complaint: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Running,
    Ending,
}

impl Course {
    /// Nothing is known yet. All times are of one steady clock.
    pub const fn new(pace: Pace, now: Duration) -> Self {
        Self {
            pace,
            begin: now,
            stage: Stage::Waiting,
            proven: None,
            faults: 0,
            complaint: None,
        }
    }

    /// Whether the command may start now.
    pub fn may_start(&self, now: Duration) -> bool {
        self.stage == Stage::Waiting && self.proven.is_some_and(|at| now < at + self.pace.limit)
    }

    /// The command runs.
    pub const fn started(&mut self) {
        self.stage = Stage::Running;
    }

    /// The command is over, or was asked to end. It is not ready again.
    pub const fn ending(&mut self) {
        self.stage = Stage::Ending;
    }

    /// What is to be said of it to whoever asks.
    pub fn title(&self) -> Title {
        let complaint = || self.complaint.as_ref().map(|(check, _)| check.clone());
        match (self.stage, self.proven) {
            (Stage::Ending, _) => Title::Ending,
            (Stage::Running, Some(at)) => Title::Ready((at + self.pace.limit).as_secs()),
            (Stage::Running, None) => Title::Unproven(complaint().unwrap_or_default()),
            (Stage::Waiting, _) => complaint().map_or(Title::Starting, Title::Unproven),
        }
    }

    /// Takes note of a look that began `at` that time. `dice` is any number, by which replicas differ.
    pub fn takes(&mut self, judged: Judged, at: Duration, dice: u64) -> Next {
        let is_first = self.proven.is_none();
        let Judged {
            verdict,
            check,
            fault,
            findings: _,
        } = judged;
        if verdict == Verdict::Proven {
            self.proven = Some(at);
            self.faults = 0;
            let remark = self.complaint.take();
            let remark = remark.map(|_| "proven: everything is as it must be".to_owned());
            return Next::Look(pause(self.pace.interval, is_first, dice), remark);
        }
        if verdict.is_broken() {
            self.proven = None;
            self.faults = self.faults.saturating_add(1);
            if self.is_over(verdict, at) {
                return Next::End(fault);
            }
        }
        let is_new = self.complaint.as_ref().is_none_or(|(_, old)| *old != fault);
        let remark = is_new.then(|| match verdict {
            Verdict::Doubtful => format!("not proven: {fault}; looking again"),
            Verdict::Proven | Verdict::Open | Verdict::Loose => {
                format!("not as it must be: {fault}; looking once more")
            }
        });
        self.complaint = Some((check, fault));
        let pause = if verdict.is_broken() { CONFIRM } else { AGAIN };
        Next::Look(pause.min(self.pace.interval), remark)
    }

    fn is_over(&self, verdict: Verdict, at: Duration) -> bool {
        match self.stage {
            Stage::Waiting => {
                let is_settling = at < self.begin + self.pace.settle;
                verdict != Verdict::Open || !is_settling
            }
            Stage::Running | Stage::Ending => self.faults >= FAULTS,
        }
    }
}

/// From one look to the next: a tenth more or less, and after the first proof half to all of it, so
/// that replicas that started together do not look together.
fn pause(interval: Duration, is_first: bool, dice: u64) -> Duration {
    let (least, width) = if is_first {
        (interval / 2, interval / 2)
    } else {
        (interval * 9 / 10, interval / 5)
    };
    let width = u64::try_from(width.as_millis()).unwrap_or(u64::MAX - 1);
    least + Duration::from_millis(dice % (width + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        interval: Duration::from_secs(30),
        limit: Duration::from_secs(90),
        settle: Duration::from_secs(10),
    };

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn look(verdict: Verdict) -> Judged {
        let (check, fault) = match verdict {
            Verdict::Proven => ("", ""),
            Verdict::Doubtful => ("Dns", "Dns x: expected Reachable, saw Silence"),
            Verdict::Open => ("Kubelet", "Kubelet x: expected Blocked, saw Connected"),
            Verdict::Loose => ("UserId", "UserId: expected not 0, saw 0"),
        };
        Judged {
            verdict,
            check: check.to_owned(),
            fault: fault.to_owned(),
            findings: vec![],
        }
    }

    fn running() -> Course {
        let mut course = Course::new(PACE, at(1000));
        course.takes(look(Verdict::Proven), at(1000), 0);
        assert!(course.may_start(at(1001)));
        course.started();
        assert_eq!(course.title(), Title::Ready(1090));
        course
    }

    #[test]
    fn nothing_starts_without_a_proof_or_on_an_old_one() {
        let mut course = Course::new(PACE, at(1000));
        assert!(!course.may_start(at(1000)));
        assert_eq!(course.title(), Title::Starting);
        let next = course.takes(look(Verdict::Doubtful), at(1000), 0);
        assert!(matches!(next, Next::Look(AGAIN, Some(_))), "{next:?}");
        assert!(!course.may_start(at(1001)));
        assert_eq!(course.title(), Title::Unproven("Dns".into()));
        course.takes(look(Verdict::Proven), at(1002), 0);
        assert!(course.may_start(at(1091)) && !course.may_start(at(1092)));
        assert_eq!(course.title(), Title::Starting, "it does not run yet");
    }

    #[test]
    fn an_open_network_is_given_time_to_settle_before_the_start_and_no_more() {
        let mut course = Course::new(PACE, at(1000));
        for second in [1000, 1004, 1009] {
            let next = course.takes(look(Verdict::Open), at(second), 0);
            assert!(matches!(next, Next::Look(CONFIRM, _)), "{next:?}");
            assert!(!course.may_start(at(second)));
        }
        let next = course.takes(look(Verdict::Open), at(1010), 0);
        assert_eq!(next, Next::End(look(Verdict::Open).fault));
    }

    #[test]
    fn a_loose_confinement_ends_it_before_the_start_at_once() {
        let mut course = Course::new(PACE, at(1000));
        let next = course.takes(look(Verdict::Loose), at(1000), 0);
        assert_eq!(next, Next::End(look(Verdict::Loose).fault));
    }

    #[test]
    fn a_fault_while_it_runs_unreadies_at_once_and_ends_at_the_second() {
        for verdict in [Verdict::Open, Verdict::Loose] {
            let mut course = running();
            let next = course.takes(look(verdict), at(1030), 0);
            assert!(matches!(next, Next::Look(CONFIRM, Some(_))), "{next:?}");
            assert_eq!(course.title(), Title::Unproven(look(verdict).check));
            let next = course.takes(look(verdict), at(1032), 0);
            assert_eq!(next, Next::End(look(verdict).fault));
        }
    }

    #[test]
    fn doubt_between_two_faults_does_not_make_good_the_first_and_a_proof_does() {
        let mut course = running();
        course.takes(look(Verdict::Open), at(1030), 0);
        course.takes(look(Verdict::Doubtful), at(1032), 0);
        assert_eq!(course.title(), Title::Unproven("Dns".into()));
        let next = course.takes(look(Verdict::Open), at(1034), 0);
        assert!(matches!(next, Next::End(_)));

        let mut course = running();
        course.takes(look(Verdict::Open), at(1030), 0);
        let next = course.takes(look(Verdict::Proven), at(1032), 0);
        assert!(
            matches!(next, Next::Look(_, Some(_))),
            "it says so: {next:?}"
        );
        assert_eq!(course.title(), Title::Ready(1122));
        let next = course.takes(look(Verdict::Open), at(1062), 0);
        assert!(matches!(next, Next::Look(..)));
    }

    #[test]
    fn doubt_leaves_a_proof_to_its_own_end_and_is_said_once() {
        let mut course = running();
        let next = course.takes(look(Verdict::Doubtful), at(1030), 0);
        assert!(matches!(next, Next::Look(AGAIN, Some(_))), "{next:?}");
        let next = course.takes(look(Verdict::Doubtful), at(1032), 0);
        assert_eq!(next, Next::Look(AGAIN, None));
        assert_eq!(course.title(), Title::Ready(1090));
        for second in (1034..2000).step_by(2) {
            let next = course.takes(look(Verdict::Doubtful), at(second), 0);
            assert!(matches!(next, Next::Look(..)), "doubt alone ends nothing");
        }
    }

    #[test]
    fn who_is_ending_is_not_ready_again() {
        let mut course = running();
        course.ending();
        assert_eq!(course.title(), Title::Ending);
        course.takes(look(Verdict::Proven), at(1030), 0);
        assert_eq!(course.title(), Title::Ending);
    }

    #[test]
    fn replicas_do_not_look_at_once() {
        let spread = |first: bool| -> std::collections::BTreeSet<Duration> {
            let dice = (0..1000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            dice.map(|dice| pause(PACE.interval, first, dice)).collect()
        };
        for (first, least, most) in [(true, 15, 30), (false, 27, 33)] {
            let all = spread(first);
            assert!(all.len() > 500, "{}", all.len());
            assert!(all.iter().all(|p| (at(least)..=at(most)).contains(p)));
        }
    }

    #[test]
    fn a_short_interval_is_not_made_longer_by_a_fault() {
        let pace = Pace {
            interval: at(1),
            ..PACE
        };
        let mut course = Course::new(pace, at(0));
        let next = course.takes(look(Verdict::Doubtful), at(0), 0);
        assert!(matches!(next, Next::Look(pause, _) if pause == at(1)));
    }
}
