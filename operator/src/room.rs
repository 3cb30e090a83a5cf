//! The one reconcile driver: spec → gather → validate → desired → apply → observe → status.
//!
//! A room says what each step is for its kind; the order of the steps, the writing of the
//! status on every way out and the finalizer are said here, once. The functions of a room
//! that take no [`Context`] are pure.

use std::{fmt::Debug, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{Client, Resource, ResourceExt, core::object::HasStatus, runtime::controller::Action};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    apply::{self, ScopeApi},
    cli::Settings,
    error::Error,
    report::Report,
    world::World,
};

/// What every room's steps may reach. Nothing else.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What is known of the cluster.
    pub world: Arc<World>,
    /// What was typed.
    pub settings: Settings,
    /// Events and metrics.
    pub report: Report,
    /// The wall clock, replaced in tests.
    pub now: fn() -> Timestamp,
}

/// Bounds of a kind that a room can look after.
pub trait Kind:
    Resource<DynamicType = (), Scope: ScopeApi<Self>>
    + HasStatus<Status: Clone + PartialEq + Serialize + Send + Sync>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope: ScopeApi<K>>
        + HasStatus<Status: Clone + PartialEq + Serialize + Send + Sync>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// One custom resource.
pub trait Room: 'static {
    /// What this room is about.
    type Kind: Kind;
    /// What the spec refers to and what is there already, read but not yet judged.
    type Inputs: Send;
    /// The spec after every rule has passed.
    type Valid: Send + Sync;
    /// Every child, complete.
    type Desired: Send;
    /// What became of each.
    type Applied: Send + Sync;
    /// The facts that the status is computed from.
    type Observed: Send + Sync;

    /// Name in metrics and logs.
    const NAME: &'static str;
    /// Whether a status counts only for the version of the object that it was computed from: what
    /// has changed since, the status of an earlier pass included, is looked at anew instead.
    const EXACT: bool = false;

    /// Reads.
    fn gather(context: &Context, object: &Self::Kind) -> Self::Inputs;
    /// Judges. After this nobody reads the spec.
    fn validate(object: &Self::Kind, inputs: Self::Inputs) -> Result<Self::Valid, Error>;
    /// Plans. Total: whatever is valid has a plan.
    fn desired(valid: &Self::Valid) -> Self::Desired;
    /// Writes.
    fn apply(
        context: &Context,
        valid: &Self::Valid,
        desired: Self::Desired,
    ) -> impl Future<Output = Result<Self::Applied, Error>> + Send;
    /// Boils down what was planned and what became of it.
    fn observe(valid: Self::Valid, applied: Self::Applied) -> Self::Observed;
    /// Says how things are, from the facts or from the error that kept us from them.
    fn status(
        object: &Self::Kind,
        outcome: Result<&Self::Observed, &Error>,
        now: Timestamp,
    ) -> <Self::Kind as HasStatus>::Status;
    /// When to look again, if nothing wakes us before.
    fn requeue(observed: &Self::Observed, now: Timestamp) -> Duration;
    /// Tells people about what is worth an event, given the status before and after.
    fn announce(
        context: &Context,
        object: &Self::Kind,
        outcome: Result<&Self::Observed, &Error>,
        status: &<Self::Kind as HasStatus>::Status,
    ) -> impl Future<Output = ()> + Send;
}

/// How far the removal of an object has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing of it is left.
    Done,
    /// Something is; look again after this long, if nothing wakes us before.
    Waiting(Duration),
}

/// A room whose objects cannot simply vanish.
pub trait Teardown: Room {
    /// Holds the object until [`Teardown::teardown`] is done.
    const FINALIZER: &'static str;

    /// Whether an object that is marked for deletion may go. One that may not is looked
    /// after as before, and its status says so.
    fn may_go(object: &Self::Kind) -> bool;

    /// Takes one step. Idempotent, and fine with nothing ever having been applied.
    fn teardown(
        context: &Context,
        object: &Self::Kind,
    ) -> impl Future<Output = Result<(Progress, <Self::Kind as HasStatus>::Status), Error>> + Send;
}

async fn converge<R: Room>(context: &Context, object: &R::Kind) -> Result<R::Observed, Error> {
    let inputs = R::gather(context, object);
    let valid = R::validate(object, inputs)?;
    let desired = R::desired(&valid);
    let applied = R::apply(context, &valid, desired).await?;
    Ok(R::observe(valid, applied))
}

/// Whether all that a pass judges by can be seen.
fn sighted(context: &Context) -> Result<(), Error> {
    let watches = context.world.sight().lost();
    if watches.is_empty() {
        return Ok(());
    }
    Err(Error::OutOfSight { watches })
}

/// Writes the status, if it says anything new.
async fn publish<R: Room>(
    context: &Context,
    object: &R::Kind,
    status: &<R::Kind as HasStatus>::Status,
) -> Result<(), Error> {
    if object.status() == Some(status) {
        return Ok(());
    }
    apply::status(&context.client, object, status, R::EXACT).await
}

/// Converges once and states the outcome, whatever it is. What is there is kept as well as
/// it is known; what is claimed of it has to be seen.
async fn settle<R: Room>(context: &Context, object: &R::Kind) -> Result<Action, Error> {
    let kept = converge::<R>(context, object).await;
    let outcome = kept.and_then(|observed| sighted(context).map(|()| observed));
    let now = (context.now)();
    let status = R::status(object, outcome.as_ref(), now);
    let published = publish::<R>(context, object, &status).await;
    if published.is_ok() || !R::EXACT {
        R::announce(context, object, outcome.as_ref(), &status).await;
    }
    let observed = outcome?;
    published?;
    Ok(Action::requeue(R::requeue(&observed, now)))
}

/// One pass over one object of which nothing is left that does not go with it.
///
/// # Errors
/// Whatever a step ran into; the status says it too.
pub async fn keep<R: Room>(object: Arc<R::Kind>, context: Arc<Context>) -> Result<Action, Error> {
    if object.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    settle::<R>(&context, &object).await
}

/// One pass over one object that has a teardown.
///
/// # Errors
/// Whatever a step ran into; the status says it too.
pub async fn reconcile<R: Teardown>(
    object: Arc<R::Kind>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let guarded = object.finalizers().iter().any(|held| held == R::FINALIZER);
    let client = &context.client;
    if object.meta().deletion_timestamp.is_none() {
        if !guarded {
            apply::finalizer(client, &*object, R::FINALIZER, true).await?;
        }
        return settle::<R>(&context, &object).await;
    }
    if !guarded {
        return Ok(Action::await_change());
    }
    if !R::may_go(&object) {
        return settle::<R>(&context, &object).await;
    }
    // A pod that is not seen would be left without its boundary.
    let step = match sighted(&context) {
        Ok(()) => R::teardown(&context, &object).await,
        Err(error) => Err(error),
    };
    let (progress, status) = match step {
        Ok(step) => step,
        Err(error) => {
            let status = R::status(&object, Err(&error), (context.now)());
            publish::<R>(&context, &object, &status).await?;
            return Err(error);
        }
    };
    match progress {
        Progress::Done => {
            apply::finalizer(client, &*object, R::FINALIZER, false).await?;
            Ok(Action::await_change())
        }
        Progress::Waiting(pause) => {
            publish::<R>(&context, &object, &status).await?;
            Ok(Action::requeue(pause))
        }
    }
}

#[cfg(test)]
mod tests {
    use crds::{TenantStatus, well_known::TENANT_FINALIZER};
    use serde_json::json;

    use super::*;
    use crate::{
        recording::{Recording, UID},
        tenant::TenantRoom,
    };

    const STATUS: &str = "PATCH /apis/cloister.dev/v1alpha1/tenants/acme/status";

    fn tenant(role: &str) -> crds::Tenant {
        serde_json::from_value(json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": "acme", "uid": UID, "generation": 1, "resourceVersion": "1"},
            "spec": {"members": [{"kind": "User", "name": "ada@example.com", "role": role}]},
        }))
        .unwrap()
    }

    fn guarded(role: &str) -> crds::Tenant {
        let mut tenant = tenant(role);
        tenant.metadata.finalizers = Some(vec![TENANT_FINALIZER.to_owned()]);
        tenant
    }

    /// Passes over a tenant; says what was written, and the status if that was written.
    async fn pass(
        server: &Recording,
        context: &Arc<Context>,
        tenant: &crds::Tenant,
    ) -> (Result<Action, Error>, Vec<String>, Option<TenantStatus>) {
        let object = Arc::new(tenant.clone());
        let result = reconcile::<TenantRoom>(object, context.clone()).await;
        let writes = server.take();
        let status = writes.iter().find(|write| write.what == STATUS);
        let status = status.map(|write| serde_json::from_value(write.body["status"].clone()));
        let what = writes.iter().map(|write| write.what.clone()).collect();
        (result, what, status.map(Result::unwrap))
    }

    fn ready(status: &TenantStatus) -> (&str, &str) {
        let ready = crds::condition::find(&status.conditions, "Ready").unwrap();
        (&ready.status, &ready.reason)
    }

    #[tokio::test]
    async fn the_finalizer_comes_first_the_status_last() {
        let tenant = tenant("Owner");
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        let (result, writes, status) = pass(&server, &context, &tenant).await;
        result.unwrap();

        assert_eq!(writes[0], "PATCH /apis/cloister.dev/v1alpha1/tenants/acme");
        assert_eq!(writes[1], "POST /api/v1/namespaces");
        assert_eq!(writes.last().unwrap(), STATUS);
        assert_eq!(writes.iter().filter(|what| *what == STATUS).count(), 1);
        assert!(writes.len() > 10, "{writes:#?}");
        assert_eq!(ready(&status.unwrap()), ("True", "Provisioned"));
    }

    #[tokio::test]
    async fn nothing_is_written_when_nothing_has_changed() {
        let mut tenant = guarded("Owner");
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        tenant.status = pass(&server, &context, &tenant).await.2;
        // What the first pass made is a boundary that the second one is the first to see.
        if let (_, _, Some(status)) = pass(&server, &context, &tenant).await {
            tenant.status = Some(status);
        }
        let (result, writes, _) = pass(&server, &context, &tenant).await;
        result.unwrap();
        assert_eq!(writes, [] as [String; 0]);
    }

    #[tokio::test]
    async fn a_spec_that_is_not_valid_writes_its_status_and_nothing_else() {
        let tenant = guarded("User");
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        let (result, writes, status) = pass(&server, &context, &tenant).await;
        assert_eq!(result.unwrap_err().reason(), "InvalidSpec");
        assert_eq!(writes, [STATUS]);
        assert_eq!(ready(&status.unwrap()), ("False", "InvalidSpec"));
    }

    #[tokio::test]
    async fn a_write_that_fails_is_in_the_status_and_all_others_are_tried() {
        let tenant = guarded("Owner");
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        server.refuse("limitranges");
        let (result, writes, status) = pass(&server, &context, &tenant).await;
        assert_eq!(result.unwrap_err().reason(), "WriteFailed");
        assert!(
            writes
                .iter()
                .any(|what| what.ends_with("/clusterrolebindings"))
        );
        let status = status.unwrap();
        assert_eq!(ready(&status), ("Unknown", "ApiError"));
        let said = &crds::condition::find(&status.conditions, "Ready")
            .unwrap()
            .message;
        assert!(
            said.contains("LimitRange cloister-limits: the disk is full"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn a_failure_does_not_clear_what_is_bound() {
        let mut tenant = guarded("Owner");
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        tenant.status = pass(&server, &context, &tenant).await.2;
        tenant.spec.members[0].role = crds::tenant::Role::User;
        let (_, _, status) = pass(&server, &context, &tenant).await;
        assert_eq!(status.unwrap().namespace.as_deref(), Some("tenant-acme"));
    }

    #[tokio::test]
    async fn what_is_out_of_sight_is_kept_but_nothing_is_claimed_of_it() {
        let tenant = guarded("Owner");
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        context.world.sight().lose("NetworkPolicy");
        let (result, writes, status) = pass(&server, &context, &tenant).await;
        assert_eq!(result.unwrap_err().reason(), "OutOfSight");
        assert!(writes.iter().any(|what| what.ends_with("/networkpolicies")));
        let status = status.unwrap();
        for condition in &status.conditions {
            assert_eq!(condition.status, "Unknown", "{condition:?}");
        }
        let said = &crds::condition::find(&status.conditions, "Ready")
            .unwrap()
            .message;
        assert!(said.contains("NetworkPolicy"), "{said}");

        context.world.sight().clear("NetworkPolicy");
        let (result, _, status) = pass(&server, &context, &tenant).await;
        result.unwrap();
        assert_eq!(ready(&status.unwrap()), ("True", "Provisioned"));
    }

    #[tokio::test]
    async fn nothing_is_taken_away_while_something_is_out_of_sight() {
        let mut tenant = guarded("Owner");
        tenant.spec.deletion_policy = crds::tenant::DeletionPolicy::Purge;
        tenant.metadata.deletion_timestamp =
            Some(crate::conditions::whole_second(crate::recording::now()));
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        context.world.sight().lose("Pod");
        let (result, writes, _) = pass(&server, &context, &tenant).await;
        assert_eq!(result.unwrap_err().reason(), "OutOfSight");
        assert_eq!(writes, [STATUS]);
        context.world.sight().clear("Pod");
        let (result, writes, _) = pass(&server, &context, &tenant).await;
        result.unwrap();
        assert!(
            writes.iter().any(|what| what.ends_with("/tenants/acme")),
            "{writes:?}"
        );
    }

    #[tokio::test]
    async fn one_that_goes_without_our_finalizer_is_left_alone() {
        let mut tenant = tenant("Owner");
        tenant.metadata.deletion_timestamp =
            Some(crate::conditions::whole_second(crate::recording::now()));
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        let (result, writes, _) = pass(&server, &context, &tenant).await;
        result.unwrap();
        assert_eq!(writes, [] as [String; 0]);
    }

    #[tokio::test]
    async fn one_that_may_not_go_is_kept_and_its_status_says_so() {
        let mut tenant = guarded("Owner");
        tenant.metadata.deletion_timestamp =
            Some(crate::conditions::whole_second(crate::recording::now()));
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        let (result, writes, status) = pass(&server, &context, &tenant).await;
        result.unwrap();
        assert!(writes.iter().any(|what| what.ends_with("/networkpolicies")));
        assert!(!writes.iter().any(|what| what.starts_with("DELETE")));
        assert_eq!(ready(&status.unwrap()), ("False", "DeletionRefused"));
    }
}
