//! Taking a tenant away, in an order that never opens it.
//!
//! Deleting the namespace at once would delete its policies at once, and pods that take
//! their time to end would run on without a boundary. So: nothing new is admitted, members
//! lose their rights but to look at the Tenant, which says how far this is, every pod ends,
//! and only then the namespace goes. Each pass looks at what is left and takes the next
//! step; a restart in between loses nothing.

use std::time::Duration;

use crds::{
    Tenant, TenantStatus,
    condition::Verdict,
    tenant::{DeletionPolicy, TenantCondition, TenantReason},
    well_known::STATE_TERMINATING,
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Pod},
        rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

use super::{
    desired::{egress, namespace::namespace, network_policy},
    status::{finding, with_ready},
};
use crate::{
    apply::{self, Writer},
    error::Error,
    meta::Owner,
    names,
    room::{Context, Progress},
    world::{
        Surroundings,
        facts::{ChildKind, LivePod, Loss, Uid},
    },
};

/// How long a pod may take to end by itself, beyond its own grace period, before it is
/// made to. With [`STUCK`] this leaves half of the promised 120 s for the namespace.
const OVERDUE: Duration = Duration::from_secs(20);
/// Longest grace period granted, whatever a pod asks for.
const GRACE_SECONDS: u32 = 20;
/// Pods that are asked to end at once.
const ENDINGS_AT_ONCE: usize = 16;
/// When somebody else's finalizer no longer keeps a pod: this long after its time was up.
const STUCK: Duration = Duration::from_secs(25);

/// The next step, decided from what is left.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The namespace is not ours, or not there.
    Finish,
    /// End these pods.
    End(Vec<Ending>),
    /// Nothing runs: the namespace may go.
    DeleteNamespace(Uid),
    /// It is going.
    AwaitNamespace,
    /// It is there, and no watch has brought it yet.
    AwaitSight,
}

/// One pod that has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ending {
    name: String,
    uid: Uid,
    how: How,
}

/// How a pod is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It was asked, and has time left.
    Wait,
    /// Ask it.
    Ask,
    /// Its node does not answer: forget it.
    Force,
    /// Somebody's finalizer holds it.
    Release,
}

/// Whether the tenant may go. Admission refuses the deletion of one that may not; where
/// admission was missing, the tenant stays as it is, boundary and all.
pub fn may_go(object: &Tenant) -> bool {
    object.spec.deletion_policy == DeletionPolicy::Purge
}

/// Takes one step.
pub async fn teardown(
    context: &Context,
    object: &Tenant,
) -> Result<(Progress, TenantStatus), Error> {
    let now = (context.now)();
    let owner = Owner {
        tenant: object.name_any(),
        uid: Uid::of(&object.metadata),
    };
    let around = context.world.surroundings(&owner.tenant);
    let step = match next(&around, &owner, now) {
        // A Tenant that goes takes its boundary's keeper with it: what a watch has not
        // brought yet is no ground for that.
        Step::Finish if is_left(context, &owner).await? => Step::AwaitSight,
        step => step,
    };
    let left = execute(context, object, &owner, &step).await?;
    let progress = match step {
        Step::Finish => Progress::Done,
        Step::End(_) | Step::DeleteNamespace(_) | Step::AwaitNamespace | Step::AwaitSight => {
            Progress::Waiting(Duration::from_secs(2))
        }
    };
    Ok((progress, said(object, TenantReason::Terminating, left, now)))
}

fn said(object: &Tenant, reason: TenantReason, message: String, now: Timestamp) -> TenantStatus {
    let ready = finding(TenantCondition::Ready, Verdict::False, reason, message);
    with_ready(object, ready, now)
}

/// Whether the server itself holds the tenant's namespace.
async fn is_left(context: &Context, owner: &Owner) -> Result<bool, Error> {
    apply::holds::<Namespace>(&context.client, &namespace_meta(owner), owner.uid).await
}

fn namespace_meta(owner: &Owner) -> ObjectMeta {
    ObjectMeta {
        name: Some(names::namespace(&owner.tenant)),
        ..ObjectMeta::default()
    }
}

/// Decides. Pure.
fn next(around: &Surroundings, owner: &Owner, now: Timestamp) -> Step {
    let key = (ChildKind::Namespace, names::namespace(&owner.tenant).into());
    let namespace = around.children.get(&key).map(|held| &held.fact);
    let Some(namespace) = namespace.filter(|held| held.owner == Some(owner.uid)) else {
        return Step::Finish;
    };
    let endings: Vec<Ending> = around
        .pods
        .iter()
        .map(|(name, held)| Ending {
            name: name.to_string(),
            uid: held.fact.uid,
            how: how(&held.fact, now),
        })
        .collect();
    match (endings.is_empty(), namespace.deleting) {
        (false, _) => Step::End(endings),
        (true, false) => Step::DeleteNamespace(namespace.uid),
        (true, true) => Step::AwaitNamespace,
    }
}

fn how(pod: &LivePod, now: Timestamp) -> How {
    let Some(until) = pod.deleting else {
        return How::Ask;
    };
    if until > now + Duration::from_secs(GRACE_SECONDS.into()) + Duration::from_secs(1) {
        // Somebody granted it more time than a tenant's end has.
        How::Ask
    } else if now < until + OVERDUE {
        How::Wait
    } else if pod.has_finalizers && now >= until + STUCK {
        How::Release
    } else {
        How::Force
    }
}

/// Does it; says what is left.
async fn execute(
    context: &Context,
    object: &Tenant,
    owner: &Owner,
    step: &Step,
) -> Result<String, Error> {
    match step {
        Step::Finish => {
            forget(context, owner).await?;
            Ok("everything is removed".to_owned())
        }
        Step::End(endings) => {
            // Pods end whatever else is in the way, and none waits for another.
            let closed = close(context, object, owner).await;
            let ends: Vec<_> = endings.iter().map(|one| end(context, owner, one)).collect();
            let ended = stream::iter(ends).buffer_unordered(ENDINGS_AT_ONCE);
            let ended: Vec<Result<(), Error>> = ended.collect().await;
            closed?;
            ended.into_iter().collect::<Result<(), Error>>()?;
            let names: Vec<&str> = endings.iter().map(|ending| &*ending.name).collect();
            let left = super::isolation::listed(&names);
            Ok(format!(
                "waiting for pods to end: {left}; the network stays shut until then"
            ))
        }
        Step::DeleteNamespace(uid) => {
            close(context, object, owner).await?;
            let meta = namespace_meta(owner);
            apply::delete::<Namespace>(&context.client, &meta, *uid, None).await?;
            Ok("the namespace is being removed".to_owned())
        }
        Step::AwaitNamespace => {
            Ok("the namespace is being removed; its own status says what holds it".to_owned())
        }
        Step::AwaitSight => {
            Ok("the namespace is there but has not been seen yet; looking again".to_owned())
        }
    }
}

/// Nothing new is admitted, the network stays shut, and members can only look at the Tenant.
async fn close(context: &Context, object: &Tenant, owner: &Owner) -> Result<(), Error> {
    let spec = &object.spec;
    let (runtime, residency) = (spec.isolation.runtime, spec.residency.as_ref());
    let given_back = Loss::default();
    let closed = namespace(owner, STATE_TERMINATING, runtime, residency, &given_back);
    let writer = writer(context, owner);
    match writer.ensure(&closed).await {
        Ok(_) => {
            let namespace = closed.name_any();
            for policy in network_policy::all(owner, &namespace) {
                writer.ensure(&policy).await?;
            }
            let around = context.world.surroundings(&owner.tenant);
            for (name, uid) in egress::withdrawn(&around, &[]) {
                writer.withdraw(&namespace, &name, uid).await?;
            }
        }
        // A namespace that is on its way out admits nothing anyway, and Kubernetes ends
        // its pods before it removes their policies (KEP-5080).
        Err(Error::StillDeleting { .. }) => {}
        Err(error) => return Err(error),
    }
    let view = [names::view_role(&owner.tenant)];
    writer.prune::<ClusterRoleBinding>(None, &view).await?;
    writer.prune::<ClusterRole>(None, &view).await?;
    writer
        .prune::<RoleBinding>(Some(&closed.name_any()), &[])
        .await
}

async fn end(context: &Context, owner: &Owner, ending: &Ending) -> Result<(), Error> {
    let meta = ObjectMeta {
        name: Some(ending.name.clone()),
        namespace: Some(names::namespace(&owner.tenant)),
        ..ObjectMeta::default()
    };
    match ending.how {
        How::Wait => Ok(()),
        How::Ask => {
            apply::delete::<Pod>(&context.client, &meta, ending.uid, Some(GRACE_SECONDS)).await
        }
        How::Force => apply::delete::<Pod>(&context.client, &meta, ending.uid, Some(0)).await,
        How::Release => {
            tracing::warn!(
                tenant = owner.tenant,
                pod = ending.name,
                "taking the finalizers of others off a pod that would not go"
            );
            apply::release_pod(&context.client, &meta, ending.uid).await
        }
    }
}

/// The cluster-scoped rest, which Kubernetes would collect too, later.
async fn forget(context: &Context, owner: &Owner) -> Result<(), Error> {
    let writer = writer(context, owner);
    writer.prune::<ClusterRoleBinding>(None, &[]).await?;
    writer.prune::<ClusterRole>(None, &[]).await
}

fn writer<'a>(context: &'a Context, owner: &'a Owner) -> Writer<'a> {
    Writer {
        client: &context.client,
        world: &context.world,
        tenant: &owner.tenant,
        owner: owner.uid,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use crate::{
        recording::{Recording, UID, now},
        room,
        tenant::TenantRoom,
    };

    fn to_be_purged() -> crds::Tenant {
        serde_json::from_value(json!({
            "apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
            "metadata": {"name": "acme", "uid": UID, "generation": 1, "resourceVersion": "1",
                "finalizers": [crds::well_known::TENANT_FINALIZER]},
            "spec": {"deletionPolicy": "Purge",
                "members": [{"kind": "User", "name": "ada@example.com", "role": "Owner"}]},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_namespace_that_no_watch_has_brought_keeps_its_tenant() {
        let mut tenant = to_be_purged();
        tenant.metadata.deletion_timestamp = Some(crate::conditions::whole_second(now()));
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        let written = async || {
            let pass = room::reconcile::<TenantRoom>(Arc::new(tenant.clone()), context.clone());
            pass.await.unwrap();
            let writes = server.take().into_iter().map(|write| write.what);
            writes.collect::<Vec<_>>()
        };
        let status = "PATCH /apis/cloister.dev/v1alpha1/tenants/acme/status";
        let owner = json!([{"apiVersion": "cloister.dev/v1alpha1", "kind": "Tenant",
            "name": "acme", "uid": UID, "controller": true}]);
        server.list(
            "/api/v1/namespaces",
            json!([{"metadata": {"name": "tenant-acme", "ownerReferences": owner}}]),
        );
        assert_eq!(written().await, [status]);
        // Another one's namespace of that name is none of ours.
        server.list(
            "/api/v1/namespaces",
            json!([{"metadata": {"name": "tenant-acme"}}]),
        );
        assert_eq!(
            written().await,
            ["PATCH /apis/cloister.dev/v1alpha1/tenants/acme"]
        );
    }

    #[tokio::test]
    async fn members_can_look_at_a_tenant_that_goes_and_do_nothing_else() {
        let mut tenant = to_be_purged();
        let server = Recording::of(&tenant);
        let context = Arc::new(server.context(&tenant));
        let made = room::reconcile::<TenantRoom>(Arc::new(tenant.clone()), context.clone());
        made.await.unwrap();
        server.take();
        tenant.metadata.deletion_timestamp = Some(crate::conditions::whole_second(now()));
        let gone = room::reconcile::<TenantRoom>(Arc::new(tenant), context);
        gone.await.unwrap();
        let writes = server.take().into_iter().map(|write| write.what);
        let deleted: Vec<String> = writes.filter(|what| what.starts_with("DELETE")).collect();
        let rbac = "DELETE /apis/rbac.authorization.k8s.io/v1";
        assert_eq!(
            deleted,
            [
                format!("{rbac}/clusterrolebindings/cloister:tenant:acme:manage"),
                format!("{rbac}/clusterroles/cloister:tenant:acme:manage"),
                format!("{rbac}/namespaces/tenant-acme/rolebindings/cloister-tenant-owner"),
                "DELETE /api/v1/namespaces/tenant-acme".to_owned(),
            ]
        );
    }
}
