//! Requests without end, so that not one failed goes unseen.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::{client::get, eventually};

/// Requests in a loop, until it is asked how they went.
pub struct Load {
    counted: watch::Receiver<u64>,
    failures: JoinHandle<Vec<String>>,
    stop: watch::Sender<bool>,
}

impl Load {
    pub fn start(address: SocketAddr) -> Self {
        let (count, counted) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let count = Arc::new(count);
        let failures = tokio::spawn(async move {
            let mut failures = Vec::new();
            while !*stopped.borrow() {
                match get(address, "/").await {
                    Ok((200, _)) => {}
                    Ok((status, _)) => failures.push(status.to_string()),
                    Err(error) => failures.push(error.to_string()),
                }
                count.send_modify(|count| *count += 1);
                sleep(Duration::from_millis(1)).await;
            }
            failures
        });
        Self {
            counted,
            failures,
            stop,
        }
    }

    /// Waits for so many more requests.
    pub async fn more(&self, requests: u64) {
        let begun = *self.counted.borrow();
        eventually("more requests", async || {
            *self.counted.borrow() >= begun + requests
        })
        .await;
    }

    /// What went wrong, request by request.
    pub async fn failures(self) -> Vec<String> {
        self.stop.send_replace(true);
        self.failures.await.unwrap()
    }
}
