use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use operator_core::{
    generation::{self, Files, Generation, Pem},
    infra::GatewayInfra,
    object::ObjectKey,
    outcome::{GatewayOutcome, Outcome},
};
use proto::fleet::{Report, Wanted, fleet_client::FleetClient};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, UnixStream},
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::*;
use crate::{
    certificates::{Authorities, Certificates},
    controller::Publications,
    metrics::Metrics,
    mock,
    observations::Observations,
    parts::Parts,
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server for the agents of `default/edge`, stopped when this is dropped.
struct Fleet {
    folder: TempDir,
    tokens: Tokens,
    publications: Publications,
    observations: Observations,
    changed: Arc<Notify>,
    stop: CancellationToken,
}

impl Fleet {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (publications, stop, tokens) = (
            Publications::default(),
            CancellationToken::new(),
            Tokens::default(),
        );
        let changed = Arc::new(Notify::new());
        let observations = Observations::new(changed.clone());
        tokens.admit(Token::keep(&folder.path().join("token")).unwrap(), &edge());
        let fleet = Self {
            folder,
            tokens,
            publications,
            observations,
            changed,
            stop,
        };
        let listener = listen(&fleet.folder.path().join("fleet.sock")).unwrap();
        tokio::spawn(serve(fleet.server(), listener));
        fleet
    }

    fn server(&self) -> Server {
        Server::new(
            self.tokens.clone(),
            self.publications.generations.clone(),
            self.observations.clone(),
            Arc::new(Metrics::default()),
            self.stop.clone(),
        )
    }

    fn publish(&self, config: &str, data: &str) {
        let certificates = BTreeMap::from([("a.pem".to_owned(), Pem("key".to_owned()))]);
        let endpoints = vec![generation::Endpoints {
            name: "u.flotilla".to_owned(),
            ports: BTreeMap::from([(8080, vec!["127.0.0.1".to_owned()])]),
        }];
        let generation = Generation {
            config: Files {
                version: config.to_owned(),
                files: BTreeMap::from([("nginx.conf".to_owned(), config.to_owned())]),
            },
            data: generation::Data {
                version: data.to_owned(),
                endpoints,
                certificates,
                ..generation::Data::default()
            },
        };
        let wanted = GatewayOutcome {
            infra: GatewayInfra::default(),
            generation: Some(Arc::new(generation)),
        };
        let gateways = BTreeMap::from([(edge(), wanted)]);
        self.publications.publish(Outcome {
            gateways,
            ..Outcome::default()
        });
    }

    async fn channel_to(&self, socket: &str) -> Channel {
        let socket: PathBuf = self.folder.path().join(socket);
        let connect = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://fleet")
            .connect_with_connector(connect)
            .await
            .unwrap()
    }

    /// An agent with that token: where its reports go, and what it is told.
    async fn follow(&self, token: &str) -> Result<(mpsc::Sender<Report>, Streaming<Wanted>), Status> {
        follow(self.channel_to("fleet.sock").await, token).await
    }

    fn token(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("token")).unwrap()
    }

    /// Waits until what is observed of the instance is as expected.
    async fn observed(&self, expected: impl Fn(Option<&operator_core::observed::Instance>) -> bool) {
        let wait = async {
            loop {
                let observed = self.observations.get();
                if expected(
                    observed
                        .gateways
                        .get(&edge())
                        .and_then(|gateway| gateway.instances.get("edge-1")),
                ) {
                    return;
                }
                self.changed.notified().await;
            }
        };
        timeout(PATIENCE, wait).await.expect("the report arrives");
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An agent with that token at that server: where its reports go, and what it is told.
async fn follow(channel: Channel, token: &str) -> Result<(mpsc::Sender<Report>, Streaming<Wanted>), Status> {
    let (reports, reported) = mpsc::channel(4);
    reports.send(report("", false)).await.unwrap();
    let mut request = Request::new(ReceiverStream::new(reported));
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    let wanted = FleetClient::new(channel).follow(request).await?.into_inner();
    Ok((reports, wanted))
}

fn edge() -> ObjectKey {
    ObjectKey::new("default", "edge")
}

fn report(config: &str, ready: bool) -> Report {
    Report {
        instance: "edge-1".to_owned(),
        config: config.to_owned(),
        ready,
        ..Report::default()
    }
}

async fn next(wanted: &mut Streaming<Wanted>) -> (Option<String>, Option<String>) {
    let message = timeout(PATIENCE, wanted.message())
        .await
        .expect("a message")
        .unwrap()
        .unwrap();
    (
        message.config.map(|config| config.version),
        message.data.map(|data| data.version),
    )
}

fn versions(config: Option<&str>, data: Option<&str>) -> (Option<String>, Option<String>) {
    (config.map(ToOwned::to_owned), data.map(ToOwned::to_owned))
}

#[tokio::test]
async fn a_token_that_is_good_for_no_gateway_is_refused() {
    let fleet = Fleet::start();
    assert_eq!(
        fleet.follow("guess").await.unwrap_err().code(),
        Code::Unauthenticated
    );
}

#[tokio::test]
async fn an_agent_is_told_only_what_changed() {
    let fleet = Fleet::start();
    fleet.publish("c1", "d1");
    let (_reports, mut wanted) = fleet.follow(&fleet.token()).await.unwrap();
    let first = timeout(PATIENCE, wanted.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let (config, data) = (first.config.unwrap(), first.data.unwrap());
    assert_eq!(config.files[0].path, "nginx.conf");
    assert_eq!(data.certificates[0].content, b"key");
    assert_eq!(
        (
            data.endpoints[0].service.as_str(),
            data.endpoints[0].ports[0].port
        ),
        ("e", 8080)
    );

    fleet.publish("c1", "d2");
    assert_eq!(next(&mut wanted).await, versions(None, Some("d2")));
    fleet.publish("c2", "d2");
    assert_eq!(next(&mut wanted).await, versions(Some("c2"), None));
}

#[tokio::test]
async fn an_agent_that_comes_first_is_told_as_soon_as_something_is_wanted() {
    let fleet = Fleet::start();
    let (_reports, mut wanted) = fleet.follow(&fleet.token()).await.unwrap();
    fleet.publish("c1", "d1");
    assert_eq!(next(&mut wanted).await, versions(Some("c1"), Some("d1")));
}

#[tokio::test]
async fn reports_are_observed_and_outlive_a_short_absence() {
    let fleet = Fleet::start();
    fleet.publish("c1", "d1");
    let (reports, wanted) = fleet.follow(&fleet.token()).await.unwrap();
    reports.send(report("c1", true)).await.unwrap();
    fleet
        .observed(|instance| instance.is_some_and(|instance| instance.ready && instance.config == "c1"))
        .await;

    drop((reports, wanted));
    let (reports, _wanted) = fleet.follow(&fleet.token()).await.unwrap();
    reports.send(report("c2", true)).await.unwrap();
    fleet
        .observed(|instance| instance.is_some_and(|instance| instance.config == "c2"))
        .await;
}

#[tokio::test]
async fn an_agent_that_stays_away_is_forgotten() {
    let fleet = Fleet::start();
    let reports = super::reports::Reports::new(fleet.observations.clone(), Arc::new(Metrics::default()));
    reports.connect(&edge(), "edge-1").take(report("c1", true));
    fleet.observed(|instance| instance.is_some()).await;
    tokio::time::pause();
    fleet.observed(|instance| instance.is_none()).await;
}

/// An API server that has one Secret, with authorities.
fn with_authorities(authorities: &Authorities) -> kube::Client {
    let data = authorities.to_data().into_iter();
    let data: BTreeMap<_, _> = data
        .map(|(name, text)| (name, ByteString(text.into_bytes())))
        .collect();
    let secret = json!({"metadata": {"namespace": "default", "name": "authorities"}, "data": data});
    mock::client(move |_| Some(mock::list(std::slice::from_ref(&secret))))
}

#[tokio::test]
async fn an_agent_that_trusts_our_authorities_is_served_over_tls() {
    let fleet = Fleet::start();
    fleet.publish("c1", "d1");
    let authorities = Authorities::default().renewed(SystemTime::now()).unwrap();
    let secret = ObjectKey::new("default", "authorities");
    let names = vec!["flotilla.test".to_owned()];
    let mut parts = Parts::new(CancellationToken::new());
    let certificates = Certificates::keep(&mut parts, &with_authorities(&authorities), secret, names);
    let mut bundle = certificates.bundle();
    let bundle = timeout(PATIENCE, bundle.wait_for(|bundle| !bundle.is_empty()))
        .await
        .unwrap();
    let bundle = bundle.unwrap().clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_tls(
        fleet.server(),
        listener,
        certificates.server_config().unwrap(),
    ));

    let connect = async |authorities: &str| {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        let endpoint = endpoint.tls_config(tls.domain_name("flotilla.test")).unwrap();
        timeout(PATIENCE, endpoint.connect()).await.unwrap()
    };
    let channel = connect(&bundle).await.unwrap();
    let (_reports, mut wanted) = follow(channel, &fleet.token()).await.unwrap();
    assert_eq!(next(&mut wanted).await, versions(Some("c1"), Some("d1")));

    let others = Authorities::default().renewed(SystemTime::now()).unwrap();
    assert!(connect(&others.bundle()).await.is_err());
}

#[tokio::test]
async fn of_reports_that_come_too_fast_the_newest_counts() {
    let fleet = Fleet::start();
    let (reports, _wanted) = fleet.follow(&fleet.token()).await.unwrap();
    for number in 1..=200 {
        reports.send(report(&format!("c{number}"), true)).await.unwrap();
    }
    fleet
        .observed(|instance| instance.is_some_and(|instance| instance.config == "c200"))
        .await;
}

#[tokio::test]
async fn reports_reach_the_replica_that_leads() {
    let [leading, following] = [Fleet::start(), Fleet::start()];
    let authorities = Authorities::default().renewed(SystemTime::now()).unwrap();
    let secret = ObjectKey::new("default", "authorities");
    let host = "flotilla.test".to_owned();
    let mut parts = Parts::new(CancellationToken::new());
    let certificates = Certificates::keep(
        &mut parts,
        &with_authorities(&authorities),
        secret,
        vec![host.clone()],
    );
    let mut bundle = certificates.bundle();
    let _ = timeout(PATIENCE, bundle.wait_for(|bundle| !bundle.is_empty()))
        .await
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let leader = watch::Sender::new(Some(listener.local_addr().unwrap()));
    // Both know the agent's token, as they would by the API server.
    leading.tokens.admit(
        Token::keep(&following.folder.path().join("token")).unwrap(),
        &edge(),
    );
    tokio::spawn(serve_tls(
        leading.server(),
        listener,
        certificates.server_config().unwrap(),
    ));
    let relay = Relay {
        leader: leader.subscribe(),
        authorities: certificates.bundle(),
        host,
    };
    let listener = listen(&following.folder.path().join("relaying.sock")).unwrap();
    tokio::spawn(serve(following.server().relaying(relay), listener));

    let channel = following.channel_to("relaying.sock").await;
    let (reports, _wanted) = follow(channel, &following.token()).await.unwrap();
    reports.send(report("c1", true)).await.unwrap();
    leading
        .observed(|instance| instance.is_some_and(|instance| instance.ready && instance.config == "c1"))
        .await;
}
