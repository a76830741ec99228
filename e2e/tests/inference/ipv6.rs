//! Pods and pickers with addresses of IPv6.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use anyhow::{Result, bail};
use e2e::{
    client::{Request, Target},
    echo::Echo,
    inference::{
        manifests,
        picker::{Picker, served},
        served_pool::HOST,
    },
    loopback::Loopback,
    manifests::EDGE,
    network,
    standalone::{Standalone, eventually},
};
use hyper::Method;
use parking_lot::Mutex;
use rustix::process::Signal;

/// A pool of one pod with an address of IPv6 and one of IPv4, at the same port, with a picker at the former address.
struct Mixed {
    standalone: Standalone,
    edge: Target,
    six: Echo,
    four: Echo,
    picker: Picker,
}

impl Mixed {
    async fn start(failure_mode: &str) -> Result<Self> {
        let loopback = Loopback::lease()?;
        let anywhere = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let six = Echo::start("six", anywhere).await?;
        let port = six.address().port();
        let four = Echo::start("four", loopback.socket(100, port)).await?;
        let picker = Picker::choosing(anywhere, &six.address().to_string()).await?;
        let addresses = [six.address().ip(), four.address().ip()];
        let yaml = [
            EDGE.to_owned(),
            manifests::route_to(HOST, "models"),
            manifests::picked_pool("models", port, "picker", failure_mode),
            manifests::pods::<IpAddr>("models", &addresses),
            manifests::picker("picker", picker.address()),
        ];
        let standalone = Standalone::start_with(loopback, &[("all.yaml", &yaml.join("---\n"))]).await?;
        let edge = standalone.edge().await?;
        eventually(async || edge.get(HOST, "/").await?.seen()).await?;
        Ok(Self {
            standalone,
            edge,
            six,
            four,
            picker,
        })
    }

    async fn served_by(&self) -> Result<String> {
        let request = Request::new(Method::POST, "/").host(HOST).body("body");
        Ok(self.edge.send(request).await?.seen()?.backend)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_with_addresses_of_ipv6_are_chosen_with_and_without_brackets() -> Result<()> {
    if !network::has_ipv6("ipv6::pods_with_addresses_of_ipv6_are_chosen_with_and_without_brackets")? {
        return Ok(());
    }
    let pool = Mixed::start("FailClose").await?;
    let (six, four) = (pool.six.address(), pool.four.address());
    let port = six.port();
    for (list, backend) in [
        (six.to_string(), "six"),
        (format!("::1:{port}"), "six"),
        (format!("[0:0:0:0:0:0:0:1]:{port}"), "six"),
        (format!("[::2]:{port},{six},{four}"), "six"),
        (format!("{four},{six}"), "four"),
    ] {
        pool.picker.choose(&list);
        assert_eq!(pool.served_by().await?, backend, "{list}");
    }
    for list in [
        format!("[::2]:{port}"),
        "[::1]".into(),
        format!("[::1]:{}", port ^ 1),
    ] {
        pool.picker.choose(&list);
        let answer = pool.edge.get(HOST, "/").await?;
        assert_eq!(answer.status, 503, "{list}: {answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pickers_hear_of_served_addresses_of_ipv6_with_brackets() -> Result<()> {
    if !network::has_ipv6("ipv6::pickers_hear_of_served_addresses_of_ipv6_with_brackets")? {
        return Ok(());
    }
    let pool = Mixed::start("FailClose").await?;
    let six = pool.six.address().to_string();
    let heard = Arc::<Mutex<Option<String>>>::default();
    let (chosen, told) = (six.clone(), Arc::clone(&heard));
    pool.picker.follow(move |mut exchange| {
        let (chosen, told) = (chosen.clone(), Arc::clone(&told));
        async move {
            let asked = exchange.request().await?;
            exchange.choose(&chosen).await?;
            exchange.return_body(asked.body).await?;
            if let Some(message) = exchange.next().await? {
                *told.lock() = served(&message);
                exchange.pass_headers().await?;
            }
            exchange.pass_response().await
        }
    });
    assert_eq!(pool.served_by().await?, "six");
    assert_eq!(*heard.lock(), Some(six));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_with_addresses_of_ipv6_serve_while_picker_or_proxy_is_away() -> Result<()> {
    if !network::has_ipv6("ipv6::pods_with_addresses_of_ipv6_serve_while_picker_or_proxy_is_away")? {
        return Ok(());
    }
    let mut pool = Mixed::start("FailOpen").await?;
    let elsewhere = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let away = Picker::choosing(elsewhere, "").await?;
    drop(std::mem::replace(&mut pool.picker, away));
    both_serve(&pool, Method::POST).await?;

    // NGINX itself chooses while there is no proxy, which init is kept from starting again.
    let process = |role: &str| pool.standalone.gateway_process(&["flotilla-agent", role]);
    process("init ")?.signal(Signal::STOP);
    process("proxy ")?.signal(Signal::KILL);
    both_serve(&pool, Method::GET).await?;
    process("init ")?.signal(Signal::CONT);
    Ok(())
}

/// Sends requests, all of which are served, until both pods have had one.
async fn both_serve(pool: &Mixed, method: Method) -> Result<()> {
    let before = counts(pool);
    for _ in 0..100 {
        let request = Request::new(method.clone(), "/").host(HOST);
        pool.edge.send(request).await?.seen()?;
        let now = counts(pool);
        if now[0] > before[0] && now[1] > before[1] {
            return Ok(());
        }
    }
    bail!("{before:?} became {:?} with 100 requests", counts(pool))
}

/// Requests at the pod with an address of IPv6, and at the other one.
fn counts(pool: &Mixed) -> [usize; 2] {
    [&pool.six, &pool.four].map(|pod| pod.count("/"))
}
