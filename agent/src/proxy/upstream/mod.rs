//! Connections to endpoints: one thread's, kept between requests.

mod connect;
mod download;
mod http1;
mod http2;

use std::{cell::RefCell, collections::HashMap, io, rc::Rc, time::Duration};

use http::{Response, request};
use proto::fleet::Protocol;
use tokio::{sync::Mutex, time::timeout};

use super::{
    BoxError,
    replay::Reading,
    source::Source,
    table::{Destination, Table, Transport},
};

pub use download::Download;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing was sent.
    #[error("cannot connect")]
    Connect { source: io::Error },
    /// Nothing was sent.
    #[error("no connection within the time for one")]
    ConnectTimeout,
    /// The endpoint has said that it did nothing with the request.
    #[error("the request was refused")]
    Refused { source: h2::Error },
    /// The endpoint may have seen the request.
    #[error("the connection ended before the response")]
    Reset {
        source: BoxError,
        /// It had served requests before: it may have ended just when this one was sent.
        was_kept: bool,
    },
    /// The endpoint has answered, with what is no HTTP or has more headers than are taken.
    #[error("the response cannot be read")]
    Unreadable { source: hyper::Error },
    #[error("the request cannot be said in HTTP/2")]
    Request { source: http::Error },
}

impl Failure {
    /// Whether the endpoint did certainly nothing.
    #[must_use]
    pub fn is_before_the_request(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::ConnectTimeout | Self::Refused { .. }
        )
    }
}

/// The connections of one thread.
#[derive(Debug, Default)]
pub struct Pool {
    http1: RefCell<HashMap<Destination, Vec<http1::Idle>>>,
    http2: RefCell<HashMap<Destination, Vec<Rc<http2::Connection>>>>,
    /// Held while an HTTP/2 connection is made, so that the requests of a burst share it.
    making: RefCell<HashMap<Destination, Rc<Mutex<()>>>>,
}

/// A connection that takes a request.
enum Connection {
    Http1(http1::Lease),
    Http2(http2::Slot),
}

/// What is sent, as one try has it.
pub type Attempt = (request::Parts, Reading<Source>);

impl Pool {
    /// Sends a request and resolves with the head of its response.
    ///
    /// A kept connection that turns out to be closed before anything was sent over it is replaced by another one.
    /// Dropping the future, or the response's body, ends the exchange at once.
    pub async fn send(
        self: &Rc<Self>,
        transport: &Transport,
        destination: Destination,
        (mut head, mut body): Attempt,
        connect_timeout: Duration,
    ) -> Result<Response<Download>, Failure> {
        loop {
            match self.connection(transport, destination, connect_timeout).await? {
                Connection::Http1(lease) => match lease.send(head, body).await? {
                    http1::Sent::Response(response) => return Ok(response),
                    http1::Sent::Nothing(attempt) => (head, body) = attempt,
                },
                Connection::Http2(slot) => return slot.send(head, body, transport.tls.is_some()).await,
            }
        }
    }

    /// Closes what a table has no use for. Requests in flight go on.
    pub fn retain(&self, table: &Table) {
        let wanted = table.destinations();
        self.http1
            .borrow_mut()
            .retain(|destination, _| wanted.contains(destination));
        self.http2
            .borrow_mut()
            .retain(|destination, _| wanted.contains(destination));
        self.making
            .borrow_mut()
            .retain(|destination, _| wanted.contains(destination));
    }

    /// Closes what was not used for a while.
    pub fn sweep(&self) {
        self.http1.borrow_mut().retain(|_, idle| {
            idle.retain(http1::Idle::is_fresh);
            !idle.is_empty()
        });
    }

    async fn connection(
        self: &Rc<Self>,
        transport: &Transport,
        destination: Destination,
        connect_timeout: Duration,
    ) -> Result<Connection, Failure> {
        if let Some(connection) = self.kept(transport, destination) {
            return Ok(connection);
        }
        timeout(connect_timeout, self.make(transport, destination))
            .await
            .unwrap_or(Err(Failure::ConnectTimeout))
    }

    /// A connection that is there already.
    fn kept(self: &Rc<Self>, transport: &Transport, destination: Destination) -> Option<Connection> {
        if transport.protocol == Protocol::Http2 {
            let mut http2 = self.http2.borrow_mut();
            if let Some(connections) = http2.get_mut(&destination) {
                connections.retain(|connection| !connection.is_closed());
                let free = connections.iter().find_map(http2::Connection::slot);
                if free.is_some() {
                    return free.map(Connection::Http2);
                }
            }
        }
        let mut http1 = self.http1.borrow_mut();
        let idle = http1.get_mut(&destination)?;
        // The one used last is the least likely to be closed meanwhile.
        let sender = std::iter::from_fn(|| idle.pop()).find_map(http1::Idle::sender)?;
        Some(Connection::Http1(http1::Lease::kept(self, destination, sender)))
    }

    async fn make(
        self: &Rc<Self>,
        transport: &Transport,
        destination: Destination,
    ) -> Result<Connection, Failure> {
        if transport.protocol == Protocol::Http1 {
            return connect::connect(self, transport, destination).await;
        }
        let making = Rc::clone(self.making.borrow_mut().entry(destination).or_default());
        let _making = making.lock().await;
        // Another request may have made one meanwhile.
        match self.kept(transport, destination) {
            Some(connection) => Ok(connection),
            None => connect::connect(self, transport, destination).await,
        }
    }
}
