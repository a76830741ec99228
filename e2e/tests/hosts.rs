//! Hosts of a Service each, so many that one `server` of NGINX does for all of them.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::{
    certificates::Certificate,
    client::{Protocol, Target, raw},
    echo::{Echo, Seen},
    loopback::Loopback,
    manifests::{self, EDGE, route_to},
    standalone::{Standalone, eventually},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How many hosts there are with a backend.
const HOSTS: u8 = 18;

/// A path that NGINX reads differently, and must pass on as it is.
const PATH: &str = "/a%2Fb//./%7ec?d=%20e";

/// Hosts of a gateway that differ in their Services alone.
struct Platform {
    standalone: Standalone,
    _backends: Vec<Echo>,
}

impl Platform {
    /// A platform with all of its hosts served.
    async fn start() -> Result<Self> {
        let tls =
            "    - { name: https, protocol: HTTPS, port: 8443, tls: { certificateRefs: [{ name: all }] } }\n";
        let routes = (0..HOSTS).map(|number| route_to(&host(number), &service(number)));
        let loopback = Loopback::lease()?;
        let endpoint = |number| loopback.socket(100 + number, 3000);
        let services = (0..HOSTS).map(|number| manifests::service(&service(number), &[endpoint(number)]));
        let manifests = [
            ("edge.yaml", format!("{EDGE}{tls}")),
            (
                "all.yaml",
                Certificate::self_signed(&["*.example"]).secret("default", "all"),
            ),
            ("routes.yaml", routes.collect::<Vec<_>>().join("---\n")),
            ("below.yaml", route_to("*.host-1.example", &service(0))),
            ("empty.yaml", route_to("empty.example", "empty")),
            ("services.yaml", services.collect::<Vec<_>>().join("---\n")),
            ("empty-service.yaml", manifests::service("empty", &[])),
        ];
        let manifests = manifests.each_ref().map(|(file, yaml)| (*file, yaml.as_str()));
        let standalone = Standalone::start_with(loopback, &manifests).await?;
        let mut backends = Vec::new();
        for number in 0..HOSTS {
            backends.push(standalone.echo(&service(number), 100 + number).await?);
        }
        let edge = standalone.edge().await?;
        for number in 0..HOSTS {
            eventually(async || edge.get(&host(number), "/").await?.seen()).await?;
        }
        let servers = standalone.gateway_folder()?.join("current/servers/8080.conf");
        let servers = fs::read_to_string(servers).context("the port has servers")?;
        ensure!(
            servers.contains("map $host "),
            "the hosts do not share a server: {servers}"
        );
        Ok(Self {
            standalone,
            _backends: backends,
        })
    }

    /// Who answers a request that nothing but its bytes describe, to the port without TLS.
    async fn answers(&self, request: &str) -> Result<Seen> {
        let edge = self.standalone.edge().await?;
        seen(&raw(edge.address(), request.as_bytes()).await?)
    }

    /// The same to the port with TLS, after a handshake for this name.
    async fn answers_over_tls(&self, name: &str, request: &str) -> Result<Seen> {
        let address = self.standalone.gateway("default", "edge", 8443).await?;
        let mut stream = Target::https(address, name).stream().await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        seen(&answer)
    }
}

fn host(number: u8) -> String {
    format!("host-{number}.example")
}

fn service(number: u8) -> String {
    format!("service-{number}")
}

/// What the backend saw that an answer as it was on the wire is from.
fn seen(answer: &[u8]) -> Result<Seen> {
    let text = String::from_utf8_lossy(answer);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
    serde_json::from_str(body.unwrap_or_default()).with_context(|| format!("not from a backend: {text}"))
}

#[tokio::test]
async fn each_host_reaches_its_own_service_however_a_client_writes_it() -> Result<()> {
    let platform = Platform::start().await?;
    let edge = platform.standalone.edge().await?;
    for number in 0..HOSTS {
        let name = host(number);
        for host in [
            name.clone(),
            name.to_uppercase(),
            format!("{name}."),
            format!("{name}:99"),
            format!("{name}.:99"),
        ] {
            for protocol in [Protocol::Http1, Protocol::Http2] {
                let seen = edge.clone().protocol(protocol).get(&host, PATH).await?.seen()?;
                assert_eq!(
                    (&*seen.backend, &*seen.path, &*seen.host),
                    (&*service(number), PATH, &*host),
                    "{protocol:?}"
                );
            }
        }
    }
    for (host, backend) in [
        ("a.host-1.example", Some(service(0))),
        ("a.b.host-1.example", Some(service(0))),
        ("a.host-2.example", None),
        ("host.example", None),
    ] {
        let answer = edge.get(host, "/").await?;
        assert_eq!(
            answer.seen().ok().map(|seen| seen.backend),
            backend,
            "{host}: {answer}"
        );
    }
    assert_eq!(edge.get("empty.example", "/").await?.status, 503);
    Ok(())
}

#[tokio::test]
async fn host_of_the_request_line_goes_before_the_header() -> Result<()> {
    let platform = Platform::start().await?;
    for request in [
        "GET http://host-5.example/ HTTP/1.1\r\nHost: host-6.example\r\nConnection: close\r\n\r\n",
        "GET http://HOST-5.example.:99/ HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: host-5.example\r\n\r\n",
    ] {
        assert_eq!(platform.answers(request).await?.backend, service(5), "{request}");
    }
    Ok(())
}

#[tokio::test]
async fn host_of_the_request_goes_before_the_name_of_the_handshake() -> Result<()> {
    let platform = Platform::start().await?;
    for (request, number) in [
        ("GET / HTTP/1.0\r\nHost: host-3.example\r\n\r\n", Some(3)),
        ("GET / HTTP/1.0\r\nHost: host-4.example\r\n\r\n", Some(4)),
        ("GET https://host-5.example/ HTTP/1.0\r\n\r\n", Some(5)),
        ("GET / HTTP/1.0\r\n\r\n", None),
    ] {
        let seen = platform.answers_over_tls("host-3.example", request).await;
        assert_eq!(
            seen.ok().map(|seen| seen.backend),
            number.map(service),
            "{request}"
        );
    }
    Ok(())
}
