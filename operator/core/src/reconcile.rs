//! The order of the steps; read this first.

use crate::{observed::Observed, options::Options, outcome::Outcome, snapshot::Snapshot};

/// Everything that the operator wants, given everything that it knows.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, observed: &Observed, options: &Options) -> Outcome {
    let _ = (snapshot, observed, options);
    Outcome::default()
}
