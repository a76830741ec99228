//! TLS to backends that NGINX speaks by itself: verification, protocols, and the gateway's own certificate.

use anyhow::{Result, ensure};
use e2e::{
    certificates::{Authority, Certificate},
    client::Target,
    echo::Echo,
    manifests::{EDGE, route_to, service},
    standalone::{Standalone, eventually},
};

/// A policy `default/SERVICE` for a Service, from the rest of its validation in flow style.
fn policy(service: &str, validation: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\n\
         metadata: {{ namespace: default, name: {service} }}\n\
         spec: {{ targetRefs: [{{ group: '', kind: Service, name: {service} }}], validation: {{ {validation} }} }}\n"
    )
}

/// The validation of a hostname by the authorities of a `ConfigMap`.
fn verified(hostname: &str, authorities: &str) -> String {
    format!(
        "hostname: {hostname}, caCertificateRefs: [{{ group: '', kind: ConfigMap, name: {authorities} }}]"
    )
}

async fn expect_status(target: &Target, host: &str, status: u16) -> Result<()> {
    eventually(async || {
        let answer = target.get(host, "/").await?;
        ensure!(answer.status == status, "{answer}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn backend_is_verified_by_name_and_authority() -> Result<()> {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let certificate = ours.issue(&["shop.internal"]);
    let cases = [
        ("good", verified("shop.internal", "ours"), 200),
        ("other-name", verified("cart.internal", "ours"), 502),
        ("other-authority", verified("shop.internal", "theirs"), 502),
    ];
    let standalone = Standalone::start(&[
        ("edge.yaml", EDGE),
        ("ours.yaml", &ours.config_map("default", "ours")),
        ("theirs.yaml", &theirs.config_map("default", "theirs")),
    ])
    .await?;
    let backend = standalone.loopback().socket(100, 3000);
    let echo = Echo::start_tls("shop", backend, &certificate).await?;
    for (name, validation, _) in &cases {
        standalone.apply(&format!("policy-{name}.yaml"), &policy(name, validation))?;
        standalone.apply(&format!("service-{name}.yaml"), &service(name, &[backend]))?;
        standalone.apply(
            &format!("route-{name}.yaml"),
            &route_to(&format!("{name}.example"), name),
        )?;
    }
    let target = standalone.edge().await?;
    for (name, _, status) in &cases {
        expect_status(&target, &format!("{name}.example"), *status).await?;
        standalone
            .condition(("BackendTLSPolicy", "default", name), "Accepted", "True")
            .await?;
    }
    let seen = echo.seen();
    assert!(seen.iter().all(|seen| seen.host == "good.example"), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn http2_is_spoken_within_tls() -> Result<()> {
    let authority = Authority::new("ours");
    let standalone = Standalone::start(&[
        ("edge.yaml", EDGE),
        ("ours.yaml", &authority.config_map("default", "ours")),
        ("policy.yaml", &policy("shop", &verified("shop.internal", "ours"))),
        ("route.yaml", &route_to("shop.example", "shop")),
    ])
    .await?;
    let backend = standalone.loopback().socket(100, 3000);
    let _echo = Echo::start_tls("shop", backend, &authority.issue(&["shop.internal"])).await?;
    let h2 = service("shop", &[backend]).replace(
        "targetPort: 3000",
        "targetPort: 3000, appProtocol: kubernetes.io/h2c",
    );
    standalone.apply("service.yaml", &h2)?;
    let target = standalone.edge().await?;
    let seen = eventually(async || target.get("shop.example", "/").await?.seen()).await?;
    assert_eq!(seen.proto, "HTTP/2.0");
    Ok(())
}

#[tokio::test]
async fn backend_without_authorities_to_verify_it_gets_no_request() -> Result<()> {
    let authority = Authority::new("ours");
    let standalone = Standalone::start(&[
        ("edge.yaml", EDGE),
        ("policy.yaml", &policy("shop", &verified("shop.internal", "ours"))),
        ("route.yaml", &route_to("shop.example", "shop")),
    ])
    .await?;
    let backend = standalone.loopback().socket(100, 3000);
    let echo = Echo::start_tls("shop", backend, &authority.issue(&["shop.internal"])).await?;
    standalone.apply("service.yaml", &service("shop", &[backend]))?;
    let target = standalone.edge().await?;
    let name = ("BackendTLSPolicy", "default", "shop");
    let refused = standalone.condition(name, "Accepted", "False").await?;
    assert_eq!(refused.reason, "NoValidCACertificate");
    expect_status(&target, "shop.example", 500).await?;
    assert_eq!(echo.seen(), []);
    standalone.apply("ours.yaml", &authority.config_map("default", "ours"))?;
    standalone.condition(name, "Accepted", "True").await?;
    expect_status(&target, "shop.example", 200).await
}

#[tokio::test]
async fn gateway_shows_backends_its_certificate_and_a_new_one_without_a_reload() -> Result<()> {
    let (servers, clients, strangers) = (
        Authority::new("servers"),
        Authority::new("clients"),
        Authority::new("strangers"),
    );
    let secret = |certificate: &Certificate| certificate.secret("default", "gateway");
    let gateway = EDGE.replace(
        "  listeners:",
        "  tls: { backend: { clientCertificateRef: { name: gateway } } }\n  listeners:",
    );
    let standalone = Standalone::start(&[
        ("edge.yaml", &gateway),
        ("servers.yaml", &servers.config_map("default", "servers")),
        ("secret.yaml", &secret(&strangers.issue(&["gateway"]))),
        (
            "policy.yaml",
            &policy("shop", &verified("shop.internal", "servers")),
        ),
        ("route.yaml", &route_to("shop.example", "shop")),
    ])
    .await?;
    let backend = standalone.loopback().socket(100, 3000);
    let certificate = servers.issue(&["shop.internal"]);
    let _echo = Echo::start_mutual_tls("shop", backend, &certificate, &clients).await?;
    standalone.apply("service.yaml", &service("shop", &[backend]))?;
    let target = standalone.edge().await?;
    expect_status(&target, "shop.example", 502).await?;
    let workers = standalone.workers();
    standalone.apply("secret.yaml", &secret(&clients.issue(&["gateway"])))?;
    expect_status(&target, "shop.example", 200).await?;
    assert_eq!(standalone.workers(), workers);
    Ok(())
}
