//! A run that another attempt may follow ends itself when it is cut off from the operator, and no
//! other does.

use std::thread;
use std::time::{Duration, Instant};

use contract::serve::EXIT_CUT_OFF;
use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::harness::{Run, alive};
use crate::operator::{Authority, Operator, Session};
use crate::serve::{Sandbox, begun, hear_started, hello, which};

const FENCE: Duration = Duration::from_millis(1500);

/// A sandbox in which a command that is deaf to SIGTERM sleeps for so long, again and again.
fn asleep(
    operator: &Operator,
    authority: &Authority,
    fence: bool,
    name: &str,
) -> (Sandbox, Session) {
    let script = format!("trap '' TERM; while :; do sleep {name}; done");
    let run = Run::shell(&script);
    let fields = if fence {
        json!({ "fenceMs": u32::try_from(FENCE.as_millis()).unwrap() })
    } else {
        json!({})
    };
    begun(run, operator, authority, &fields)
}

#[test]
fn a_run_that_is_cut_off_ends_itself_where_it_was_told_to() {
    let authority = Authority::new();
    let (one, two) = (Operator::start(&authority), Operator::start(&authority));
    let (fenced, session) = asleep(&one, &authority, true, "4718.25");
    let (mut other, control) = asleep(&two, &authority, false, "4719.25");
    let begin = Instant::now();
    drop((session, one, control, two));
    assert_eq!(fenced.end().0, Some(EXIT_CUT_OFF.into()));
    assert!(begin.elapsed() > FENCE / 2, "{:?}", begin.elapsed());
    assert_eq!(alive("4718.25"), 0);
    thread::sleep(FENCE);
    assert!(other.child.try_wait().unwrap().is_none(), "the control");
    assert_ne!(alive("4719.25"), 0, "the control");
}

#[test]
fn a_run_whose_operator_is_back_in_time_goes_on() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let (mut sandbox, mut session) = asleep(&operator, &authority, true, "4720.25");
    let begin = Instant::now();
    while begin.elapsed() < 2 * FENCE {
        drop(session);
        session = operator.session();
        assert_eq!(hello(&session).run, Some(which("a")));
        session.welcome(b"resume-1");
        hear_started(&session, &which("a"));
        thread::sleep(FENCE / 4);
    }
    assert!(sandbox.child.try_wait().unwrap().is_none());
    assert_ne!(alive("4720.25"), 0);
}

/// Its session may stand: whoever froze the node has frozen what would have told it.
#[test]
fn a_run_that_was_frozen_for_too_long_ends_as_it_thaws() {
    let authority = Authority::new();
    let operator = Operator::start(&authority);
    let (sandbox, _session) = asleep(&operator, &authority, true, "4721.25");
    kill_process(sandbox.supervisor(), Signal::STOP).unwrap();
    thread::sleep(FENCE + FENCE / 4);
    assert_ne!(alive("4721.25"), 0);
    kill_process(sandbox.supervisor(), Signal::CONT).unwrap();
    assert_eq!(sandbox.end().0, Some(EXIT_CUT_OFF.into()));
    assert_eq!(alive("4721.25"), 0);
}
