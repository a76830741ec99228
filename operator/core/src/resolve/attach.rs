//! Which route serves behind which listener.

use std::{collections::BTreeMap, sync::Arc};

use crate::{object::ObjectKey, resolve::route::HttpRoute};

/// What came of all routes' parent references.
#[derive(Debug, Default)]
pub struct Attachments {
    /// By Gateway, then by position in its `listeners`: the routes that serve there, each once.
    pub http_routes: BTreeMap<ObjectKey, Vec<Vec<Arc<HttpRoute>>>>,
}

/// Attaches every route to the listeners that its parent references lead to.
pub(super) fn attach(
    _snapshot: &crate::snapshot::Snapshot,
    _gateways: &BTreeMap<ObjectKey, super::Gateway>,
    _listener_sets: &BTreeMap<ObjectKey, super::gateway::ListenerSet>,
    _http_routes: &BTreeMap<ObjectKey, Arc<HttpRoute>>,
) -> Attachments {
    Attachments::default()
}
