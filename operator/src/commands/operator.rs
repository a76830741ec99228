//! Gateways for a cluster, as its pods.

use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;
use operator_core::{infra::Cluster, object::ObjectKey, options::Options};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
};

use super::stop_on_signal;
use crate::{
    admin::Admin,
    args::Operator,
    certificates::Certificates,
    controller::{Controller, Publications},
    fleet::{self, Reviews},
    infrastructure, leader,
    metrics::Metrics,
    observations::Observations,
    source, status,
};

/// Name of the Lease.
const LEASE: &str = "flotilla";

/// Name of the Secret with the certificate authorities.
const AUTHORITIES: &str = "flotilla-authorities";

/// Runs gateways until SIGINT or SIGTERM; what runs then goes on.
pub(super) fn operate(args: Operator) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(serve(args))
}

/// Wires the parts together, in the order of `lib.rs`.
async fn serve(args: Operator) -> anyhow::Result<()> {
    let Operator {
        gateway_image,
        gateway_image_pull_policy,
        namespace,
        identity,
        listen,
        service,
        controller_name,
        admin,
    } = args;
    let stop = stop_on_signal()?;
    let client = Client::try_default()
        .await
        .context("cannot tell where the cluster is")?;
    let metrics = Arc::new(Metrics::default());
    let changed = Arc::new(Notify::new());
    let observations = Observations::new(changed.clone());
    let publications = Publications::default();

    let source = source::Kubernetes::start(client.clone(), changed.clone());
    let stores = source.stores();

    // Who writes.
    let leads = watch::Sender::new(false);
    let leader = tokio::spawn({
        let (client, leads, stop) = (client.clone(), leads.clone(), stop.clone());
        let lease = ObjectKey::new(&namespace, LEASE);
        async move { leader::campaign(client, &lease, &identity, &leads, stop).await }
    });

    // Fleet and infrastructure.
    let authorities = ObjectKey::new(&namespace, AUTHORITIES);
    let certificates = Certificates::keep(&client, authorities, vec![service.host.clone()]);
    let reviews = Reviews::new(client.clone(), publications.infrastructure.subscribe());
    let server = fleet::Server::new(
        reviews,
        publications.generations.clone(),
        observations.clone(),
        metrics.clone(),
        stop.clone(),
    );
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {listen}; choose another --listen"))?;
    let fleet = tokio::spawn(fleet::serve_tls(server, listener, certificates.server_config()?));
    let cluster = Cluster {
        controller_name: controller_name.clone(),
        image: gateway_image,
        image_pull_policy: gateway_image_pull_policy,
        operator: format!("https://{}:{}", service.host, service.port),
        authorities: String::new(),
    };
    let infrastructure = infrastructure::Kubernetes::new(
        client.clone(),
        cluster,
        certificates.bundle(),
        leads.subscribe(),
        observations.clone(),
        metrics.clone(),
    );
    tokio::spawn(infrastructure.run(publications.infrastructure.subscribe()));

    // Statuses and what is said of it all.
    tokio::spawn(status::write_to_cluster(
        client,
        publications.statuses.subscribe(),
        leads.subscribe(),
        metrics.clone(),
    ));
    if let Some(address) = admin {
        let admin = Admin {
            stores: stores.clone(),
            observations: observations.clone(),
            infrastructure: publications.infrastructure.subscribe(),
            waits_for_gateways: false,
            metrics: metrics.clone(),
        };
        admin.serve(address).await?;
    }

    // The loop.
    let controller = Controller {
        stores,
        on_demand: Some(source.on_demand()),
        observations,
        options: Options {
            controller_name,
            ..Options::default()
        },
        changed,
        publications,
        metrics,
    };
    tracing::info!(%listen, ?admin, "running");
    tokio::select! {
        () = stop.cancelled() => {}
        () = async {
            source.is_complete().await;
            tracing::info!("all objects are known");
            controller.changed.notify_one();
            controller.run().await;
        } => {}
    }
    tracing::info!("stopping; gateways go on");
    leader.await.context("the election failed")??;
    fleet.await.context("the fleet failed")??;
    Ok(())
}
