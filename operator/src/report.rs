//! What people and machines are told: Kubernetes Events, and metrics whose labels are enums.
//!
//! An event that cannot be written is logged and forgotten: no pass fails for one.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicI64},
    time::Duration,
};

use crds::{
    Drill, DrillStatus, Tenant, TenantStatus, Worker, WorkerStatus, condition::Condition,
    drill::DrillReason, tenant::TenantCondition,
};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource, ResourceExt,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{apply::Change, names, tenant::Repair};

/// Labels of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pass {
    room: &'static str,
    outcome: &'static str,
}

/// Labels of a repair.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// Labels of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Standing {
    condition: &'static str,
    status: &'static str,
}

/// Where everything that is told goes through.
#[derive(Clone)]
pub struct Report {
    recorder: Recorder,
    registry: Arc<Registry>,
    passes: Family<Pass, Counter>,
    seconds: Histogram,
    repairs: Family<Kind, Counter>,
    tenants: Family<Standing, Gauge>,
    leader: Gauge<i64, AtomicI64>,
    losses: Counter,
    memory: Gauge<i64, AtomicI64>,
    /// Held while what is counted when asked is counted and read.
    asked: Arc<Mutex<()>>,
}

impl Report {
    /// Events in the name of this replica; metrics from zero.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter {
            controller: crds::well_known::MANAGER.to_owned(),
            instance: Some(instance.to_owned()),
        };
        let mut registry = Registry::with_prefix("cloister");
        let passes = Family::default();
        registry.register(
            "reconciles",
            "Passes over an object, by outcome",
            passes.clone(),
        );
        let buckets = [
            0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0,
        ];
        let seconds = Histogram::new(buckets);
        registry.register_with_unit(
            "reconcile_duration",
            "Time a pass took",
            Unit::Seconds,
            seconds.clone(),
        );
        let repairs = Family::default();
        registry.register(
            "repairs",
            "Objects put back as they must be",
            repairs.clone(),
        );
        let tenants = Family::default();
        registry.register(
            "tenants",
            "Tenants by condition and status",
            tenants.clone(),
        );
        let leader = Gauge::default();
        registry.register("leader", "1 on the replica that reconciles", leader.clone());
        let losses = Counter::default();
        registry.register(
            "losses",
            "How often this process has lost lease or sight, and begun anew; all else counts from then",
            losses.clone(),
        );
        let memory = Gauge::default();
        registry.register_with_unit(
            "process_resident_memory",
            "Memory that the process holds, as the kernel counts it",
            Unit::Bytes,
            memory.clone(),
        );
        Self {
            recorder: Recorder::new(client, reporter),
            registry: Arc::new(registry),
            passes,
            seconds,
            repairs,
            tenants,
            leader,
            losses,
            memory,
            asked: Arc::default(),
        }
    }

    /// The same, of a process that has lost lease or sight so often before.
    #[must_use]
    pub fn after(self, losses: u64) -> Self {
        self.losses.inc_by(losses);
        self
    }

    /// All metrics as `OpenMetrics` text, with how many of `tenants` stand how.
    ///
    /// # Errors
    /// None that a `String` as target could cause.
    pub fn metrics(&self, tenants: &[Arc<Tenant>]) -> Result<String, std::fmt::Error> {
        let _asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.count(tenants);
        self.memory.set(resident());
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// This replica leads, or does not.
    pub fn leading(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// A pass has ended.
    pub fn pass(&self, room: &'static str, outcome: &'static str, took: Duration) {
        self.passes.get_or_create(&Pass { room, outcome }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// How many tenants stand how. Computed when metrics are asked for, not kept.
    fn count(&self, tenants: &[Arc<Tenant>]) {
        self.tenants.clear();
        for tenant in tenants {
            let conditions = tenant.status.iter().flat_map(|status| &status.conditions);
            for condition in conditions {
                let known = |all: &'static str| *all == *condition.type_;
                let types = TenantCondition::ALL.iter().map(|one| one.as_str());
                let Some(name) = types.into_iter().find(|name| known(name)) else {
                    continue;
                };
                let status = match condition.status.as_str() {
                    "True" => "True",
                    "False" => "False",
                    _ => "Unknown",
                };
                let standing = Standing {
                    condition: name,
                    status,
                };
                self.tenants.get_or_create(&standing).inc();
            }
        }
    }

    /// Tells what a pass over a Tenant repaired, and which condition turned.
    ///
    /// What a pass writes for a new spec, or to make a tenant at all, repairs nothing.
    pub async fn tenant(&self, tenant: &Tenant, repairs: &[Repair], status: &TenantStatus) {
        let stood = tenant.status.as_ref().is_some_and(|before| {
            before.namespace.is_some() && before.observed_generation == tenant.metadata.generation
        });
        for repair in repairs.iter().filter(|_| stood) {
            self.repaired(tenant, repair).await;
        }
        let before = tenant.status.as_ref();
        let before = before.map(|status| status.conditions.as_slice());
        self.turns(tenant, before.unwrap_or_default(), &status.conditions)
            .await;
    }

    /// Tells which condition of a Worker turned.
    pub async fn worker(&self, worker: &Worker, status: &WorkerStatus) {
        let before = worker.status.as_ref();
        let before = before.map(|status| status.conditions.as_slice());
        self.turns(worker, before.unwrap_or_default(), &status.conditions)
            .await;
    }

    /// Tells that a run of a Drill has begun, and what came of one.
    pub async fn drill(&self, drill: &Drill, status: &DrillStatus) {
        let before = drill.status.clone().unwrap_or_default();
        let tell = async |type_, reason: &str, action: &str, note: String| {
            tracing::info!(reason, note, "drill");
            let event = Event {
                type_,
                reason: reason.to_owned(),
                note: Some(note),
                action: action.to_owned(),
                secondary: None,
            };
            self.publish(drill, event).await;
        };
        if let (None, Some(run)) = (&before.run, &status.run) {
            let note = format!("{} is being taken from the tenant", run.zone);
            tell(EventType::Normal, "Starting", "Begin", note).await;
        }
        let Some(last) = status.results.first() else {
            return;
        };
        if before.results.first() == Some(last) {
            return;
        }
        let type_ = if last.reason == DrillReason::Recovered.as_str() {
            EventType::Normal
        } else {
            EventType::Warning
        };
        tell(type_, &last.reason, "Judge", last.message.clone()).await;
    }

    /// Events that are alike but for their note count as one for some minutes, so each
    /// names the object, and as its action whose change was undone.
    async fn repaired(&self, tenant: &Tenant, repair: &Repair) {
        let Repair { kind, name, change } = repair;
        let (reason, action, note) = match change {
            Change::Repaired { by: Some(by) } => (
                "Repaired",
                format!("Undo {by}"),
                format!("put back {kind} {name}, changed by {by}"),
            ),
            Change::Repaired { by: None } => (
                "Repaired",
                "Undo".to_owned(),
                format!("put back {kind} {name}"),
            ),
            Change::Created => (
                "Restored",
                "Restore".to_owned(),
                format!("made {kind} {name} again, which was missing"),
            ),
            Change::None => return,
        };
        tracing::info!(kind, name, reason, note, "repaired");
        self.repairs.get_or_create(&Kind { kind }).inc();
        let cluster_scoped = kind.starts_with("Cluster") || *kind == "Namespace";
        let related = ObjectReference {
            kind: Some((*kind).to_owned()),
            name: Some(name.clone()),
            namespace: (!cluster_scoped).then(|| names::namespace(&tenant.name_any())),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: EventType::Warning,
            reason: reason.to_owned(),
            note: Some(note),
            action,
            secondary: Some(related),
        };
        self.publish(tenant, event).await;
    }

    async fn turns<K>(&self, object: &K, before: &[Condition], now: &[Condition])
    where
        K: Resource<DynamicType = ()>,
    {
        for condition in now {
            let previous = crds::condition::find(before, &condition.type_);
            // A first word is no turn, unless it is bad news: status says it anyway.
            let turned = previous.map_or(condition.status == "False", |previous| {
                previous.status != condition.status
            });
            if !turned {
                continue;
            }
            let type_ = match condition.status.as_str() {
                "True" => EventType::Normal,
                _ => EventType::Warning,
            };
            let note = format!(
                "{} is {}: {}",
                condition.type_, condition.status, condition.message
            );
            let event = Event {
                type_,
                reason: condition.reason.to_string(),
                note: Some(note),
                action: format!("Judge {}", condition.type_),
                secondary: None,
            };
            let (status, reason) = (&condition.status, &condition.reason);
            tracing::info!(
                condition = %condition.type_,
                %status,
                %reason,
                "{}",
                condition.message
            );
            self.publish(object, event).await;
        }
    }

    /// Cut to what the API takes.
    async fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, mut event: Event) {
        let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
        event.note = event.note.map(|note| cut(&note, 1000));
        event.action = cut(&event.action, 128);
        let reference = object.object_ref(&());
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            tracing::debug!(%error, "event not written");
        }
    }
}

/// `VmRSS` of `/proc/self/status` in bytes (proc(5)); 0 where there is none.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<i64>().ok());
    kibibytes.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::recording::Recording;

    #[tokio::test]
    async fn tenants_are_counted_once_also_for_two_that_ask_at_the_same_time() {
        let tenant: Tenant = serde_json::from_value(json!({
            "metadata": {"name": "acme"}, "spec": {"members": []},
            "status": {"conditions": [{"type": "Ready", "status": "True",
                "reason": "Provisioned", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .unwrap();
        let report = Recording::of(&tenant).context(&tenant).report;
        let tenant = Arc::new(tenant);
        let tenants = vec![tenant; 100];
        let ask = || {
            for _ in 0..300 {
                let text = report.metrics(&tenants).unwrap();
                let line = text
                    .lines()
                    .find(|line| line.starts_with("cloister_tenants{"));
                assert!(line.unwrap_or_default().ends_with(" 100"), "{line:?}");
            }
        };
        std::thread::scope(|threads| {
            threads.spawn(ask);
            threads.spawn(ask);
        });
    }
}
