//! What a schedule has due → an Execution. Pure.
//!
//! In: the [`Book`], now. Out: an [`Act`] that creates it, by a name that the same time of the
//! same Integration always gives, so that a second try after a crash, or another leader's, meets
//! the first one. How far the schedule has come is kept with the line, and goes into the status
//! of the Integration as soon as it changes; a new leader reads it there.

use std::time::Duration;

use crds::{
    Execution, Integration,
    execution::{Cancel, ExecutionSpec},
    integration::ScheduleStatus,
    well_known::{INTEGRATION_LABEL, SCHEDULED_TIME_ANNOTATION},
};
use jiff::Timestamp;

use super::{
    act::Act,
    book::Book,
    line::{Key, Line},
    schedule::Step,
    tenant::Shut,
    turn::View,
    under_way,
};
use crate::{
    conditions,
    error::Error,
    meta::{self, Owner},
    names,
    world::facts::Uid,
};

/// Executions being created at once, over all tenants: thousands are due at the same minute.
const CREATING: usize = 8;
/// Pause after one that the API server did not take.
const PAUSE: Duration = Duration::from_secs(5);

/// How far a line's schedule has come.
#[derive(Debug, Default)]
pub struct Timer {
    /// As the status says, or is about to.
    pub record: Option<ScheduleStatus>,
    /// The time of the run that is to be created.
    due: Option<Timestamp>,
    /// It is being created.
    creating: bool,
    /// None is created before.
    not_before: Option<Timestamp>,
    /// Whether the last one was is not known: its answer was lost.
    doubtful: bool,
    /// Why the last one was not, in the words of who refused.
    pub trouble: Option<String>,
}

impl Timer {
    /// Whether the next run is due within this time.
    pub fn comes_within(&self, lead: Duration, now: Timestamp) -> bool {
        let record = self.record.as_ref();
        record.is_some_and(|record| record.next_schedule_time <= now + lead)
    }

    /// Whatever kept a run from being created may be mended.
    pub fn mend(&mut self) {
        (self.not_before, self.trouble) = (None, None);
    }
}

impl Line {
    /// Whether a run may have been created that the status does not tell of yet.
    pub fn owes_record(&self) -> bool {
        let said = self
            .integration
            .as_ref()
            .map(|known| &known.status.schedule);
        self.timer.creating
            || self.timer.doubtful
            || self.timer.due.is_some() && self.timer.trouble.is_none()
            || said.is_some_and(|said| *said != self.timer.record)
    }
}

impl Book {
    /// Looks whether the schedule of a line has something due.
    pub(super) fn look_at_schedule(&mut self, key: &Key, now: Timestamp) {
        let open = self.may_create(key);
        let Some(line) = self.lines.get_mut(key) else {
            return;
        };
        let Some(known) = line.integration.as_ref() else {
            line.timer = Timer::default();
            return;
        };
        let timer = &mut line.timer;
        if timer.creating {
            return;
        }
        timer.due = None;
        if timer.record.is_none() {
            timer.record.clone_from(&known.status.schedule);
        }
        // How far the last good spec had come stands until there is another.
        let Ok(terms) = &known.terms else {
            return;
        };
        let Some(schedule) = &terms.schedule else {
            line.timer = Timer::default();
            return;
        };
        match schedule.step(timer.record.as_ref(), open, now) {
            Step::Wait => {}
            Step::Keep(record) => {
                timer.record = Some(record);
                timer.mend();
            }
            Step::Create(due) => timer.due = Some(due),
        }
    }

    /// Whether a schedule of the line may create something now. Where isolation is not proven it
    /// may: what is created waits for that, and says so.
    pub(super) fn may_create(&self, key: &Key) -> bool {
        let landlord = self.tenants.get(&key.namespace);
        let open = landlord.is_some_and(|landlord| landlord.shut != Some(Shut::Suspended));
        let line = self.lines.get(key);
        let known = line.and_then(|line| line.integration.as_ref());
        open && known.is_some_and(|known| !known.suspend && !known.deleting)
    }

    /// Creates what is due.
    pub(super) fn create_due(&mut self, key: &Key, view: View<'_>) -> Option<Act> {
        let Line {
            integration, timer, ..
        } = self.lines.get(key)?;
        let (due, uid) = (timer.due?, integration.as_ref()?.uid);
        if timer.creating || timer.not_before.is_some_and(|at| at > view.now) {
            return None;
        }
        if self.under_way.creating >= CREATING {
            self.to_create.hold(key);
            return None;
        }
        let owner = &self.tenants.get(&key.namespace)?.owner;
        let execution = execution(owner, key, uid, due);
        self.under_way.creating += 1;
        self.lines.get_mut(key)?.timer.creating = true;
        Some(Act::Create {
            line: key.clone(),
            uid,
            due,
            execution: Box::new(execution),
        })
    }

    /// Takes note of what became of it. One of its name that is there is the same one.
    pub(super) fn created(
        &mut self,
        (key, uid, due): (&Key, Uid, Timestamp),
        result: Result<Option<Box<Execution>>, Error>,
        now: Timestamp,
    ) {
        under_way::end(&mut self.under_way.creating);
        self.dirty.extend(self.to_create.next());
        self.touch(key);
        let line = self.lines.get_mut(key);
        let same = |line: &&mut Line| line.integration.as_ref().is_some_and(|it| it.uid == uid);
        if let Some(line) = line.filter(same) {
            let timer = &mut line.timer;
            (timer.creating, timer.due) = (false, None);
            timer.doubtful = result.as_ref().is_err_and(|error| !error.is_refused());
            match &result {
                Ok(_) => {
                    timer.mend();
                    // The next look, which comes before the status is written, goes on from it.
                    if let Some(record) = &mut timer.record {
                        record.last_schedule_time = Some(due);
                    }
                }
                Err(error) => {
                    timer.not_before = Some(now + PAUSE);
                    timer.trouble = Some(conditions::shortened(error.to_string()));
                }
            }
        }
        if let Ok(Some(object)) = result {
            self.execution(&object, now);
        }
    }
}

/// The Execution of a time.
fn execution(owner: &Owner, line: &Key, uid: Uid, due: Timestamp) -> Execution {
    let name = names::scheduled(&line.name, &uid.to_string(), due.as_second());
    let spec = ExecutionSpec {
        integration: line.name.to_string(),
        input: None,
        idempotency_key: None,
        cancel: Cancel::No,
    };
    let mut labels = owner.labels();
    labels.insert(INTEGRATION_LABEL.to_owned(), line.name.to_string());
    let mut object = Execution::new(&name, spec);
    object.metadata.namespace = Some(line.namespace.to_string());
    object.metadata.labels = Some(labels);
    let annotation = (SCHEDULED_TIME_ANNOTATION.to_owned(), due.to_string());
    object.metadata.annotations = Some([annotation].into());
    object.metadata.owner_references = Some(vec![meta::controller::<Integration>(&line.name, uid)]);
    object
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::gatekeeper::{OPERATOR, refusals};

    fn made() -> Execution {
        let owner = Owner {
            tenant: "acme".to_owned(),
            uid: Uid::parse("00000000-0000-4000-8000-00000000000a"),
        };
        let uid = Uid::parse("00000000-0000-4000-8000-00000000000b");
        let due = "2026-05-02T03:00:00Z".parse().unwrap();
        execution(&owner, &Key::new("tenant-acme", "hello"), uid, due)
    }

    /// What admission says to the operator that creates it.
    fn said(object: &Value) -> Vec<String> {
        let request = json!({"operation": "CREATE", "userInfo": {"username": OPERATOR},
            "kind": {"kind": "Execution"}, "resource": {"resource": "executions"},
            "namespace": "tenant-acme", "name": object["metadata"]["name"]});
        let labels = json!({"cloister.dev/tenant": "acme"});
        let context = json!({"request": request, "object": object,
            "namespaceObject": {"metadata": {"labels": labels}}});
        let policies = ["cloister-operator", "cloister-integrations"];
        policies.map(|policy| refusals(policy, &context)).concat()
    }

    #[test]
    fn it_is_traceable_and_admission_accepts_it_and_no_other() {
        let good = json!(made());
        assert_eq!(said(&good), [""; 0]);
        let annotations = &good["metadata"]["annotations"];
        assert_eq!(
            annotations["cloister.dev/scheduled-time"],
            json!("2026-05-02T03:00:00Z")
        );
        assert_eq!(
            good["metadata"]["labels"]["cloister.dev/integration"],
            json!("hello")
        );
        for (pointer, value) in [
            ("/metadata/annotations", Value::Null),
            ("/metadata/ownerReferences", Value::Null),
            ("/metadata/ownerReferences/0/controller", json!(false)),
            ("/metadata/ownerReferences/0/kind", json!("Tenant")),
            ("/metadata/ownerReferences/0/name", json!("another")),
            ("/spec/integration", json!("another")),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).unwrap() = value;
            let said = said(&bad);
            assert!(
                matches!(&*said, [one] if one.contains("no Execution but of a schedule")),
                "{pointer}: {said:?}"
            );
        }
        let mut bad = good.clone();
        bad["spec"]["input"] = json!("{}");
        assert_eq!(said(&bad).len(), 1);
    }

    /// Another leader, of another release, must not create it again.
    #[test]
    fn the_same_time_of_the_same_integration_has_one_name() {
        let name = |uid: &str, second| names::scheduled("hello", uid, second);
        assert_eq!(name("a", 60), "hello-27bea2332b65");
        assert_ne!(name("a", 60), name("a", 120));
        assert_ne!(name("a", 60), name("b", 60));
    }
}
