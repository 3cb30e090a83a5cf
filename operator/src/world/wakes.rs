//! Whom a change concerns → the queue of the room that looks after it.
//!
//! In: [`Concerns`]. Out: names, to the rooms of this replica, if it leads. A closed channel
//! means the controller is going down, and then nobody needs to be told.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crds::{Drill, Tenant, Worker};
use futures::channel::mpsc::UnboundedSender;
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};

use super::{Concerns, World};
use crate::names;

/// The queue of a kind, while somebody works on it.
type Queue<K> = Mutex<Option<UnboundedSender<ObjectRef<K>>>>;

/// The queues.
#[derive(Debug, Default)]
pub struct Wakes {
    tenants: Queue<Tenant>,
    workers: Queue<Worker>,
    drills: Queue<Drill>,
}

fn held<K: Resource<DynamicType = ()>>(
    queue: &Queue<K>,
) -> MutexGuard<'_, Option<UnboundedSender<ObjectRef<K>>>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// From now on `sender` hears which tenants to look at, beginning with all of them.
    pub fn wake_through(&self, sender: UnboundedSender<ObjectRef<Tenant>>) {
        // Held while the list is read: a Tenant that comes in between is told of afterwards.
        let mut wakes = held(&self.wakes.tenants);
        for tenant in self.tenants.state() {
            // By name alone: ten thousand of these wait in the queue for their next turn.
            let _ = sender.unbounded_send(ObjectRef::new(&tenant.name_any()));
        }
        *wakes = Some(sender);
    }

    /// The same for Workers.
    pub fn wake_workers_through(&self, sender: UnboundedSender<ObjectRef<Worker>>) {
        let mut wakes = held(&self.wakes.workers);
        for worker in self.workers.state() {
            let _ = sender.unbounded_send(ObjectRef::from_obj(&*worker));
        }
        *wakes = Some(sender);
    }

    /// The same for Drills.
    pub fn wake_drills_through(&self, sender: UnboundedSender<ObjectRef<Drill>>) {
        let mut wakes = held(&self.wakes.drills);
        for drill in self.drills.state() {
            let _ = sender.unbounded_send(ObjectRef::from_obj(&*drill));
        }
        *wakes = Some(sender);
    }

    /// Tells the rooms, if this replica runs them, whom to look at.
    pub(super) fn wake(&self, concerns: &Concerns) {
        self.wake_workers(concerns);
        self.wake_drills(concerns);
        let wakes = held(&self.wakes.tenants);
        let Some(sender) = wakes.as_ref() else { return };
        match concerns {
            Concerns::Nobody => {}
            Concerns::Tenant(name) | Concerns::TenantAlone(name) => {
                let _ = sender.unbounded_send(ObjectRef::new(name));
            }
            Concerns::Everyone => {
                for tenant in self.tenants.state() {
                    let _ = sender.unbounded_send(ObjectRef::new(&tenant.name_any()));
                }
            }
        }
    }

    /// Tells the room of Workers alone.
    pub(super) fn wake_workers(&self, concerns: &Concerns) {
        let wakes = held(&self.wakes.workers);
        let Some(sender) = wakes.as_ref() else { return };
        match concerns {
            Concerns::Nobody | Concerns::TenantAlone(_) => {}
            Concerns::Tenant(name) => {
                let namespace = names::namespace(name);
                for worker in self.surroundings(name).workers.keys() {
                    let _ = sender.unbounded_send(ObjectRef::new(worker).within(&namespace));
                }
            }
            Concerns::Everyone => {
                for worker in self.workers.state() {
                    let _ = sender.unbounded_send(ObjectRef::from_obj(&*worker));
                }
            }
        }
    }

    /// Has one Worker looked at, as it is now in the store.
    pub(super) fn wake_worker(&self, worker: &Worker) {
        let wakes = held(&self.wakes.workers);
        if let Some(sender) = wakes.as_ref() {
            let _ = sender.unbounded_send(ObjectRef::from_obj(worker));
        }
    }

    /// Tells the room of Drills alone. What goes on in a tenant concerns those that run there.
    pub(super) fn wake_drills(&self, concerns: &Concerns) {
        let wakes = held(&self.wakes.drills);
        let Some(sender) = wakes.as_ref() else { return };
        match concerns {
            Concerns::Nobody => {}
            Concerns::Tenant(name) | Concerns::TenantAlone(name) => {
                let around = self.surroundings(name);
                let running = around.drills.iter().filter(|(_, held)| held.fact.running);
                for (drill, _) in running {
                    let namespace = names::namespace(name);
                    let _ = sender.unbounded_send(ObjectRef::new(drill).within(&namespace));
                }
            }
            Concerns::Everyone => {
                for drill in self.drills.state() {
                    let _ = sender.unbounded_send(ObjectRef::from_obj(&*drill));
                }
            }
        }
    }

    /// Has one Drill looked at, as it is now in the store.
    pub(super) fn wake_drill(&self, drill: &Drill) {
        let wakes = held(&self.wakes.drills);
        if let Some(sender) = wakes.as_ref() {
            let _ = sender.unbounded_send(ObjectRef::from_obj(drill));
        }
    }
}
