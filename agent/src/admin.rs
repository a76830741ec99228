//! What the agent says of itself over HTTP, to whoever keeps it running.

use std::net::SocketAddr;

use anyhow::Context as _;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use proto::fleet::Report;
use tokio::{net::TcpListener, sync::watch};

/// Answers on an address for as long as the runtime lives; fails where it cannot be listened on.
pub async fn serve(address: SocketAddr, report: watch::Receiver<Report>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another --admin"))?;
    tokio::spawn(async move { axum::serve(listener, router(report)).await });
    Ok(())
}

/// `/healthz`: the supervisor is alive. `/readyz`: NGINX takes requests, from the first configuration on until it is
/// told to stop.
fn router(report: watch::Receiver<Report>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(report)
}

async fn readyz(State(report): State<watch::Receiver<Report>>) -> (StatusCode, String) {
    let report = report.borrow();
    if report.ready {
        (StatusCode::OK, format!("serving {}\n", report.config))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving\n".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_is_when_nginx_takes_requests() {
        let report = watch::Sender::new(Report::default());
        assert_eq!(
            readyz(State(report.subscribe())).await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
        report.send_modify(|report| {
            report.ready = true;
            "c1".clone_into(&mut report.config);
        });
        let answer = readyz(State(report.subscribe())).await;
        assert_eq!(answer, (StatusCode::OK, "serving c1\n".to_owned()));
    }
}
