//! Writes what is desired: the namespace, then everything in it at once, then what no
//! longer belongs, then probes.

use std::{pin::Pin, slice, sync::Arc};

use futures::future::join_all;
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Pod},
        networking::v1::NetworkPolicy,
        rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt};

use super::desired::{Desired, egress::Opened};
use crate::{
    apply::{self, Change, ScopeApi, Writer},
    error::Error,
    meta::Owner,
    names,
    room::Context,
    world::{
        Surroundings,
        facts::{Child, Uid},
        watch::Observed,
    },
};

/// A repair that was made: what, and against whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Kind of the object.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What had happened to it.
    pub change: Change,
}

/// What became of it all.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Every child that was not as it must be, in no particular order.
    pub changes: Vec<Repair>,
    /// What is in and about the namespace now, the server's answers included.
    pub around: Arc<Surroundings>,
    /// What became of the probe, if one was due.
    pub probe: Sent,
}

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// None was due.
    NotDue,
    /// It is on its way.
    Yes,
    /// Others took the last room while this one was planned.
    Crowded,
    /// The API server would not have it; its words.
    Refused(String),
}

type Writing<'a> = Pin<Box<dyn Future<Output = Result<Repair, Error>> + Send + 'a>>;

/// Writes.
///
/// Every child is tried even if another fails, so that one foreign object in the way does
/// not keep the rest of the boundary from being kept; the first failure is returned.
pub async fn apply(context: &Context, owner: &Owner, desired: Desired) -> Result<Applied, Error> {
    let writer = Writer {
        client: &context.client,
        world: &context.world,
        tenant: &owner.tenant,
        owner: owner.uid,
    };
    let Desired {
        namespace,
        drilled,
        policies,
        openings,
        withdrawn,
        quotas,
        limit_range,
        service_account,
        bindings,
        roles,
        role_bindings,
        probe,
        retired,
    } = desired;
    let first = settle(&writer, &namespace, drilled).await?;
    let mut writings: Vec<Writing<'_>> = Vec::new();
    add(&mut writings, &writer, &quotas);
    add(&mut writings, &writer, slice::from_ref(&limit_range));
    add(&mut writings, &writer, slice::from_ref(&service_account));
    add(&mut writings, &writer, &policies);
    add(&mut writings, &writer, &bindings);
    add(&mut writings, &writer, &roles);
    let mut results = join_all(writings).await;
    // A cluster role binding may only name a role that is there; and nothing is opened before
    // the rest is shut.
    let mut writings = Vec::new();
    add(&mut writings, &writer, &role_bindings);
    if results.iter().all(Result::is_ok) {
        writings.extend(openings.iter().map(|one| open(&writer, one)));
    }
    results.extend(join_all(writings).await);

    // What nobody shall have any more goes also where something else is in the way.
    let inside = namespace.name_any();
    withdraw(&writer, &inside, withdrawn).await?;
    writer
        .prune::<NetworkPolicy>(Some(&inside), &kept(&policies))
        .await?;
    writer
        .prune::<RoleBinding>(Some(&inside), &kept(&bindings))
        .await?;
    writer
        .prune::<ClusterRoleBinding>(None, &kept(&role_bindings))
        .await?;
    writer.prune::<ClusterRole>(None, &kept(&roles)).await?;

    let mut changes = vec![first];
    changes.extend(results.into_iter().collect::<Result<Vec<_>, _>>()?);
    changes.retain(|repair| repair.change != Change::None);
    let probe = look(context, &writer, probe, retired).await?;
    Ok(Applied {
        changes,
        around: context.world.surroundings(&owner.tenant),
        probe,
    })
}

/// Sends the probe and clears away those that have spoken.
async fn look(
    context: &Context,
    writer: &Writer<'_>,
    probe: Option<Pod>,
    retired: Vec<(String, Uid)>,
) -> Result<Sent, Error> {
    for (name, uid) in retired {
        let meta = ObjectMeta {
            name: Some(name),
            namespace: Some(names::namespace(writer.tenant)),
            ..ObjectMeta::default()
        };
        apply::delete::<Pod>(&context.client, &meta, uid, Some(0)).await?;
    }
    let Some(pod) = probe else {
        return Ok(Sent::NotDue);
    };
    let at_once = context.settings.probing.at_once;
    let Some(_slot) = context.world.probe_slot(at_once) else {
        return Ok(Sent::Crowded);
    };
    match writer.pod(&pod).await {
        Ok(()) => Ok(Sent::Yes),
        // The boundary stands all the same; what is missing is the proof.
        Err(error @ Error::Write { .. }) => Ok(Sent::Refused(lasting(&error, &pod.name_any()))),
        Err(error) => Err(error),
    }
}

/// Words that stay the same from probe to probe: without its name, and without what a quota
/// counts at the moment.
fn lasting(error: &Error, probe: &str) -> String {
    let words = error.to_string().replace(probe, "of a probe");
    let counted = words.find(", requested: ");
    words[..counted.unwrap_or(words.len())].to_owned()
}

async fn ensure<K>(writer: &Writer<'_>, child: &K) -> Result<Repair, Error>
where
    K: Child + Observed + Resource<Scope: ScopeApi<K>>,
{
    let change = writer.ensure(child).await?;
    Ok(Repair {
        kind: K::KIND.as_str(),
        name: child.name_any(),
        change,
    })
}

/// The same for the namespace. That it is to say something else of a Drill is no repair.
async fn settle(
    writer: &Writer<'_>,
    namespace: &Namespace,
    drilled: bool,
) -> Result<Repair, Error> {
    let mut first = ensure(writer, namespace).await?;
    if drilled && first.change != Change::Created {
        first.change = Change::None;
    }
    Ok(first)
}

/// The same for a policy of an Integration. That one comes, or is another after a change of the
/// spec, is no repair; that somebody named has changed it, is.
fn open<'a>(writer: &'a Writer<'a>, opened: &'a Opened) -> Writing<'a> {
    Box::pin(async {
        let writer = writer.of(opened.owner);
        let mut repair = ensure(&writer, &opened.policy).await?;
        if !matches!(repair.change, Change::Repaired { by: Some(_) }) {
            repair.change = Change::None;
        }
        Ok(repair)
    })
}

/// Takes away what no Integration may open any more.
async fn withdraw(
    writer: &Writer<'_>,
    namespace: &str,
    policies: Vec<(String, Uid)>,
) -> Result<(), Error> {
    for (name, uid) in policies {
        writer.withdraw(namespace, &name, uid).await?;
    }
    Ok(())
}

fn add<'a, K>(writings: &mut Vec<Writing<'a>>, writer: &'a Writer<'a>, children: &'a [K])
where
    K: Child + Observed + Resource<Scope: ScopeApi<K>>,
{
    for child in children {
        writings.push(Box::pin(ensure(writer, child)));
    }
}

fn kept<K: ResourceExt>(children: &[K]) -> Vec<String> {
    children.iter().map(ResourceExt::name_any).collect()
}
