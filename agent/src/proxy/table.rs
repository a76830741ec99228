//! What the newest data says of legs and endpoints.

use proto::fleet;

/// Legs and endpoints, shared by all threads.
#[derive(Debug, Default)]
pub struct Table {}

impl Table {
    /// What some data says; what an earlier table had of the same is taken over from it.
    #[must_use]
    pub fn new(_data: &fleet::Data, _earlier: &Self) -> Self {
        Self {}
    }
}
