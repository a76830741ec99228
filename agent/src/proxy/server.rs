//! One thread's server: what its requests share.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{
    metrics::Metrics,
    picker::Pickers,
    table::{Leg, Table},
    upstream::Pool,
};

/// What the requests of a thread share.
pub struct Server {
    table: RefCell<Arc<Table>>,
    connections: TaskTracker,
    draining: CancellationToken,
    turn: Cell<usize>,
    pub pool: Rc<Pool>,
    pub pickers: Pickers,
    pub metrics: Arc<Metrics>,
}

impl Server {
    /// A server that knows no leg yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            table: RefCell::default(),
            connections: TaskTracker::new(),
            draining: CancellationToken::new(),
            turn: Cell::default(),
            pool: Rc::default(),
            pickers: Pickers::default(),
            metrics,
        }
    }

    /// What new requests go by.
    #[must_use]
    pub fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.borrow())
    }

    /// A leg as the newest table has it, for requests that have waited since; the same where it is gone.
    #[must_use]
    pub fn newest(&self, leg: &Arc<Leg>) -> Arc<Leg> {
        Arc::clone(self.table.borrow().leg(&leg.name).unwrap_or(leg))
    }

    /// Has new requests go by a table.
    pub fn put(&self, table: Arc<Table>) {
        self.pool.retain(&table);
        let pickers = table.legs().filter_map(|leg| leg.picker.as_ref());
        self.pickers.put(pickers, &table.settings);
        self.table.replace(table);
    }

    /// Closes connections to endpoints that were not used for a while.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    /// Whose turn it is among some, from 0; always 0 among none.
    #[must_use]
    pub fn turn(&self, among: usize) -> usize {
        let turn = self.turn.get().wrapping_add(1);
        self.turn.set(turn);
        turn.checked_rem(among).unwrap_or(0)
    }

    /// What draining waits for.
    pub fn watcher(&self) -> TaskTrackerToken {
        self.connections.token()
    }

    /// Resolves when connections are to end in good order.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Resolves when all connections have ended their requests.
    pub async fn drain(&self) {
        self.draining.cancel();
        self.connections.close();
        self.connections.wait().await;
    }
}
