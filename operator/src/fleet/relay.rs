//! From replica to replica: what agents say must reach the one that writes statuses, wherever they are connected.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use futures::StreamExt as _;
use proto::fleet::{Report, fleet_client::FleetClient};
use tokio::{sync::watch, time::sleep};
use tokio_stream::wrappers::WatchStream;
use tonic::{
    Request, Status,
    metadata::{AsciiMetadataValue, MetadataMap},
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

/// Marks a stream that brings the reports of another replica's agent, and wants nothing back.
const MARK: &str = "flotilla-relayed";

/// How long to wait before a leader that could not be reached is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// A leader that does not answer for this long is gone.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// The way to the replica that leads.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Where the leader listens for agents; `None` while there is none or it is this replica.
    pub leader: watch::Receiver<Option<SocketAddr>>,
    /// Certificates of the authorities that its certificate may come from, in PEM.
    pub authorities: watch::Receiver<String>,
    /// The host name in its certificate.
    pub host: String,
}

/// Why reports do not reach the leader.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot connect to the leader")]
    Connect(#[from] tonic::transport::Error),
    #[error("the leader does not take an agent's reports")]
    Refused(#[from] Box<Status>),
}

/// Whether a stream comes from another replica.
pub(super) fn is_relayed(metadata: &MetadataMap) -> bool {
    metadata.contains_key(MARK)
}

impl Relay {
    /// Brings an agent's reports to the leader, whoever that is, as long as this is polled.
    ///
    /// The leader takes them for the token's sake, as from the agent itself: no replica has to trust another.
    pub(super) async fn forward(
        mut self,
        authorization: AsciiMetadataValue,
        reports: watch::Receiver<Option<Report>>,
    ) -> Infallible {
        loop {
            let found = self.leader.wait_for(Option::is_some).await.map(|leader| *leader);
            let Ok(Some(leader)) = found else {
                // Nobody looks for leaders any more.
                return std::future::pending().await;
            };
            let mut changes = self.leader.clone();
            tokio::select! {
                result = self.connection(leader, &authorization, reports.clone()) => {
                    if let Err(error) = result {
                        tracing::debug!(%leader, ?error, "cannot relay an agent's reports");
                    }
                    sleep(AGAIN).await;
                }
                _ = changes.changed() => {}
            }
        }
    }

    async fn connection(
        &self,
        leader: SocketAddr,
        authorization: &AsciiMetadataValue,
        reports: watch::Receiver<Option<Report>>,
    ) -> Result<(), Error> {
        let authorities = Certificate::from_pem(self.authorities.borrow().as_bytes());
        let tls = ClientTlsConfig::new()
            .ca_certificate(authorities)
            .domain_name(&self.host);
        let channel = Endpoint::from_shared(format!("https://{leader}"))?
            .tls_config(tls)?
            .connect_timeout(ALIVE_EVERY)
            .http2_keep_alive_interval(ALIVE_EVERY)
            .keep_alive_while_idle(true)
            .connect()
            .await?;
        let reports = WatchStream::new(reports).filter_map(async |report| report);
        let mut request = Request::new(reports);
        let metadata = request.metadata_mut();
        metadata.insert("authorization", authorization.clone());
        metadata.insert(MARK, AsciiMetadataValue::from_static("true"));
        let followed = FleetClient::new(channel).follow(request).await;
        let mut nothing = followed.map_err(Box::new)?.into_inner();
        while nothing.message().await.map_err(Box::new)?.is_some() {}
        Ok(())
    }
}
