//! The proxy: the way of those requests to their endpoints that NGINX cannot go by itself.
//!
//! ```text
//!            supervisor ──PUT /data──> control ──orders──┐ (one thread)
//!                                                        v
//! NGINX ──proxy-<n>.sock──> accept ──> leg ──> upstream ──> endpoint       (n threads, each with all of these)
//!                                       │  └─> replay     what of a body may be sent again
//!                                       ├─> picker ──ext_proc──> endpoint picker
//!                                       └─> usage      what models' answers say of tokens
//! ```
//!
//! A process of its own beside NGINX, so that neither the supervisor's end nor its replacement cuts a stream. NGINX
//! names the leg in a header that it always overwrites. Each thread has a runtime, a socket and connections of its own
//! and shares only the number of requests that endpoints have in flight: on one thread a request costs a third of what
//! it does on a runtime that moves tasks about.
//!
//! Read [`accept`] first, then [`leg`]; what their requests share is the [`server`].

pub mod accept;
pub mod body;
pub mod chunk;
pub mod client_body;
pub mod consult;
pub mod control;
pub mod headers;
pub mod journey;
pub mod leg;
pub mod metrics;
mod nginx_stream;
pub mod outage;
pub mod picker;
pub mod refusal;
pub mod replay;
pub mod server;
pub mod settings;
pub mod source;
pub mod table;
pub mod thread;
pub mod tls;
pub mod upgrade;
pub mod upstream;
pub mod usage;

use std::{fs, io, num::NonZero, path::PathBuf, sync::Arc, thread::available_parallelism, time::Duration};

use anyhow::Context as _;
use prost::Message as _;
use proto::fleet;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info};

use crate::{args::Options, prefix::Prefix};

use self::{control::Control, metrics::Metrics, thread::Thread};

/// Serves until told to stop, then until the requests in flight have ended.
pub fn run(options: &Options) -> anyhow::Result<()> {
    // Init holds the lock on the folder: without it another proxy may come.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot follow init in death")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut quit = signal(SignalKind::quit())?;
        let mut hung_up = signal(SignalKind::hangup())?;
        let proxy = Proxy::start(&Prefix::create(&options.prefix)?, threads()).await?;
        select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
            _ = quit.recv() => {}
            _ = hung_up.recv() => {}
        }
        info!("stopping the proxy");
        proxy.stop(options.drain_timeout).await;
        Ok(())
    })
}

/// How many threads serve: one for each processor that this process may use, at most 8.
#[must_use]
pub fn threads() -> usize {
    available_parallelism().map_or(1, NonZero::get).min(8)
}

/// Any error, as bodies have them.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the proxy does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot listen on {path}")]
    Listen { path: PathBuf, source: io::Error },
    #[error("cannot start a thread")]
    Spawn { source: io::Error },
}

/// A proxy that serves.
#[derive(Debug)]
pub struct Proxy {
    control: Control,
}

impl Proxy {
    /// Serves what the folder's data says on the folder's sockets; resolves when all of them accept.
    pub async fn start(prefix: &Prefix, threads: usize) -> Result<Self, Error> {
        let metrics = Arc::new(Metrics::default());
        let threads = (0..threads)
            .map(|number| Thread::spawn(&prefix.proxy_socket(number), &metrics))
            .collect::<Result<_, Error>>()?;
        let control = Control::new(threads, metrics);
        control.put(&stored(prefix)?).await;
        control.serve(&prefix.proxy_control())?;
        Ok(Self { control })
    }

    /// Accepts nothing more and resolves when all requests have ended, or at the end of some time.
    pub async fn stop(self, timeout: Duration) {
        self.control.stop(timeout).await;
    }
}

/// The data that was last in effect; empty where there was none yet or none that can be read.
fn stored(prefix: &Prefix) -> Result<fleet::Data, Error> {
    let path = prefix.data();
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(fleet::Data::default()),
        Err(source) => return Err(Error::Read { path, source }),
    };
    Ok(fleet::Data::decode(bytes.as_slice()).unwrap_or_else(|error| {
        // The supervisor will say it again.
        error!(%error, path = %path.display(), "starting without data");
        fleet::Data::default()
    }))
}

/// Listens on a path where an earlier process may have left its socket.
fn listen(path: &std::path::Path) -> Result<std::os::unix::net::UnixListener, Error> {
    let listen = || {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| Error::Listen {
        path: path.to_owned(),
        source,
    })
}
