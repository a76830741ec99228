//! The operator's end of the link.

use std::{
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use futures::{Stream, StreamExt as _};
use proto::fleet::{Report, Wanted, fleet_server};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{reports::Reports, tokens::Tokens, wanted::wanted};
use crate::{controller::Generations, metrics::Metrics, observations::Observations};

/// Serves agents.
pub struct Server {
    tokens: Tokens,
    generations: Generations,
    reports: Reports,
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
    /// A server of these generations to agents with these tokens.
    #[must_use]
    pub fn new(
        tokens: Tokens,
        generations: Generations,
        observations: Observations,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            tokens,
            generations,
            reports: Reports::new(observations, metrics),
            stop,
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

#[tonic::async_trait]
impl fleet_server::Fleet for Server {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<Wanted, Status>> + Send>>;

    async fn follow(
        &self,
        request: Request<Streaming<Report>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let authorization = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let gateway = authorization
            .and_then(|authorization| self.tokens.gateway(authorization))
            .ok_or_else(|| Status::unauthenticated("this token is good for no gateway"))?;

        let (reports, stop, mut incoming) = (self.reports.clone(), self.stop.clone(), request.into_inner());
        let generations = self.generations.subscribe(&gateway);
        tokio::spawn(async move {
            let mut connection = None;
            // An agent that goes away and one that breaks the protocol are all the same to us.
            while let Some(Ok(Some(report))) = stop.run_until_cancelled(incoming.message()).await {
                connection
                    .get_or_insert_with(|| reports.connect(&gateway, &report.instance))
                    .take(report);
            }
        });
        let wanted = wanted(generations).take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(wanted.boxed()))
    }
}
