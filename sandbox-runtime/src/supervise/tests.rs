//! The watch against a scripted kernel: who is signalled, when, and what is said in the end.

use super::*;
use crate::sys::recording::{Event, Recording};

const TIME: Time = Time {
    limit_ms: Some(1000),
    grace_ms: 200,
};
const COMMAND: u32 = 2;

fn at(milliseconds: u64, ends: &[Reaped], news: &[News]) -> Event {
    Event {
        at: Duration::from_millis(milliseconds),
        ends: ends.to_vec(),
        news: news.to_vec(),
    }
}

fn ended(process: u32, exit: Exit) -> Reaped {
    Reaped::Process(process, exit)
}

fn watch(script: Vec<Event>, empties: bool) -> (Over, Vec<String>) {
    let sys = Recording {
        script: std::cell::RefCell::new(script.into()),
        empties,
        ..Recording::default()
    };
    let over = supervise(&sys, COMMAND, TIME).unwrap();
    (over, sys.calls.into_inner())
}

#[test]
fn a_command_that_ends_alone_is_not_signalled() {
    let script = vec![at(5, &[ended(COMMAND, Exit::Code(3))], &[News::Child])];
    let (over, calls) = watch(script, true);
    let expected = Over {
        exit: Exit::Code(3),
        cause: Cause::Completed,
        wall: Duration::from_millis(5),
        left_behind: false,
    };
    assert_eq!((over, calls), (expected, vec![]));
}

#[test]
fn an_orphans_end_is_not_the_commands() {
    let script = vec![
        at(5, &[ended(77, Exit::Code(9))], &[News::Child]),
        at(
            8,
            &[ended(COMMAND, Exit::Code(0)), ended(78, Exit::Code(1))],
            &[News::Child],
        ),
    ];
    let (over, _) = watch(script, true);
    assert_eq!(
        (over.exit, over.wall),
        (Exit::Code(0), Duration::from_millis(8))
    );
}

#[test]
fn who_outlives_the_command_is_killed_at_once() {
    let script = vec![
        at(5, &[ended(COMMAND, Exit::Code(0))], &[News::Child]),
        at(6, &[ended(9, Exit::Signal(9))], &[News::Child]),
    ];
    let (over, calls) = watch(script, true);
    assert_eq!(calls, ["5: Kill"]);
    assert_eq!((over.exit, over.cause), (Exit::Code(0), Cause::Completed));
}

#[test]
fn a_timeout_asks_and_then_kills() {
    let script = vec![at(1201, &[ended(COMMAND, Exit::Signal(9))], &[News::Child])];
    let (over, calls) = watch(script, true);
    assert_eq!(calls, ["1000: Terminate", "1200: Kill"]);
    assert_eq!((over.exit, over.cause), (Exit::Signal(9), Cause::TimedOut));
}

#[test]
fn whoever_is_left_has_the_whole_grace() {
    let script = vec![
        at(1010, &[ended(COMMAND, Exit::Code(0))], &[News::Child]),
        at(1150, &[ended(9, Exit::Code(0))], &[News::Child]),
    ];
    let (over, calls) = watch(script, true);
    assert_eq!(calls, ["1000: Terminate"]);
    assert_eq!(
        (over.cause, over.wall),
        (Cause::TimedOut, Duration::from_millis(1150))
    );
}

#[test]
fn a_cancel_passes_its_signal_on_and_a_second_one_buys_no_time() {
    let asked = |signal| [News::Asked(signal)];
    let script = vec![
        at(100, &[], &asked(Signal::Interrupt)),
        at(250, &[], &asked(Signal::Terminate)),
        at(301, &[ended(COMMAND, Exit::Signal(9))], &[News::Child]),
    ];
    let (over, calls) = watch(script, true);
    assert_eq!(calls, ["100: Interrupt", "250: Terminate", "300: Kill"]);
    assert_eq!(over.cause, Cause::Canceled);
}

#[test]
fn an_end_that_comes_with_a_cancel_is_the_commands_own() {
    let script = vec![
        at(
            5,
            &[ended(COMMAND, Exit::Code(0))],
            &[News::Asked(Signal::Terminate)],
        ),
        at(6, &[ended(9, Exit::Signal(9))], &[News::Child]),
    ];
    let (over, calls) = watch(script, true);
    assert_eq!(
        (over.cause, calls),
        (Cause::Completed, vec!["5: Kill".to_owned()])
    );
}

#[test]
fn what_survives_sigkill_is_left_behind_and_said() {
    let (over, calls) = watch(vec![], false);
    assert_eq!(calls[..3], ["1000: Terminate", "1200: Kill", "1220: Kill"]);
    assert_eq!(calls[250..], ["6180: Kill"]);
    let expected = Over {
        exit: Exit::Unknown,
        cause: Cause::TimedOut,
        wall: Duration::from_millis(6200),
        left_behind: true,
    };
    assert_eq!(over, expected);
}

#[test]
fn who_is_started_while_all_are_killed_is_killed_next() {
    let script = vec![
        at(5, &[ended(COMMAND, Exit::Code(0))], &[News::Child]),
        at(6, &[ended(9, Exit::Signal(9))], &[News::Child]),
        at(26, &[ended(10, Exit::Signal(9))], &[News::Child]),
    ];
    let (over, calls) = watch(script, true);
    assert_eq!(calls, ["5: Kill", "6: Kill"]);
    assert!(!over.left_behind);
}

#[test]
fn orphans_without_end_do_not_stop_the_clock() {
    let sys = Recording {
        endless: true,
        ..Recording::default()
    };
    let over = supervise(&sys, COMMAND, TIME).unwrap();
    assert_eq!(over.cause, Cause::TimedOut);
    // Late by no more than a round of reaping.
    assert_eq!(*sys.calls.borrow(), ["1024: Terminate", "1280: Kill"]);
}
