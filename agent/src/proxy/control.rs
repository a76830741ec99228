//! The control socket: what the supervisor tells the proxy and asks it.

use std::{path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, put},
};
use futures::future::join_all;
use prost::Message as _;
use proto::fleet;
use tokio::{net::UnixListener, sync::Mutex, time::timeout};
use tracing::{debug, warn};

use super::{Error, listen, metrics::Metrics, table::Table, thread::Thread};

/// How long a thread may take for one step of its requests before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// All threads together.
#[derive(Clone, Debug)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    threads: Vec<Thread>,
    metrics: Arc<Metrics>,
    /// Held while it is given to the threads, so that all get tables in the same order.
    table: Mutex<Arc<Table>>,
}

impl Control {
    /// Threads that know no leg yet.
    #[must_use]
    pub fn new(threads: Vec<Thread>, metrics: Arc<Metrics>) -> Self {
        let table = Mutex::default();
        Self {
            shared: Arc::new(Shared {
                threads,
                metrics,
                table,
            }),
        }
    }

    /// Has all new requests go by some data; resolves when they do. Requests in flight go on as they were.
    pub async fn put(&self, data: &fleet::Data) {
        let mut newest = self.shared.table.lock().await;
        let table = Arc::new(Table::new(data, &newest));
        join_all(self.shared.threads.iter().map(|thread| thread.put(&table))).await;
        *newest = table;
        debug!(
            version = data.version,
            legs = data.legs.len(),
            "requests go by new data"
        );
    }

    /// Answers on a socket for as long as the runtime lives.
    pub fn serve(&self, socket: &Path) -> Result<(), Error> {
        let listener = UnixListener::from_std(listen(socket)?).map_err(|source| Error::Listen {
            path: socket.to_owned(),
            source,
        })?;
        let router = Router::new()
            .route("/data", put(put_data).layer(DefaultBodyLimit::disable()))
            .route("/healthz", get(healthz))
            .route("/picker-refusals", get(picker_refusals))
            .route("/metrics", get(metrics))
            .with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(())
    }

    /// Accepts nothing more and resolves when all requests have ended, or at the end of some time.
    pub async fn stop(&self, patience: Duration) {
        let drained = join_all(self.shared.threads.iter().map(Thread::drain));
        if timeout(patience, drained).await.is_err() {
            warn!("requests are cut, as they did not end in time");
        }
    }
}

/// Puts a `fleet.Data` into effect.
async fn put_data(State(control): State<Control>, body: Bytes) -> Result<StatusCode, (StatusCode, String)> {
    let data = fleet::Data::decode(body).map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}\n")))?;
    control.put(&data).await;
    Ok(StatusCode::NO_CONTENT)
}

/// 200 only when every thread answers.
async fn healthz(State(control): State<Control>) -> (StatusCode, &'static str) {
    let threads = &control.shared.threads;
    let alive = join_all(threads.iter().map(|thread| thread.is_alive(PATIENCE))).await;
    if alive.into_iter().all(|alive| alive) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "a thread is stuck\n")
    }
}

/// A `fleet.PickerRefusals`: each that a thread knows, once and in order.
async fn picker_refusals(State(control): State<Control>) -> Vec<u8> {
    let threads = &control.shared.threads;
    let refusals = join_all(threads.iter().map(Thread::refusals)).await;
    let mut refusals: Vec<_> = refusals.into_iter().flatten().flatten().collect();
    refusals.sort_by(|one, other| (&one.endpoints, &one.address).cmp(&(&other.endpoints, &other.address)));
    refusals.dedup();
    fleet::PickerRefusals { refusals }.encode_to_vec()
}

async fn metrics(State(control): State<Control>) -> Result<impl IntoResponse, StatusCode> {
    // See <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = control.shared.metrics.text();
    let text = text.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(header::CONTENT_TYPE, content_type)], text))
}
