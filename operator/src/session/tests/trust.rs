//! Whom a sandbox believes, and what it takes to be talked to at all.

use rustls::version::TLS12;

use super::{
    Operator, clock,
    fake::FakeApi,
    pass_days,
    sandbox::{Trust, handshake},
};
use crate::session::Authority;

#[tokio::test]
async fn who_speaks_tls_1_2_alone_is_refused() {
    let operator = Operator::start().await;
    let trust = Trust {
        version: &TLS12,
        ..operator.trust()
    };
    let refused = handshake(operator.address, trust).await.unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
}

#[tokio::test]
async fn a_sandbox_does_not_believe_an_operator_of_another_authority() {
    let operator = Operator::start().await;
    let stranger = Authority::load(&FakeApi::default().client(), clock).await;
    let trust = Trust {
        authorities: stranger.unwrap().bundle(),
        ..operator.trust()
    };
    let refused = handshake(operator.address, trust).await.unwrap_err();
    assert!(
        refused.to_string().contains("invalid peer certificate"),
        "{refused}"
    );
    handshake(operator.address, operator.trust()).await.unwrap();
}

#[tokio::test]
async fn after_a_rotation_sandboxes_of_before_and_after_it_are_answered_alike() {
    let operator = Operator::start().await;
    let before = operator.trust();
    pass_days(250);
    operator
        .authority
        .renew(&operator.api.client())
        .await
        .unwrap();
    let both = operator.trust();
    assert_eq!(both.authorities.matches("BEGIN CERTIFICATE").count(), 2);
    let old = before.authorities;
    let new = both.authorities.replace(&old, "");
    assert_eq!(new.matches("BEGIN CERTIFICATE").count(), 1);
    let believing = async |authorities: &str| {
        let authorities = authorities.to_owned();
        let trust = Trust {
            authorities,
            ..operator.trust()
        };
        handshake(operator.address, trust).await.map(drop)
    };
    for authorities in [&old, &new, &both.authorities] {
        believing(authorities).await.unwrap();
    }
    // And whoever leads next shows the same.
    let next = Operator::before(operator.api.clone()).await;
    assert_eq!(next.authority.bundle(), both.authorities);
    handshake(
        next.address,
        Trust {
            authorities: old.clone(),
            ..operator.trust()
        },
    )
    .await
    .unwrap();

    // The old authority ends when it said it would, whoever speaks for it.
    pass_days(116);
    operator
        .authority
        .renew(&operator.api.client())
        .await
        .unwrap();
    assert_eq!(operator.authority.bundle(), new);
    believing(&new).await.unwrap();
    assert!(believing(&old).await.is_err());
}

#[tokio::test]
async fn a_leaf_is_renewed_in_time_and_without_a_restart() {
    let operator = Operator::start().await;
    let shown = async || {
        let stream = handshake(operator.address, operator.trust()).await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        chain[0].to_vec()
    };
    let renew = async || {
        operator
            .authority
            .renew(&operator.api.client())
            .await
            .unwrap();
    };
    let first = shown().await;
    pass_days(3);
    renew().await;
    assert_eq!(shown().await, first);
    pass_days(1);
    renew().await;
    let second = shown().await;
    assert_ne!(second, first);
    for _ in 0..10 {
        pass_days(3);
        renew().await;
        shown().await;
    }
}
