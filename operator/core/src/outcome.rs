//! Everything that the operator wants, from one look at everything it knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{generation::Generation, infra::GatewayInfra, object::ObjectKey, status::StatusChange};

/// What [`reconcile`](crate::reconcile) makes of a snapshot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The gateways that are ours to run.
    pub gateways: BTreeMap<ObjectKey, GatewayOutcome>,
    /// Statuses that differ from the stored ones.
    pub statuses: Vec<StatusChange>,
    /// Objects of kinds that are only read on demand.
    pub needs: Needs,
}

/// What one gateway is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayOutcome {
    /// What must run.
    pub infra: GatewayInfra,
    /// What its NGINX must serve; `None` for what it serves already, as long as the Gateway is not accepted or has no
    /// address to listen on.
    pub generation: Option<Arc<Generation>>,
}

/// Secrets and ConfigMaps that some object refers to, whether they exist or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Secrets.
    pub secrets: BTreeSet<ObjectKey>,
    /// ConfigMaps.
    pub config_maps: BTreeSet<ObjectKey>,
}
