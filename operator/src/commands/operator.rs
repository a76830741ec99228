//! Gateways for a cluster, as its pods.

use std::{future::pending, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use futures::FutureExt as _;
use kube::Client;
use operator_core::{infra::Cluster, object::ObjectKey, options::Options};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
};

use super::{client_of_cluster, stop_on_signal};
use crate::{
    admin::Admin,
    args::Operator,
    certificates::Certificates,
    controller::{Controller, Publications},
    fleet::{self, Relay, Reviews},
    gaps::Gaps,
    infrastructure::{
        decline_pickers,
        kubernetes::{Gateways, Pickers, Site},
    },
    leader::Election,
    listen::listen,
    metrics::Metrics,
    observations::Observations,
    parts::Parts,
    source, status,
};

/// Name of the Lease.
pub(super) const LEASE: &str = "flotilla";

/// Name of the Secret with the certificate authorities.
const AUTHORITIES: &str = "flotilla-authorities";

/// What is said of `EndpointPicker`s without `--endpoint-pickers`.
const NO_PICKERS: &str =
    "This operator may not run endpoint pickers; install its chart with inference.enabled=true";

/// Runs gateways until SIGINT or SIGTERM; what runs then goes on.
pub(super) fn operate(args: Operator) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(serve(args))
}

/// Wires the parts together, in the order of `lib.rs`.
async fn serve(args: Operator) -> anyhow::Result<()> {
    let Operator {
        gateway_image: _,
        gateway_image_pull_policy: _,
        namespace,
        identity,
        address,
        listen,
        service,
        controller_name,
        watch_namespaces,
        endpoint_pickers,
        admin,
    } = &args;
    let stop = stop_on_signal()?;
    let mut parts = Parts::new(stop.clone());
    let client = client_of_cluster().await?;
    let metrics = Arc::new(Metrics::default());
    let changed = Arc::new(Notify::new());
    let observations = Observations::new(changed.clone());
    let publications = Publications::default();
    let gaps = Gaps::default();

    let source = source::Kubernetes::start(&mut parts, &client, &gaps, watch_namespaces, &changed);
    let stores = source.stores();

    // Who writes.
    let lease = ObjectKey::new(namespace, LEASE);
    let address = address.map(|address| SocketAddr::new(address, listen.port()));
    let election = Election::enter(&mut parts, &client, &lease, identity, address);

    // Fleet and infrastructure.
    let authorities = ObjectKey::new(namespace, AUTHORITIES);
    let certificates = Certificates::keep(&mut parts, &client, authorities, vec![service.host.clone()]);
    let reviews = Reviews::new(client.clone(), publications.infrastructure.subscribe());
    let server = fleet::Server::new(
        reviews,
        publications.generations.clone(),
        observations.clone(),
        metrics.clone(),
        stop.clone(),
    )
    .relaying(Relay {
        leader: election.leader.clone(),
        authorities: certificates.bundle(),
        host: service.host.clone(),
    });
    let (listener, tls) = (bind(*listen).await?, certificates.server_config()?);
    parts.run_to_end("fleet", async {
        Ok(fleet::serve_tls(server, listener, tls).await?)
    });
    let site = Site {
        client: client.clone(),
        gaps: gaps.clone(),
        namespaces: watch_namespaces.clone(),
        leads: election.leads.clone(),
        stores: stores.clone(),
    };
    run_infrastructure(
        &mut parts,
        &args,
        site,
        &certificates,
        &publications,
        &observations,
        &metrics,
    );

    // Statuses and what is said of it all.
    run_statuses(&mut parts, &args, client, &election, &publications, &metrics);
    if let Some(address) = *admin {
        let admin = Admin {
            stores: stores.clone(),
            observations: observations.clone(),
            publications: publications.clone(),
            gaps,
            controller_name: controller_name.clone(),
            waits_for_gateways: false,
            metrics: metrics.clone(),
        };
        admin.serve(&mut parts, address).await?;
    }

    // The loop.
    let controller = Controller {
        stores,
        on_demand: Some(source.on_demand()),
        observations,
        options: Options {
            controller_name: controller_name.clone(),
            ..Options::default()
        },
        changed,
        publications,
        metrics,
    };
    tracing::info!(%listen, ?admin, "running");
    let authorities = endpoint_pickers.then(|| certificates.bundle_of_servers());
    parts.run("loop", reconcile(source, authorities, controller));
    parts.last().await?;
    tracing::info!("stopping; gateways go on");
    parts.ended().await
}

/// Has the cluster run gateways, and endpoint pickers or says why it does not.
fn run_infrastructure(
    parts: &mut Parts,
    args: &Operator,
    site: Site,
    certificates: &Certificates,
    publications: &Publications,
    observations: &Observations,
    metrics: &Arc<Metrics>,
) {
    let cluster = cluster(args);
    let wanted = publications.pickers.subscribe();
    if args.endpoint_pickers {
        let pickers = Pickers::new(
            parts,
            site.clone(),
            cluster.clone(),
            certificates.authorities(),
            observations.clone(),
        );
        parts.run("pickers", pickers.run(wanted));
    } else {
        parts.run(
            "pickers",
            decline_pickers(wanted, observations.clone(), NO_PICKERS),
        );
    }
    let gateways = Gateways::new(
        parts,
        site,
        cluster,
        certificates.bundle(),
        observations.clone(),
        metrics.clone(),
    );
    parts.run("gateways", gateways.run(publications.infrastructure.subscribe()));
}

/// Has statuses written.
fn run_statuses(
    parts: &mut Parts,
    args: &Operator,
    client: Client,
    election: &Election,
    publications: &Publications,
    metrics: &Arc<Metrics>,
) {
    let author = status::Author {
        controller: args.controller_name.clone(),
        instance: args.identity.clone(),
    };
    let statuses = status::write_to_cluster(
        client,
        author,
        publications.statuses.subscribe(),
        election.leads.clone(),
        metrics.clone(),
    );
    parts.run("statuses", statuses);
}

/// Reconciles for ever, from the moment that all objects are known, and the authorities of the pickers that are ours if
/// any are: what is not there yet would look as if it were gone, and pickers of ours as if they were anybody's.
async fn reconcile(
    source: source::Kubernetes,
    authorities: Option<watch::Receiver<String>>,
    controller: Controller,
) {
    source.is_complete().await;
    tracing::info!("all objects are known");
    let observations = controller.observations.clone();
    let noting = match authorities {
        Some(mut authorities) => {
            // An error would mean that nobody keeps authorities any more.
            let _ = authorities.wait_for(|known| !known.is_empty()).await;
            observations.note_authorities(authorities.borrow_and_update().clone());
            note_authorities(authorities, observations).left_future()
        }
        None => pending().right_future(),
    };
    controller.changed.notify_one();
    tokio::select! {
        () = controller.run() => {}
        () = noting => {}
    }
}

/// Notes the authorities whenever there are others.
async fn note_authorities(mut authorities: watch::Receiver<String>, observations: Observations) {
    while authorities.changed().await.is_ok() {
        observations.note_authorities(authorities.borrow_and_update().clone());
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = listen(address).await;
    listener.with_context(|| format!("cannot listen on {address}; choose another --listen"))
}

/// What all gateways have in common, but for the authorities, which are yet to be made.
fn cluster(args: &Operator) -> Cluster {
    Cluster {
        controller_name: args.controller_name.clone(),
        image: args.gateway_image.clone(),
        image_pull_policy: args.gateway_image_pull_policy.clone(),
        operator: format!("https://{}:{}", args.service.host, args.service.port),
        authorities: String::new(),
    }
}
