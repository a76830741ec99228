//! A thread that serves one socket: its runtime and the orders it takes.

use std::{os::unix::net, path::Path, rc::Rc, sync::Arc, thread, time::Duration};

use proto::fleet;
use tokio::{
    net::UnixListener,
    runtime::LocalOptions,
    select,
    sync::{mpsc, oneshot},
    task::spawn_local,
    time::interval,
};

use super::{Error, accept::accept, listen, metrics::Metrics, server::Server, table::Table};

/// How often connections are looked for that were not used for a while.
const SWEEP: Duration = Duration::from_secs(2);

/// What control tells a thread.
#[derive(Debug)]
pub enum Order {
    /// New requests go by this table.
    Use {
        table: Arc<Table>,
        done: oneshot::Sender<()>,
    },
    /// Say that you are alive.
    Answer { alive: oneshot::Sender<()> },
    /// Say which pickers you do not speak with.
    TellRefusals {
        refusals: oneshot::Sender<Vec<fleet::PickerRefusal>>,
    },
    /// Accept nothing more; say when all requests have ended.
    Drain { done: oneshot::Sender<()> },
}

/// The sending side of a thread's orders. The thread ends when it is dropped.
#[derive(Debug)]
pub struct Thread {
    orders: mpsc::UnboundedSender<Order>,
}

impl Thread {
    /// A thread that serves a socket, without any leg until it is told of some.
    pub fn spawn(socket: &Path, metrics: &Arc<Metrics>) -> Result<Self, Error> {
        let listener = listen(socket)?;
        let metrics = Arc::clone(metrics);
        let (orders, received) = mpsc::unbounded_channel();
        thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || run(listener, metrics, received))
            .map_err(|source| Error::Spawn { source })?;
        Ok(Self { orders })
    }

    /// Has new requests go by a table; resolves when they do.
    pub async fn put(&self, table: &Arc<Table>) {
        let table = Arc::clone(table);
        let _ = self.order(|done| Order::Use { table, done }).await;
    }

    /// Whether the thread takes orders, which it does between any two steps of its requests.
    pub async fn is_alive(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.order(|alive| Order::Answer { alive }))
            .await
            .is_ok_and(|alive| alive.is_some())
    }

    /// The pickers that it does not speak with because of their TLS; `None` from a thread that has ended.
    pub async fn refusals(&self) -> Option<Vec<fleet::PickerRefusal>> {
        self.order(|refusals| Order::TellRefusals { refusals }).await
    }

    /// Accepts nothing more; resolves when all requests have ended.
    pub async fn drain(&self) {
        let _ = self.order(|done| Order::Drain { done }).await;
    }

    /// What an order comes to; `None` when the thread has ended.
    async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Option<T> {
        let (done, carried_out) = oneshot::channel();
        self.orders.send(order(done)).ok()?;
        carried_out.await.ok()
    }
}

fn run(listener: net::UnixListener, metrics: Arc<Metrics>, orders: mpsc::UnboundedReceiver<Order>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .expect("a runtime needs an epoll descriptor and an event descriptor, nothing else");
    runtime.block_on(follow(listener, metrics, orders));
}

async fn follow(
    listener: net::UnixListener,
    metrics: Arc<Metrics>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let listener = UnixListener::from_std(listener).expect("the runtime has an epoll descriptor");
    let server = Rc::new(Server::new(metrics));
    let accepting = spawn_local(accept(Rc::clone(&server), listener));
    let mut sweep = interval(SWEEP);
    loop {
        let order = select! {
            order = orders.recv() => order,
            _ = sweep.tick() => {
                server.sweep();
                continue;
            }
        };
        let Some(order) = order else { return };
        match order {
            Order::Use { table, done } => {
                server.put(table);
                let _ = done.send(());
            }
            Order::Answer { alive } => {
                let _ = alive.send(());
            }
            Order::TellRefusals { refusals } => {
                let _ = refusals.send(server.pickers.refusals());
            }
            Order::Drain { done } => {
                accepting.abort();
                let server = Rc::clone(&server);
                spawn_local(async move {
                    server.drain().await;
                    let _ = done.send(());
                });
            }
        }
    }
}
