//! Who takes requests: what a backend reference leads to.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::ServicePort;

use super::{
    backend_tls::Policies,
    grant::{Grants, Referent, Referrer},
    inference::Pool,
    mistake::{Mistake, RouteReason, quoted},
    route::BackendTarget,
    service,
};
use crate::{
    api::{BackendObjectReference, INFERENCE_GROUP},
    config::{Protocol, Upstream},
    object::ObjectKey,
    snapshot::Snapshot,
};

/// Everything that backend references are looked up in.
#[derive(Clone, Copy)]
pub(super) struct Backends<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) grants: &'a Grants<'a>,
    pub(super) policies: &'a Policies,
    pub(super) pools: &'a BTreeMap<ObjectKey, Pool>,
}

impl Backends<'_> {
    /// Where a reference of an `HTTPRoute` in `namespace` leads, and what is spoken there.
    ///
    /// See <https://gateway-api.sigs.k8s.io/reference/spec/#httpbackendref>.
    pub(super) fn resolve(
        &self,
        namespace: &str,
        reference: &BackendObjectReference,
    ) -> Result<BackendTarget, Mistake> {
        let key = ObjectKey::new(
            reference.namespace.as_deref().unwrap_or(namespace),
            reference.name.as_str(),
        );
        let (group, kind) = (reference.group(), reference.kind());
        if ![("", "Service"), (INFERENCE_GROUP, "InferencePool")].contains(&(group, kind)) {
            let problem = format!(
                "kind {} of group {} is not supported; use a Service of the core group, or an InferencePool of \
                 {INFERENCE_GROUP}",
                quoted(kind),
                quoted(group)
            );
            return Err(Mistake::new(RouteReason::InvalidKind, "kind", problem));
        }
        self.permitted(namespace, group, kind, &key)?;
        if kind == "Service" {
            self.service(key, reference.port)
        } else {
            self.pool(&key)
        }
    }

    /// The endpoints of a Service's port.
    fn service(&self, key: ObjectKey, port: Option<i32>) -> Result<BackendTarget, Mistake> {
        let Some(service) = self.snapshot.services.get(&key) else {
            return Err(Mistake::new(
                RouteReason::BackendNotFound,
                "name",
                format!("Service {key} does not exist"),
            ));
        };
        if service::is_external(service) {
            let problem = format!(
                "Service {key} is of type ExternalName, which is not supported; use one with endpoints"
            );
            return Err(Mistake::unsupported("name", problem));
        }
        let (number, port) = service::port(&key, service, port)?;
        let tls = match self.policies.of(&key, port.name.as_deref()) {
            None => None,
            Some((_, policy)) => match &policy.tls {
                Some(tls) => Some(Arc::clone(tls)),
                // The policy's status says why. To speak plain text, or to somebody unknown, would be worse than an
                // error.
                None => return Ok(BackendTarget::Unresolved),
            },
        };
        let protocol = protocol(&key, port, tls.is_some())?;
        Ok(BackendTarget::Service {
            upstream: Upstream::Service {
                namespace: key.namespace,
                service: key.name,
                port: number,
            },
            protocol,
            tls,
        })
    }

    /// The endpoints of an `InferencePool`; whether its picker can be reached is said on the pool.
    fn pool(&self, key: &ObjectKey) -> Result<BackendTarget, Mistake> {
        let Some(pool) = self.pools.get(key) else {
            return Err(Mistake::new(
                RouteReason::BackendNotFound,
                "name",
                format!("InferencePool {key} does not exist"),
            ));
        };
        let Some(protocol) = pool.protocol else {
            return Err(Mistake::new(
                RouteReason::UnsupportedProtocol,
                "name",
                format!("InferencePool {key} has an appProtocol that is not supported; its status says more"),
            ));
        };
        Ok(BackendTarget::Pool {
            upstream: pool.upstream.clone(),
            protocol,
            picking: pool.picking.clone(),
        })
    }

    fn permitted(&self, namespace: &str, group: &str, kind: &str, key: &ObjectKey) -> Result<(), Mistake> {
        let to = Referent {
            group,
            kind,
            namespace: &key.namespace,
            name: &key.name,
        };
        if self
            .grants
            .permits(Referrer::gateway_api("HTTPRoute", namespace), to)
        {
            return Ok(());
        }
        let problem = format!(
            "{kind} {key} is in another namespace; add a ReferenceGrant to namespace {} that lets HTTPRoutes of \
             namespace {namespace} refer to it",
            key.namespace
        );
        Err(Mistake::new(RouteReason::RefNotPermitted, "", problem))
    }
}

/// What a port says that it speaks, within TLS or without.
///
/// See <https://gateway-api.sigs.k8s.io/geps/gep-1911/> and
/// <https://kubernetes.io/docs/concepts/services-networking/service/#application-protocol>.
fn protocol(key: &ObjectKey, port: &ServicePort, tls: bool) -> Result<Protocol, Mistake> {
    match port.app_protocol.as_deref() {
        Some(https) if tls && ["https", "kubernetes.io/wss"].contains(&&*https.to_ascii_lowercase()) => {
            Ok(Protocol::Http)
        }
        None | Some("" | "http" | "kubernetes.io/ws") => Ok(Protocol::Http),
        Some("kubernetes.io/h2c") => Ok(Protocol::H2c),
        Some(other) => Err(Mistake::new(
            RouteReason::UnsupportedProtocol,
            "port",
            format!(
                "port {} of Service {key} has appProtocol {}, which is not supported; use http, kubernetes.io/h2c or \
                 kubernetes.io/ws, or none, and for https and kubernetes.io/wss a BackendTLSPolicy",
                port.port,
                quoted(other)
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{BackendTlsPolicy, InferencePool, Service},
        resolve::{example::with_backends, route::Picking},
    };

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
        let resolved = with_backends(snapshot, |backends| backends.resolve("default", &reference));
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

    const POOL: &str = "{group: inference.networking.k8s.io, kind: InferencePool, name: llama, port: 9}";

    fn with_pool(spec: &str) -> Snapshot {
        let pool = format!("{{metadata: {{namespace: default, name: llama}}, spec: {spec}}}");
        let pool: InferencePool = serde_saphyr::from_str(&pool).expect("a pool decodes");
        let mut snapshot = snapshot(&[]);
        snapshot
            .inference_pools
            .insert(ObjectKey::of(&pool), Arc::new(pool));
        snapshot
    }

    #[test]
    fn a_pool_is_a_backend_whatever_port_the_reference_has() {
        let target = resolved(&with_pool("{selector: {}, targetPorts: [{number: 8000}]}"), POOL);
        let pool = BackendTarget::Pool {
            upstream: Upstream::Pool {
                namespace: "default".to_owned(),
                pool: "llama".to_owned(),
                ports: vec![8000],
            },
            protocol: Protocol::Http,
            picking: Picking::ByGateway,
        };
        assert_eq!(target, Ok(pool));
    }

    #[test]
    fn a_pool_that_is_missing_or_speaks_something_else_is_refused() {
        assert_eq!(
            refused(&snapshot(&[]), POOL),
            (
                RouteReason::BackendNotFound,
                "name: InferencePool default/llama does not exist".to_owned()
            )
        );
        let odd = with_pool("{selector: {}, targetPorts: [{number: 8000}], appProtocol: smtp}");
        assert_eq!(refused(&odd, POOL).0, RouteReason::UnsupportedProtocol);
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
        for (name, port, authorities) in [
            ("bad", "web", "{hostname: shop.example}"),
            (
                "good",
                "tls",
                "{hostname: shop.example, wellKnownCACertificates: System}",
            ),
        ] {
            let policy: BackendTlsPolicy = serde_saphyr::from_str(&format!(
                "{{metadata: {{namespace: default, name: {name}}}, spec: {{validation: {authorities}, \
                 targetRefs: [{{group: '', kind: Service, name: shop, sectionName: {port}}}]}}}}"
            ))
            .expect("a policy decodes");
            snapshot
                .backend_tls_policies
                .insert(ObjectKey::of(&policy), Arc::new(policy));
        }
        let tls = |port: u16| match resolved(&snapshot, &format!("{{name: shop, port: {port}}}")) {
            Ok(BackendTarget::Service { tls, .. }) => Some(tls.is_some()),
            Ok(BackendTarget::Unresolved) => None,
            other => panic!("{other:?} is no Service"),
        };
        assert_eq!(tls(80), None, "the policy of this port makes no sense");
        assert_eq!(tls(443), Some(true));
        assert_eq!(tls(81), Some(false), "no policy is for this port");
    }
}
