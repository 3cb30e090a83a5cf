//! What is said after a welcome, given what happened before it, and which orders are obeyed.

use std::time::Duration;

use contract::dispatch::{Assign, Cancel, Welcome};

use super::*;

fn run(execution: &str) -> Run {
    Run {
        execution: execution.to_owned(),
        attempt: 1,
    }
}

fn welcome(resume: &[u8]) -> Order {
    let resume = resume.to_vec();
    let heard = None;
    order(order::Kind::Welcome(Welcome { resume, heard }))
}

fn assign(execution: &str) -> Order {
    order(order::Kind::Assign(Assign {
        run: Some(run(execution)),
        contract: b"{}".to_vec(),
        allowed_ms: 7,
    }))
}

fn cancel(execution: &str) -> Order {
    let run = Some(run(execution));
    order(order::Kind::Cancel(Cancel { run }))
}

const fn order(kind: order::Kind) -> Order {
    Order { kind: Some(kind) }
}

fn seen(report: &[u8], at: Instant) -> Event {
    let report = report.to_vec();
    Event::Seen { report, at }
}

/// Said of a run that was given by [`assign`].
fn start(execution: &str, since: Instant, now: Instant) -> Report {
    said(report::Kind::Started(Started {
        run: Some(run(execution)),
        age_ms: age_ms(since, now),
        allowed_ms: 7,
    }))
}

/// A story whose session stands.
fn welcomed(now: Instant) -> Story {
    let mut story = Story::default();
    assert_eq!(story.hear(welcome(b"r1"), now), Ok(Deed::Say(vec![])));
    story
}

/// The same, and its run is given.
fn given(now: Instant) -> Story {
    let mut story = welcomed(now);
    let begin = Deed::Begin(b"{}".to_vec());
    assert_eq!(story.hear(assign("a"), now), Ok(begin));
    story
}

#[test]
fn a_hello_says_what_the_last_welcome_held_and_which_run_was_given() {
    let hello = |resume: &[u8], run| {
        said(report::Kind::Hello(Hello {
            version: 2,
            resume: resume.to_vec(),
            run,
        }))
    };
    let now = Instant::now();
    assert_eq!(Story::default().hello(), hello(b"", None));
    assert_eq!(welcomed(now).hello(), hello(b"r1", None));
    let mut story = given(now);
    assert!(story.lose(), "it stood");
    assert!(!story.lose(), "once");
    story.hear(welcome(b"r2"), now).unwrap();
    assert_eq!(story.hello(), hello(b"r2", Some(run("a"))));
}

#[test]
fn a_look_is_said_at_once_and_again_with_its_age_after_each_welcome() {
    let now = Instant::now();
    let later = now + Duration::from_millis(1500);
    let mut story = welcomed(now);
    assert_eq!(
        story.happened(seen(b"one", now), later),
        [proof(b"one", now, later)]
    );
    story.happened(seen(b"two", now), now);
    assert!(story.lose());
    let Ok(Deed::Say(again)) = story.hear(welcome(b""), later) else {
        panic!("nothing is said");
    };
    let expected = Proof {
        report: b"two".to_vec(),
        age_ms: 1500,
    };
    assert_eq!(again, [said(report::Kind::Proof(expected))]);
}

#[test]
fn before_the_welcome_nothing_is_said_and_nothing_lost() {
    let now = Instant::now();
    let mut story = Story::default();
    assert_eq!(story.happened(seen(b"one", now), now), []);
    let expected = vec![proof(b"one", now, now)];
    assert_eq!(story.hear(welcome(b""), now), Ok(Deed::Say(expected)));
}

#[test]
fn once_a_run_is_given_no_look_is_said_any_more() {
    let now = Instant::now();
    let mut story = welcomed(now);
    story.happened(seen(b"one", now), now);
    story.hear(assign("a"), now).unwrap();
    assert_eq!(story.happened(seen(b"two", now), now), []);
    assert!(story.lose());
    assert_eq!(story.hear(welcome(b""), now), Ok(Deed::Say(vec![])));
}

#[test]
fn a_start_and_an_end_are_said_at_once_and_again_after_each_welcome() {
    let now = Instant::now();
    let mut story = given(now);
    let later = now + Duration::from_secs(3);
    let start = |told| start("a", now, told);
    let end = ended(&run("a"), b"report");
    let said = story.happened(Event::Started, now);
    assert_eq!(said, [start(now)]);
    assert!(story.lose());
    assert_eq!(story.happened(Event::Ended(b"report".to_vec()), now), []);
    for told in [now, later] {
        let both = Ok(Deed::Say(vec![start(told), end.clone()]));
        assert_eq!(story.hear(welcome(b""), told), both);
        assert!(story.lose());
    }
}

#[test]
fn what_was_refused_is_never_said_to_have_started() {
    let now = Instant::now();
    let mut story = given(now);
    let end = ended(&run("a"), b"refused");
    let event = Event::Ended(b"refused".to_vec());
    let said = story.happened(event, now);
    assert_eq!(said, std::slice::from_ref(&end));
    assert!(story.lose());
    assert_eq!(story.hear(welcome(b""), now), Ok(Deed::Say(vec![end])));
}

#[test]
fn a_sandbox_is_given_one_run_in_its_life() {
    let now = Instant::now();
    let mut story = given(now);
    for again in ["a", "b"] {
        assert_eq!(story.hear(assign(again), now), Ok(Deed::Nothing), "{again}");
    }
    story.happened(Event::Ended(vec![]), now);
    assert_eq!(story.hear(assign("b"), now), Ok(Deed::Nothing));
}

#[test]
fn only_its_own_run_is_canceled_and_only_while_it_lasts() {
    let now = Instant::now();
    assert_eq!(welcomed(now).hear(cancel("a"), now), Ok(Deed::Nothing));
    let mut story = given(now);
    assert_eq!(story.hear(cancel("b"), now), Ok(Deed::Nothing));
    assert_eq!(story.hear(cancel("a"), now), Ok(Deed::Cancel));
    story.happened(Event::Started, now);
    assert_eq!(story.hear(cancel("a"), now), Ok(Deed::Cancel));
    story.happened(Event::Ended(vec![]), now);
    assert_eq!(story.hear(cancel("a"), now), Ok(Deed::Nothing));
}

#[test]
fn who_has_not_welcomed_is_not_obeyed_in_any_session() {
    let now = Instant::now();
    for order in [assign("a"), cancel("a"), Order { kind: None }] {
        let mut story = welcomed(now);
        assert!(story.lose());
        assert_eq!(story.hear(order, now), Err(Unexpected::NoWelcome));
    }
}

#[test]
fn an_order_about_nothing_is_none_and_one_of_a_new_kind_is_let_pass() {
    let now = Instant::now();
    let mut story = welcomed(now);
    let nothing = order(order::Kind::Assign(Assign::default()));
    assert_eq!(story.hear(nothing, now), Err(Unexpected::NoRun));
    assert_eq!(story.hear(Order { kind: None }, now), Ok(Deed::Nothing));
}

/// A piece of stdout of run a.
fn piece(place: u64, lines: u64, text: &[u8]) -> Report {
    said(report::Kind::Output(Output {
        run: Some(run("a")),
        stream: From::Stdout.into(),
        place,
        lines,
        text: text.to_vec(),
    }))
}

fn heard(execution: &str, stdout: u64) -> Heard {
    Heard {
        run: Some(run(execution)),
        stdout,
        stderr: 0,
    }
}

fn welcome_back(heard: Heard) -> Order {
    order(order::Kind::Welcome(Welcome {
        resume: vec![],
        heard: Some(heard),
    }))
}

/// A story whose run has begun, and where its output is left.
fn speaking(now: Instant) -> (Story, Outlet) {
    let outlet = Outlet::default();
    let mut story = Story::new(outlet.clone());
    story.hear(welcome(b""), now).unwrap();
    story.hear(assign("a"), now).unwrap();
    story.happened(Event::Started, now);
    (story, outlet)
}

#[test]
fn output_is_said_while_the_session_stands_and_all_of_it_before_the_end() {
    let now = Instant::now();
    let (mut story, outlet) = speaking(now);
    assert!(!story.waits());
    outlet.put(Stream::Stdout, b"one\n");
    assert!(story.waits());
    assert_eq!(story.speak(), Some(piece(0, 0, b"one\n")));
    assert_eq!(story.speak(), None);
    outlet.put(Stream::Stdout, b"two\n");
    let said = story.happened(Event::Ended(b"report".to_vec()), now);
    let end = ended(&run("a"), b"report");
    assert_eq!(said, [piece(4, 1, b"two\n"), end]);
    outlet.put(Stream::Stdout, b"late\n");
    assert!(!story.waits() && story.speak().is_none(), "it has ended");
}

#[test]
fn a_new_session_hears_again_what_the_last_one_did_not_say_it_heard() {
    let now = Instant::now();
    for (back, expected) in [
        (welcome_back(heard("a", 4)), piece(4, 1, b"two\n")),
        (welcome_back(heard("a", 0)), piece(0, 0, b"one\ntwo\n")),
        // Of another run, or not at all.
        (welcome_back(heard("b", 4)), piece(0, 0, b"one\ntwo\n")),
        (welcome(b""), piece(0, 0, b"one\ntwo\n")),
    ] {
        let (mut story, outlet) = speaking(now);
        outlet.put(Stream::Stdout, b"one\ntwo\n");
        assert!(story.speak().is_some());
        assert!(story.lose());
        assert!(!story.waits() && story.speak().is_none(), "nobody listens");
        assert_eq!(story.happened(Event::Ended(vec![]), now), []);
        let all = vec![start("a", now, now), expected, ended(&run("a"), b"")];
        assert_eq!(story.hear(back, now), Ok(Deed::Say(all)));
    }
}

#[test]
fn who_hears_nothing_is_told_no_more_and_the_end_all_the_same() {
    let now = Instant::now();
    let (mut story, outlet) = speaking(now);
    let mut pieces = 0;
    for _ in 0..100 {
        outlet.put(Stream::Stdout, &vec![b'x'; 12 * 1024]);
        pieces += usize::from(story.speak().is_some());
    }
    assert_eq!(pieces, 4);
    let other = order(order::Kind::Heard(heard("b", 4 * 12 * 1024)));
    assert_eq!(story.hear(other, now), Ok(Deed::Nothing));
    assert!(!story.waits(), "of another run");
    let ours = order(order::Kind::Heard(heard("a", 4 * 12 * 1024)));
    assert_eq!(story.hear(ours, now), Ok(Deed::Nothing));
    assert!(story.waits());
    let said = story.happened(Event::Ended(vec![]), now);
    assert_eq!(said.last(), Some(&ended(&run("a"), b"")));
    assert_eq!(said.len(), 3);
}

#[test]
fn who_waits_looks_again_when_asked_and_who_was_given_a_run_does_not() {
    let now = Instant::now();
    let look = || order(order::Kind::Look(Look {}));
    let mut story = Story::default();
    assert_eq!(story.hear(look(), now), Err(Unexpected::NoWelcome));
    assert_eq!(welcomed(now).hear(look(), now), Ok(Deed::Look));
    assert_eq!(given(now).hear(look(), now), Ok(Deed::Nothing));
}
