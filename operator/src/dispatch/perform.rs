//! Does what the book has decided, one act at the API server each, through [`crate::apply`].

use crds::{Execution, Integration};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;

use super::{
    act::{Act, Receipt},
    line::Key,
};
use crate::{apply, error::Error, world::facts::Uid};

/// Does one thing; what was refused is said here, once for all.
pub async fn perform(client: Client, act: Act) -> Receipt {
    let namespace = act.namespace().to_owned();
    let receipt = ask(&client, act).await;
    if let Some(error) = receipt.error() {
        if is_news(&receipt, error) {
            tracing::warn!(%namespace, %error, "the API server refuses it");
        } else {
            tracing::debug!(%namespace, %error, "not done");
        }
    }
    receipt
}

/// Whether nobody else says it. Of what was not made a status speaks; what somebody else has changed
/// or removed, and a server that does not answer, are the watches' to tell.
fn is_news(receipt: &Receipt, error: &Error) -> bool {
    let is_said = matches!(receipt, Receipt::Make { .. } | Receipt::Create { .. });
    !is_said && error.is_refused() && !error.is_conflict() && !error.is_gone()
}

async fn ask(client: &Client, act: Act) -> Receipt {
    match act {
        Act::Status {
            run,
            key,
            version,
            before,
            status,
            purpose,
        } => {
            let object = target(&key, run);
            let result =
                apply::status_at::<Execution>(client, object, version, (&*before, &*status)).await;
            let result = result.map(Box::new);
            Receipt::Status {
                run,
                purpose,
                result,
            }
        }
        Act::LineStatus { key, uid, status } => {
            let object = target(&key, uid);
            let result = apply::status_of::<Integration>(client, object, &*status).await;
            let result = result.map(|()| status);
            Receipt::LineStatus { key, result }
        }
        Act::Make { line, pod } => {
            let result = apply::sandbox(client, &pod).await.map(Box::new);
            Receipt::Make { line, result }
        }
        Act::Remove { key, pod, grace } => {
            let object = target(&key, pod);
            let result = apply::remove::<Pod>(client, object, Some(grace)).await;
            Receipt::Remove { pod, result }
        }
        Act::Create {
            line,
            uid,
            due,
            execution,
        } => {
            let result = apply::create(client, &*execution).await;
            Receipt::Create {
                line,
                uid,
                due,
                result: result.map(|object| object.map(Box::new)),
            }
        }
        Act::Forget { key, run } => {
            let object = target(&key, run);
            let result = apply::remove::<Execution>(client, object, None).await;
            Receipt::Forget { run, result }
        }
    }
}

fn target(key: &Key, uid: Uid) -> apply::Target<'_> {
    apply::Target {
        namespace: &key.namespace,
        name: &key.name,
        uid,
    }
}
