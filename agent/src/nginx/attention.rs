//! Noticing that an NGINX that runs answers nobody: its master lives on when all workers hang, or could not be started.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Answer;
use crate::prefix::Prefix;

/// How often NGINX is asked.
const INTERVAL: Duration = Duration::from_secs(3);

/// So many times in a row no worker may answer.
const FAILURES: u32 = 3;

/// What has become of asking NGINX time and again, through its own socket.
#[derive(Debug)]
pub struct Attention {
    prefix: Prefix,
    interval: Interval,
    failures: u32,
}

impl Attention {
    /// NGINX is taken to answer until it has failed to.
    #[must_use]
    pub fn new(prefix: &Prefix) -> Self {
        let mut interval = interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            prefix: prefix.clone(),
            interval,
            failures: 0,
        }
    }

    /// Whether any worker has answered lately.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.failures < FAILURES
    }

    /// Takes note that one has answered somebody else.
    pub fn answered(&mut self) {
        self.failures = 0;
    }

    /// Resolves when [`Self::is_answered`] has changed. What was asked before it is dropped is forgotten.
    pub async fn changed(&mut self) {
        let before = self.is_answered();
        while self.is_answered() == before {
            self.interval.tick().await;
            self.failures = match Answer::ask(&self.prefix).await {
                Some(_) => 0,
                None => self.failures.saturating_add(1),
            };
        }
    }
}
