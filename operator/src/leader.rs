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

use crate::{calls::impatient, parts::Parts};

/// How long a Lease lasts that its holder does not renew, in seconds.
const DURATION: u64 = 8;

/// How long before its end it is renewed, in seconds.
const GRACE: u64 = 5;

/// How long a call of the API server about it may take.
const PATIENCE: Duration = Duration::from_secs(2);

// A renewal is two calls. One that fails must have failed before another replica may take the Lease.
const _: () = assert!(2 * PATIENCE.as_secs() < GRACE);

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
            let held = self.hold(&leads, &stop).await;
            leads.send_replace(false);
            if let Err(error) = held {
                tracing::warn!(lease = %self.lease, %error, "cannot run for the Lease, trying again");
                stop.run_until_cancelled(sleep(AGAIN)).await;
            }
        }
    }

    /// Holds the Lease whenever nobody else does, and gives it back when told to stop. One that is not there is made, but
    /// only at the beginning: that it was deleted is an error.
    async fn hold(
        &self,
        leads: &watch::Sender<bool>,
        stop: &CancellationToken,
    ) -> Result<(), LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(impatient(&self.client, PATIENCE), &self.lease.name)
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
    use std::sync::Arc;

    use axum::http::Method;
    use parking_lot::Mutex;
    use serde_json::{Value, json};
    use tokio::time::{Instant, timeout_at};

    use super::*;
    use crate::mock;

    /// An API server with a Lease, on which some calls hang.
    struct ApiServer {
        lease: Arc<Mutex<Value>>,
        /// When the Lease was written last.
        written: watch::Receiver<Instant>,
        /// Which calls hang.
        hanging: watch::Sender<Option<Method>>,
        client: Client,
    }

    impl ApiServer {
        fn new() -> Self {
            let lease = Arc::new(Mutex::new(json!({"metadata": {"name": "flotilla"}, "spec": {}})));
            let (writes, written) = watch::channel(Instant::now());
            let stored = lease.clone();
            let client = mock::client(move |asked| {
                let mut lease = stored.lock();
                if let (Method::PATCH, Value::Object(changes)) = (asked.method, &asked.body["spec"]) {
                    for (field, value) in changes {
                        lease["spec"][field] = value.clone();
                    }
                    writes.send_replace(Instant::now());
                }
                Some((200, lease.clone()))
            });
            let (hanging, hangs) = watch::channel(None);
            Self {
                lease,
                written,
                hanging,
                client: mock::hanging(client, move |method| hangs.borrow().as_ref() == Some(method)),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_whose_renewal_hangs_stops_before_its_lease_ends_and_leads_again_later() {
        let mut api_server = ApiServer::new();
        let candidate = Candidate {
            client: api_server.client.clone(),
            lease: ObjectKey::new("flotilla-system", "flotilla"),
            identity: "flotilla-7".to_owned(),
        };
        let (leads, mut is_leading) = watch::channel(false);
        let stop = CancellationToken::new();
        let campaign = tokio::spawn(candidate.run(leads, stop.clone()));
        for hanging in [Method::PATCH, Method::GET] {
            is_leading.wait_for(|leads| *leads).await.unwrap();
            api_server.written.mark_unchanged();
            api_server.written.changed().await.unwrap();
            api_server.hanging.send_replace(Some(hanging.clone()));
            let until = *api_server.written.borrow() + Duration::from_secs(DURATION);
            let stops = timeout_at(until, is_leading.wait_for(|leads| !leads)).await;
            assert!(stops.is_ok(), "still leads although {hanging} hangs");
            api_server.hanging.send_replace(None);
        }
        is_leading.wait_for(|leads| *leads).await.unwrap();
        stop.cancel();
        campaign.await.unwrap();
        assert_eq!(api_server.lease.lock()["spec"]["holderIdentity"], Value::Null);
    }

    #[test]
    fn an_identity_says_where_the_replica_listens() {
        let listens = Some("192.0.2.1:9443".parse().unwrap());
        assert_eq!(address(&identity("flotilla-7_x", listens)), listens);
        assert_eq!(address(&identity("flotilla", None)), None);
        assert_eq!(name(&identity("flotilla-7_x", listens)), "flotilla-7_x");
        assert_eq!(name(&identity("flotilla", None)), "flotilla");
    }
}
