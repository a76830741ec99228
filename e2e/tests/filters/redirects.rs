//! Clients that are sent elsewhere.

use anyhow::{Result, ensure};
use e2e::{
    client::{Answer, Target, raw},
    manifests::{EDGE, route},
    standalone::{Standalone, eventually},
};

use super::gateway_with;

/// One rule for each path, whose redirect has these fields; in flow-style YAML.
fn rules(redirects: &[(&str, &str)]) -> String {
    let rule = |(path, fields): &(&str, &str)| {
        format!(
            "{{ matches: [{{ path: {{ value: {path} }} }}],
               filters: [{{ type: RequestRedirect, requestRedirect: {{ {fields} }} }}] }}"
        )
    };
    format!("[{}]", redirects.iter().map(rule).collect::<Vec<_>>().join(", "))
}

/// The answer of a gateway that may still be starting.
async fn redirected(target: &Target, path: &str) -> Result<Answer> {
    eventually(async || {
        let answer = target.get("a.example", path).await?;
        ensure!(answer.status.is_redirection(), "{answer}");
        Ok(answer)
    })
    .await
}

#[tokio::test]
async fn redirect_keeps_what_it_does_not_name() -> Result<()> {
    let redirects = [
        ("/nothing", "", "http://a.example:8080/nothing/a%20b?c=d"),
        (
            "/hostname",
            "hostname: new.example",
            "http://new.example:8080/hostname/a%20b?c=d",
        ),
        ("/port", "port: 8443", "http://a.example:8443/port/a%20b?c=d"),
        (
            "/full",
            "path: { type: ReplaceFullPath, replaceFullPath: /new }",
            "http://a.example:8080/new?c=d",
        ),
        (
            "/prefix",
            "path: { type: ReplacePrefixMatch, replacePrefixMatch: /new }",
            "http://a.example:8080/new/a%20b?c=d",
        ),
        (
            "/cut",
            "path: { type: ReplacePrefixMatch, replacePrefixMatch: / }",
            "http://a.example:8080/a%20b?c=d",
        ),
        (
            "/all",
            "scheme: https, hostname: new.example, port: 8443, statusCode: 301,
             path: { type: ReplacePrefixMatch, replacePrefixMatch: /new }",
            "https://new.example:8443/new/a%20b?c=d",
        ),
    ];
    let (_standalone, _backend, edge) =
        gateway_with(&rules(&redirects.map(|(path, fields, _)| (path, fields)))).await?;
    for (path, _, location) in redirects {
        let answer = redirected(&edge, &format!("{path}/a%20b?c=d")).await?;
        assert_eq!(answer.header("location"), location);
        assert_eq!(answer.status, if path == "/all" { 301 } else { 302 });
    }
    Ok(())
}

#[tokio::test]
async fn redirect_that_cuts_a_prefix_leads_to_no_host_that_the_path_names() -> Result<()> {
    let cut = "path: { type: ReplacePrefixMatch, replacePrefixMatch: / }";
    let (_standalone, _backend, edge) = gateway_with(&rules(&[("/cut", cut)])).await?;
    for slash in ["/", "%2F", "%2f"] {
        let answer = redirected(&edge, &format!("/cut{slash}@other.example/a")).await?;
        let location = "http://a.example:8080/@other.example/a";
        assert_eq!(answer.header("location"), location, "{slash}");
    }
    Ok(())
}

#[tokio::test]
async fn redirect_of_a_request_without_a_host_leads_to_the_address_that_it_reached() -> Result<()> {
    let (_standalone, _backend, edge) = gateway_with(&rules(&[("/", "")])).await?;
    redirected(&edge, "/").await?;
    let answer = raw(edge.address(), b"GET /a HTTP/1.0\r\n\r\n").await?;
    let answer = String::from_utf8_lossy(&answer);
    let location = format!("\r\nLocation: http://{}/a\r\n", edge.address());
    assert!(answer.contains(&location), "{answer}");
    Ok(())
}

#[tokio::test]
async fn redirect_has_the_status_that_it_names() -> Result<()> {
    let statuses =
        [301, 302, 303, 307, 308].map(|status| (format!("/{status}"), format!("statusCode: {status}")));
    let redirects = statuses
        .each_ref()
        .map(|(path, field)| (path.as_str(), field.as_str()));
    let (_standalone, _backend, edge) = gateway_with(&rules(&redirects)).await?;
    for (path, _) in redirects {
        let answer = redirected(&edge, path).await?;
        assert_eq!(format!("/{}", answer.status.as_str()), path);
    }
    Ok(())
}

/// See the port of <https://gateway-api.sigs.k8s.io/reference/spec/#httprequestredirectfilter>.
#[tokio::test]
async fn port_that_the_scheme_implies_is_left_out() -> Result<()> {
    const REDIRECTS: [(&str, &str); 6] = [
        ("/nothing", ""),
        ("/http", "scheme: http"),
        ("/https", "scheme: https"),
        ("/port-80", "port: 80"),
        ("/https-443", "scheme: https, port: 443"),
        ("/https-80", "scheme: https, port: 80"),
    ];
    let edge = EDGE.to_owned() + "    - { name: well-known, protocol: HTTP, port: 80 }\n";
    let route = route("route", &format!("rules: {}", rules(&REDIRECTS)));
    let standalone = Standalone::start(&[("edge.yaml", &edge), ("route.yaml", &route)]).await?;
    for (port, locations) in [
        (
            80,
            [
                "http://a.example/nothing",
                "http://a.example/http",
                "https://a.example/https",
                "http://a.example/port-80",
                "https://a.example/https-443",
                "https://a.example:80/https-80",
            ],
        ),
        (
            8080,
            [
                "http://a.example:8080/nothing",
                "http://a.example/http",
                "https://a.example/https",
                "http://a.example/port-80",
                "https://a.example/https-443",
                "https://a.example:80/https-80",
            ],
        ),
    ] {
        let target = Target::http(standalone.gateway("default", "edge", port).await?);
        for ((path, _), location) in REDIRECTS.into_iter().zip(locations) {
            let answer = redirected(&target, path).await?;
            assert_eq!(answer.header("location"), location, "port {port}");
        }
    }
    Ok(())
}
