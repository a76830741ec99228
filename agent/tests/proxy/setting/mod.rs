//! What a test sets up: a proxy, clients and endpoints.

mod client;
mod endpoint;
mod http;
mod picker;

use std::{fs, net::SocketAddr, time::Duration};

use agent::{prefix::Prefix, proxy::Proxy};
use prost::Message as _;
use proto::fleet;
use tempfile::TempDir;
use tokio::net::UnixStream;

pub use client::{Client, Wire, collect};
pub use endpoint::Endpoint;
pub use http::{Http2Endpoint, Stream, Streams};
pub use picker::{Picked, headers_response, streamed, with_picker};

/// Longer than anything takes that a test waits for.
pub const LONG: Duration = Duration::from_secs(10);

/// A proxy of one thread.
pub struct Setting {
    folder: TempDir,
    pub proxy: Proxy,
}

impl Setting {
    /// A proxy that starts with some data.
    pub async fn start(data: &fleet::Data) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let prefix = Prefix::create(folder.path()).unwrap();
        fs::write(prefix.data(), data.encode_to_vec()).unwrap();
        let proxy = Proxy::start(&prefix, 1).await.unwrap();
        Self { folder, proxy }
    }

    /// A proxy with one leg to some endpoints.
    pub async fn with_leg(endpoints: &[SocketAddr], leg: fleet::Leg) -> Self {
        Self::start(&data(endpoints, leg)).await
    }

    /// The same, with times and sizes of its own.
    pub async fn with_settings(
        endpoints: &[SocketAddr],
        leg: fleet::Leg,
        settings: fleet::ProxySettings,
    ) -> Self {
        Self::start(&fleet::Data {
            proxy: Some(settings),
            ..data(endpoints, leg)
        })
        .await
    }

    /// A connection from NGINX.
    pub async fn client(&self) -> Client {
        let path = self.folder.path().join("proxy-0.sock");
        Client::new(UnixStream::connect(path).await.unwrap())
    }

    /// A connection from the supervisor.
    pub async fn control(&self) -> Client {
        let path = self.folder.path().join("proxy.sock");
        Client::new(UnixStream::connect(path).await.unwrap())
    }

    /// Puts data into effect.
    pub async fn put(&self, data: &fleet::Data) {
        let body = data.encode_to_vec();
        let mut control = self.control().await;
        let head = format!(
            "PUT /data HTTP/1.1\r\nhost: proxy\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        control.send(head).await;
        control.send(body).await;
        assert_eq!(control.head().await.status(), 204);
    }

    /// All metrics.
    pub async fn metrics(&self) -> String {
        let mut control = self.control().await;
        control.send("GET /metrics HTTP/1.1\r\nhost: proxy\r\n\r\n").await;
        String::from_utf8(control.response().await.1).unwrap()
    }

    /// The value of a metric, with its labels; none where nothing was counted yet.
    pub async fn counted(&self, name: &str) -> Option<f64> {
        let text = self.metrics().await;
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(value.parse().unwrap())
    }

    /// The value of a metric that is always there.
    pub async fn metric(&self, name: &str) -> f64 {
        self.counted(name).await.unwrap_or_else(|| panic!("no {name}"))
    }

    /// Resolves when a metric has a value, which it reaches by itself.
    pub async fn until(&self, name: &str, value: f64) {
        let reached = async {
            while self
                .counted(name)
                .await
                .is_none_or(|counted| (counted - value).abs() > f64::EPSILON)
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, reached).await.unwrap();
    }
}

/// A proxy with one leg to one endpoint, and a client of it.
pub async fn one_endpoint(leg: fleet::Leg) -> (Setting, Client, Endpoint) {
    one_endpoint_with(leg, fleet::ProxySettings::default()).await
}

/// The same, with times and sizes of its own.
pub async fn one_endpoint_with(
    leg: fleet::Leg,
    settings: fleet::ProxySettings,
) -> (Setting, Client, Endpoint) {
    let endpoint = Endpoint::listen().await;
    let setting = Setting::with_settings(&[endpoint.address], leg, settings).await;
    let client = setting.client().await;
    (setting, client, endpoint)
}

/// One leg named `leg` to some endpoints.
pub fn data(endpoints: &[SocketAddr], leg: fleet::Leg) -> fleet::Data {
    let ports = endpoints.iter().map(|endpoint| fleet::EndpointPort {
        port: endpoint.port().into(),
        addresses: vec![endpoint.ip().to_string()],
    });
    fleet::Data {
        version: "1".to_owned(),
        endpoints: vec![fleet::Endpoints {
            name: "endpoints".to_owned(),
            service: "e".to_owned(),
            ports: ports.collect(),
        }],
        legs: vec![fleet::Leg {
            name: "leg".to_owned(),
            endpoints: "endpoints".to_owned(),
            ..leg
        }],
        ..fleet::Data::default()
    }
}

/// An address at which nothing listens.
pub async fn nowhere() -> SocketAddr {
    // Bound and not listening: nobody else gets it while the test's process lives.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    address
}
