//! The operator's end of the link.

use std::{
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, Stream, StreamExt as _, stream};
use proto::fleet::{Report, Wanted, fleet_server};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, metadata::AsciiMetadataValue};

use super::{
    admission::Admission,
    guard::Guard,
    relay::{self, Relay},
    reports::Reports,
    tls,
    wanted::wanted,
};
use crate::{controller::Generations, metrics::Metrics, observations::Observations};

/// How often an agent in the cluster is asked whether it is still there; one that does not answer for as long is gone.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// Serves agents.
pub struct Server {
    guard: Guard,
    generations: Generations,
    reports: Reports,
    /// Where else reports are needed.
    relay: Option<Relay>,
    /// Ends all streams.
    stop: CancellationToken,
}

/// Why agents cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be made.
    #[error("cannot listen on {}; its path may be too long, choose a shorter --state", path.display())]
    Listen {
        /// Of the socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The server broke.
    #[error("cannot serve agents")]
    Serve {
        /// How.
        #[from]
        source: tonic::transport::Error,
    },
}

impl Server {
    /// A server of these generations to agents whom the guard admits.
    #[must_use]
    pub fn new(
        guard: impl Into<Guard>,
        generations: Generations,
        observations: Observations,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            guard: guard.into(),
            generations,
            reports: Reports::new(observations, metrics),
            relay: None,
            stop,
        }
    }

    /// The server as one replica of several, which brings what agents say to the one that leads.
    #[must_use]
    pub fn relaying(self, relay: Relay) -> Self {
        Self {
            relay: Some(relay),
            ..self
        }
    }
}

/// Listens on a unix socket.
///
/// One that an earlier process left is replaced; that no other process uses it is for the caller to know.
pub fn listen(socket: &Path) -> Result<UnixListener, Error> {
    let listen = || {
        if socket.exists() {
            fs::remove_file(socket)?;
        }
        UnixListener::bind(socket)
    };
    listen().map_err(|source| Error::Listen {
        path: socket.to_owned(),
        source,
    })
}

/// Serves agents until the server is told to stop.
pub async fn serve(server: Server, listener: UnixListener) -> Result<(), Error> {
    let stop = server.stop.clone();
    tonic::transport::Server::builder()
        .add_service(fleet_server::FleetServer::new(server).max_encoding_message_size(usize::MAX))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop.cancelled_owned())
        .await?;
    Ok(())
}

/// Serves agents over TLS until the server is told to stop.
pub async fn serve_tls(server: Server, listener: TcpListener, config: ServerConfig) -> Result<(), Error> {
    let stop = server.stop.clone();
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(ALIVE_EVERY))
        .http2_keepalive_timeout(Some(ALIVE_EVERY))
        .add_service(fleet_server::FleetServer::new(server).max_encoding_message_size(usize::MAX))
        .serve_with_incoming_shutdown(tls::connections(listener, config), stop.cancelled_owned())
        .await?;
    Ok(())
}

#[tonic::async_trait]
impl fleet_server::Fleet for Server {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<Wanted, Status>> + Send>>;

    async fn follow(
        &self,
        request: Request<Streaming<Report>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let is_relayed = relay::is_relayed(request.metadata());
        let peer = request.remote_addr().map(|address| address.ip().to_canonical());
        let authorization = request.metadata().get("authorization").cloned();
        let authorization = authorization.unwrap_or(AsciiMetadataValue::from_static(""));
        let admission = self
            .guard
            .admit(authorization.to_str().unwrap_or_default(), peer)
            .await?;

        let (reports, stop) = (self.reports.clone(), self.stop.clone());
        let relay = self.relay.clone().filter(|_| !is_relayed);
        let wanted = if is_relayed {
            stream::pending().boxed()
        } else {
            wanted(self.generations.subscribe(&admission.gateway)).boxed()
        };
        let end = {
            let admission = admission.clone();
            async move { stop.run_until_cancelled_owned(admission.expiry()).await }.shared()
        };
        let wanted = wanted.take_until(end.clone());
        tokio::spawn(async move {
            let (newest, to_leader) = watch::channel(None);
            let relayed = async {
                match relay {
                    Some(relay) => relay.forward(authorization, to_leader).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = hear(request.into_inner(), admission, &reports, &newest) => {}
                never = relayed => match never {},
                _ = end => {}
            }
        });
        Ok(Response::new(wanted.boxed()))
    }
}

/// Takes an agent's reports as long as they come, and only the newest of those that come too fast. An agent that goes away
/// and one that breaks the protocol are all the same to us.
async fn hear(
    mut incoming: Streaming<Report>,
    admission: Admission,
    reports: &Reports,
    newest: &watch::Sender<Option<Report>>,
) {
    let Admission {
        gateway,
        instance,
        until: _,
    } = admission;
    let Ok(Some(first)) = incoming.message().await else {
        return;
    };
    let connection = reports.connect(&gateway, instance.as_ref().unwrap_or(&first.instance));
    let mut next = Some(first);
    loop {
        tokio::select! {
            biased;
            () = connection.turn(), if next.is_some() => if let Some(report) = next.take() {
                newest.send_replace(Some(report.clone()));
                connection.take(report);
            },
            message = incoming.message() => match message {
                Ok(Some(report)) => next = Some(report),
                Ok(None) | Err(_) => return,
            },
        }
    }
}
