//! TLS with endpoints.

use std::sync::Arc;

use proto::fleet::{Leg, Protocol, Tls, Verification};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::setting::{Streams, Wire, one_endpoint};

/// An authority.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate for some names, which asks for certificates of an authority if there is one.
fn server(
    authority: &CertifiedIssuer<'static, KeyPair>,
    names: Vec<SanType>,
    clients: Option<&CertifiedIssuer<'static, KeyPair>>,
) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    let certificate = params.signed_by(&key, authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(clients.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let mut config = builder
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().unwrap())
}

fn leg(verification: Option<Verification>) -> Leg {
    Leg {
        tls: Some(Tls {
            server_name: "shop.example".to_owned(),
            verification,
            client_certificate: String::new(),
        }),
        ..Leg::default()
    }
}

fn trust(authority: &CertifiedIssuer<'static, KeyPair>) -> Verification {
    Verification {
        authorities: authority.pem(),
        ..Verification::default()
    }
}

/// Whether a request over such a leg reaches a server, and the server's connection then.
async fn reaches(leg: Leg, server: &TlsAcceptor) -> Option<Wire<TlsStream<TcpStream>>> {
    let (_setting, mut client, endpoint) = one_endpoint(leg).await;
    client.get("/").await;
    let stream = server.accept(endpoint.stream().await).await;
    let connection = match stream {
        Ok(stream) if stream.get_ref().1.server_name() == Some("shop.example") => {
            let mut connection = Wire::new(stream);
            if connection.is_open().await {
                connection.head().await;
                connection.respond("200 OK", "tea").await;
                Some(connection)
            } else {
                None
            }
        }
        Ok(stream) => panic!("{:?}", stream.get_ref().1.server_name()),
        Err(_) => None,
    };
    let status = client.response().await.0.status();
    assert_eq!(status, if connection.is_some() { 200 } else { 502 });
    connection
}

#[tokio::test]
async fn a_certificate_for_the_name_of_the_handshake_is_taken() {
    let ours = authority();
    assert!(
        reaches(
            leg(Some(trust(&ours))),
            &server(&ours, vec![dns("shop.example")], None)
        )
        .await
        .is_some()
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let ours = authority();
    assert!(
        reaches(
            leg(Some(trust(&ours))),
            &server(&ours, vec![dns("other.example")], None)
        )
        .await
        .is_none()
    );
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let theirs = server(&authority(), vec![dns("shop.example")], None);
    assert!(reaches(leg(Some(trust(&authority()))), &theirs).await.is_none());
}

#[tokio::test]
async fn a_certificate_of_nobody_known_to_the_system_is_refused() {
    let theirs = server(&authority(), vec![dns("shop.example")], None);
    assert!(
        reaches(leg(Some(Verification::default())), &theirs)
            .await
            .is_none()
    );
}

#[tokio::test]
async fn any_certificate_is_taken_without_verification() {
    assert!(
        reaches(leg(None), &server(&authority(), vec![dns("other.example")], None))
            .await
            .is_some()
    );
}

#[tokio::test]
async fn one_of_the_names_suffices_and_that_of_the_handshake_does_not() {
    let ours = authority();
    let verification = Verification {
        hostnames: vec!["a.example".to_owned(), "*.b.example".to_owned()],
        uris: vec!["spiffe://example/shop".to_owned()],
        ..trust(&ours)
    };
    for (name, is_taken) in [
        (dns("a.example"), true),
        (dns("*.b.example"), true),
        (uri("spiffe://example/shop"), true),
        (dns("c.b.example"), false),
        (uri("spiffe://example/other"), false),
        (dns("shop.example"), false),
    ] {
        let server = server(&ours, vec![name.clone()], None);
        let reached = reaches(leg(Some(verification.clone())), &server).await;
        assert_eq!(reached.is_some(), is_taken, "{name:?}");
    }
}

#[tokio::test]
async fn our_certificate_is_shown() {
    let ours = authority();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["gateway".to_owned()])
        .unwrap()
        .signed_by(&key, &ours)
        .unwrap();
    let mut leg = leg(Some(trust(&ours)));
    let server = server(&ours, vec![dns("shop.example")], Some(&ours));
    assert!(reaches(leg.clone(), &server).await.is_none());
    let tls = leg.tls.as_mut().unwrap();
    tls.client_certificate = certificate.pem() + &key.serialize_pem();
    assert!(reaches(leg, &server).await.is_some());
}

#[tokio::test]
async fn http2_is_negotiated_where_the_leg_speaks_it() {
    let ours = authority();
    let leg = Leg {
        protocol: Protocol::Http2.into(),
        ..leg(Some(trust(&ours)))
    };
    let (_setting, mut client, endpoint) = one_endpoint(leg).await;
    client.get("/").await;
    let server = server(&ours, vec![dns("shop.example")], None);
    let stream = server.accept(endpoint.stream().await).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let mut streams = Streams::over(stream).await;
    let (request, mut respond) = streams.next().await;
    assert_eq!(request.uri(), "https://shop.example/");
    respond.send_response(hyper::Response::new(()), true).unwrap();
    assert_eq!(client.head().await.status(), 200);
}
