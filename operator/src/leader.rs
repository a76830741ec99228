//! Which replica writes: the one that holds a Lease.

use kube::Client;
use kube_lease_manager::{LeaseManagerBuilder, LeaseManagerError};
use operator_core::object::ObjectKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a Lease lasts that its holder does not renew, in seconds.
const DURATION: u64 = 15;

/// How long before its end it is renewed, in seconds.
const GRACE: u64 = 5;

/// Holds the Lease whenever nobody else does, says whether it does, and gives it back when told to stop.
pub async fn campaign(
    client: Client,
    lease: &ObjectKey,
    identity: &str,
    leads: &watch::Sender<bool>,
    stop: CancellationToken,
) -> Result<(), LeaseManagerError> {
    let manager = LeaseManagerBuilder::new(client, &lease.name)
        .with_namespace(&lease.namespace)
        .with_identity(identity)
        .with_duration(DURATION)
        .with_grace(GRACE)
        .build()
        .await?;
    let (mut holds, held) = manager.watch().await;
    while let Some(Ok(())) = stop.run_until_cancelled(holds.changed()).await {
        let holds = *holds.borrow_and_update();
        tracing::info!(%lease, identity, leads = holds, "leadership");
        leads.send_replace(holds);
    }
    leads.send_replace(false);
    // Nobody listens any more: that is what gives the Lease back.
    drop(holds);
    match held.await {
        Ok(given_back) => given_back.map(drop),
        Err(error) => {
            tracing::warn!(%error, "the Lease may not have been given back");
            Ok(())
        }
    }
}
