//! The link with a proxy that says yes to everything and remembers what it was told.

use std::{fs, thread, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    routing::{get, put},
};
use prost::Message as _;
use proto::fleet::{Data, Leg, PickerRefusal, PickerRefusals, Report};
use tokio::{
    net::UnixListener,
    sync::{
        mpsc::{self, UnboundedReceiver, UnboundedSender},
        oneshot,
    },
};

use super::*;

/// How long anything may take before a test fails.
const DEADLINE: Duration = Duration::from_secs(10);

/// A proxy on a thread of its own, so that its connections end with it.
struct Proxy {
    told: UnboundedReceiver<Data>,
    end: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Proxy {
    fn start(prefix: &Prefix) -> Self {
        let ((tell, told), (end, ended)) = (mpsc::unbounded_channel(), oneshot::channel());
        let path = prefix.proxy_control();
        let serve = async move {
            // An earlier one may have left its socket.
            let _ = fs::remove_file(&path);
            let listener = UnixListener::bind(path).unwrap();
            let router = Router::new()
                .route("/data", put(take))
                .route("/healthz", get(async || "ok\n"))
                .route(
                    "/picker-refusals",
                    get(async || {
                        PickerRefusals {
                            refusals: vec![refusal()],
                        }
                        .encode_to_vec()
                    }),
                )
                .with_state(tell);
            select! {
                _ = axum::serve(listener, router) => {}
                _ = ended => {}
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let thread = thread::spawn(move || runtime.block_on(serve));
        Self { told, end, thread }
    }

    /// What it is told next.
    async fn next(&mut self) -> Data {
        timeout(DEADLINE, self.told.recv()).await.unwrap().unwrap()
    }

    fn end(self) {
        self.end.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

async fn take(State(tell): State<UnboundedSender<Data>>, body: Bytes) -> StatusCode {
    tell.send(Data::decode(body).unwrap()).unwrap();
    StatusCode::NO_CONTENT
}

/// A folder, data without legs, and what is known of the proxy.
fn setting() -> (tempfile::TempDir, Prefix, watch::Sender<Arc<Data>>, ProxyLink) {
    let folder = tempfile::tempdir().unwrap();
    let prefix = Prefix::create(folder.path()).unwrap();
    let data = watch::Sender::new(Arc::default());
    let link = ProxyLink::spawn(&prefix, data.subscribe());
    (folder, prefix, data, link)
}

fn refusal() -> PickerRefusal {
    PickerRefusal {
        endpoints: "picker".to_owned(),
        address: "198.18.0.1:9002".to_owned(),
        reason: "invalid peer certificate: UnknownIssuer".to_owned(),
        tls: None,
    }
}

fn data(leg: &str) -> Arc<Data> {
    let leg = Leg {
        name: leg.to_owned(),
        ..Leg::default()
    };
    Arc::new(Data {
        legs: vec![leg],
        ..Data::default()
    })
}

#[tokio::test]
async fn every_proxy_is_told_the_newest_data_and_what_follows() {
    let (_folder, prefix, sender, mut link) = setting();
    sender.send_replace(data("a"));
    let mut first = Proxy::start(&prefix);
    assert_eq!(first.next().await, *data("a"));
    sender.send_replace(data("b"));
    assert!(link.knows_newest(DEADLINE).await);
    assert_eq!(first.next().await, *data("b"));

    first.end();
    let mut second = Proxy::start(&prefix);
    assert_eq!(second.next().await, *data("b"));
    assert!(link.knows_newest(DEADLINE).await);
    second.end();
}

#[tokio::test]
async fn pickers_that_the_proxy_refuses_are_reported() {
    let (_folder, prefix, _sender, link) = setting();
    let report = watch::Sender::new(Report::default());
    let mut reported = report.subscribe();
    tokio::spawn(link.report_refusals(report));
    let proxy = Proxy::start(&prefix);
    let refusals = timeout(
        DEADLINE,
        reported.wait_for(|report| !report.picker_refusals.is_empty()),
    );
    assert_eq!(refusals.await.unwrap().unwrap().picker_refusals, [refusal()]);
    proxy.end();
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_waited_for_only_where_there_are_legs() {
    let (_folder, prefix, sender, mut link) = setting();
    assert!(link.knows_newest(Duration::ZERO).await);
    assert!(link.is_ready());

    sender.send_replace(data("a"));
    assert!(!link.knows_newest(Duration::from_millis(20)).await);
    assert!(!link.is_ready());
    let proxy = Proxy::start(&prefix);
    assert!(link.knows_newest(DEADLINE).await);
    assert!(link.is_ready());
    proxy.end();
}

#[tokio::test]
async fn a_proxy_that_is_back_at_once_has_not_been_away() {
    let (_folder, prefix, sender, mut link) = setting();
    sender.send_replace(data("a"));
    let first = Proxy::start(&prefix);
    assert!(link.knows_newest(DEADLINE).await);
    first.end();
    let second = Proxy::start(&prefix);
    assert!(link.is_ready(), "one moment is not enough to be given up");
    second.end();
}

#[tokio::test]
async fn a_proxy_that_stays_away_is_not_ready() {
    let (_folder, prefix, sender, mut link) = setting();
    sender.send_replace(data("a"));
    let proxy = Proxy::start(&prefix);
    assert!(link.knows_newest(DEADLINE).await);
    proxy.end();
    let is_missed = async {
        while link.is_ready() {
            link.changed().await;
        }
    };
    timeout(DEADLINE, is_missed).await.unwrap();
}
