//! What users get wrong: each mistake is said, and everything else is served.

use anyhow::{Context, Result, ensure};
use e2e::{
    certificates::Certificate,
    client::Target,
    echo::Echo,
    manifests::{EDGE, route, route_to},
    standalone::{Standalone, eventually},
};

/// A gateway that serves `good.example`.
async fn good() -> Result<(Standalone, Echo, Target)> {
    let route = route_to("good.example", "shop");
    let standalone = Standalone::start(&[("edge.yaml", EDGE), ("good.yaml", &route)]).await?;
    let backend = standalone.backend("shop", 100).await?;
    let edge = standalone.edge().await?;
    eventually(async || edge.get("good.example", "/").await?.seen()).await?;
    Ok((standalone, backend, edge))
}

/// Shows that edits are served still.
async fn serves_on(standalone: &Standalone, edge: &Target) -> Result<()> {
    edge.get("good.example", "/").await?.seen()?;
    standalone.apply("next.yaml", &route_to("next.example", "shop"))?;
    eventually(async || edge.get("next.example", "/").await?.seen()).await?;
    // Whatever was wrong before that is known by now.
    edge.get("good.example", "/").await?.seen()?;
    Ok(())
}

#[tokio::test]
async fn file_that_does_not_parse_keeps_its_objects() -> Result<()> {
    let (standalone, _backend, edge) = good().await?;
    let misfit = route_to("good.example", "shop").replace("spec:", "spec: 1 #");
    let broken = ["{", "kind: [", "\u{0}", &misfit];
    for (number, broken) in broken.into_iter().enumerate() {
        standalone.apply("good.yaml", broken)?;
        standalone.apply("other.yaml", broken)?;
        // When what came later is known, so are they.
        let later = format!("later-{number}.example");
        standalone.apply("later.yaml", &route_to(&later, "shop"))?;
        eventually(async || edge.get(&later, "/").await?.seen()).await?;
        let kept = edge.get("good.example", "/").await?;
        assert_eq!(kept.status, 200, "{broken:?}: {kept}");
    }
    // What names no object is left out, and nobody else with it.
    for (number, nothing) in [
        "kind: Pizza\napiVersion: v1\n",
        "- 1\n- 2\n",
        "kind: HTTPRoute\nspec: 1\n",
    ]
    .iter()
    .enumerate()
    {
        standalone.apply(&format!("nothing-{number}.yaml"), nothing)?;
    }
    serves_on(&standalone, &edge).await
}

#[tokio::test]
async fn reference_that_leads_nowhere_is_a_condition() -> Result<()> {
    let (standalone, _backend, edge) = good().await?;
    for (name, backend, reason, words) in [
        (
            "service",
            "name: none, port: 80",
            "BackendNotFound",
            "default/none",
        ),
        ("port", "name: shop, port: 8443", "BackendNotFound", "8443"),
        (
            "grant",
            "name: shop, namespace: other, port: 80",
            "RefNotPermitted",
            "other/shop",
        ),
        (
            "kind",
            "group: example.com, kind: Pizza, name: shop, port: 80",
            "InvalidKind",
            "Pizza",
        ),
    ] {
        let rules = format!("hostnames: [{name}.example], rules: [{{ backendRefs: [{{ {backend} }}] }}]");
        standalone.apply(&format!("{name}.yaml"), &route(name, &rules))?;
        let condition = standalone
            .condition(("HTTPRoute", "default", name), "ResolvedRefs", "False")
            .await?;
        assert_eq!(condition.reason, reason, "{condition:?}");
        assert!(condition.message.contains(words), "{condition:?}");
        eventually(async || {
            let answer = edge.get(&format!("{name}.example"), "/").await?;
            ensure!(answer.status == 500, "{answer}");
            Ok(())
        })
        .await?;
    }
    serves_on(&standalone, &edge).await
}

#[tokio::test]
async fn certificate_that_is_none_fails_its_listener_alone() -> Result<()> {
    let [one, other] = [(); 2].map(|()| Certificate::self_signed(&["shop.example"]));
    let unfit = Certificate {
        key: other.key,
        ..one.clone()
    };
    let text = Certificate {
        certificate: "no certificate".to_owned(),
        ..one
    };
    let (standalone, _backend, edge) = good().await?;
    let listeners = EDGE.to_owned()
        + "    - { name: unfit, protocol: HTTPS, port: 8443, hostname: a.example, tls: { certificateRefs: [{ name: unfit }] } }\n"
        + "    - { name: text, protocol: HTTPS, port: 8443, hostname: b.example, tls: { certificateRefs: [{ name: text }] } }\n";
    standalone.apply("unfit.yaml", &unfit.secret("default", "unfit"))?;
    standalone.apply("text.yaml", &text.secret("default", "text"))?;
    standalone.apply("edge.yaml", &listeners)?;
    let condition = standalone
        .condition(("Gateway", "default", "edge"), "ResolvedRefs", "False")
        .await?;
    assert_eq!(condition.reason, "InvalidCertificateRef", "{condition:?}");
    serves_on(&standalone, &edge).await
}

#[tokio::test]
async fn odd_strings_break_nothing() -> Result<()> {
    let (standalone, _backend, edge) = good().await?;
    let long = "x".repeat(10_000);
    let odd = [
        format!(
            "hostnames: [odd.example], rules: [{{ matches: [{{ headers: [{{ name: x-a, value: {long} }}] }}] }}]"
        ),
        r#"hostnames: ["a\u0000b.example"], rules: [{}]"#.to_owned(),
        r#"hostnames: ["a;b{}.example"], rules: [{}]"#.to_owned(),
        r#"rules: [{ matches: [{ path: { value: "/a\n} http {" } }] }]"#.to_owned(),
        r#"rules: [{ matches: [{ path: { type: RegularExpression, value: "/(" } }] }]"#.to_owned(),
        r#"rules: [{ matches: [{ path: { type: RegularExpression, value: "/(?<n>a)\\k<n>" } }] }]"#
            .to_owned(),
        r#"rules: [{ matches: [{ path: { type: RegularExpression, value: "/(a+)+$" } }] }]"#.to_owned(),
        r#"rules: [{ filters: [{ type: ResponseHeaderModifier, responseHeaderModifier:
            { set: [{ name: x-a, value: "$http_host \"quoted\" ${x} \\" }] } }] }]"#
            .to_owned(),
    ];
    for (number, spec) in odd.iter().enumerate() {
        standalone.apply(
            &format!("odd-{number}.yaml"),
            &route(&format!("odd-{number}"), spec),
        )?;
    }
    serves_on(&standalone, &edge).await?;
    standalone.programmed("default", "edge").await?;
    Ok(())
}

/// An `NginxFleet` `default/odd` with these fields of `spec.nginx`.
fn fleet(fields: &str) -> String {
    format!(
        "apiVersion: flotilla.dev/v1alpha1\nkind: NginxFleet\nmetadata: {{ name: odd, namespace: default }}\n\
         spec: {{ nginx: {{ {fields} }} }}\n"
    )
}

#[tokio::test]
async fn configuration_that_nginx_refuses_keeps_the_last_good_one_serving() -> Result<()> {
    let certificate = Certificate::self_signed(&["shop.example"]);
    let (standalone, _backend, edge) = good().await?;
    let listeners = EDGE.to_owned()
        + "    - { name: https, protocol: HTTPS, port: 8443, tls: { certificateRefs: [{ name: shop }] } }\n"
        + "  infrastructure: { parametersRef: { group: flotilla.dev, kind: NginxFleet, name: odd } }\n";
    standalone.apply("secret.yaml", &certificate.secret("default", "shop"))?;
    standalone.apply("fleet.yaml", &fleet(""))?;
    standalone.apply("edge.yaml", &listeners)?;
    for (host, fields, complaint) in [
        (
            "format.example",
            "accessLog: { format: Custom, customFormat: $nonsense }",
            r#"unknown "nonsense" variable"#,
        ),
        (
            "ciphers.example",
            "tls: { ciphers: NONSENSE }",
            r#"SSL_CTX_set_cipher_list("NONSENSE") failed"#,
        ),
    ] {
        standalone.apply("fleet.yaml", &fleet(fields))?;
        let name = ("Gateway", "default", "edge");
        let condition = standalone.condition(name, "Programmed", "False").await?;
        let refused = eventually(async || {
            let conditions = standalone.conditions(name).await?;
            let refused = conditions
                .into_iter()
                .find(|found| found.message.contains(complaint));
            refused.with_context(|| format!("no condition tells what NGINX says: {condition:?}"))
        })
        .await?;
        assert_eq!(
            (refused.kind.as_str(), refused.reason.as_str()),
            ("Programmed", "Invalid")
        );
        for words in ["which comes from NginxFleet default/odd", "keeps serving"] {
            assert!(refused.message.contains(words), "{refused:?}");
        }
        edge.get("good.example", "/").await?.seen()?;

        standalone.apply("fleet.yaml", &fleet(""))?;
        standalone.programmed("default", "edge").await?;
        standalone.apply("next.yaml", &route_to(host, "shop"))?;
        eventually(async || edge.get(host, "/").await?.seen()).await?;
    }
    Ok(())
}
