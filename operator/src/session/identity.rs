//! Who is at the other end: a token, as the API server judges it.
//!
//! In: the headers of a call. Out: a [`Peer`], or a plain refusal. The token itself goes to
//! the API server and nowhere else: into no log, no error and no answer.

use std::time::Duration;

use crds::well_known::{DISPATCH_AUDIENCE, SANDBOX_SERVICE_ACCOUNT};
use k8s_openapi::api::authentication::v1::{TokenReviewStatus, UserInfo};
use kube::Client;
use tokio::{sync::Semaphore, time::timeout};
use tonic::{Status, metadata::MetadataMap};

use super::Peer;
use crate::{apply, error::Error, names, world::facts::Uid};

/// Reviews under way at once. Each is a write to the API server, which has others to serve.
const REVIEWS: usize = 16;

/// How long a review may take, the wait for its turn included.
const REVIEW: Duration = Duration::from_secs(5);

/// How long who has shown no good token waits for the answer: a command that tries again and again,
/// by all the connections that it may have, costs the API server few reviews.
const REFUSAL: Duration = Duration::from_secs(2);

/// Why a token was not good enough. None of them says what was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No token, or something that is none.
    #[error("no bearer token was shown")]
    NoToken,
    /// Forged, expired, or of a pod that is gone.
    #[error("the token is not valid")]
    Invalid,
    /// For somebody else.
    #[error("the token is not for {DISPATCH_AUDIENCE}")]
    Audience,
    /// Of another account, or of one outside a tenant's namespace.
    #[error("the token is not a sandbox's")]
    NotSandbox,
    /// Of an account, but of no pod.
    #[error("the token is not bound to a pod")]
    NoPod,
}

/// Asks the API server, a few tokens at a time.
pub struct Reviewer {
    client: Client,
    turns: Semaphore,
}

impl Reviewer {
    /// That asks through `client`.
    pub fn new(client: Client) -> Self {
        let turns = Semaphore::new(REVIEWS);
        Self { client, turns }
    }

    /// Whose call this is.
    ///
    /// # Errors
    /// `Unauthenticated` if the token is not good, `Unavailable` if nobody could say.
    pub async fn identify(&self, headers: &MetadataMap) -> Result<Peer, Status> {
        let token = match bearer(headers) {
            Ok(token) => token,
            Err(refused) => return Err(refusal(refused).await),
        };
        match timeout(REVIEW, self.review(token)).await {
            Ok(Ok(status)) => match judge(&status) {
                Ok(peer) => Ok(peer),
                Err(refused) => Err(refusal(refused).await),
            },
            Ok(Err(error)) => {
                tracing::warn!(%error, "the token of a sandbox could not be reviewed");
                Err(Status::unavailable("the token could not be reviewed"))
            }
            Err(_) => {
                tracing::warn!("the token of a sandbox could not be reviewed in time");
                Err(Status::unavailable("the token could not be reviewed"))
            }
        }
    }

    async fn review(&self, token: &str) -> Result<TokenReviewStatus, Error> {
        // Nobody closes it, so that there always is a turn.
        let _turn = self.turns.acquire().await;
        apply::review_token(&self.client, token, DISPATCH_AUDIENCE).await
    }
}

async fn refusal(refused: Refused) -> Status {
    let _ = timeout(REFUSAL, std::future::pending::<()>()).await;
    Status::unauthenticated(refused.to_string())
}

/// The token in the headers of a call.
fn bearer(headers: &MetadataMap) -> Result<&str, Refused> {
    let mut shown = headers.get_all("authorization").iter();
    let (Some(header), None) = (shown.next(), shown.next()) else {
        return Err(Refused::NoToken);
    };
    let header = header.to_str().map_err(|_| Refused::NoToken)?;
    // The scheme's case does not matter (RFC 9110, 11.1).
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => {
            Ok(token)
        }
        Some(_) | None => Err(Refused::NoToken),
    }
}

/// Whose token this is, going by the API server's answer alone.
///
/// # Errors
/// Whatever the answer lacks.
pub fn judge(status: &TokenReviewStatus) -> Result<Peer, Refused> {
    if status.authenticated != Some(true) {
        return Err(Refused::Invalid);
    }
    // An API server that knows no audiences says none, and then the token is its own.
    let audiences = status.audiences.iter().flatten();
    if !audiences
        .clone()
        .any(|audience| audience == DISPATCH_AUDIENCE)
    {
        return Err(Refused::Audience);
    }
    let user = status.user.as_ref().ok_or(Refused::Invalid)?;
    let namespace = namespace(user).ok_or(Refused::NotSandbox)?;
    let pod = extra(user, "authentication.kubernetes.io/pod-name").ok_or(Refused::NoPod)?;
    let text = extra(user, "authentication.kubernetes.io/pod-uid").ok_or(Refused::NoPod)?;
    let uid = Uid::parse(text);
    // What is no UUID has a fingerprint instead, which is good for telling, not for proving.
    if uid.to_string() != text {
        return Err(Refused::NoPod);
    }
    Ok(Peer {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        uid,
    })
}

/// The tenant's namespace that this account of a sandbox is in.
fn namespace(user: &UserInfo) -> Option<&str> {
    let name = user.username.as_deref()?;
    let (namespace, account) = name
        .strip_prefix("system:serviceaccount:")?
        .split_once(':')?;
    names::tenant_of_namespace(namespace)?;
    (account == SANDBOX_SERVICE_ACCOUNT).then_some(namespace)
}

/// The one value of this name.
fn extra<'a>(user: &'a UserInfo, name: &str) -> Option<&'a str> {
    match user.extra.as_ref()?.get(name)?.as_slice() {
        [value] if !value.is_empty() => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    const POD: &str = "00000000-0000-4000-8000-000000000001";

    fn good() -> Value {
        json!({
            "authenticated": true,
            "audiences": ["other", "cloister-dispatch"],
            "user": {
                "username": "system:serviceaccount:tenant-acme:cloister-sandbox",
                "uid": "5",
                "groups": ["system:serviceaccounts"],
                "extra": {
                    "authentication.kubernetes.io/pod-name": ["cloister-run-1"],
                    "authentication.kubernetes.io/pod-uid": [POD],
                },
            },
        })
    }

    fn judged(status: Value) -> Result<Peer, Refused> {
        judge(&serde_json::from_value(status).unwrap())
    }

    #[test]
    fn a_sandbox_of_a_tenant_is_who_its_token_says() {
        let expected = Peer {
            namespace: "tenant-acme".to_owned(),
            pod: "cloister-run-1".to_owned(),
            uid: Uid::parse(POD),
        };
        assert_eq!(judged(good()), Ok(expected));
    }

    /// What `good` is changed to, where, and what is then said.
    fn refuses(cases: impl IntoIterator<Item = (&'static str, Value, Refused)>) {
        for (place, value, expected) in cases {
            let mut status = good();
            *status.pointer_mut(place).unwrap() = value.clone();
            // An absent entry of a map is not a null one.
            if let Some(map) = status
                .pointer_mut("/user/extra")
                .and_then(Value::as_object_mut)
            {
                map.retain(|_, value| !value.is_null());
            }
            assert_eq!(judged(status), Err(expected), "{place}: {value}");
        }
    }

    #[test]
    fn who_is_not_vouched_for_or_not_to_us_is_refused() {
        refuses([
            ("/authenticated", json!(false), Refused::Invalid),
            ("/authenticated", Value::Null, Refused::Invalid),
            ("/user", Value::Null, Refused::Invalid),
            ("/audiences", Value::Null, Refused::Audience),
            ("/audiences", json!([]), Refused::Audience),
            (
                "/audiences",
                json!(["https://kubernetes.default.svc"]),
                Refused::Audience,
            ),
        ]);
    }

    #[test]
    fn who_is_not_the_account_of_a_tenants_sandboxes_is_refused() {
        let account = |name: &str| json!(format!("system:serviceaccount:{name}"));
        let others = [
            Value::Null,
            json!("tenant-acme:cloister-sandbox"),
            account("default:cloister-sandbox"),
            account("tenant-:cloister-sandbox"),
            account("tenant-acme:default"),
            account("tenant-acme:cloister-sandbox:x"),
            account("tenant-acme"),
        ];
        refuses(others.map(|name| ("/user/username", name, Refused::NotSandbox)));
    }

    #[test]
    fn what_does_not_say_which_one_pod_it_is_of_is_refused() {
        let name = "/user/extra/authentication.kubernetes.io~1pod-name";
        let uid = "/user/extra/authentication.kubernetes.io~1pod-uid";
        let cases = [
            ("/user/extra", Value::Null),
            (name, Value::Null),
            (name, json!([])),
            (name, json!([""])),
            (name, json!(["one", "two"])),
            (uid, Value::Null),
            (uid, json!([POD, POD])),
            (uid, json!(["not a UUID"])),
            (uid, json!([POD.replace('-', "")])),
        ];
        refuses(cases.map(|(place, value)| (place, value, Refused::NoPod)));
    }

    #[test]
    fn a_token_is_what_follows_the_word_bearer_and_there_is_one() {
        let shown = |values: &[&str]| {
            let mut headers = MetadataMap::new();
            for value in values {
                headers.append("authorization", value.parse().unwrap());
            }
            bearer(&headers).map(ToOwned::to_owned)
        };
        assert_eq!(shown(&["Bearer abc"]), Ok("abc".to_owned()));
        assert_eq!(shown(&["bearer abc"]), Ok("abc".to_owned()));
        for wrong in [
            &[] as &[_],
            &["abc"],
            &["Bearer "],
            &["Basic abc"],
            &["Bearer a", "Bearer b"],
        ] {
            assert_eq!(shown(wrong), Err(Refused::NoToken), "{wrong:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_shows_no_good_token_waits_for_the_answer() {
        let unknown = tower::service_fn(|_: Request<Body>| async {
            let answer = json!({"spec": {}, "status": {"authenticated": false}}).to_string();
            Ok::<_, Infallible>(Response::new(Body::from(answer.into_bytes())))
        });
        let reviewer = Reviewer::new(Client::new(unknown, "default"));
        let mut headers = MetadataMap::new();
        for (shown, words) in [("abc", "no bearer token"), ("Bearer abc", "is not valid")] {
            headers.insert("authorization", shown.parse().unwrap());
            let begun = tokio::time::Instant::now();
            let refused = reviewer.identify(&headers).await.unwrap_err();
            assert!(refused.message().contains(words), "{refused}");
            assert!(begun.elapsed() >= REFUSAL, "{shown}");
        }
    }

    #[tokio::test]
    async fn few_reviews_are_under_way_at_once_and_each_has_its_turn() {
        let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (under_way.clone(), most.clone());
        // An API server that takes a while, and finds every token good.
        let service = tower::service_fn(move |_: Request<Body>| {
            let (under_way, most) = counts.clone();
            async move {
                most.fetch_max(
                    under_way.fetch_add(1, Ordering::SeqCst) + 1,
                    Ordering::SeqCst,
                );
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                under_way.fetch_sub(1, Ordering::SeqCst);
                let answer = json!({"spec": {}, "status": good()}).to_string();
                Ok::<_, Infallible>(Response::new(Body::from(answer.into_bytes())))
            }
        });
        let reviewer = Reviewer::new(Client::new(service, "default"));
        let mut headers = MetadataMap::new();
        headers.insert("authorization", "Bearer abc".parse().unwrap());
        let calls = (0..100).map(|_| reviewer.identify(&headers));
        for peer in futures::future::join_all(calls).await {
            assert_eq!(peer.unwrap().pod, "cloister-run-1");
        }
        assert_eq!(most.load(Ordering::SeqCst), REVIEWS);
    }
}
