//! Asks pods to leave, and looks at Executions.

use crds::{
    Execution,
    condition::find,
    execution::{ExecutionCondition, ExecutionReason},
};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{
    desired::{Desired, Leaving},
    validate::ValidDrill,
};
use crate::{
    apply::{self, Target},
    error::Error,
    room::Context,
};

/// Pods that are asked to leave at once.
const AT_ONCE: usize = 16;

/// What became of it all.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// How many were not let go.
    pub held: usize,
    /// Executions that have been started, if they were asked for.
    pub executions: Vec<Seen>,
}

/// What is kept of an Execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Number of the attempt.
    pub attempt: i32,
    /// Where that runs or ran.
    pub node: Option<String>,
    /// Whether it ended well; nothing while it has not ended.
    pub well: Option<bool>,
}

impl Seen {
    /// Boils an Execution down, once it has been started.
    pub fn of(object: &Execution) -> Option<Self> {
        let status = object.status.as_ref()?;
        if status.attempt < 1 {
            return None;
        }
        let condition = ExecutionCondition::Succeeded.as_str();
        let said = find(&status.conditions, condition);
        let well = said.and_then(|said| match said.status.as_str() {
            "True" | "False" => Some(said.reason == ExecutionReason::Completed.as_str()),
            _ => None,
        });
        let node = status.sandbox.as_ref().and_then(|it| it.node.clone());
        Some(Self {
            name: object.name_any(),
            attempt: status.attempt,
            node,
            well,
        })
    }
}

/// Does it.
///
/// # Errors
/// What the server refuses, but for pods that it holds; those are counted.
pub async fn apply(
    context: &Context,
    valid: &ValidDrill,
    desired: Desired,
) -> Result<Applied, Error> {
    let Desired { leaving, look } = desired;
    let asked = stream::iter(leaving).map(|one| leave(context, valid, one));
    let asked: Vec<Result<bool, Error>> = asked.buffer_unordered(AT_ONCE).collect().await;
    let mut applied = Applied::default();
    for gone in asked {
        applied.held += usize::from(!gone?);
    }
    if look {
        let seen = apply::executions(&context.client, &valid.namespace, Seen::of);
        applied.executions = seen.await?;
    }
    Ok(applied)
}

/// Whether a pod goes.
async fn leave(context: &Context, valid: &ValidDrill, pod: Leaving) -> Result<bool, Error> {
    let target = Target {
        namespace: &valid.namespace,
        name: &pod.name,
        uid: pod.uid,
    };
    if pod.forced {
        apply::remove::<Pod>(&context.client, target, None).await?;
        return Ok(true);
    }
    let held = apply::evict(&context.client, target).await?;
    if let Some(words) = &held {
        tracing::info!(pod = pod.name, words, "a pod of the lost zone is held");
    }
    Ok(held.is_none())
}
