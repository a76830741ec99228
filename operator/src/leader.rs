//! Which replica writes: the one that holds a Lease.

use std::{net::SocketAddr, pin::pin, time::Duration};

use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher::watch_object},
};
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use operator_core::object::ObjectKey;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::parts::Parts;

/// How long a Lease lasts that its holder does not renew, in seconds.
const DURATION: u64 = 8;

/// How long before its end it is renewed, in seconds.
const GRACE: u64 = 3;

/// How long to wait before a campaign that failed is begun again.
const AGAIN: Duration = Duration::from_secs(2);

/// This replica among those that want to lead.
pub struct Election {
    /// Whether it leads.
    pub leads: watch::Receiver<bool>,
    /// Where the leader listens for agents; `None` while there is none or it is this replica.
    pub leader: watch::Receiver<Option<SocketAddr>>,
}

/// What it takes to be elected.
struct Candidate {
    client: Client,
    lease: ObjectKey,
    /// The replica's name, and, if others can reach it, where it listens for agents.
    identity: String,
}

impl Election {
    /// Has parts lead whenever nobody else does, until told to stop; then the Lease is given back. Others find the replica
    /// at the address, if any.
    #[must_use]
    pub fn enter(
        parts: &mut Parts,
        client: &Client,
        lease: &ObjectKey,
        name: &str,
        address: Option<SocketAddr>,
    ) -> Self {
        let (leads, leader) = (watch::Sender::new(false), watch::Sender::new(None));
        let (is_leading, leads_at) = (leads.subscribe(), leader.subscribe());
        let identity = identity(name, address);
        let candidate = || Candidate {
            client: client.clone(),
            lease: lease.clone(),
            identity: identity.clone(),
        };
        parts.run("watch of the Lease", candidate().watch(leader));
        let campaign = candidate().run(leads, parts.stop());
        parts.run_to_end("campaign for the Lease", campaign.map(Ok));
        Self {
            leads: is_leading,
            leader: leads_at,
        }
    }
}

impl Candidate {
    /// Runs for the Lease until told to stop.
    async fn run(self, leads: watch::Sender<bool>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.hold(&leads, &stop).await {
                tracing::warn!(lease = %self.lease, %error, "cannot run for the Lease, trying again");
                stop.run_until_cancelled(sleep(AGAIN)).await;
            }
            leads.send_replace(false);
        }
    }

    /// Holds the Lease whenever nobody else does, and gives it back when told to stop. One that is not there is made, but
    /// only at the beginning: that it was deleted is an error.
    async fn hold(
        &self,
        leads: &watch::Sender<bool>,
        stop: &CancellationToken,
    ) -> Result<(), LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(self.client.clone(), &self.lease.name)
            .with_namespace(&self.lease.namespace)
            .with_identity(&self.identity)
            .with_duration(DURATION)
            .with_grace(GRACE)
            .build()
            .await?;
        while let Some(holds) = stop.run_until_cancelled(manager.changed()).await {
            let holds = holds?;
            tracing::info!(lease = %self.lease, identity = self.identity, leads = holds, "leadership");
            leads.send_replace(holds);
        }
        manager.release().await
    }

    /// Says where the holder of the Lease listens, for ever.
    async fn watch(self, leader: watch::Sender<Option<SocketAddr>>) {
        let leases = Api::<Lease>::namespaced(self.client, &self.lease.namespace);
        let mut changes = pin!(watch_object(leases, &self.lease.name).default_backoff());
        while let Some(change) = changes.next().await {
            match change {
                Ok(lease) => {
                    let holder = lease.and_then(|lease| lease.spec?.holder_identity);
                    let other = holder.filter(|holder| *holder != self.identity);
                    let found = other.and_then(|other| address(&other));
                    leader.send_if_modified(|leader| std::mem::replace(leader, found) != found);
                }
                Err(error) => tracing::warn!(lease = %self.lease, %error, "cannot watch the Lease"),
            }
        }
    }
}

/// How a replica calls itself in the Lease.
fn identity(name: &str, address: Option<SocketAddr>) -> String {
    address.map_or_else(|| name.to_owned(), |address| format!("{name}_{address}"))
}

/// Name of the replica that calls itself so.
#[must_use]
pub fn name(identity: &str) -> &str {
    match address(identity) {
        Some(_) => identity.rsplit_once('_').map_or(identity, |(name, _)| name),
        None => identity,
    }
}

/// Where the replica that calls itself so listens for agents.
fn address(identity: &str) -> Option<SocketAddr> {
    let (_, address) = identity.rsplit_once('_')?;
    address.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_says_where_the_replica_listens() {
        let listens = Some("192.0.2.1:9443".parse().unwrap());
        assert_eq!(address(&identity("flotilla-7_x", listens)), listens);
        assert_eq!(address(&identity("flotilla", None)), None);
        assert_eq!(name(&identity("flotilla-7_x", listens)), "flotilla-7_x");
        assert_eq!(name(&identity("flotilla", None)), "flotilla");
    }
}
