//! TLS at the gateway: certificates by server name, misdirected requests, client certificates, renewal.

use anyhow::{Context, Result, ensure};
use e2e::{
    certificates::{Authority, Certificate},
    client::{Protocol, Request, Target},
    manifests::{EDGE, route_to},
    standalone::{Standalone, eventually},
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// A Gateway with TLS listeners on port 8443, each `name: …` in flow style.
fn gateway(listeners: &[&str]) -> String {
    let (class, _) = EDGE.split_once("---").expect("the class comes first");
    let listeners: Vec<String> = listeners
        .iter()
        .map(|listener| format!("    - {{ protocol: HTTPS, port: 8443, {listener} }}\n"))
        .collect();
    format!(
        "{class}---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
         metadata: {{ name: edge, namespace: default }}\nspec:\n  gatewayClassName: flotilla\n  listeners:\n{}",
        listeners.concat(),
    )
}

fn der(certificate: &Certificate) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).context("rcgen writes PEM")
}

/// The certificate that is shown for a server name.
async fn shown(target: &Target) -> Result<CertificateDer<'static>> {
    Ok(target
        .connect()
        .await?
        .certificate()
        .context("TLS has a certificate")?
        .clone())
}

const TWO_LISTENERS: [&str; 2] = [
    "name: shop, hostname: shop.example, tls: { certificateRefs: [{ name: shop }] }",
    "name: wild, hostname: '*.wild.example', tls: { certificateRefs: [{ name: wild }] }",
];

#[tokio::test]
async fn server_name_chooses_the_certificate_and_must_fit_the_host() -> Result<()> {
    let [shop, wild] = ["shop.example", "*.wild.example"].map(|name| Certificate::self_signed(&[name]));
    let manifests = [
        ("edge.yaml", gateway(&TWO_LISTENERS)),
        ("shop.yaml", shop.secret("default", "shop")),
        ("wild.yaml", wild.secret("default", "wild")),
        ("route-shop.yaml", route_to("shop.example", "shop")),
        ("route-wild.yaml", route_to("*.wild.example", "shop")),
    ];
    let manifests = manifests.each_ref().map(|(file, yaml)| (*file, yaml.as_str()));
    let standalone = Standalone::start(&manifests).await?;
    let _backend = standalone.backend("shop", 100).await?;
    let address = standalone.gateway("default", "edge", 8443).await?;
    for (host, certificate) in [("shop.example", &shop), ("a.wild.example", &wild)] {
        let target = Target::https(address, host);
        eventually(async || target.get(host, "/").await?.seen()).await?;
        assert_eq!(shown(&target).await?, der(certificate)?, "{host}");
        let http2 = target.protocol(Protocol::Http2).get(host, "/").await?;
        assert_eq!(http2.version, hyper::Version::HTTP_2);
    }
    let misdirected = Target::https(address, "shop.example")
        .get("a.wild.example", "/")
        .await?;
    assert_eq!(misdirected.status, 421, "{misdirected}");
    Ok(())
}

#[tokio::test]
async fn renewed_certificate_is_served_without_a_reload() -> Result<()> {
    let [old, new] = [(); 2].map(|()| Certificate::self_signed(&["shop.example"]));
    let gateway = gateway(&TWO_LISTENERS[..1]);
    let manifests = [
        ("edge.yaml", gateway.as_str()),
        ("secret.yaml", &old.secret("default", "shop")),
    ];
    let standalone = Standalone::start(&manifests).await?;
    let address = standalone.gateway("default", "edge", 8443).await?;
    let target = Target::https(address, "shop.example");
    let expect = async |certificate: &Certificate| {
        let wanted = der(certificate)?;
        eventually(async || {
            ensure!(shown(&target).await? == wanted, "another certificate is shown");
            Ok(())
        })
        .await
    };
    expect(&old).await?;
    let workers = standalone.workers();
    standalone.apply("secret.yaml", &new.secret("default", "shop"))?;
    expect(&new).await?;
    assert_eq!(standalone.workers(), workers);
    Ok(())
}

#[tokio::test]
async fn listener_that_loses_its_certificate_keeps_its_port_and_refuses_handshakes() -> Result<()> {
    let secret = Certificate::self_signed(&["shop.example"]).secret("default", "shop");
    let gateway = gateway(&TWO_LISTENERS[..1]);
    let manifests = [("edge.yaml", gateway.as_str()), ("secret.yaml", &secret)];
    let standalone = Standalone::start(&manifests).await?;
    let address = standalone.gateway("default", "edge", 8443).await?;
    let target = Target::https(address, "shop.example");
    let serves = async || eventually(async || shown(&target).await.map(drop)).await;
    serves().await?;
    standalone.delete("secret.yaml")?;
    eventually(async || {
        let error = target.connect().await.err().context("a handshake is done")?;
        // The connection is taken, and NGINX says that it has no such name.
        ensure!(format!("{error:#}").contains("UnrecognisedName"), "{error:#}");
        Ok(())
    })
    .await?;
    standalone.apply("secret.yaml", &secret)?;
    serves().await
}

#[tokio::test]
async fn client_without_a_valid_certificate_is_refused() -> Result<()> {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Certificate::self_signed(&["shop.example"]);
    let validation = "  tls: { frontend: { default: { validation: {
        caCertificateRefs: [{ group: '', kind: ConfigMap, name: ours }] } } } }\n";
    let manifests = [
        ("edge.yaml", gateway(&TWO_LISTENERS[..1]) + validation),
        ("ours.yaml", ours.config_map("default", "ours")),
        ("secret.yaml", server.secret("default", "shop")),
        ("route.yaml", route_to("shop.example", "shop")),
    ];
    let manifests = manifests.each_ref().map(|(file, yaml)| (*file, yaml.as_str()));
    let standalone = Standalone::start(&manifests).await?;
    let _backend = standalone.backend("shop", 100).await?;
    let target = Target::https(standalone.gateway("default", "edge", 8443).await?, "shop.example");
    let known = target.clone().client_certificate(&ours.issue(&["client"]));
    let request = || Request::get("/").host("shop.example");
    eventually(async || known.send(request()).await?.seen()).await?;
    let unknown = target.clone().client_certificate(&theirs.issue(&["client"]));
    for refused in [target, unknown] {
        // Refused in the handshake or with 400: either way no backend is reached.
        let answer = refused.send(request()).await;
        assert!(
            answer.as_ref().map_or(true, |answer| answer.status == 400),
            "{answer:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn insecure_fallback_lets_every_client_in() -> Result<()> {
    // One with our name and another key is not unknown but forged, which NGINX does not count as optional.
    let (ours, theirs, forged) = (
        Authority::new("ours"),
        Authority::new("theirs"),
        Authority::new("ours"),
    );
    let server = Certificate::self_signed(&["shop.example"]);
    let validation = "  tls: { frontend: { default: { validation: {
        caCertificateRefs: [{ group: '', kind: ConfigMap, name: ours }], mode: AllowInsecureFallback } } } }\n";
    let manifests = [
        ("edge.yaml", gateway(&TWO_LISTENERS[..1]) + validation),
        ("ours.yaml", ours.config_map("default", "ours")),
        ("secret.yaml", server.secret("default", "shop")),
        ("route.yaml", route_to("shop.example", "shop")),
    ];
    let manifests = manifests.each_ref().map(|(file, yaml)| (*file, yaml.as_str()));
    let standalone = Standalone::start(&manifests).await?;
    let _backend = standalone.backend("shop", 100).await?;
    let target = Target::https(standalone.gateway("default", "edge", 8443).await?, "shop.example");
    let [known, unknown, forged] = [&ours, &theirs, &forged]
        .map(|authority| target.clone().client_certificate(&authority.issue(&["client"])));
    for client in [known, unknown, forged, target] {
        eventually(async || client.get("shop.example", "/").await?.seen()).await?;
    }
    let name = ("Gateway", "default", "edge");
    standalone
        .condition(name, "InsecureFrontendValidationMode", "True")
        .await?;
    Ok(())
}

#[tokio::test]
async fn server_name_chooses_among_the_certificates_of_a_listener() -> Result<()> {
    let [first, second] =
        [["first.example"], ["*.second.example"]].map(|names| Certificate::self_signed(&names));
    let listener = "name: both, tls: { certificateRefs: [{ name: first }, { name: second }] }";
    let manifests = [
        ("edge.yaml", gateway(&[listener])),
        ("first.yaml", first.secret("default", "first")),
        ("second.yaml", second.secret("default", "second")),
    ];
    let manifests = manifests.each_ref().map(|(file, yaml)| (*file, yaml.as_str()));
    let standalone = Standalone::start(&manifests).await?;
    let address = standalone.gateway("default", "edge", 8443).await?;
    for (host, certificate) in [
        ("first.example", &first),
        ("a.second.example", &second),
        ("neither.example", &first),
    ] {
        assert_eq!(
            shown(&Target::https(address, host)).await?,
            der(certificate)?,
            "{host}"
        );
    }
    Ok(())
}
