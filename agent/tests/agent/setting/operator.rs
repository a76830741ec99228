//! An operator that wants what a test says, and remembers the newest report.

use std::{path::Path, pin::Pin};

use proto::fleet::{
    Config, Data, Report, Wanted,
    fleet_server::{Fleet, FleetServer},
};
use tokio::{net::UnixListener, sync::watch, task::JoinHandle, time::timeout};
use tokio_stream::{
    Stream, StreamExt as _,
    wrappers::{UnixListenerStream, WatchStream},
};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::DEADLINE;

pub struct Operator {
    wanted: watch::Sender<Wanted>,
    reports: watch::Receiver<Report>,
    authorization: watch::Receiver<Option<String>>,
    server: JoinHandle<()>,
}

impl Operator {
    /// Listens on a socket.
    pub fn start(socket: &Path) -> Self {
        let (wanted, reports, authorization) = (
            watch::Sender::new(Wanted::default()),
            watch::Sender::new(Report::default()),
            watch::Sender::new(None),
        );
        let service = Service {
            wanted: wanted.clone(),
            reports: reports.clone(),
            authorization: authorization.clone(),
        };
        let _ = std::fs::remove_file(socket);
        let connections = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
        let serving = Server::builder()
            .add_service(FleetServer::new(service))
            .serve_with_incoming(connections);
        let server = tokio::spawn(async { serving.await.unwrap() });
        Self {
            wanted,
            reports: reports.subscribe(),
            authorization: authorization.subscribe(),
            server,
        }
    }

    /// Wants a configuration and data from now on.
    pub fn want(&self, config: Config, data: Data) {
        self.wanted.send_replace(Wanted {
            config: Some(config),
            data: Some(data),
        });
    }

    /// Wants other data beside the same configuration.
    pub fn want_data(&self, data: Data) {
        self.wanted.send_replace(Wanted {
            config: None,
            data: Some(data),
        });
    }

    /// The first report from now on of which something holds.
    pub async fn report(&mut self, what: &str, holds: impl FnMut(&Report) -> bool) -> Report {
        if let Ok(report) = timeout(DEADLINE, self.reports.wait_for(holds)).await {
            return report.unwrap().clone();
        }
        panic!("never reported: {what}; but {:?}", *self.reports.borrow())
    }

    /// The report that a version is served.
    pub async fn served(&mut self, version: &str) -> Report {
        self.report(version, |report| report.ready && report.config == version)
            .await
    }

    /// The report that NGINX does not take a version.
    pub async fn rejected(&mut self, version: &str) -> Report {
        let is_rejected = |report: &Report| {
            report
                .rejection
                .as_ref()
                .is_some_and(|rejection| rejection.config == version)
        };
        self.report(version, is_rejected).await
    }

    pub fn authorization(&self) -> Option<String> {
        self.authorization.borrow().clone()
    }

    /// Forgets the newest report, so that the next is one that comes from now on.
    pub fn forget(&mut self) {
        self.reports.mark_unchanged();
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Service {
    wanted: watch::Sender<Wanted>,
    reports: watch::Sender<Report>,
    authorization: watch::Sender<Option<String>>,
}

#[tonic::async_trait]
impl Fleet for Service {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<Wanted, Status>> + Send>>;

    async fn follow(
        &self,
        request: Request<Streaming<Report>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let authorization = request.metadata().get("authorization");
        self.authorization
            .send_replace(authorization.map(|value| value.to_str().unwrap().to_owned()));
        let mut stream = request.into_inner();
        let reports = self.reports.clone();
        tokio::spawn(async move {
            while let Ok(Some(report)) = stream.message().await {
                reports.send_replace(report);
            }
        });
        let wanted = WatchStream::new(self.wanted.subscribe());
        Ok(Response::new(Box::pin(wanted.map(Ok))))
    }
}
