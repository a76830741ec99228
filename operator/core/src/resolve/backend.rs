//! Who takes requests: what a backend reference leads to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServicePort;

use super::{
    grant::{Grants, Referent, Referrer},
    mistake::{Mistake, RouteReason, quoted},
    route::BackendTarget,
};
use crate::{
    api::{BackendObjectReference, GATEWAY_GROUP, INFERENCE_GROUP, Service},
    config::{Protocol, Upstream},
    object::ObjectKey,
    snapshot::Snapshot,
};

/// Everything that backend references are looked up in.
pub(super) struct Backends<'a> {
    snapshot: &'a Snapshot,
    grants: &'a Grants<'a>,
    /// By namespace and name of a Service: the policies that want TLS for it, by name of the port if for one only.
    policies: BTreeMap<(&'a str, &'a str), Vec<Policy<'a>>>,
}

/// A `BackendTLSPolicy`, seen from the Service that it targets.
struct Policy<'a> {
    key: &'a ObjectKey,
    port: Option<&'a str>,
}

impl<'a> Backends<'a> {
    /// All backends of the snapshot.
    pub(super) fn new(snapshot: &'a Snapshot, grants: &'a Grants<'a>) -> Self {
        let mut policies = BTreeMap::<_, Vec<_>>::new();
        for (key, policy) in &snapshot.backend_tls_policies {
            for target in &policy.spec.target_refs {
                if target.group.is_empty() && target.kind == "Service" {
                    let port = target.section_name.as_deref();
                    let service = (key.namespace.as_str(), target.name.as_str());
                    policies.entry(service).or_default().push(Policy { key, port });
                }
            }
        }
        Self {
            snapshot,
            grants,
            policies,
        }
    }

    /// Where a reference of an `HTTPRoute` in `namespace` leads, and what is spoken there.
    ///
    /// See <https://gateway-api.sigs.k8s.io/reference/spec/#httpbackendref>.
    pub(super) fn resolve(
        &self,
        namespace: &str,
        reference: &BackendObjectReference,
    ) -> Result<BackendTarget, Mistake> {
        kind(reference)?;
        let key = ObjectKey::new(
            reference.namespace.as_deref().unwrap_or(namespace),
            reference.name.as_str(),
        );
        if !self.permitted(namespace, &key) {
            let problem = format!(
                "Service {key} is in another namespace; add a ReferenceGrant to namespace {} that lets HTTPRoutes of \
                 namespace {namespace} refer to it",
                key.namespace
            );
            return Err(Mistake::new(RouteReason::RefNotPermitted, "", problem));
        }
        let Some(service) = self.snapshot.services.get(&key) else {
            return Err(Mistake::new(
                RouteReason::BackendNotFound,
                "name",
                format!("Service {key} does not exist"),
            ));
        };
        if service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
            let problem = format!(
                "Service {key} is of type ExternalName, which is not supported; use one with endpoints"
            );
            return Err(Mistake::unsupported("name", problem));
        }
        let (number, port) = port(&key, service, reference.port)?;
        self.no_tls_wanted(&key, port)?;
        let protocol = protocol(&key, port)?;
        Ok(BackendTarget::Service {
            upstream: Upstream::Service {
                namespace: key.namespace,
                service: key.name,
                port: number,
            },
            protocol,
            tls: None,
        })
    }

    fn permitted(&self, namespace: &str, service: &ObjectKey) -> bool {
        let from = Referrer {
            group: GATEWAY_GROUP,
            kind: "HTTPRoute",
            namespace,
        };
        let to = Referent {
            group: "",
            kind: "Service",
            namespace: &service.namespace,
            name: &service.name,
        };
        self.grants.permits(from, to)
    }

    /// TLS to backends is not done yet, and to speak plain text where TLS is asked for would be worse than an error.
    fn no_tls_wanted(&self, key: &ObjectKey, port: &ServicePort) -> Result<(), Mistake> {
        let policies = self.policies.get(&(key.namespace.as_str(), key.name.as_str()));
        let mut policies = policies.into_iter().flatten();
        match policies.find(|policy| policy.port.is_none() || policy.port == port.name.as_deref()) {
            Some(policy) => Err(Mistake::new(
                RouteReason::UnsupportedProtocol,
                "name",
                format!(
                    "BackendTLSPolicy {} asks for TLS to Service {key}, which is not supported yet",
                    policy.key
                ),
            )),
            None => Ok(()),
        }
    }
}

fn kind(reference: &BackendObjectReference) -> Result<(), Mistake> {
    let problem = match (reference.group(), reference.kind()) {
        ("", "Service") => return Ok(()),
        (INFERENCE_GROUP, "InferencePool") => "InferencePool is not supported yet; use a Service".to_owned(),
        (group, kind) => format!(
            "kind {} of group {} is not supported; use a Service of the core group",
            quoted(kind),
            quoted(group)
        ),
    };
    Err(Mistake::new(RouteReason::InvalidKind, "kind", problem))
}

/// The port of a Service that a reference names.
fn port<'a>(
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

/// What a port says that it speaks.
///
/// See <https://gateway-api.sigs.k8s.io/geps/gep-1911/> and
/// <https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol>.
fn protocol(key: &ObjectKey, port: &ServicePort) -> Result<Protocol, Mistake> {
    match port.app_protocol.as_deref() {
        None | Some("" | "http" | "kubernetes.io/ws") => Ok(Protocol::Http),
        Some("kubernetes.io/h2c") => Ok(Protocol::H2c),
        Some(other) => Err(Mistake::new(
            RouteReason::UnsupportedProtocol,
            "port",
            format!(
                "port {} of Service {key} has appProtocol {}, which is not supported; use http, kubernetes.io/h2c or \
                 kubernetes.io/ws, or none",
                port.port,
                quoted(other)
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::BackendTlsPolicy;

    const SHOP: &str = "
        metadata: {namespace: default, name: shop}
        spec:
          ports:
          - {name: web, port: 80}
          - {name: grpc, port: 81, appProtocol: kubernetes.io/h2c}
          - {name: tls, port: 443, appProtocol: https}
          - {name: dns, port: 53, protocol: UDP}";

    fn snapshot(services: &[&str]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for service in services {
            let service: Service = serde_saphyr::from_str(service).expect("a Service decodes");
            snapshot
                .services
                .insert(ObjectKey::of(&service), Arc::new(service));
        }
        snapshot
    }

    fn resolved(snapshot: &Snapshot, reference: &str) -> Result<BackendTarget, (RouteReason, String)> {
        let reference: BackendObjectReference =
            serde_saphyr::from_str(reference).expect("a reference decodes");
        let grants = Grants::new(snapshot);
        let resolved = Backends::new(snapshot, &grants).resolve("default", &reference);
        resolved.map_err(|mistake| (mistake.reason, mistake.to_string()))
    }

    fn refused(snapshot: &Snapshot, reference: &str) -> (RouteReason, String) {
        resolved(snapshot, reference).expect_err("a reference that leads nowhere")
    }

    #[test]
    fn a_port_of_a_service_is_an_upstream() {
        let target = BackendTarget::Service {
            upstream: Upstream::Service {
                namespace: "default".to_owned(),
                service: "shop".to_owned(),
                port: 80,
            },
            protocol: Protocol::Http,
            tls: None,
        };
        assert_eq!(resolved(&snapshot(&[SHOP]), "{name: shop, port: 80}"), Ok(target));
    }

    #[test]
    fn app_protocol_h2c_is_spoken() {
        let target = resolved(&snapshot(&[SHOP]), "{name: shop, port: 81}").expect("a backend");
        assert!(matches!(
            target,
            BackendTarget::Service {
                protocol: Protocol::H2c,
                ..
            }
        ));
    }

    #[test]
    fn app_protocol_https_is_refused() {
        let (reason, message) = refused(&snapshot(&[SHOP]), "{name: shop, port: 443}");
        assert_eq!(reason, RouteReason::UnsupportedProtocol);
        assert!(message.contains("appProtocol \"https\""), "{message}");
    }

    #[test]
    fn a_missing_service_is_named() {
        let (reason, message) = refused(&snapshot(&[]), "{name: shop, port: 80}");
        assert_eq!(
            (reason, message.as_str()),
            (
                RouteReason::BackendNotFound,
                "name: Service default/shop does not exist"
            )
        );
    }

    #[test]
    fn a_wrong_port_is_answered_with_those_that_exist() {
        let (reason, message) = refused(&snapshot(&[SHOP]), "{name: shop, port: 8443}");
        assert_eq!(reason, RouteReason::BackendNotFound);
        assert_eq!(
            message,
            "port: Service default/shop has no port 8443; it has 80, 81, 443"
        );
    }

    #[test]
    fn a_udp_port_is_none_for_http() {
        assert_eq!(
            refused(&snapshot(&[SHOP]), "{name: shop, port: 53}").0,
            RouteReason::BackendNotFound
        );
    }

    #[test]
    fn a_service_without_port_is_refused() {
        assert!(
            refused(&snapshot(&[SHOP]), "{name: shop}")
                .1
                .starts_with("port: is missing")
        );
    }

    #[test]
    fn an_unknown_kind_is_refused_before_anything_is_looked_up() {
        assert_eq!(
            refused(&snapshot(&[]), "{kind: Bucket, name: shop}").0,
            RouteReason::InvalidKind
        );
    }

    #[test]
    fn an_inference_pool_is_not_supported_yet() {
        let pool = "{group: inference.networking.k8s.io, kind: InferencePool, name: llm}";
        let (reason, message) = refused(&snapshot(&[]), pool);
        assert_eq!(
            (reason, message.as_str()),
            (
                RouteReason::InvalidKind,
                "kind: InferencePool is not supported yet; use a Service"
            )
        );
    }

    #[test]
    fn another_namespace_needs_a_grant_even_if_nothing_is_there() {
        let (reason, message) = refused(&snapshot(&[]), "{name: shop, namespace: other, port: 80}");
        assert_eq!(reason, RouteReason::RefNotPermitted);
        assert!(message.contains("ReferenceGrant to namespace other"), "{message}");
    }

    #[test]
    fn an_external_name_is_refused() {
        let external =
            "{metadata: {namespace: default, name: out}, spec: {type: ExternalName, externalName: a.b}}";
        assert_eq!(
            refused(&snapshot(&[external]), "{name: out, port: 80}").0,
            RouteReason::UnsupportedValue
        );
    }

    #[test]
    fn a_backend_that_must_be_spoken_tls_to_is_never_spoken_plain_text_to() {
        let mut snapshot = snapshot(&[SHOP]);
        let policy: BackendTlsPolicy = serde_saphyr::from_str(
            "
            metadata: {namespace: default, name: secure}
            spec:
              targetRefs: [{group: '', kind: Service, name: shop, sectionName: web}]
              validation: {hostname: shop.example}",
        )
        .expect("a policy decodes");
        snapshot
            .backend_tls_policies
            .insert(ObjectKey::of(&policy), Arc::new(policy));
        assert_eq!(
            refused(&snapshot, "{name: shop, port: 80}").0,
            RouteReason::UnsupportedProtocol
        );
        assert!(
            resolved(&snapshot, "{name: shop, port: 81}").is_ok(),
            "the policy is for the port named web only"
        );
    }
}
