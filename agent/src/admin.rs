//! What the agent says of itself over HTTP, to whoever keeps it running.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use proto::fleet::Report;
use rustix::io::Errno;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    metrics::{Figures, Workers},
    nginx::Connections,
    prefix::Prefix,
    proxy_link::control::Control,
};

/// What there is to say.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The folder that NGINX and the proxy run from.
    pub prefix: Prefix,
    /// What the operator is told.
    pub report: watch::Receiver<Report>,
}

impl Admin {
    /// Answers on an address for as long as the runtime lives; fails where it cannot be listened on.
    pub async fn serve(self, address: SocketAddr) -> anyhow::Result<()> {
        let listener = listen(address)
            .await
            .with_context(|| format!("cannot listen on {address}; choose another --admin"))?;
        tokio::spawn(async move { axum::serve(listener, self.router()).await });
        Ok(())
    }

    /// `/healthz`: the supervisor is alive. `/readyz`: NGINX takes requests, and so does the proxy where it is needed,
    /// from the first configuration on until they are told to stop. `/metrics`: figures of all three.
    fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self)
    }
}

/// Listens on an address. `::` is every address, those of IPv4 included, also where the kernel has no IPv6.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && has_no_ipv6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

fn has_no_ipv6(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let report = admin.report.borrow();
    if report.ready {
        (StatusCode::OK, format!("serving {}\n", report.config))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving\n".to_owned())
    }
}

async fn metrics(State(Admin { prefix, report }): State<Admin>) -> Result<impl IntoResponse, StatusCode> {
    let proxy = async { Control::connect(&prefix).await.ok()?.metrics().await.ok() };
    let (connections, proxy) = tokio::join!(Connections::ask(&prefix), proxy);
    let report = report.borrow().clone();
    let figures = Figures {
        report,
        connections,
        workers: Workers::count(&prefix),
        proxy,
    };
    // See <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = figures.text().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(header::CONTENT_TYPE, content_type)], text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_is_when_nginx_takes_requests() {
        let folder = tempfile::tempdir().unwrap();
        let report = watch::Sender::new(Report::default());
        let admin = Admin {
            prefix: Prefix::create(folder.path()).unwrap(),
            report: report.subscribe(),
        };
        assert_eq!(
            readyz(State(admin.clone())).await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
        report.send_modify(|report| {
            report.ready = true;
            "c1".clone_into(&mut report.config);
        });
        let answer = readyz(State(admin)).await;
        assert_eq!(answer, (StatusCode::OK, "serving c1\n".to_owned()));
    }
}
