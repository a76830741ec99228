//! Agents elsewhere in the cluster, over TLS.

use std::{io, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::TcpListenerStream;

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How many may do so at once.
const AT_ONCE: usize = 256;

/// How long to wait when the system has no connection to give, such as for want of file descriptors.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);

/// The connections whose handshakes succeed.
pub(super) fn connections(
    listener: TcpListener,
    config: ServerConfig,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let handshake = move |accepted: io::Result<TcpStream>| {
        let acceptor = acceptor.clone();
        async move {
            match accepted {
                Ok(connection) => match timeout(HANDSHAKE, acceptor.accept(connection)).await {
                    Ok(shaken) => shaken
                        .inspect_err(|error| tracing::debug!(%error, "no TLS with a client"))
                        .ok(),
                    Err(_) => None,
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections of agents");
                    sleep(OUT_OF_RESOURCES).await;
                    None
                }
            }
        }
    };
    let shaken = TcpListenerStream::new(listener)
        .map(handshake)
        .buffer_unordered(AT_ONCE);
    shaken.filter_map(async |connection| connection.map(Ok))
}
