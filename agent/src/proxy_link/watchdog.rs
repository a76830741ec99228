//! Ends a proxy that accepts but does not answer: nobody else would notice before clients do.

use std::{convert::Infallible, time::Duration};

use proto::fleet::PickerRefusal;
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
                let outcome = ask(&mut control).await;
                (Some(control), outcome)
            }
            Err(error) => (None, Err(error)),
        };
        let error = match outcome {
            Ok(refusals) => {
                self.failures = 0;
                return self.conclude(true, refusals);
            }
            Err(error) => error,
        };
        self.failures += 1;
        let reason = causes::sentence(&error);
        debug!(reason, failures = self.failures, "the proxy is not well");
        if self.failures < FAILURES {
            return;
        }
        self.conclude(false, Vec::new());
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

    fn conclude(&self, answers: bool, picker_refusals: Vec<PickerRefusal>) {
        self.standing.send_if_modified(|standing| {
            let is_new = (standing.answers, &standing.picker_refusals) != (answers, &picker_refusals);
            standing.answers = answers;
            standing.picker_refusals = picker_refusals;
            is_new
        });
    }
}

/// Whether a proxy is well, and which pickers it refuses.
async fn ask(control: &mut Control) -> Result<Vec<PickerRefusal>, control::Error> {
    control.healthz().await?;
    control.picker_refusals().await
}
