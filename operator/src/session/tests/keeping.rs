//! How the authority is kept: made once, by one, and never written without a reason.

use serde_json::json;

use super::{clock, fake::FakeApi, pass_days};
use crate::session::{Authority, Error};

const GET: &str = "GET /api/v1/namespaces/cloister-system/secrets/cloister-dispatch";
const POST: &str = "POST /api/v1/namespaces/cloister-system/secrets";
const PUT: &str = "PUT /api/v1/namespaces/cloister-system/secrets/cloister-dispatch";

async fn load(api: &FakeApi) -> Authority {
    Authority::load(&api.client(), clock).await.unwrap()
}

#[tokio::test]
async fn it_is_made_where_it_is_missing_and_read_where_it_is_not() {
    let api = FakeApi::default();
    let made = load(&api).await;
    assert_eq!(api.asked(), [GET, POST]);
    let secret = api.secret().unwrap();
    assert_eq!(
        secret["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "cloister"
    );
    let entries = secret["data"].as_object().unwrap();
    assert_eq!(
        entries.keys().collect::<Vec<_>>(),
        ["ca.crt", "ca.key", "resume.key"]
    );
    let read = load(&api).await;
    assert_eq!(api.asked(), [GET]);
    assert_eq!(read.bundle(), made.bundle());
    assert_eq!(format!("{read:?}"), "Authority");
    made.renew(&api.client()).await.unwrap();
    assert_eq!(api.asked(), [GET]);
}

#[tokio::test]
async fn whoever_finds_that_another_was_first_takes_theirs() {
    let other = FakeApi::default();
    let theirs = load(&other).await;
    let api = FakeApi::default();
    api.put_before_next(other.secret().unwrap());
    assert_eq!(load(&api).await.bundle(), theirs.bundle());
    assert_eq!(api.asked(), [GET, POST, GET]);

    pass_days(250);
    load(&other).await;
    api.put_before_next(other.secret().unwrap());
    let rotated = load(&api).await;
    assert_eq!(rotated.bundle(), load(&other).await.bundle());
    assert_eq!(api.asked(), [GET, PUT, GET]);
}

#[tokio::test]
async fn one_who_is_never_first_says_so() {
    let other = FakeApi::default();
    load(&other).await;
    pass_days(250);
    let api = FakeApi::default();
    api.put(other.secret());
    let client = api.client();
    let racing = tower::service_fn(move |request| {
        // Somebody else touches it before every write.
        api.put_before_next(other.secret().unwrap());
        let client = client.clone();
        async move { client.send(request).await }
    });
    let client = kube::Client::new(racing, "default");
    let ended = Authority::load(&client, clock).await;
    assert!(matches!(ended, Err(Error::Raced)));
}

#[tokio::test]
async fn ours_that_holds_no_authority_is_written_over_and_keeps_its_labels() {
    let api = FakeApi::default();
    api.put(Some(json!({
        "metadata": {"name": "cloister-dispatch", "namespace": "cloister-system",
            "labels": {"somebody": "else's", "app.kubernetes.io/managed-by": "cloister"}},
        "data": {"ca.crt": "AAAA"},
    })));
    load(&api).await;
    assert_eq!(api.asked(), [GET, PUT]);
    let secret = api.secret().unwrap();
    assert_eq!(secret["metadata"]["labels"]["somebody"], "else's");
    load(&api).await;
    assert_eq!(api.asked(), [GET]);
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_not_written_over() {
    let api = FakeApi::default();
    let metadata = json!({"name": "cloister-dispatch", "namespace": "cloister-system"});
    for secret in [
        json!({"metadata": metadata, "data": {"password": "AAAA"}}),
        json!({"metadata": metadata}),
    ] {
        api.put(Some(secret));
        let refused = Authority::load(&api.client(), clock).await.unwrap_err();
        assert!(
            refused.to_string().contains("is not Cloister's"),
            "{refused}"
        );
        assert_eq!(api.asked(), [GET]);
    }
}
