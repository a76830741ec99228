use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use agent::proxy::{
    picker::{ask::Failure, message::ProcessingRequest},
    settings::Settings,
};
use proto::fleet;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::TcpListener;
use tonic::transport::Identity;

use crate::setting::{Listening, Picker, Proxy, get, picker, run, soon};

async fn is_asked(proxy: &Proxy, picker: &mut Picker) {
    let script = async { picker.call().await.choose().await };
    proxy.chosen(get(), script).await;
}

/// What made asking fail.
async fn failure(proxy: &Proxy) -> Failure {
    proxy.failed(get(), async {}).await.0
}

#[test]
fn connections_are_made_before_anyone_asks() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = Settings {
            picker_connect_timeout: Duration::from_hours(1),
            ..Settings::default()
        };
        let _proxy = Proxy::with(settings, &[listener.local_addr().unwrap()], None);
        let _first = soon(listener.accept()).await.unwrap();
        let _second = soon(listener.accept()).await.unwrap();
    });
}

#[test]
fn without_pickers_asking_fails_at_once() {
    run(async {
        assert!(matches!(
            failure(&Proxy::new(&[], None)).await,
            Failure::Connect { .. }
        ));
    });
}

#[test]
fn a_picker_that_refuses_connections_fails_at_once() {
    run(async {
        let address = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let settings = Settings {
            picker_connect_timeout: Duration::from_hours(1),
            ..Settings::default()
        };
        let proxy = Proxy::with(settings, &[address], None);
        assert!(matches!(failure(&proxy).await, Failure::Connect { .. }));
    });
}

#[test]
fn a_picker_that_only_accepts_is_not_waited_for() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = Settings {
            picker_connect_timeout: Duration::from_millis(50),
            ..Settings::default()
        };
        let proxy = Proxy::with(settings, &[listener.local_addr().unwrap()], None);
        assert!(matches!(failure(&proxy).await, Failure::Connect { .. }));
    });
}

#[test]
fn new_settings_hold_for_pickers_that_are_known() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = Settings {
            picker_connect_timeout: Duration::from_hours(1),
            ..Settings::default()
        };
        let proxy = Proxy::with(settings, &[listener.local_addr().unwrap()], None);
        let settings = Settings {
            picker_connect_timeout: Duration::from_millis(50),
            ..settings
        };
        proxy.pickers.put([&proxy.picker], &settings);
        assert!(matches!(failure(&proxy).await, Failure::Connect { .. }));
    });
}

#[test]
fn connections_come_back_with_the_picker() {
    run(async {
        let mut one = Picker::start();
        let address = one.address;
        let proxy = Proxy::new(&[address], None);
        is_asked(&proxy, &mut one).await;
        one.kill();
        while soon(proxy.ask(get())).await.is_ok() {}
        let mut two = Picker::listening(Listening {
            address: Some(address),
            ..Listening::default()
        });
        let script = async { two.call().await.choose().await };
        let asked = async {
            while proxy.ask(get()).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        soon(async { tokio::join!(asked, script) }).await;
    });
}

#[test]
fn new_pods_are_asked_and_old_ones_no_more() {
    run(async {
        let (mut one, mut two) = (Picker::start(), Picker::start());
        let mut proxy = Proxy::new(&[one.address], None);
        is_asked(&proxy, &mut one).await;
        let before = proxy.connections();
        proxy.picker = picker(&[two.address], None);
        proxy.pickers.put([&proxy.picker], &proxy.settings);
        assert!(std::rc::Rc::ptr_eq(&before, &proxy.connections()));
        for _ in 0..3 {
            is_asked(&proxy, &mut two).await;
        }
    });
}

#[test]
fn all_pods_are_asked() {
    run(async {
        let (mut one, mut two) = (Picker::start(), Picker::start());
        let proxy = Proxy::new(&[one.address, two.address], None);
        let mut asked = BTreeSet::new();
        while asked.len() < 2 {
            let script = async {
                let mut call = tokio::select! {
                    call = one.call() => { asked.insert(one.address); call }
                    call = two.call() => { asked.insert(two.address); call }
                };
                call.choose().await;
            };
            proxy.chosen(get(), script).await;
        }
    });
}

/// A proxy and the pods of its picker, of which the first leads and is asked already.
async fn with_leader() -> (Proxy, Picker, Picker) {
    let mut pods = [Picker::start(), Picker::start()];
    pods.sort_by_key(|pod| pod.address);
    let [mut leader, mut successor] = pods;
    let mut proxy = Proxy::new(&[], None);
    proxy.picker = picker(&[successor.address, leader.address], None);
    Arc::make_mut(&mut proxy.picker.message).one_leads = true;
    proxy.pickers.put([&proxy.picker], &proxy.settings);
    // The other one is asked until the leader is connected.
    let mut leads = false;
    while !leads {
        let script = async {
            let mut call = tokio::select! {
                call = leader.call() => { leads = true; call }
                call = successor.call() => call,
            };
            call.choose().await;
        };
        proxy.chosen(get(), script).await;
    }
    (proxy, leader, successor)
}

#[test]
fn a_pod_that_leads_is_asked_about_everything() {
    run(async {
        let (proxy, mut leader, _successor) = with_leader().await;
        for _ in 0..8 {
            is_asked(&proxy, &mut leader).await;
        }
    });
}

#[test]
fn what_a_leader_did_not_answer_the_next_pod_is_asked() {
    run(async {
        let (proxy, mut leader, mut successor) = with_leader().await;
        let script = async {
            let _unanswered = leader.call().await;
            leader.kill();
            successor.call().await.choose().await;
        };
        proxy.chosen(get(), script).await;
        is_asked(&proxy, &mut successor).await;
    });
}

#[test]
fn calls_have_no_limit_but_connections_grow_with_them() {
    run(async {
        const CALLS: usize = 50;
        let mut picker = Picker::listening(Listening {
            most_calls: Some(4),
            ..Listening::default()
        });
        let proxy = Proxy::new(&[picker.address], None);
        let (mut calls, mut exchanges) = (Vec::new(), Vec::new());
        for _ in 0..CALLS {
            let script = async {
                let mut call = picker.call().await;
                call.choose().await;
                calls.push(call);
            };
            exchanges.push(proxy.chosen(get(), script).await);
        }
    });
}

#[test]
fn small_messages_that_a_picker_has_yet_to_read_break_no_connection() {
    run(async {
        const CALLS: usize = 600;
        const MESSAGES: usize = 12;
        let mut picker = Picker::start();
        let connections = Proxy::new(&[picker.address], None).connections();
        let mut calls = Vec::new();
        for _ in 0..CALLS {
            let (ours, _) = soon(connections.call(None)).await.unwrap();
            calls.push((ours, picker.call().await));
        }
        for (ours, _) in &mut calls {
            for _ in 0..MESSAGES {
                ours.send(&ProcessingRequest::default(), false);
            }
        }
        for (_, theirs) in &mut calls {
            for _ in 0..MESSAGES {
                assert!(theirs.next().await.is_some());
            }
        }
    });
}

/// A picker's certificate with its key, and who issued it.
fn certificate(name: &str) -> (Identity, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    (
        Identity::from_pem(certificate.pem(), key.serialize_pem()),
        authority.pem(),
    )
}

/// TLS with a picker of a name whose certificate some authorities must have issued.
fn tls(name: &str, authorities: Option<&str>) -> fleet::Tls {
    fleet::Tls {
        server_name: name.to_owned(),
        verification: authorities.map(|authorities| fleet::Verification {
            authorities: authorities.to_owned(),
            ..fleet::Verification::default()
        }),
        client_certificate: String::new(),
    }
}

fn listening(identity: Identity) -> Picker {
    Picker::listening(Listening {
        identity: Some(identity),
        ..Listening::default()
    })
}

#[test]
fn pickers_that_nobody_vouches_for_are_asked_where_that_is_said() {
    run(async {
        // As pickers make it themselves: without any name.
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        let mut picker = listening(Identity::from_pem(certificate.pem(), key.serialize_pem()));
        is_asked(
            &Proxy::new(&[picker.address], Some(tls("picker.default", None))),
            &mut picker,
        )
        .await;
    });
}

#[test]
fn pickers_are_verified_where_that_is_said() {
    run(async {
        let (identity, authority) = certificate("picker.default");
        let (_, other) = certificate("picker.default");
        let mut picker = listening(identity);
        let proxy =
            |name, authority| Proxy::new(&[picker.address as SocketAddr], Some(tls(name, Some(authority))));
        let strangers = [
            proxy("picker.default", &other),
            proxy("other.default", &authority),
        ];
        let known = proxy("picker.default", &authority);
        for stranger in strangers {
            assert!(matches!(failure(&stranger).await, Failure::Connect { .. }));
            let [refusal] = &stranger.pickers.refusals()[..] else {
                panic!("the only picker is refused");
            };
            assert_eq!(
                (&refusal.endpoints[..], &refusal.address),
                ("picker", &picker.address.to_string())
            );
            assert!(
                refusal.reason.starts_with("invalid peer certificate"),
                "{refusal:?}"
            );
        }
        is_asked(&known, &mut picker).await;
        assert_eq!(known.pickers.refusals(), []);
    });
}
