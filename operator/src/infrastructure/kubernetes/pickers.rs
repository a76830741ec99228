//! Endpoint pickers as pods of a cluster.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use operator_core::{
    infra::{
        Cluster, DEPLOYMENT, SECRET, ServingCertificate, observed_picker, picker_names, picker_objects,
        stored_certificate,
    },
    object::ObjectKey,
    observed::ObservedPicker,
};
use tokio::{sync::watch, time::sleep};

use super::{
    Site,
    convergence::{Convergence, Objects},
    family::Family,
    pods::Pods,
};
use crate::{
    certificates::{Authorities, serving},
    controller::Pickers as Wanted,
    observations::Observations,
    parts::Parts,
};

/// How often certificates are looked at.
const PERIOD: Duration = Duration::from_mins(30);

/// Has the cluster run endpoint pickers.
pub struct Pickers {
    cluster: Cluster,
    /// Who signs what pickers serve with.
    authorities: watch::Receiver<Authorities>,
    observations: Observations,
    /// Certificates that were made; what is stored may be older for a moment.
    issued: BTreeMap<ObjectKey, ServingCertificate>,
    pods: Pods,
    convergence: Convergence,
}

impl Pickers {
    /// Has parts follow what runs; nothing is changed before [`Self::run`], nor before there are authorities.
    #[must_use]
    pub fn new(
        parts: &mut Parts,
        site: Site,
        cluster: Cluster,
        authorities: watch::Receiver<Authorities>,
        observations: Observations,
    ) -> Self {
        let family = Family::of_pickers(&cluster);
        Self {
            cluster,
            authorities,
            observations,
            issued: BTreeMap::new(),
            pods: Pods::follow(parts, &site, &family),
            convergence: Convergence::new(parts, site, family),
        }
    }

    /// Brings what runs to what is wanted, for ever.
    pub async fn run(mut self, mut wanted: watch::Receiver<Option<Wanted>>) {
        loop {
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = self.convergence.due() => {}
                () = self.pods.changed.notified() => {}
                Ok(()) = self.authorities.changed() => {}
                () = sleep(PERIOD) => {}
            }
            let wanted = wanted.borrow_and_update().clone();
            let Some(wanted) = wanted else { continue };
            if self.convergence.acts()
                && let Some(objects) = self.objects(&wanted)
            {
                self.convergence.approach(objects).await;
            }
            self.observe(&wanted);
        }
    }

    /// What must be there; `None` as long as nobody signs certificates.
    fn objects(&mut self, wanted: &Wanted) -> Option<Objects> {
        let mut objects = Objects::new();
        let mut issued = BTreeMap::new();
        for (picker, infra) in wanted {
            let certificate = self.certificate(picker)?;
            objects.insert(
                picker.clone(),
                picker_objects(picker, infra, &certificate, &self.cluster),
            );
            issued.insert(picker.clone(), certificate);
        }
        self.issued = issued;
        Some(objects)
    }

    fn certificate(&mut self, picker: &ObjectKey) -> Option<ServingCertificate> {
        let stored = self.convergence.get(picker, SECRET);
        let stored = stored.as_ref().and_then(stored_certificate);
        let existing = stored.into_iter().chain(self.issued.get(picker).cloned());
        let authorities = self.authorities.borrow_and_update().clone();
        serving(&authorities, &picker_names(picker), existing, SystemTime::now())
            .inspect_err(|error| tracing::error!(%picker, %error, "cannot make the picker's certificate"))
            .ok()?
    }

    /// Notes how many pods pick, and what keeps them from it.
    fn observe(&self, wanted: &Wanted) {
        let state = |picker: &ObjectKey| {
            let deployment = self.convergence.get(picker, DEPLOYMENT);
            let failure = self.convergence.failure(picker);
            if deployment.is_none() && failure.is_none() {
                return None;
            }
            let observed = deployment.as_ref().map(observed_picker).unwrap_or_default();
            let observed = ObservedPicker {
                failure: failure.or(observed.failure),
                pods: self.pods.of(picker),
                ..observed
            };
            Some((picker.clone(), observed))
        };
        self.observations
            .note_pickers(wanted.keys().filter_map(state).collect());
    }
}

#[cfg(test)]
mod tests;
