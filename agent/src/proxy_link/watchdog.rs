//! Ends a proxy that accepts but does not answer: nobody else would notice before clients do.

use std::{convert::Infallible, time::Duration};

use rustix::process::{Signal, kill_process};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::{debug, error};

use super::{
    Standing,
    control::{self, Control},
};
use crate::{causes, prefix::Prefix};

/// How often the proxy is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// So many times in a row the proxy may fail to answer.
const FAILURES: u32 = 3;

/// Asks a proxy, time and again, whether all its threads answer.
#[derive(Debug)]
pub(super) struct Watchdog {
    prefix: Prefix,
    standing: watch::Sender<Standing>,
    failures: u32,
}

impl Watchdog {
    pub(super) fn new(prefix: &Prefix, standing: watch::Sender<Standing>) -> Self {
        Self {
            prefix: prefix.clone(),
            standing,
            failures: 0,
        }
    }

    pub(super) async fn watch(mut self) -> Infallible {
        let mut interval = interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        // A connection of its own each time: one that has been waited at in vain is of no more use.
        let (control, outcome) = match Control::connect(&self.prefix).await {
            Ok(mut control) => {
                let outcome = control.healthz().await;
                (Some(control), outcome)
            }
            Err(error) => (None, Err(error)),
        };
        let Err(error) = outcome else {
            self.failures = 0;
            return self.conclude(true);
        };
        self.failures += 1;
        let reason = causes::sentence(&error);
        debug!(reason, failures = self.failures, "the proxy is not well");
        if self.failures < FAILURES {
            return;
        }
        self.conclude(false);
        // One that cannot be connected to has ended, and init knows.
        if let Some(pid) = control.as_ref().and_then(Control::pid)
            && matches!(error, control::Error::Timeout(_) | control::Error::Status { .. })
        {
            error!(pid = pid.as_raw_pid(), reason, "ending a proxy that has hung");
            // The connection is open still, so that the number means no other process.
            if let Err(error) = kill_process(pid, Signal::KILL) {
                error!(%error, "cannot end the proxy");
            }
            self.failures = 0;
        }
    }

    fn conclude(&self, answers: bool) {
        self.standing.send_if_modified(|standing| {
            let is_new = standing.answers != answers;
            standing.answers = answers;
            is_new
        });
    }
}
