//! GatewayClasses that name our controller.

use std::collections::BTreeMap;

use crate::{object::ObjectKey, options::Options, snapshot::Snapshot};

/// A GatewayClass that names our controller.
#[derive(Debug)]
pub struct Class {}

/// Every GatewayClass that names our controller.
pub(super) fn resolve(_snapshot: &Snapshot, _options: &Options) -> BTreeMap<ObjectKey, Class> {
    BTreeMap::new()
}
