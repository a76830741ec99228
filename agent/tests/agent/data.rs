//! What takes effect without a reload.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use proto::fleet::{Data, File};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::setting::{Agent, Backend, Load, config, data, endpoints, eventually, free_address, get, nginx};

#[tokio::test]
async fn endpoints_come_and_go_without_a_reload_or_a_failed_request() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, _agent) = Agent::start(&nginx);
    let address = free_address();
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    operator.want(config("1a", address, ""), data("d1", &[old.address]));
    operator.served("1a").await;
    let load = Load::start(address);

    operator.want_data(data("d2", &[old.address, new.address]));
    operator.report("d2", |report| report.data == "d2").await;
    eventually("traffic to the new endpoint", async || {
        get(address, "/").await.unwrap().1 == "new"
    })
    .await;

    operator.want_data(data("d3", &[new.address]));
    eventually("no traffic to the old endpoint", async || {
        for _ in 0..20 {
            if get(address, "/").await.unwrap().1 == "old" {
                return false;
            }
        }
        true
    })
    .await;
    assert_eq!(load.failures().await, Vec::<String>::new());
    assert_eq!(
        operator.report("d3", |report| report.data == "d3").await.reloads,
        0
    );
}

#[tokio::test]
async fn endpoints_change_while_nothing_can_be_written() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent) = Agent::start(&nginx);
    let address = free_address();
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    operator.want(config("1a", address, ""), data("d1", &[old.address]));
    operator.served("1a").await;

    // Not even root can put a file in the place of a folder.
    let stored = agent.prefix().join("data.binpb");
    fs::remove_file(&stored).unwrap();
    fs::create_dir(&stored).unwrap();
    operator.want_data(data("d2", &[new.address]));
    eventually("traffic to the new endpoint", async || {
        get(address, "/").await.unwrap().1 == "new"
    })
    .await;
    fs::remove_dir(&stored).unwrap();
    operator.report("d2", |report| report.data == "d2").await;
}

#[tokio::test]
async fn endpoints_of_ipv6_take_traffic() {
    let Some(nginx) = nginx() else { return };
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_err() {
        println!("skipped: this machine has no IPv6");
        return;
    }
    let (mut operator, _agent) = Agent::start(&nginx);
    let address = free_address();
    let six = Backend::start_on("six", (Ipv6Addr::LOCALHOST, 0).into()).await;
    let four = Backend::start_on("four", (Ipv4Addr::LOCALHOST, six.address.port()).into()).await;
    operator.want(config("1a", address, ""), data("d1", &[six.address]));
    operator.served("1a").await;
    assert_eq!(get(address, "/").await.unwrap().1, "six");
    operator.want_data(data("d2", &[six.address, four.address]));
    for name in ["six", "four"] {
        eventually(name, async || get(address, "/").await.unwrap().1 == name).await;
    }
}

#[tokio::test]
async fn every_address_on_every_port_takes_traffic() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, _agent) = Agent::start(&nginx);
    let address = free_address();
    let one = Backend::start("one").await;
    let two = Backend::start_on(
        "two",
        SocketAddr::new("127.0.0.2".parse().unwrap(), one.address.port()),
    )
    .await;
    let three = Backend::start("three").await;
    operator.want(
        config("1a", address, ""),
        data("d1", &[one.address, two.address, three.address]),
    );
    operator.served("1a").await;
    for name in ["one", "two", "three"] {
        eventually(name, async || get(address, "/").await.unwrap().1 == name).await;
    }
}

#[tokio::test]
async fn a_thousand_addresses_are_answered_in_full() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, _agent) = Agent::start(&nginx);
    let (address, shop) = (free_address(), Backend::start("shop").await);
    // All of 127.0.0.0/8 is this machine; NGINX goes on to the next address where nobody listens.
    let addresses: Vec<SocketAddr> = (0..1000_u16)
        .map(u16::to_be_bytes)
        .map(|[high, low]| SocketAddr::from(([127, 1, high, low], shop.address.port())))
        .chain([shop.address])
        .collect();
    operator.want(config("1a", address, ""), data("d1", &addresses));
    operator.served("1a").await;
    assert_eq!(get(address, "/").await.unwrap().0, 200);
}

#[tokio::test]
async fn a_thousand_upstreams_are_known_when_they_are_served() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, _agent) = Agent::start(&nginx);
    let (address, any, shop) = (free_address(), free_address(), Backend::start("shop").await);
    let names: Vec<String> = (0..1000)
        .map(|number| format!("upstream-{number}.test"))
        .collect();
    let upstreams: Vec<String> = names
        .iter()
        .map(|name| format!("upstream {name} {{ zone endpoints; server {name} service=e resolve; }}"))
        .collect();
    let upstreams = upstreams.join("\n");
    let more =
        format!("{upstreams}\nserver {{ listen {any}; location / {{ proxy_pass http://$arg_name; }} }}");
    let mut data = data("d1", &[shop.address]);
    data.endpoints
        .extend(names.iter().map(|name| endpoints(name, &[shop.address])));
    operator.want(config("1a", address, &more), data);
    operator.served("1a").await;
    for name in names {
        assert_eq!(
            get(any, &format!("/?name={name}")).await.unwrap().0,
            200,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_reload() {
    let Some(nginx) = nginx() else { return };
    let (mut operator, agent) = Agent::start(&nginx);
    let (address, secure) = (free_address(), free_address());
    let tls = format!(
        "server {{\n\
             listen {secure} ssl;\n\
             ssl_certificate certificates/$ssl_server_name.pem;\n\
             ssl_certificate_key certificates/$ssl_server_name.pem;\n\
             ssl_certificate_cache max=100 valid=1s;\n\
         }}"
    );
    let (first, second) = (Certificate::new(), Certificate::new());
    operator.want(config("1a", address, &tls), first.data("d1"));
    operator.served("1a").await;
    assert!(first.is_served(secure).await);
    assert!(!second.is_served(secure).await);

    operator.want_data(second.data("d2"));
    eventually("the second certificate", async || second.is_served(secure).await).await;
    assert_eq!(
        operator.report("d2", |report| report.data == "d2").await.reloads,
        0
    );

    operator.want_data(data("d3", &[]));
    let file = agent.prefix().join("certificates/shop.test.pem");
    eventually("the removal of a certificate that nobody needs", async || {
        !file.exists()
    })
    .await;
}

struct Certificate {
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Certificate {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["shop.test".to_owned()]).unwrap();
        Self {
            certificate: cert.der().clone(),
            pem: cert.pem() + &signing_key.serialize_pem(),
        }
    }

    fn data(&self, version: &str) -> Data {
        let file = File {
            path: "shop.test.pem".to_owned(),
            content: self.pem.clone().into_bytes(),
        };
        Data {
            certificates: vec![file],
            ..data(version, &[])
        }
    }

    /// Whether a client that trusts only this certificate gets through a handshake.
    async fn is_served(&self, address: SocketAddr) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("shop.test").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .is_ok()
    }
}
