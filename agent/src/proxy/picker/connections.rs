//! Connections to all ready pods of one picker.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Ping,
    client::{Builder, SendRequest},
};
use http::{
    Request, Version,
    header::{CONTENT_TYPE, TE},
    uri::Authority,
};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader},
    net::TcpStream,
    select,
    sync::Notify,
    task::{JoinHandle, spawn_local},
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{debug, info};

use super::{
    call::{Call, InFlight},
    gather::Gathered,
};
use crate::{backoff::Backoff, causes, proxy::tls};

const METHOD: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";

/// Connections to each pod that are made ahead of need: one more than can break at once.
const AHEAD: usize = 2;
/// Connections to one pod are not more than this, however few calls the pod allows on each.
const MOST: usize = 64;
/// Calls on a connection from which on another one is made, though the pod may allow more. What breaks a connection
/// breaks all its calls, and pickers on the Rust library h2 break one with some 2,500 small messages that they have yet
/// to read.
const BUSY: usize = 128;

/// Bytes that one call's answers may be ahead of us, and those of all calls of a connection.
const CALL_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// Bytes that are read from a connection at once: h2 by itself reads a frame in two pieces.
const READ_BUFFER: usize = 64 << 10;
/// Bytes of headers and trailers of a call.
const MOST_HEADERS: u32 = 64 << 10;
/// Calls of which we remember that we broke them off, so that what still comes of them is no fault.
const MOST_RESETS: usize = 4096;

const FIRST_DELAY: Duration = Duration::from_millis(20);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// Why a picker cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no picker is ready")]
    None,
    #[error("no picker can be reached")]
    Unreachable,
    #[error("cannot connect to {address}")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("cannot speak HTTP/2 with {address}")]
    Http2 { address: SocketAddr, source: h2::Error },
    #[error("connecting to {address} takes too long")]
    Timeout { address: SocketAddr },
}

/// What all connections to a picker share.
#[derive(Debug)]
pub struct Target {
    tls: Option<tls::Client>,
    /// Whether the pod with the lowest address is asked as long as it can be reached, and not all in turn.
    one_leads: bool,
    /// What every call begins with.
    request: Request<()>,
    connect_timeout: Cell<Duration>,
}

impl Target {
    /// A picker of a name that is said in calls, with TLS or in plain text, of whose pods one leads or all do the same.
    ///
    /// # Panics
    ///
    /// When the name is none that a URI can hold.
    #[must_use]
    pub fn new(tls: Option<tls::Client>, authority: &Authority, one_leads: bool) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let request = Request::post(format!("{scheme}://{authority}{METHOD}"))
            .version(Version::HTTP_2)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .body(())
            .expect("an authority and a path make a URI");
        Self {
            tls,
            one_leads,
            request,
            connect_timeout: Cell::default(),
        }
    }
}

/// Connections to the pods of one picker, made ahead of need and again when they break.
///
/// HTTP/2 stays with the pod that it was connected to, so that a connection to the Service would load one pod only.
#[derive(Debug)]
pub struct Connections {
    target: Rc<Target>,
    pods: RefCell<Vec<Pod>>,
    /// Notified when a connection comes or cannot be made.
    changed: Rc<Notify>,
    /// Where the search for the least loaded connection begins, so that equals take turns.
    turn: Cell<usize>,
}

#[derive(Debug)]
struct Pod {
    address: SocketAddr,
    kept: Vec<Kept>,
}

/// One connection's place, and the task that has one there. The calls of a connection outlive it.
#[derive(Debug)]
struct Kept {
    place: Rc<Place>,
    task: JoinHandle<()>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Default)]
struct Place {
    state: RefCell<State>,
    /// Notified when the connection takes no more calls.
    is_lost: Notify,
}

/// A connection for a call.
struct Found {
    address: SocketAddr,
    place: Rc<Place>,
    connection: Connection,
}

impl Place {
    /// What is wrong with the pod's TLS, if that is why there is no connection.
    fn refused(&self) -> Option<rustls::Error> {
        match &*self.state.borrow() {
            State::Unreachable { refused } => refused.clone(),
            State::Connecting | State::Connected(_) => None,
        }
    }

    /// Has another connection made in place of the one that is there.
    fn lose(&self) {
        *self.state.borrow_mut() = State::Connecting;
        self.is_lost.notify_one();
    }
}

#[derive(Debug, Default)]
enum State {
    /// The first attempt, or the first since it was connected.
    #[default]
    Connecting,
    Connected(Connection),
    /// Attempts fail; with what is wrong with the pod's TLS, if it is that.
    Unreachable {
        refused: Option<rustls::Error>,
    },
}

/// A pod whose TLS is not what was asked for, such as one that shows a certificate of somebody else.
#[derive(Clone, Debug)]
pub struct Refused {
    pub address: SocketAddr,
    pub reason: rustls::Error,
}

#[derive(Clone, Debug)]
struct Connection {
    requests: SendRequest<Bytes>,
    in_flight: Rc<Cell<usize>>,
}

/// Where a call was tried, to ask for another connection, and rather to another pod.
#[derive(Clone, Debug)]
pub struct Tried {
    pod: SocketAddr,
    connection: Rc<Cell<usize>>,
}

impl Connections {
    /// Connects to these pods, to each within some time.
    #[must_use]
    pub fn new(target: Target, pods: &BTreeSet<SocketAddr>, connect_timeout: Duration) -> Self {
        let connections = Self {
            target: Rc::new(target),
            pods: RefCell::default(),
            changed: Rc::default(),
            turn: Cell::default(),
        };
        connections.put(pods, connect_timeout);
        connections
    }

    /// Connects to pods that are new, and calls those no more that are gone; from now on each attempt may take some
    /// time.
    pub fn put(&self, pods: &BTreeSet<SocketAddr>, connect_timeout: Duration) {
        self.target.connect_timeout.set(connect_timeout);
        let mut known = self.pods.borrow_mut();
        known.retain(|pod| pods.contains(&pod.address));
        for address in pods {
            if known.iter().all(|pod| pod.address != *address) {
                let kept = (0..AHEAD).map(|_| self.keep(*address)).collect();
                known.push(Pod {
                    address: *address,
                    kept,
                });
            }
        }
        // Who waits for a pod that is gone must look again.
        self.changed.notify_waiters();
    }

    /// The pods that are not spoken with because of their TLS, in order.
    pub fn refused(&self) -> Vec<Refused> {
        let pods = self.pods.borrow();
        let refused = pods.iter().filter_map(|pod| {
            let reason = pod.kept.iter().find_map(|kept| kept.place.refused())?;
            let address = pod.address;
            Some(Refused { address, reason })
        });
        refused.collect()
    }

    /// Begins a call on the connection with the fewest, to the pod that leads if one does; but not on a connection that
    /// was tried already, nor to its pod, unless there is no other.
    ///
    /// Waits only where no connection was tried yet, and where pods allow no further call on those that are there.
    pub async fn call(&self, tried: Option<&Tried>) -> Result<(Call, Tried), Error> {
        let until = Instant::now() + self.target.connect_timeout.get();
        loop {
            let changed = self.changed.notified();
            match self.least_loaded(tried) {
                Some(found) if !self.awaits_another(&found) => {
                    match found.connection.begin(&self.target).await {
                        Ok(call) => {
                            let tried = Tried {
                                pod: found.address,
                                connection: found.connection.in_flight,
                            };
                            return Ok((call, tried));
                        }
                        Err(error) => {
                            debug!(%error, "connection to a picker takes no more calls");
                            found.place.lose();
                            continue;
                        }
                    }
                }
                None if self.pods.borrow().is_empty() => return Err(Error::None),
                None if !self.is_connecting() => return Err(Error::Unreachable),
                Some(_) | None => {}
            }
            timeout_at(until, changed).await.map_err(|_| Error::Unreachable)?;
        }
    }

    fn least_loaded(&self, tried: Option<&Tried>) -> Option<Found> {
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let pods = self.pods.borrow();
        let count = pods.iter().map(|pod| pod.kept.len()).sum::<usize>().max(1);
        let places = pods
            .iter()
            .flat_map(|pod| pod.kept.iter().map(|kept| (pod.address, &kept.place)));
        let (_, address, place) = places
            .enumerate()
            .filter_map(|(number, (address, place))| match &*place.state.borrow() {
                State::Connected(connection) => {
                    let is_tried =
                        tried.is_some_and(|tried| Rc::ptr_eq(&tried.connection, &connection.in_flight));
                    let is_of_tried = tried.is_some_and(|tried| tried.pod == address);
                    let rank = self.target.one_leads.then_some(address);
                    let turn = number.wrapping_add(turn) % count;
                    let load = (rank, connection.in_flight.get(), turn);
                    let order = (connection.is_full(), is_tried, is_of_tried, load);
                    Some((order, address, place))
                }
                State::Connecting | State::Unreachable { .. } => None,
            })
            .min_by_key(|(order, ..)| *order)?;
        match &*place.state.borrow() {
            State::Connected(connection) => Some(Found {
                address,
                place: Rc::clone(place),
                connection: connection.clone(),
            }),
            State::Connecting | State::Unreachable { .. } => None,
        }
    }

    /// Whether a call must wait for another connection, because those that are there are full. Busy ones do for now.
    fn awaits_another(&self, found: &Found) -> bool {
        let connection = &found.connection;
        (connection.is_full() || connection.is_busy()) && self.grows(found.address) && connection.is_full()
    }

    /// Whether a pod gets a connection more, or has one on the way, because all that it has are full or busy.
    fn grows(&self, address: SocketAddr) -> bool {
        let mut pods = self.pods.borrow_mut();
        let Some(pod) = pods.iter_mut().find(|pod| pod.address == address) else {
            return false;
        };
        let mut others = pod.kept.iter().map(|kept| &kept.place);
        match others.find(|place| !matches!(&*place.state.borrow(), State::Connected(_))) {
            Some(place) => matches!(&*place.state.borrow(), State::Connecting),
            None if pod.kept.len() < MOST => {
                pod.kept.push(self.keep(address));
                true
            }
            None => false,
        }
    }

    fn is_connecting(&self) -> bool {
        let pods = self.pods.borrow();
        let mut places = pods.iter().flat_map(|pod| &pod.kept).map(|kept| &kept.place);
        places.any(|place| matches!(*place.state.borrow(), State::Connecting))
    }

    fn keep(&self, address: SocketAddr) -> Kept {
        let place = Rc::<Place>::default();
        let task = spawn_local(keep(
            address,
            Rc::clone(&self.target),
            Rc::clone(&place),
            Rc::clone(&self.changed),
        ));
        Kept { place, task }
    }
}

impl Connection {
    async fn begin(&self, target: &Target) -> Result<Call, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (response, sending) = requests.send_request(target.request.clone(), false)?;
        Ok(Call::new(response, sending, InFlight::new(&self.in_flight)))
    }

    /// Whether there are enough calls for another connection.
    fn is_busy(&self) -> bool {
        self.in_flight.get() >= BUSY
    }

    /// Whether the pod allows no further call on this connection now.
    fn is_full(&self) -> bool {
        self.in_flight.get() >= self.requests.current_max_send_streams()
    }
}

/// Has a connection in a place for as long as it runs.
async fn keep(address: SocketAddr, target: Rc<Target>, place: Rc<Place>, changed: Rc<Notify>) {
    let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY);
    loop {
        let attempt = timeout(target.connect_timeout.get(), connect(address, &target)).await;
        match attempt.unwrap_or(Err(Error::Timeout { address })) {
            Ok((requests, ended)) => {
                debug!(%address, "connected to a picker");
                let connected = Instant::now();
                *place.state.borrow_mut() = State::Connected(Connection {
                    requests,
                    in_flight: Rc::default(),
                });
                changed.notify_waiters();
                select! {
                    // First, so that it is not left over for the next connection.
                    biased;
                    () = place.is_lost.notified() => {}
                    _ = ended => {}
                }
                *place.state.borrow_mut() = State::Connecting;
                if connected.elapsed() > LONGEST_DELAY {
                    backoff.reset();
                }
            }
            Err(error) => {
                let refused = tls::refusal(&error).cloned();
                let was = place.state.replace(State::Unreachable { refused });
                changed.notify_waiters();
                if !matches!(was, State::Unreachable { .. }) {
                    info!(error = causes::sentence(&error), "cannot reach a picker");
                }
            }
        }
        sleep(backoff.delay()).await;
    }
}

/// A connection that has shown itself to speak HTTP/2, and its end.
async fn connect(
    address: SocketAddr,
    target: &Target,
) -> Result<(SendRequest<Bytes>, JoinHandle<()>), Error> {
    let failed = |source| Error::Connect { address, source };
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    set_up(&stream).map_err(|errno| failed(errno.into()))?;
    let connection = match &target.tls {
        Some(tls) => begin(tls.connect(stream).await.map_err(failed)?).await,
        None => begin(stream).await,
    };
    connection.map_err(|source| Error::Http2 { address, source })
}

/// Notices a peer that is gone without a word within 20 seconds. Pings of HTTP/2 would do it as well, but those who
/// write pickers in Go allow one in five minutes.
fn set_up(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_nodelay(stream, true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    sockopt::set_tcp_user_timeout(stream, 20_000)
}

async fn begin<S>(stream: S) -> Result<(SendRequest<Bytes>, JoinHandle<()>), h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let stream = Gathered::new(BufReader::with_capacity(READ_BUFFER, stream));
    let sender = stream.sender();
    let (requests, mut connection) = Builder::new()
        .enable_push(false)
        .initial_window_size(CALL_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MOST_HEADERS)
        .max_concurrent_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(None)
        // Answers are small by nature and wait for clients that do not read; the calls' windows limit them already.
        .data_frame_budget(usize::MAX)
        .handshake(stream)
        .await?;
    let mut pings = connection.ping_pong().expect("nobody has taken it yet");
    let ended = spawn_local(async move {
        if let Err(error) = sender.drive(connection).await {
            debug!(%error, "connection to a picker broke");
        }
    });
    // The answer comes after the settings, which say how many calls are allowed.
    pings.ping(Ping::opaque()).await?;
    Ok((requests, ended))
}
