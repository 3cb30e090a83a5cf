//! Who says nothing does not stay. Pipes instead of sockets, so that the clock can be the test's.

use std::{sync::Arc, time::Duration};

use tokio::{io::duplex, sync::mpsc, task::JoinSet, time::Instant};
use tonic::{Code, transport::Channel};

use super::{
    clock,
    fake::FakeApi,
    sandbox::{self, Sandbox},
};
use crate::session::{
    Authority, Event,
    listener::converse,
    stream::{Desk, Held},
};

const POD: &str = "00000000-0000-4000-8000-000000000001";

struct Line {
    channel: Channel,
    events: mpsc::UnboundedReceiver<Event>,
    connection: JoinSet<()>,
}

async fn line() -> Line {
    let api = FakeApi::default();
    api.admit("the token", POD);
    let authority = Authority::load(&api.client(), clock).await.unwrap();
    let (sender, events) = mpsc::unbounded_channel();
    let desk = Desk::new(Arc::new(authority), api.client(), sender);
    let (ours, theirs) = duplex(64 * 1024);
    let mut connection = JoinSet::new();
    connection.spawn(converse(ours, Arc::new(desk), Arc::new(Held::by(()))));
    let channel = sandbox::over(theirs).await;
    Line {
        channel,
        events,
        connection,
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_no_hello_is_dropped() {
    let mut line = line().await;
    let begun = Instant::now();
    let refused = Sandbox::begin(line.channel, "the token", None).await;
    assert_eq!(refused.unwrap_err().code(), Code::DeadlineExceeded);
    line.connection.join_next().await.unwrap().unwrap();
    let took = begun.elapsed();
    assert!(
        (Duration::from_secs(5)..Duration::from_secs(7)).contains(&took),
        "{took:?}"
    );
    assert!(line.events.recv().await.is_none(), "somebody heard");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_call_is_dropped() {
    let mut line = line().await;
    let begun = Instant::now();
    line.connection.join_next().await.unwrap().unwrap();
    let took = begun.elapsed();
    assert!(
        (Duration::from_secs(4)..Duration::from_secs(6)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_does_not_stay() {
    let mut line = line().await;
    let begun = Instant::now();
    let refused = Sandbox::open(line.channel, "a bad token", sandbox::hello(&[])).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    line.connection.join_next().await.unwrap().unwrap();
    // It is told after two seconds, and is out then.
    let took = begun.elapsed();
    assert!(
        (Duration::from_secs(2)..=Duration::from_secs(3)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_stands_for_hours_without_a_word() {
    let mut line = line().await;
    let hello = sandbox::hello(&[]);
    let sandbox = Sandbox::open(line.channel, "the token", hello)
        .await
        .unwrap();
    let Some(Event::Opened { session, .. }) = line.events.recv().await else {
        panic!("not opened")
    };
    let hours = tokio::time::timeout(Duration::from_hours(4), line.events.recv()).await;
    assert!(hours.is_err(), "{hours:?}");
    assert!(!session.orders.is_closed());
    drop(sandbox);
    assert!(matches!(
        line.events.recv().await,
        Some(Event::Closed { .. })
    ));
}
