//! What many Tenants say alike, held once.
//!
//! In: Tenants, as a watch brings them. Out: the same, with no copy of their own of what another one
//! has said: what the newest probe looked at takes more memory than all the rest of a Tenant, and is
//! much the same of all.

use std::{collections::HashSet, sync::Arc};

use crds::{Tenant, tenant::CheckStatus};

/// How many may be held before it is looked which of them nobody has any more.
const FEW: usize = 64;

/// All that is held.
#[derive(Debug, Default)]
pub struct Pool {
    held: HashSet<Arc<[CheckStatus]>>,
    /// What is left at the next look may be twice as much by the one after.
    most: usize,
}

impl Pool {
    /// Lets a Tenant share what others have.
    pub fn share(&mut self, tenant: &mut Tenant) {
        let isolation = tenant.status.as_mut().map(|status| &mut status.isolation);
        let Some(Some(known)) = isolation else { return };
        if let Some(held) = self.held.get(&known.checks) {
            known.checks = held.clone();
            return;
        }
        if self.held.len() >= self.most.max(FEW) {
            self.held.retain(|held| Arc::strong_count(held) > 1);
            self.most = self.held.len() * 2;
        }
        self.held.insert(known.checks.clone());
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
            "status": {"conditions": [], "isolation": isolation},
        }))
        .unwrap()
    }

    fn checks(tenant: &Tenant) -> &Arc<[CheckStatus]> {
        let isolation = tenant.status.as_ref().unwrap().isolation.as_ref();
        &isolation.unwrap().checks
    }

    #[test]
    fn what_is_alike_is_held_once_and_says_the_same() {
        let mut pool = Pool::default();
        let mut all = ["shut", "shut", "open"].map(tenant);
        let before = all.clone();
        for tenant in &mut all {
            pool.share(tenant);
        }
        assert_eq!(all, before);
        assert!(Arc::ptr_eq(checks(&all[0]), checks(&all[1])));
        assert!(!Arc::ptr_eq(checks(&all[0]), checks(&all[2])));
    }

    #[test]
    fn what_nobody_has_any_more_is_not_held() {
        let mut pool = Pool::default();
        let mut first = tenant("first");
        pool.share(&mut first);
        for number in 0..10 * FEW {
            pool.share(&mut tenant(&number.to_string()));
        }
        assert!(pool.held.len() <= FEW);
        assert!(pool.held.contains(checks(&first)));
    }
}
