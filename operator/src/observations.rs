//! What agents and infrastructure say, as the controller sees it.

use std::{collections::BTreeMap, sync::Arc};

use operator_core::{
    object::ObjectKey,
    observed::{Observed, ObservedGateway, ObservedPicker},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Keeps the latest observations, and wakes the controller when one differs from the last.
#[derive(Clone, Default)]
pub struct Observations {
    observed: Arc<Mutex<Observed>>,
    changed: Arc<Notify>,
}

impl Observations {
    /// Observations that wake whoever waits for `changed`.
    #[must_use]
    pub fn new(changed: Arc<Notify>) -> Self {
        Self {
            observed: Arc::default(),
            changed,
        }
    }

    /// All of them as they are now.
    #[must_use]
    pub fn get(&self) -> Observed {
        self.observed.lock().clone()
    }

    /// Notes something about a gateway.
    pub fn note(&self, gateway: &ObjectKey, note: impl FnOnce(&mut ObservedGateway)) {
        let mut observed = self.observed.lock();
        let before = observed.gateways.get(gateway).cloned().unwrap_or_default();
        let mut after = before.clone();
        note(&mut after);
        if after != before {
            observed.gateways.insert(gateway.clone(), after);
            self.changed.notify_one();
        }
    }

    /// Notes what is known of all endpoint pickers.
    pub fn note_pickers(&self, pickers: BTreeMap<ObjectKey, ObservedPicker>) {
        let mut observed = self.observed.lock();
        if observed.pickers != pickers {
            observed.pickers = pickers;
            self.changed.notify_one();
        }
    }

    /// Notes the authorities that our pickers' certificates come from, in PEM.
    pub fn note_authorities(&self, authorities: String) {
        let mut observed = self.observed.lock();
        if observed.authorities != authorities {
            observed.authorities = authorities;
            self.changed.notify_one();
        }
    }

    /// Forgets a gateway that is gone.
    pub fn forget(&self, gateway: &ObjectKey) {
        if self.observed.lock().gateways.remove(gateway).is_some() {
            self.changed.notify_one();
        }
    }
}
