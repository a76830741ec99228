//! Connections that stop being HTTP, such as those of WebSocket.

use std::{cell::Cell, pin::pin, rc::Rc, time::Duration};

use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::copy_bidirectional_with_sizes,
    select,
    task::spawn_local,
    time::{Instant, sleep_until},
    try_join,
};
use tokio_util::io::InspectReader;
use tracing::debug;

use super::{
    body::Body, consult::unless_evicted, metrics::Ongoing, picker::respond::Consulted, server::Server,
    table::InFlight, upstream::Download,
};

/// Bytes on their way, in each direction.
const BUFFER: usize = 8 << 10;

/// How long the side of NGINX may take to be told of the upgrade.
const HANDOVER: Duration = Duration::from_secs(10);

/// The response that ends HTTP on a connection; what both sides say then is passed on until both have ended, or neither
/// has said anything for as long as `idle`.
pub fn switch(
    server: &Rc<Server>,
    response: Response<Download>,
    client: OnUpgrade,
    mut consulted: Option<Consulted>,
    mut ongoing: Ongoing,
    in_flight: InFlight,
    idle: Duration,
) -> Response<Body> {
    debug_assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let (head, _) = response.into_parts();
    if let Some(consulted) = &mut consulted {
        consulted.switch(&head, in_flight.endpoint().address);
    }
    let mut response = Response::from_parts(head, Body::text(""));
    let endpoint = hyper::upgrade::on(&mut response);
    // Draining waits for it.
    let watcher = server.watcher();
    spawn_local(async move {
        let (_in_flight, _watcher) = (in_flight, watcher);
        let both = tokio::time::timeout(HANDOVER, async { try_join!(client, endpoint) }).await;
        if let Ok(Ok((client, endpoint))) = both {
            let touched = Cell::new(Instant::now());
            let touch = |_: &[u8]| touched.set(Instant::now());
            let mut client = InspectReader::new(TokioIo::new(client), touch);
            let mut endpoint = InspectReader::new(TokioIo::new(endpoint), touch);
            let lasting = pin!(async {
                select! {
                    copied = copy_bidirectional_with_sizes(&mut client, &mut endpoint, BUFFER, BUFFER) => {
                        if let Err(error) = copied {
                            debug!(%error, "upgraded connection ended");
                        }
                    }
                    () = silence(&touched, idle) => debug!("upgraded connection ended, as nobody said anything"),
                }
            });
            if unless_evicted(&ongoing.metrics, consulted.as_mut(), lasting)
                .await
                .is_err()
            {
                debug!("upgraded connection ended, as the picker wants it");
            }
        }
        if let Some(consulted) = consulted {
            consulted.finish();
        }
        ongoing.end();
    });
    response
}

/// Ends when nothing has been heard for that long.
async fn silence(heard: &Cell<Instant>, limit: Duration) {
    let until = || heard.get() + limit;
    while until() > Instant::now() {
        sleep_until(until()).await;
    }
}
