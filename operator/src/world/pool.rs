//! What many say alike, held once.
//!
//! In: what a watch brings. Out: the same, with no copy of its own of what another one has said. There may
//! be ten thousand tenants, and what one holds of them ten thousand times is the memory that it needs.

use std::{collections::BTreeSet, sync::Arc};

use crds::{Tenant, condition::Condition, tenant::CheckStatus};

/// How many may be held before it is looked which of them nobody has any more.
const FEW: usize = 64;

/// All that is held.
#[derive(Debug)]
pub struct Pool<T: ?Sized> {
    held: BTreeSet<Arc<T>>,
    /// What is left at the next look may be twice as much by the one after.
    most: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self {
            held: BTreeSet::new(),
            most: FEW,
        }
    }
}

impl<T: Ord + ?Sized> Pool<T> {
    /// The same, as another one has it.
    pub fn share(&mut self, one: Arc<T>) -> Arc<T> {
        if let Some(held) = self.held.get(&one) {
            return held.clone();
        }
        if self.held.len() >= self.most {
            self.held.retain(|held| Arc::strong_count(held) > 1);
            self.most = (self.held.len() * 2).max(FEW);
        }
        self.held.insert(one.clone());
        one
    }
}

/// What Tenants share, as they are held.
#[derive(Debug, Default)]
pub struct Tenants {
    /// What their newest probes looked at, which takes more memory than all the rest.
    checks: Pool<[CheckStatus]>,
    /// Texts of their conditions.
    texts: Pool<str>,
}

impl Tenants {
    /// Lets a Tenant share what it can, and gives back what is in nobody's use.
    pub fn settle(&mut self, tenant: &mut Tenant) {
        if let Some(finalizers) = &mut tenant.metadata.finalizers {
            finalizers.shrink_to_fit();
        }
        tenant.spec.members.shrink_to_fit();
        let Some(status) = &mut tenant.status else {
            return;
        };
        status.conditions.shrink_to_fit();
        for condition in &mut status.conditions {
            let Condition {
                last_transition_time: _,
                message,
                observed_generation: _,
                reason,
                status,
                type_,
            } = condition;
            for text in [message, reason, status, type_] {
                text.0 = self.texts.share(text.0.clone());
            }
        }
        if let Some(known) = &mut status.isolation {
            known.evidence.shrink_to_fit();
            known.checks = self.checks.share(known.checks.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A Tenant whose newest probe saw this.
    fn tenant(saw: &str) -> Tenant {
        let check = json!({"check": "Outside", "target": "a", "expected": "shut", "saw": saw});
        let isolation = json!({"boundary": "b", "evidence": [], "checks": [check]});
        serde_json::from_value(json!({
            "metadata": {"name": "acme"}, "spec": {"members": []},
            "status": {"isolation": isolation, "conditions": [{"type": "Ready", "status": "True",
                "reason": saw, "message": saw, "lastTransitionTime": "2026-01-01T12:00:00Z"}]},
        }))
        .unwrap()
    }

    fn message(tenant: &Tenant) -> &Arc<str> {
        &tenant.status.as_ref().unwrap().conditions[0].message.0
    }

    fn checks(tenant: &Tenant) -> &Arc<[CheckStatus]> {
        let isolation = tenant.status.as_ref().unwrap().isolation.as_ref();
        &isolation.unwrap().checks
    }

    #[test]
    fn what_is_alike_is_held_once_and_says_the_same() {
        let mut pool = Tenants::default();
        let mut all = ["shut", "shut", "open"].map(tenant);
        let before = all.clone();
        for tenant in &mut all {
            pool.settle(tenant);
        }
        assert_eq!(all, before);
        assert!(Arc::ptr_eq(checks(&all[0]), checks(&all[1])));
        assert!(!Arc::ptr_eq(checks(&all[0]), checks(&all[2])));
        assert!(Arc::ptr_eq(message(&all[0]), message(&all[1])));
        assert!(!Arc::ptr_eq(message(&all[0]), message(&all[2])));
    }

    #[test]
    fn what_nobody_has_any_more_is_not_held() {
        let mut pool = Tenants::default();
        let mut first = tenant("first");
        pool.settle(&mut first);
        for number in 0..10 * FEW {
            pool.settle(&mut tenant(&number.to_string()));
        }
        assert!(pool.checks.held.len() <= FEW && pool.texts.held.len() <= FEW);
        assert!(pool.checks.held.contains(checks(&first)));
        assert!(pool.texts.held.contains(message(&first)));
    }
}
