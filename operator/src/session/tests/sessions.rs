//! What is said in a session, and who gets none.

use std::time::Duration;

use contract::{
    dispatch::{Cancel, Heard, Hello, Order, Output, Proof, Welcome, order, report},
    serve::MAX_OUTPUT_BYTES,
};
use kube::runtime::reflector;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tonic::Code;

use super::{
    Operator, PATIENCE,
    fake::{FakeApi, good},
    sandbox::{self, Sandbox},
};
use crate::{
    session::{Authority, Error, Event, Peer},
    world::{World, facts::Uid},
};

const POD: &str = "00000000-0000-4000-8000-000000000001";
const OTHER: &str = "00000000-0000-4000-8000-000000000002";

fn proof(bytes: usize) -> report::Kind {
    report::Kind::Proof(Proof {
        report: vec![b'x'; bytes],
        age_ms: 5,
    })
}

#[tokio::test]
async fn a_sandbox_is_heard_from_its_hello_to_its_end() {
    let mut operator = Operator::start().await;
    operator.api.admit("the token", POD);
    let mut sandbox = operator.dial("the token").await.unwrap();
    let (session, resumed) = operator.opened().await;
    let expected = Peer {
        namespace: "tenant-acme".to_owned(),
        pod: "cloister-run-1".to_owned(),
        uid: Uid::parse(POD),
    };
    assert_eq!((&session.peer, session.id), (&expected, 1));
    assert!(!resumed, "nothing was shown");

    let resume = operator.authority.resume(expected.uid);
    let kind = Some(order::Kind::Welcome(Welcome {
        resume,
        heard: None,
    }));
    session.orders.send(Order { kind }).unwrap();
    let Ok(Some(order::Kind::Welcome(welcome))) = sandbox.told().await else {
        panic!("no welcome")
    };
    assert_eq!(welcome.resume, operator.authority.resume(expected.uid));

    sandbox.say(proof(100));
    match operator.event().await {
        Event::Said {
            pod,
            session,
            report,
        } => assert_eq!((pod, session, report), (expected.uid, 1, proof(100))),
        other @ (Event::Opened { .. } | Event::Closed { .. }) => panic!("{other:?}"),
    }
    drop(sandbox);
    assert_eq!(operator.closed().await, 1);
}

#[tokio::test]
async fn output_is_brought_and_what_was_heard_of_it_told() {
    let mut operator = Operator::start().await;
    operator.api.admit("the token", POD);
    let mut sandbox = operator.dial("the token").await.unwrap();
    let (session, _) = operator.opened().await;
    let piece = || {
        report::Kind::Output(Output {
            run: None,
            stream: 2,
            place: 7,
            lines: 1,
            text: vec![b'x'; MAX_OUTPUT_BYTES],
        })
    };
    // All that may come before an end, at once.
    for _ in 0..8 {
        sandbox.say(piece());
        match operator.event().await {
            Event::Said { report, .. } => assert_eq!(report, piece()),
            other @ (Event::Opened { .. } | Event::Closed { .. }) => panic!("{other:?}"),
        }
    }
    let heard = order::Kind::Heard(Heard {
        run: None,
        stdout: 0,
        stderr: 7,
    });
    let kind = Some(heard.clone());
    session.orders.send(Order { kind }).unwrap();
    assert_eq!(sandbox.told().await.unwrap(), Some(heard));
}

#[tokio::test]
async fn who_has_been_welcomed_is_known_again_by_the_secret_of_that_pod_alone() {
    let mut operator = Operator::start().await;
    operator.api.admit("the token", POD);
    let secret = |uid| operator.authority.resume(Uid::parse(uid));
    let (own, others) = (secret(POD), secret(OTHER));
    assert_eq!(own.len(), 32);
    for (shown, expected) in [
        (own.as_slice(), true),
        (&others, false),
        (&own[..31], false),
        (&[], false),
    ] {
        // The places of those before are held for a second.
        let mut again = tokio::time::interval(Duration::from_millis(100));
        let sandbox = loop {
            again.tick().await;
            let channel = sandbox::dial(operator.address, operator.trust()).await;
            let hello = sandbox::hello(shown);
            let opened = Sandbox::open(channel.unwrap(), "the token", hello).await;
            match opened {
                Err(refused) if refused.code() == Code::ResourceExhausted => {}
                opened => break opened,
            }
        };
        let (_session, resumed) = operator.opened().await;
        assert_eq!(resumed, expected, "{} bytes", shown.len());
        drop(sandbox.unwrap());
        operator.closed().await;
    }
    // Who leads next has it from the same Secret.
    let next = Authority::load(&operator.api.client(), super::clock).await;
    assert_eq!(next.unwrap().resume(Uid::parse(POD)), own);
}

#[tokio::test]
async fn to_drop_the_sender_ends_the_session_after_what_was_sent() {
    let mut operator = Operator::start().await;
    operator.api.admit("the token", POD);
    let mut sandbox = operator.dial("the token").await.unwrap();
    let (session, _) = operator.opened().await;
    let cancel = || order::Kind::Cancel(Cancel { run: None });
    let kind = Some(cancel());
    session.orders.send(Order { kind }).unwrap();
    drop(session);
    assert_eq!(sandbox.told().await.unwrap(), Some(cancel()));
    assert_eq!(sandbox.told().await.unwrap(), None);
    assert_eq!(operator.closed().await, 1);
}

#[tokio::test]
async fn a_connection_is_good_for_one_session() {
    let mut operator = Operator::start().await;
    operator.api.admit("the token", POD);
    let channel = sandbox::dial(operator.address, operator.trust()).await;
    let channel = channel.unwrap();
    for first in [true, false] {
        let hello = sandbox::hello(&[]);
        let sandbox = Sandbox::open(channel.clone(), "the token", hello).await;
        assert_eq!(sandbox.is_ok(), first, "{sandbox:?}");
        if first {
            drop(operator.opened().await);
            operator.closed().await;
        }
    }
    assert!(operator.events.try_recv().is_err(), "opened again");
}

#[tokio::test]
async fn who_is_no_sandbox_is_refused_and_nobody_hears_of_it() {
    let mut operator = Operator::start().await;
    let changed = |place: &str, value: Value| {
        let mut status = good(POD);
        *status.pointer_mut(place).unwrap() = value;
        status
    };
    let cases = [
        ("secret-forged", json!({"authenticated": false})),
        (
            "secret-elsewhere",
            changed("/audiences", json!(["https://kubernetes.default.svc"])),
        ),
        (
            "secret-account",
            changed(
                "/user/username",
                json!("system:serviceaccount:tenant-acme:default"),
            ),
        ),
        (
            "secret-tenant",
            changed(
                "/user/username",
                json!("system:serviceaccount:default:cloister-sandbox"),
            ),
        ),
        (
            "secret-pod",
            changed(
                "/user/extra",
                json!({"authentication.kubernetes.io/pod-name": ["x"]}),
            ),
        ),
    ];
    for (token, status) in cases {
        operator.api.judge(token, status);
        let refused = operator.dial(token).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{token}");
        assert!(!refused.message().contains(token), "{refused}");
    }
    let refused = operator.dial("nobody-knows-it").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(refused.message(), "the token is not valid");
    let broken = operator.dial("what breaks the server").await.unwrap_err();
    assert_eq!(broken.code(), Code::Unavailable);
    assert!(operator.events.try_recv().is_err(), "somebody heard");
}

#[tokio::test]
async fn a_session_begins_with_a_hello_of_our_version_and_holds_no_other() {
    let mut operator = Operator::start().await;
    operator.api.admit("the token", POD);
    let hello = |version| {
        let (resume, run) = (vec![], None);
        report::Kind::Hello(Hello {
            version,
            resume,
            run,
        })
    };
    for (first, code) in [
        (hello(3), Code::FailedPrecondition),
        (hello(0), Code::FailedPrecondition),
        (proof(1), Code::InvalidArgument),
    ] {
        let channel = sandbox::dial(operator.address, operator.trust()).await;
        let refused = Sandbox::begin(channel.unwrap(), "the token", Some(first)).await;
        assert_eq!(refused.unwrap_err().code(), code);
    }
    assert!(operator.events.try_recv().is_err(), "somebody heard");

    // One that was there before the operator was renewed.
    let channel = sandbox::dial(operator.address, operator.trust()).await;
    let older = Sandbox::begin(channel.unwrap(), "the token", Some(hello(1))).await;
    drop(older.unwrap());
    let _session = operator.opened().await;
    operator.closed().await;

    let mut sandbox = operator.dial("the token").await.unwrap();
    let _session = operator.opened().await;
    sandbox.say(hello(2));
    let refused = sandbox.told().await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    operator.closed().await;
}

#[tokio::test]
async fn one_sandbox_can_neither_fill_the_queue_nor_take_all_the_sessions() {
    let mut operator = Operator::start().await;
    operator.api.admit("the token", POD);
    operator.api.admit("another", OTHER);
    let begun = tokio::time::Instant::now();
    let mut first = operator.dial("the token").await.unwrap();
    let _second = operator.dial("the token").await.unwrap();
    let third = operator.dial("the token").await.unwrap_err();
    assert_eq!(third.code(), Code::ResourceExhausted);
    let _other = operator.dial("another").await.unwrap();
    let mut sessions = Vec::new();
    for id in 1..=3 {
        let (session, _) = operator.opened().await;
        assert_eq!(session.id, id);
        sessions.push(session);
    }
    for _ in 0..1000 {
        first.say(proof(1));
    }
    let refused = first.told().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let mut heard = 0;
    while let Event::Said { session: 1, .. } = operator.event().await {
        heard += 1;
    }
    assert!((60..100).contains(&heard), "{heard}");
    // The first is over, and its place is another's once a second has gone by.
    let mut again = tokio::time::interval(Duration::from_millis(100));
    while operator.dial("the token").await.is_err() {
        again.tick().await;
    }
    let held = begun.elapsed();
    assert!(held >= Duration::from_secs(1), "held for {held:?}");
}

#[tokio::test]
async fn a_listener_that_is_dropped_ends_every_session() {
    let mut operator = Operator::start().await;
    operator.api.admit("the token", POD);
    let mut sandbox = operator.dial("the token").await.unwrap();
    let (session, _) = operator.opened().await;
    operator.listening.shutdown().await;
    assert_eq!(operator.closed().await, session.id);
    assert!(sandbox.told().await.is_err(), "it still stands");
    assert!(session.orders.is_closed());
    assert!(operator.event_is_the_last().await);
    assert!(TcpStream::connect(operator.address).await.is_err());
}

impl Operator {
    /// Whether nothing that could send an event is left.
    async fn event_is_the_last(&mut self) -> bool {
        let last = timeout(PATIENCE, self.events.recv()).await;
        last.expect("the end").is_none()
    }
}

#[tokio::test]
async fn an_address_has_few_places_for_those_who_are_not_known_yet() {
    let mut operator = Operator::start().await;
    operator.api.admit("the token", POD);
    let _known = operator.dial("the token").await.unwrap();
    let (session, _) = operator.opened().await;
    let dial = async || sandbox::handshake(operator.address, operator.trust()).await;
    let begun = tokio::time::Instant::now();
    let mut strangers = Vec::new();
    for _ in 0..128 {
        strangers.push(TcpStream::connect(operator.address).await.unwrap());
    }
    assert!(dial().await.is_err(), "there was a place left");
    assert!(
        !session.orders.is_closed(),
        "who is known is not in the way"
    );
    drop(strangers);
    let again = async {
        while dial().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
    let held = begun.elapsed();
    assert!(held >= Duration::from_secs(1), "held for {held:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let operator = Operator::start().await;
    let (sender, _events) = tokio::sync::mpsc::unbounded_channel();
    let client = FakeApi::default().client();
    let (address, authority) = (operator.address, operator.authority.clone());
    let world = World::new(reflector::store().0);
    let ended = crate::session::listen(address, authority, client, sender, &world).await;
    let Err(error @ Error::Bind { .. }) = ended else {
        panic!("{ended:?}")
    };
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
