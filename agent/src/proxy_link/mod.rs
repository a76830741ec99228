//! The supervisor's side of the proxy: tells it the data, and looks after it.
//!
//! Two tasks that know nothing of each other. One holds a connection to the proxy's [`control`] socket for as long as
//! the proxy lives, so that it knows at once when there is a new one that has to be told; the watchdog asks whether
//! all threads answer, and ends a proxy that has hung, which init then starts again.

pub mod control;
#[cfg(test)]
mod tests;
mod watchdog;

use std::{sync::Arc, time::Duration};

use proto::fleet;
use tokio::{
    select,
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use self::{control::Control, watchdog::Watchdog};
use crate::{causes, prefix::Prefix};

/// How long after a proxy has gone it is looked for the next.
const CONNECT_INTERVAL: Duration = Duration::from_millis(10);

/// What is known of the proxy.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// The data that its requests go by; none where it is not known to go by any of ours.
    told: Option<Arc<fleet::Data>>,
    /// Whether all its threads have answered lately.
    answers: bool,
    /// The pickers that it does not speak with because of their TLS, in order.
    picker_refusals: Vec<fleet::PickerRefusal>,
}

/// What the supervisor knows of the proxy.
#[derive(Clone, Debug)]
pub struct ProxyLink {
    data: watch::Receiver<Arc<fleet::Data>>,
    standing: watch::Receiver<Standing>,
}

impl ProxyLink {
    /// Tells the proxy of a folder the newest data and looks after it, for as long as the runtime lives.
    #[must_use]
    pub fn spawn(prefix: &Prefix, data: watch::Receiver<Arc<fleet::Data>>) -> Self {
        let standing = watch::Sender::new(Standing::default());
        let link = Self {
            data: data.clone(),
            standing: standing.subscribe(),
        };
        tokio::spawn(Watchdog::new(prefix, standing.clone()).watch());
        tokio::spawn(tell(prefix.clone(), data, standing));
        link
    }

    /// Whether the proxy can take the requests that are meant for it; always, where there are none.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.data.borrow().legs.is_empty() || self.standing.borrow().answers
    }

    /// Waits until the proxy goes by the newest data, for some time at most; whether it does. Where there are no legs it
    /// need not.
    pub async fn knows_newest(&mut self, limit: Duration) -> bool {
        let newest = self.data.borrow().clone();
        let is_newest = |standing: &Standing| {
            standing
                .told
                .as_ref()
                .is_some_and(|told| Arc::ptr_eq(told, &newest))
        };
        newest.legs.is_empty() || matches!(timeout(limit, self.standing.wait_for(is_newest)).await, Ok(Ok(_)))
    }

    /// Reports the pickers that the proxy does not speak with, for as long as the runtime lives.
    pub async fn report_refusals(mut self, report: watch::Sender<fleet::Report>) {
        let mut refusals = Vec::new();
        let differ = |standing: &Standing, refusals: &Vec<_>| standing.picker_refusals != *refusals;
        while let Ok(standing) = self
            .standing
            .wait_for(|standing| differ(standing, &refusals))
            .await
        {
            refusals.clone_from(&standing.picker_refusals);
            drop(standing);
            report.send_modify(|report| report.picker_refusals.clone_from(&refusals));
        }
    }

    /// Resolves when [`Self::is_ready`] may have changed.
    pub async fn changed(&mut self) {
        select! {
            Ok(()) = self.data.changed() => {}
            Ok(()) = self.standing.changed() => {}
            // The tasks end with the runtime.
            else => std::future::pending().await,
        }
    }
}

/// Tells every proxy that comes all data, from the newest on.
async fn tell(
    prefix: Prefix,
    mut data: watch::Receiver<Arc<fleet::Data>>,
    standing: watch::Sender<Standing>,
) {
    loop {
        match Control::connect(&prefix).await {
            Ok(mut control) => {
                if let Err(error) = tell_one(&mut control, &mut data, &standing).await {
                    warn!(reason = causes::sentence(&error), "the proxy was told in vain");
                }
                standing.send_modify(|standing| standing.told = None);
                info!("the proxy is gone");
            }
            Err(error) => debug!(reason = causes::sentence(&error), "no proxy"),
        }
        sleep(CONNECT_INTERVAL).await;
    }
}

/// Tells one proxy, until its end.
async fn tell_one(
    control: &mut Control,
    data: &mut watch::Receiver<Arc<fleet::Data>>,
    standing: &watch::Sender<Standing>,
) -> Result<(), control::Error> {
    loop {
        let newest = data.borrow_and_update().clone();
        control.put_data(&newest).await?;
        standing.send_modify(|standing| {
            standing.told = Some(newest);
            standing.answers = true;
        });
        select! {
            Ok(()) = data.changed() => {}
            () = control.ended() => return Ok(()),
        }
    }
}
