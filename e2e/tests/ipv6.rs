//! Addresses of IPv6: of backends, and of a gateway that has no others.

use std::net::{Ipv6Addr, SocketAddr};

use anyhow::{Result, ensure};
use e2e::{
    echo::Echo,
    loopback::Loopback,
    manifests::{EDGE, route, service},
    network,
    standalone::{Standalone, eventually},
};

/// A route by which NGINX chooses endpoints, and one by which the agent's proxy does.
fn routes() -> String {
    let backends = "backendRefs: [{ name: shop, port: 80 }]";
    let plain = format!("hostnames: [plain.example], rules: [{{ {backends} }}]");
    let timed =
        format!("hostnames: [timed.example], rules: [{{ timeouts: {{ request: 10s }}, {backends} }}]");
    [route("plain", &plain), route("timed", &timed)].join("---\n")
}

const HOSTS: [&str; 2] = ["plain.example", "timed.example"];

#[tokio::test]
async fn endpoints_of_both_families_take_requests() -> Result<()> {
    if !network::has_ipv6("endpoints_of_both_families_take_requests")? {
        return Ok(());
    }
    let loopback = Loopback::lease()?;
    let six = Echo::start("six", (Ipv6Addr::LOCALHOST, 0).into()).await?;
    let four = Echo::start("four", loopback.socket(100, six.address().port())).await?;
    // A Service of both families has a slice for each.
    let (of_six, of_four) = (
        service("shop", &[six.address()]),
        service("shop", &[four.address()]),
    );
    let of_four = of_four.replace("  name: shop\n", "  name: shop-four\n");
    let manifests = [EDGE, &routes(), &of_six, &of_four].join("---\n");
    let standalone = Standalone::start_with(loopback, &[("all.yaml", &manifests)]).await?;
    let edge = standalone.edge().await?;
    for host in HOSTS {
        for backend in ["six", "four"] {
            eventually(async || {
                let by = edge.get(host, "/").await?.seen()?.backend;
                ensure!(by == backend, "served by {by}");
                Ok(())
            })
            .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_gateway_with_an_address_of_ipv6_alone_serves() -> Result<()> {
    // Its port is one that others may have at that address.
    if !network::is_own("a_gateway_with_an_address_of_ipv6_alone_serves")?
        || !network::has_ipv6("a_gateway_with_an_address_of_ipv6_alone_serves")?
    {
        return Ok(());
    }
    let address = "gatewayClassName: flotilla\n  addresses: [{ type: IPAddress, value: '::1' }]";
    let gateway = EDGE.replace("gatewayClassName: flotilla", address);
    let shop = Echo::start("shop", (Ipv6Addr::LOCALHOST, 0).into()).await?;
    let manifests = [gateway, routes(), service("shop", &[shop.address()])].join("---\n");
    let standalone = Standalone::start(&[("all.yaml", &manifests)]).await?;
    let edge = standalone.edge().await?;
    assert_eq!(edge.address(), SocketAddr::from((Ipv6Addr::LOCALHOST, 8080)));
    for host in HOSTS {
        let seen = eventually(async || edge.get(host, "/").await?.seen()).await?;
        assert_eq!((seen.backend.as_str(), seen.host.as_str()), ("shop", host));
    }
    Ok(())
}
