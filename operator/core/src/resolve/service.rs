//! Services that references name: whether they have endpoints, and their ports.

use k8s_openapi::api::core::v1::ServicePort;

use super::mistake::{Mistake, RouteReason};
use crate::{api::Service, object::ObjectKey};

/// Whether a Service is but a name of something elsewhere.
pub(super) fn is_external(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName")
}

/// The port of a Service that a reference names.
pub(super) fn port<'a>(
    key: &ObjectKey,
    service: &'a Service,
    wanted: Option<i32>,
) -> Result<(u16, &'a ServicePort), Mistake> {
    let ports = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default();
    let is_tcp = |port: &&ServicePort| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
    let mut tcp = ports.iter().filter(is_tcp);
    let found = wanted.and_then(|wanted| tcp.clone().find(|port| port.port == wanted));
    if let Some((number, port)) = found.and_then(|port| Some((u16::try_from(port.port).ok()?, port))) {
        return Ok((number, port));
    }
    let existing = match tcp.next() {
        Some(first) => tcp.fold(format!("it has {}", first.port), |list, port| {
            format!("{list}, {}", port.port)
        }),
        None => "it has no TCP port".to_owned(),
    };
    let problem = match wanted {
        Some(wanted) => format!("Service {key} has no port {wanted}; {existing}"),
        None => format!("is missing, and a Service needs one; Service {key}: {existing}"),
    };
    Err(Mistake::new(RouteReason::BackendNotFound, "port", problem))
}
