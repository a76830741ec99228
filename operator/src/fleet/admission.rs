//! What an agent is admitted to.

use std::time::{Duration, SystemTime};

use operator_core::object::ObjectKey;
use tokio::time::sleep;

/// What an agent is admitted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    /// The gateway that it may see.
    pub(super) gateway: ObjectKey,
    /// Its pod's name; `None` where it may name itself.
    pub(super) instance: Option<String>,
    /// When it has to prove itself again.
    pub(super) until: Option<SystemTime>,
}

impl Admission {
    /// Ends when the agent has to prove itself again.
    pub(super) async fn expiry(self) {
        match self.until {
            Some(until) => sleep(until.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)).await,
            None => std::future::pending().await,
        }
    }
}
