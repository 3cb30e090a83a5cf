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
    order(order::Kind::Welcome(Welcome { resume }))
}

fn assign(execution: &str) -> Order {
    order(order::Kind::Assign(Assign {
        run: Some(run(execution)),
        contract: b"{}".to_vec(),
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
            version: 1,
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
        Some(proof(b"one", now, later))
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
    assert_eq!(story.happened(seen(b"one", now), now), None);
    let expected = vec![proof(b"one", now, now)];
    assert_eq!(story.hear(welcome(b""), now), Ok(Deed::Say(expected)));
}

#[test]
fn once_a_run_is_given_no_look_is_said_any_more() {
    let now = Instant::now();
    let mut story = welcomed(now);
    story.happened(seen(b"one", now), now);
    story.hear(assign("a"), now).unwrap();
    assert_eq!(story.happened(seen(b"two", now), now), None);
    assert!(story.lose());
    assert_eq!(story.hear(welcome(b""), now), Ok(Deed::Say(vec![])));
}

#[test]
fn a_start_and_an_end_are_said_at_once_and_again_after_each_welcome() {
    let now = Instant::now();
    let mut story = given(now);
    let (start, end) = (started(&run("a")), ended(&run("a"), b"report"));
    assert_eq!(story.happened(Event::Started, now), Some(start.clone()));
    assert!(story.lose());
    assert_eq!(story.happened(Event::Ended(b"report".to_vec()), now), None);
    let both = Ok(Deed::Say(vec![start, end]));
    assert_eq!(story.hear(welcome(b""), now), both);
    assert!(story.lose());
    assert_eq!(story.hear(welcome(b""), now), both);
}

#[test]
fn what_was_refused_is_never_said_to_have_started() {
    let now = Instant::now();
    let mut story = given(now);
    let end = ended(&run("a"), b"refused");
    let event = Event::Ended(b"refused".to_vec());
    assert_eq!(story.happened(event, now), Some(end.clone()));
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
