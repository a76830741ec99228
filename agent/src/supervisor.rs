//! The supervisor: everything between the operator and one NGINX.
//!
//! All on one thread. Six parts that know little of each other:
//!
//! - [`link`](crate::link) takes down what is wanted and sends up the newest report,
//! - [`data`] puts endpoints, certificates and legs into effect as they come,
//! - [`dns`] tells NGINX the endpoints,
//! - [`proxy_link`](crate::proxy_link) tells the proxy legs and endpoints, and ends it when it hangs,
//! - [`apply`](crate::apply) has NGINX serve the configuration that is wanted,
//! - [`admin`](crate::admin) says whether it does, and counts.
//!
//! NGINX and the proxy go on when the supervisor dies, as children of init, and the next supervisor adopts them.

use std::sync::Arc;

use anyhow::Context as _;
use proto::fleet::Report;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::sleep,
};
use tracing::{error, info};

use crate::{
    admin::Admin,
    apply::{Gateway, Parts},
    args::Options,
    causes, data,
    dns::{self, Dns},
    link::Link,
    nginx::Binary,
    prefix::Prefix,
    proxy,
    proxy_link::ProxyLink,
};

/// Supervises until told to stop.
pub fn run(options: &Options) -> anyhow::Result<()> {
    // Init holds the lock on the folder: without it another supervisor may come.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot follow init in death")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(supervise(options))
}

async fn supervise(options: &Options) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut hung_up = signal(SignalKind::hangup())?;

    let prefix = Prefix::create(&options.prefix)?;
    let binary = Binary::find(&options.nginx, &prefix).await?;
    let report = watch::Sender::new(Report {
        instance: options.instance.clone(),
        nginx: binary.version().to_owned(),
        ..Report::default()
    });
    let (config, wanted) = watch::channel(None);

    let dns = Dns::default();
    let data = Arc::new(data::InEffect::new(&prefix, &dns, &report));
    if let Err(error) = data.restore() {
        // The operator will say it again.
        error!(error = causes::sentence(&error), "starting without endpoints");
    }
    let server = dns::Server::bind(options.dns, &prefix).await?;
    let resolvers = server.addresses().to_vec();
    let dns_is_where_it_was = server.is_where_it_was();
    let mut answering = server.spawn(&dns);

    let proxy = ProxyLink::spawn(&prefix, data.for_proxy());
    tokio::spawn(proxy.clone().report_refusals(report.clone()));
    let admin = Admin {
        prefix: prefix.clone(),
        report: report.subscribe(),
    };
    let mut gateway = Gateway::new(Parts {
        prefix,
        binary,
        dns,
        resolvers,
        data: Arc::clone(&data),
        proxy,
        proxy_threads: proxy::threads(),
        wanted,
        report: report.clone(),
    });
    gateway.adopt(dns_is_where_it_was).await;
    let link = Link::new(options, report.subscribe(), config, data)
        .with_context(|| format!("--operator {} is no address", options.operator))?;
    if let Some(address) = options.admin {
        admin.serve(address).await?;
    }
    // Goes on while connections end, so that the operator sees it.
    let link = tokio::spawn(link.follow());

    select! {
        never = gateway.run() => match never {},
        // Without it NGINX would serve what it does for ever. Another supervisor adopts it, with another link.
        failed = link => match failed.context("the link with the operator failed; this is a bug")? {},
        // Without it NGINX would learn of no endpoint.
        failed = answering.failed() => return Err(failed).context("DNS failed; this is a bug"),
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
        _ = quit.recv() => {}
        _ = hung_up.recv() => {}
    }

    info!("stopping");
    report.send_modify(|report| report.ready = false);
    sleep(options.drain_delay).await;
    gateway.stop(options.drain_timeout).await;
    Ok(())
}
