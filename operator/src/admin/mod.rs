//! What the operator says of itself over HTTP.

mod fleets;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, StatusCode, header::CONTENT_TYPE},
    routing::get,
};
use operator_core::{object::ObjectKey, observed::ObservedGateway};
use serde_json::{Value, json};

pub use fleets::{Fleet, Fleets, Pod, Problem};

use self::fleets::Known;
use crate::{
    controller::{Infrastructure, Publications},
    gaps::Gaps,
    listen::listen,
    metrics::{KindLabel, Metrics},
    observations::Observations,
    parts::Parts,
    stores::Stores,
};

/// What there is to say.
#[derive(Clone)]
pub struct Admin {
    /// What is known of objects.
    pub stores: Stores,
    /// What is known of gateways.
    pub observations: Observations,
    /// What is wanted.
    pub publications: Publications,
    /// What cannot be read.
    pub gaps: Gaps,
    /// The operator's name among those that write statuses.
    pub controller_name: String,
    /// Whether to be ready takes that every gateway serves; otherwise it is enough to know what must run.
    pub waits_for_gateways: bool,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Admin {
    /// Has a part answer on an address.
    pub async fn serve(self, parts: &mut Parts, address: SocketAddr) -> anyhow::Result<()> {
        let listener = listen(address).await;
        let listener =
            listener.with_context(|| format!("cannot listen on {address}; choose another --admin"))?;
        parts.run("admin", axum::serve(listener, self.router()).into_future());
        Ok(())
    }

    /// `/healthz`: the process answers. `/readyz`: it knows what must run, and, if it is to wait for that, every gateway
    /// serves or never will; what cannot be read is named either way. `/metrics`: for Prometheus. `/objects`: all objects
    /// with their statuses. `/fleets`: what gateways are to serve and do serve, and what is wrong, as [`Fleets`].
    fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/objects", get(objects))
            .route("/fleets", get(fleets))
            .with_state(self)
    }
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    let observed = admin.observations.get().gateways;
    let waiting = match &*admin.publications.infrastructure.borrow() {
        Some(wanted) if admin.waits_for_gateways => waiting(wanted, &observed),
        Some(_) => Vec::new(),
        None => vec!["the objects have not been looked at yet".to_owned()],
    };
    let (status, mut lines) = if waiting.is_empty() {
        (StatusCode::OK, vec!["ok".to_owned()])
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, waiting)
    };
    lines.extend(admin.gaps.sentences());
    (status, lines.join("\n") + "\n")
}

/// What is still to come.
///
/// A gateway that cannot run, or whose configuration was refused, is not waited for: somebody has to change an object
/// first, and the operator is ready to hear of it.
fn waiting(wanted: &Infrastructure, observed: &BTreeMap<ObjectKey, ObservedGateway>) -> Vec<String> {
    let settled = |gateway: &ObservedGateway| {
        let mut instances = gateway.instances.values();
        gateway.failure.is_some() || instances.any(|instance| instance.ready || instance.rejection.is_some())
    };
    let waiting = wanted
        .keys()
        .filter(|key| !observed.get(key).is_some_and(settled));
    waiting
        .map(|key| format!("Gateway {key} does not serve yet"))
        .collect()
}

async fn metrics(
    State(admin): State<Admin>,
) -> Result<([(HeaderName, &'static str); 1], String), StatusCode> {
    for (kind, count) in admin.stores.counts() {
        admin
            .metrics
            .objects
            .get_or_create(&KindLabel { kind })
            .set(count as u64);
    }
    let text = admin
        .metrics
        .text()
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok((
        [(
            CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    ))
}

async fn objects(State(admin): State<Admin>) -> Json<Value> {
    let mut items = admin.stores.list(|_| true);
    items.iter_mut().for_each(redact);
    Json(json!({"apiVersion": "v1", "kind": "List", "items": items}))
}

async fn fleets(State(admin): State<Admin>) -> Json<Fleets> {
    let wanted = admin
        .publications
        .infrastructure
        .borrow()
        .clone()
        .unwrap_or_default();
    Json(Fleets::new(&Known {
        wanted: &wanted,
        observed: &admin.observations.get().gateways,
        version: &|gateway| admin.publications.generations.version(gateway),
        objects: &admin.stores.list(fleets::has_our_statuses),
        controller_name: &admin.controller_name,
        gaps: admin.gaps.sentences(),
    }))
}

/// Blanks out what a Secret holds, wherever it may stand.
fn redact(object: &mut Value) {
    if object["kind"] != "Secret" {
        return;
    }
    if let Some(data) = object["data"].as_object_mut() {
        data.values_mut().for_each(|value| *value = "".into());
    }
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

#[cfg(test)]
mod tests {
    use operator_core::{
        infra::GatewayInfra,
        observed::{InfrastructureFailure, Instance},
    };

    use super::*;

    #[test]
    fn secrets_are_blanked_out() {
        let last = "kubectl.kubernetes.io/last-applied-configuration";
        let mut secret = json!({
            "kind": "Secret",
            "metadata": {"name": "a", "annotations": {last: "{\"data\": {\"key\": \"c2VjcmV0\"}}"}},
            "data": {"key": "c2VjcmV0"},
        });
        redact(&mut secret);
        assert_eq!(
            secret,
            json!({"kind": "Secret", "metadata": {"name": "a", "annotations": {}}, "data": {"key": ""}})
        );
    }

    #[test]
    fn ready_is_when_every_gateway_serves_or_never_will() {
        let edge = ObjectKey::new("default", "edge");
        let wanted = BTreeMap::from([(edge.clone(), GatewayInfra::default())]);
        let observed = |gateway| BTreeMap::from([(edge.clone(), gateway)]);
        assert_eq!(
            waiting(&wanted, &BTreeMap::new()),
            ["Gateway default/edge does not serve yet"]
        );
        let starting = Instance::default();
        let instances = |instance| BTreeMap::from([("edge".to_owned(), instance)]);
        let gateway = ObservedGateway {
            instances: instances(starting),
            ..ObservedGateway::default()
        };
        assert_eq!(waiting(&wanted, &observed(gateway)).len(), 1);
        let ready = Instance {
            ready: true,
            ..Instance::default()
        };
        let gateway = ObservedGateway {
            instances: instances(ready),
            ..ObservedGateway::default()
        };
        assert!(waiting(&wanted, &observed(gateway)).is_empty());
        let failure = Some(InfrastructureFailure::AddressNotUsable("taken".to_owned()));
        let gateway = ObservedGateway {
            failure,
            ..ObservedGateway::default()
        };
        assert!(waiting(&wanted, &observed(gateway)).is_empty());
    }
}
