//! What is in effect: the newest data, and of older data what NGINX may still need.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proto::fleet::{self, Endpoints, Leg};
use tokio::time::Instant;

use crate::dns::Upstream;

/// How long legs are kept that NGINX no longer needs.
///
/// Its workers of before take requests on the connections they have for as long as `keepalive_min_timeout` says, and
/// hand them over when their headers have come.
pub(super) const LEG_GRACE: Duration = Duration::from_mins(1);

/// Data that has been put into effect and is not retired yet.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) newest: fleet::Data,
    /// Those of the newest data, and older ones that are not retired yet.
    pub(super) endpoints: BTreeMap<Upstream, Endpoints>,
    legs: BTreeMap<String, Kept>,
}

/// A leg of the newest data, or of older data.
#[derive(Debug)]
struct Kept {
    leg: Leg,
    /// Since when NGINX has served a configuration without it; none before.
    unneeded_since: Option<Instant>,
}

impl State {
    /// Takes up newer data; nothing goes yet.
    pub(super) fn take_up(&mut self, data: fleet::Data) {
        self.endpoints.extend(by_upstream(&data));
        self.legs.extend(data.legs.iter().map(|leg| {
            let kept = Kept {
                leg: leg.clone(),
                unneeded_since: None,
            };
            (leg.name.clone(), kept)
        }));
        self.newest = data;
    }

    /// Removes what the newest data does not have, as NGINX serves the newest configuration.
    ///
    /// Returns how long it is until the next leg can be removed, if any is left to be.
    pub(super) fn retire(&mut self) -> Option<Duration> {
        let needed: BTreeSet<&str> = self.newest.legs.iter().map(|leg| leg.name.as_str()).collect();
        let mut next = None;
        self.legs.retain(|name, kept| {
            if needed.contains(name.as_str()) {
                return true;
            }
            let since = *kept.unneeded_since.get_or_insert_with(Instant::now);
            let remaining = LEG_GRACE.saturating_sub(since.elapsed());
            if remaining.is_zero() {
                return false;
            }
            next = Some(next.map_or(remaining, |next: Duration| next.min(remaining)));
            true
        });
        let newest: BTreeSet<Upstream> = by_upstream(&self.newest).map(|(upstream, _)| upstream).collect();
        let named = named_endpoints(self.legs.values());
        self.endpoints
            .retain(|upstream, _| newest.contains(upstream) || named.contains(&upstream.name));
        next
    }

    /// Which changes whenever something is retired.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.endpoints.len(), self.legs.len())
    }

    /// The newest data, and what is not retired yet.
    pub(super) fn all(&self) -> fleet::Data {
        fleet::Data {
            endpoints: self.endpoints.values().cloned().collect(),
            legs: self.legs.values().map(|kept| kept.leg.clone()).collect(),
            ..self.newest.clone()
        }
    }

    /// What of this concerns the proxy.
    pub(super) fn for_proxy(&self) -> fleet::Data {
        let named = named_endpoints(self.legs.values());
        let endpoints = self
            .endpoints
            .values()
            .filter(|endpoints| named.contains(&endpoints.name));
        fleet::Data {
            endpoints: endpoints.cloned().collect(),
            legs: self.legs.values().map(|kept| kept.leg.clone()).collect(),
            proxy: self.newest.proxy,
            ..fleet::Data::default()
        }
    }
}

/// The names of endpoints that legs lead to, or to the pickers of.
fn named_endpoints<'legs>(legs: impl Iterator<Item = &'legs Kept>) -> BTreeSet<String> {
    legs.flat_map(|Kept { leg, .. }| {
        let picker = leg.picker.as_ref().map(|picker| picker.endpoints.clone());
        picker.into_iter().chain([leg.endpoints.clone()])
    })
    .collect()
}

fn by_upstream(data: &fleet::Data) -> impl Iterator<Item = (Upstream, Endpoints)> {
    let upstream = |endpoints: &Endpoints| Upstream {
        name: endpoints.name.clone(),
        service: endpoints.service.clone(),
    };
    data.endpoints
        .iter()
        .map(move |endpoints| (upstream(endpoints), endpoints.clone()))
}
