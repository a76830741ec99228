//! Connections that stop being HTTP, such as those of WebSocket.

use std::{rc::Rc, time::Duration};

use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional_with_sizes, task::spawn_local, try_join};
use tracing::debug;

use super::{
    body::Body, metrics::Ongoing, picker::respond::Consulted, server::Server, table::InFlight,
    upstream::Download,
};

/// Bytes on their way, in each direction.
const BUFFER: usize = 8 << 10;

/// How long the side of NGINX may take to be told of the upgrade.
const HANDOVER: Duration = Duration::from_secs(10);

/// The response that ends HTTP on a connection; what both sides say then is passed on until both have ended.
pub fn switch(
    server: &Rc<Server>,
    response: Response<Download>,
    client: OnUpgrade,
    mut consulted: Option<Consulted>,
    mut ongoing: Ongoing,
    in_flight: InFlight,
) -> Response<Body> {
    debug_assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let (head, _) = response.into_parts();
    if let Some(consulted) = &mut consulted {
        consulted.switch(&head, in_flight.address());
    }
    let mut response = Response::from_parts(head, Body::text(""));
    let endpoint = hyper::upgrade::on(&mut response);
    // Draining waits for it.
    let watcher = server.watcher();
    spawn_local(async move {
        let (_in_flight, _watcher) = (in_flight, watcher);
        let both = tokio::time::timeout(HANDOVER, async { try_join!(client, endpoint) }).await;
        if let Ok(Ok((client, endpoint))) = both {
            let (mut client, mut endpoint) = (TokioIo::new(client), TokioIo::new(endpoint));
            let copied = copy_bidirectional_with_sizes(&mut client, &mut endpoint, BUFFER, BUFFER).await;
            if let Err(error) = copied {
                debug!(%error, "upgraded connection ended");
            }
        }
        if let Some(consulted) = consulted {
            consulted.finish();
        }
        ongoing.end();
    });
    response
}
