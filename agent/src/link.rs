//! The connection to the operator: what is wanted comes down, reports go up, again and again for ever.

use std::{convert::Infallible, fs, io, path::PathBuf, sync::Arc, time::Duration};

use proto::fleet::{Config, Report, Wanted, fleet_client::FleetClient};
use tokio::{sync::watch, time::sleep};
use tokio_stream::wrappers::WatchStream;
use tonic::{
    Request,
    metadata::{AsciiMetadataValue, errors::InvalidMetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint},
};
use tracing::{debug, info, warn};

use crate::{args::Options, backoff::Backoff, causes, data};

/// Ten thousand routes make about four mebibytes.
const MESSAGE_LIMIT: usize = 256 << 20;

/// An operator that does not answer for this long is gone.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a connection ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to the operator")]
    Connect(#[source] tonic::transport::Error),
    #[error("cannot read the authorities in {path}")]
    Authorities { path: PathBuf, source: io::Error },
    #[error("cannot speak TLS with the authorities in {path}")]
    Tls {
        path: PathBuf,
        source: tonic::transport::Error,
    },
    #[error("cannot read the token in {path}")]
    Token { path: PathBuf, source: io::Error },
    #[error("the token in {path} is none")]
    TokenText {
        path: PathBuf,
        source: InvalidMetadataValue,
    },
    #[error("the operator ended the connection")]
    Ended(#[source] Box<tonic::Status>),
    #[error("cannot put data into effect")]
    Data(#[from] data::Error),
}

/// The agent's end.
#[derive(Debug)]
pub struct Link {
    endpoint: Endpoint,
    operator_ca: Option<PathBuf>,
    token_file: Option<PathBuf>,
    report: watch::Receiver<Report>,
    config: watch::Sender<Option<Arc<Config>>>,
    data: Arc<data::InEffect>,
}

impl Link {
    /// Not connected yet; fails where the operator's address is none.
    pub fn new(
        options: &Options,
        report: watch::Receiver<Report>,
        config: watch::Sender<Option<Arc<Config>>>,
        data: Arc<data::InEffect>,
    ) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(options.operator.clone())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(ALIVE_EVERY)
            .keep_alive_timeout(ALIVE_EVERY)
            .keep_alive_while_idle(true);
        Ok(Self {
            endpoint,
            operator_ca: options.operator_ca.clone(),
            token_file: options.token_file.clone(),
            report,
            config,
            data,
        })
    }

    /// Connects whenever there is no connection.
    pub async fn follow(self) -> Infallible {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let mut is_known = false;
        loop {
            let mut was_of_use = false;
            let ended = self.connection(&mut was_of_use).await;
            if was_of_use {
                backoff.reset();
                is_known = false;
            }
            // Said once: an operator may be away for long.
            if let Err(error) = ended {
                let reason = causes::sentence(&error);
                if is_known {
                    debug!(reason, "not connected to the operator");
                } else {
                    warn!(reason, "not connected to the operator");
                }
                is_known = true;
            }
            sleep(backoff.delay()).await;
        }
    }

    /// One connection, from its beginning to its end.
    ///
    /// It was of use when something that came could be taken: an agent that can take nothing must not ask the operator,
    /// who reviews its token each time, again and again without a pause.
    async fn connection(&self, was_of_use: &mut bool) -> Result<(), Error> {
        let channel = self.endpoint()?.connect().await.map_err(Error::Connect)?;
        let mut client = FleetClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
        // The stream begins with the newest report and skips those that are outdated before they are sent.
        let mut request = Request::new(WatchStream::new(self.report.clone()));
        if let Some(authorization) = self.authorization()? {
            request.metadata_mut().insert("authorization", authorization);
        }
        let ended = |status| Error::Ended(Box::new(status));
        let mut stream = client.follow(request).await.map_err(ended)?.into_inner();
        info!("connected to the operator");
        while let Some(wanted) = stream.message().await.map_err(ended)? {
            self.take(wanted)?;
            *was_of_use = true;
        }
        Ok(())
    }

    /// Data first: the configuration that comes with it may need it.
    ///
    /// Data that cannot be put into effect ends the connection; the operator says all again at the next.
    fn take(&self, wanted: Wanted) -> Result<(), Error> {
        let Wanted { config, data } = wanted;
        let newest = match &config {
            Some(config) => Some(config.version.clone()),
            None => self.config.borrow().as_ref().map(|config| config.version.clone()),
        };
        if let Some(data) = data {
            debug!(version = data.version, "data");
            self.data.put(data)?;
            if newest.is_some_and(|version| version == self.report.borrow().config) {
                self.data.retire()?;
            }
        }
        if let Some(config) = config {
            self.config.send_replace(Some(Arc::new(config)));
        }
        Ok(())
    }

    /// The operator as its authorities are now: they change while the agent runs.
    fn endpoint(&self) -> Result<Endpoint, Error> {
        let endpoint = self.endpoint.clone();
        let Some(path) = &self.operator_ca else {
            return Ok(endpoint);
        };
        let authorities = fs::read(path).map_err(|source| Error::Authorities {
            path: path.clone(),
            source,
        })?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
        endpoint.tls_config(tls).map_err(|source| Error::Tls {
            path: path.clone(),
            source,
        })
    }

    fn authorization(&self) -> Result<Option<AsciiMetadataValue>, Error> {
        let Some(path) = &self.token_file else {
            return Ok(None);
        };
        let token = fs::read_to_string(path).map_err(|source| Error::Token {
            path: path.clone(),
            source,
        })?;
        let mut value: AsciiMetadataValue =
            format!("Bearer {}", token.trim())
                .parse()
                .map_err(|source| Error::TokenText {
                    path: path.clone(),
                    source,
                })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}
