//! The sockets that queries come to.

use std::{
    convert::Infallible,
    fs,
    future::pending,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};

use super::{Dns, message::Transport};
use crate::{files, prefix::Prefix};

/// NGINX spreads its queries over all addresses of its resolver. A UDP socket's buffer holds about 250 queries, and
/// NGINX has one socket for each address too, so that eight let 1,000 upstreams be asked for at once.
const PORTS: usize = 8;

/// Asked for, in bytes; the kernel grants what `net.core.rmem_max` allows.
const RECEIVE_BUFFER: usize = 1 << 20;

/// How long a TCP connection may be idle.
const IDLE: Duration = Duration::from_secs(10);

/// Why queries cannot be received.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen for DNS queries on {address}")]
    Listen { address: IpAddr, source: io::Error },
    #[error("cannot keep the ports of DNS")]
    Keep(#[from] files::Error),
}

/// Bound sockets, each pair of UDP and TCP on one port.
#[derive(Debug)]
pub struct Server {
    sockets: Vec<(UdpSocket, TcpListener)>,
    addresses: Vec<SocketAddr>,
    kept: bool,
}

impl Server {
    /// Listens on the ports that the prefix has kept, where NGINX asks already; on others where that is not possible.
    pub async fn bind(address: IpAddr, prefix: &Prefix) -> Result<Self, Error> {
        let file = prefix.dns_ports();
        let kept = match kept_ports(&file) {
            Some(ports) => listen(address, &ports).await.ok(),
            None => None,
        };
        let is_kept = kept.is_some();
        let sockets = match kept {
            Some(sockets) => sockets,
            None => listen(address, &[0; PORTS])
                .await
                .map_err(|source| Error::Listen { address, source })?,
        };
        let local = |(udp, _): &(UdpSocket, TcpListener)| udp.local_addr();
        let addresses: Vec<SocketAddr> = sockets
            .iter()
            .map(local)
            .collect::<Result<_, _>>()
            .map_err(|source| Error::Listen { address, source })?;
        let ports: Vec<String> = addresses
            .iter()
            .map(|address| address.port().to_string())
            .collect();
        files::replace(&file, ports.join("\n").as_bytes())?;
        Ok(Self {
            sockets,
            addresses,
            kept: is_kept,
        })
    }

    /// Where NGINX is to ask.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether a running NGINX asks at these addresses already.
    #[must_use]
    pub fn is_where_it_was(&self) -> bool {
        self.kept
    }

    /// Answers from now on, in tasks of the current runtime.
    #[must_use = "answering ends when this is dropped"]
    pub fn spawn(self, dns: &Dns) -> Answering {
        let mut tasks = JoinSet::new();
        for (udp, tcp) in self.sockets {
            tasks.spawn(answer_datagrams(udp, dns.clone()));
            tasks.spawn(answer_connections(tcp, dns.clone()));
        }
        Answering(tasks)
    }
}

/// The tasks that answer, one for each socket.
#[derive(Debug)]
pub struct Answering(JoinSet<Infallible>);

impl Answering {
    /// Ends when one of them has failed: from then on NGINX asks there in vain.
    pub async fn failed(&mut self) -> JoinError {
        match self.0.join_next().await {
            Some(Err(error)) => error,
            Some(Ok(never)) => match never {},
            None => pending().await,
        }
    }
}

fn kept_ports(file: &PathBuf) -> Option<Vec<u16>> {
    let ports: Vec<u16> = fs::read_to_string(file)
        .ok()?
        .lines()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    (ports.len() == PORTS && !ports.contains(&0)).then_some(ports)
}

/// A pair of sockets for each port; 0 is any that both can have.
async fn listen(address: IpAddr, ports: &[u16]) -> io::Result<Vec<(UdpSocket, TcpListener)>> {
    let mut sockets = Vec::new();
    for port in ports {
        let mut attempts = if *port == 0 { 100 } else { 1 };
        sockets.push(loop {
            attempts -= 1;
            let udp = UdpSocket::bind((address, *port)).await?;
            match TcpListener::bind(udp.local_addr()?).await {
                Ok(tcp) => break (udp, tcp),
                Err(error) if attempts == 0 => return Err(error),
                Err(_) => {}
            }
        });
    }
    for (udp, _) in &sockets {
        set_socket_recv_buffer_size(udp, RECEIVE_BUFFER)?;
    }
    Ok(sockets)
}

async fn answer_datagrams(socket: UdpSocket, dns: Dns) -> Infallible {
    let mut buffer = [0; 4096];
    loop {
        // Errors are those of earlier datagrams, whose receiver has gone away.
        let Ok((length, sender)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if let Some(response) = dns.respond(&buffer[..length], Transport::Udp) {
            let _ = socket.send_to(&response, sender).await;
        }
    }
}

async fn answer_connections(listener: TcpListener, dns: Dns) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(answer_stream(stream, dns.clone()))),
                // Such as too many open files: may pass.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
            // However a connection ends, it is the other side that has to come again.
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers one query after the other, each behind its length, see RFC 1035 4.2.2.
async fn answer_stream(mut stream: TcpStream, dns: Dns) -> io::Result<()> {
    loop {
        let length = timeout(IDLE, stream.read_u16()).await??;
        let mut query = vec![0; length.into()];
        timeout(IDLE, stream.read_exact(&mut query)).await??;
        let Some(response) = dns.respond(&query, Transport::Tcp) else {
            return Ok(());
        };
        let length = u16::try_from(response.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes(), response.as_slice()].concat();
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn ports_are_kept_for_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = Prefix::create(folder.path()).unwrap();
        let address = Ipv4Addr::LOCALHOST.into();
        let first = Server::bind(address, &prefix).await.unwrap();
        assert!(!first.is_where_it_was());
        let addresses = first.addresses().to_vec();
        drop(first);
        let second = Server::bind(address, &prefix).await.unwrap();
        assert!(second.is_where_it_was());
        assert_eq!(second.addresses(), addresses);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn ports_that_are_taken_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = Prefix::create(folder.path()).unwrap();
        let address = Ipv4Addr::LOCALHOST.into();
        let first = Server::bind(address, &prefix).await.unwrap();
        let second = Server::bind(address, &prefix).await.unwrap();
        assert!(!second.is_where_it_was());
        assert_ne!(second.addresses(), first.addresses());
    }
}
