//! New connections to endpoints.

use std::{io, rc::Rc, time::Duration};

use hyper_util::rt::TokioIo;
use proto::fleet::Protocol;
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::{Connection, Failure, Pool, http1, http2};
use crate::proxy::table::{Destination, Transport};

/// How long a connection is silent before the peer is asked whether it is still there, and how long between questions.
const PROBE_AFTER: Duration = Duration::from_secs(15);
/// How long what was sent may go without acknowledgement: a machine that is gone is noticed long before the first
/// token of a slow model would be missed.
const UNACKNOWLEDGED: u32 = 30_000;

/// A new connection that takes a request.
pub(super) async fn connect(
    pool: &Rc<Pool>,
    transport: &Transport,
    destination: Destination,
) -> Result<Connection, Failure> {
    let failed = |source| Failure::Connect { source };
    let stream = TcpStream::connect(destination.address).await.map_err(failed)?;
    prepare(&stream).map_err(failed)?;
    match &transport.tls {
        None => over(pool, destination, stream, transport.protocol).await,
        Some(tls) => {
            let stream = tls.connect(stream).await.map_err(failed)?;
            let negotiated = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => Protocol::Http2,
                _ => Protocol::Http1,
            };
            over(pool, destination, stream, negotiated).await
        }
    }
}

async fn over<S>(
    pool: &Rc<Pool>,
    destination: Destination,
    stream: S,
    protocol: Protocol,
) -> Result<Connection, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match protocol {
        Protocol::Http1 => {
            let sender = http1::handshake(TokioIo::new(stream)).await?;
            Ok(Connection::Http1(http1::Lease::new(pool, destination, sender)))
        }
        Protocol::Http2 => {
            let connection = Rc::new(http2::Connection::handshake(stream).await?);
            let slot = http2::Connection::slot(&connection).expect("a new connection takes a request");
            pool.http2
                .borrow_mut()
                .entry(destination)
                .or_default()
                .push(connection);
            Ok(Connection::Http2(slot))
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_AFTER)?;
    sockopt::set_tcp_user_timeout(stream, UNACKNOWLEDGED)?;
    Ok(())
}
