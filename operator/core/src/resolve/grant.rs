//! ReferenceGrants.

use crate::snapshot::Snapshot;

/// Who may refer to what in another namespace.
#[derive(Debug)]
pub struct Grants {}

impl Grants {
    /// All grants of the snapshot.
    pub(super) fn new(_snapshot: &Snapshot) -> Self {
        Self {}
    }
}
