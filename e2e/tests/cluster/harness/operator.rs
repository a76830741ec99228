//! The operator in the cluster.

use anyhow::{Context as _, Result};
use e2e::{
    cluster::{NAMESPACE, RELEASE},
    standalone::eventually,
};

use super::{Kind, Pod, Setting};

impl Setting {
    /// The operator's pods, in order of name.
    pub(crate) async fn operators(&self) -> Result<Vec<Pod>> {
        self.pods(NAMESPACE, "app.kubernetes.io/name=flotilla").await
    }

    /// The operator that writes, and the others.
    pub(crate) async fn leader_and_others(&self) -> Result<(Pod, Vec<Pod>)> {
        eventually(async || {
            let lease = self.namespace_of(Kind::LEASE, NAMESPACE).get("flotilla").await?;
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
            let (mut leaders, others): (Vec<Pod>, Vec<Pod>) = self
                .operators()
                .await?
                .into_iter()
                .partition(|pod| holder.starts_with(&pod.name));
            let leader = leaders
                .pop()
                .with_context(|| format!("{holder:?} leads, which is no pod"))?;
            Ok((leader, others))
        })
        .await
    }

    /// Waits until the operator has all its pods.
    pub(crate) async fn operators_settled(&self) -> Result<()> {
        self.settled_in(NAMESPACE, RELEASE).await
    }
}
