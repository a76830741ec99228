//! `InferencePool`s: model servers, and who chooses among them.
//!
//! What is wrong with the reference to an endpoint picker is said on the pool and not on the routes that lead there;
//! requests then find a picker without endpoints, and its failure mode says what becomes of them.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::ServicePort;

use super::{
    backend,
    backend_tls::{Policies, Policy},
    finding::{Finding, reasons},
    mistake::quoted,
    route::Picking,
};
use crate::{
    api::{AppProtocol, EndpointPickerFailureMode, EndpointPickerRef, InferencePoolSpec},
    config::{BackendTls, Protocol, Upstream},
    infra::{picker_host, picker_tls},
    object::ObjectKey,
    snapshot::Snapshot,
};

/// An `InferencePool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its endpoints.
    pub upstream: Upstream,
    /// What they speak; `None` where that is something that we do not.
    pub protocol: Option<Protocol>,
    /// Who chooses among them.
    pub picking: Picking,
    /// What we cannot do for it.
    pub unsupported: Vec<Finding<PoolReason>>,
    /// Why its picker cannot be reached.
    pub picker: Option<Finding<PoolReason>>,
}

reasons! {
    /// Why a pool is not served as it says.
    ///
    /// See `InferencePoolReason` in
    /// <https://github.com/kubernetes-sigs/gateway-api-inference-extension/blob/v1.6.0/api/v1/inferencepool_types.go>.
    pub enum PoolReason {
        /// A value that we cannot do.
        NotSupportedByParent = "NotSupportedByParent",
        /// A reference to an endpoint picker that leads nowhere, or to a kind that is none.
        InvalidExtensionRef = "InvalidExtensionRef",
    }
}

/// Every `InferencePool`; `authorities` are those that certificates of our pickers come from, in PEM, and empty where
/// pickers are run by others alone.
#[must_use]
pub(super) fn resolve(
    snapshot: &Snapshot,
    policies: &Policies,
    authorities: &str,
) -> BTreeMap<ObjectKey, Pool> {
    let services = Services {
        snapshot,
        policies,
        authorities,
    };
    let pools = snapshot.inference_pools.iter();
    pools
        .map(|(key, object)| (key.clone(), pool(key, &object.spec, &services)))
        .collect()
}

/// What pickers are looked up in.
struct Services<'a> {
    snapshot: &'a Snapshot,
    policies: &'a Policies,
    /// Of our pickers.
    authorities: &'a str,
}

fn pool(key: &ObjectKey, spec: &InferencePoolSpec, services: &Services<'_>) -> Pool {
    let InferencePoolSpec {
        selector,
        target_ports: _,
        app_protocol: _,
        endpoint_picker_ref,
    } = spec;
    let mut unsupported = Vec::new();
    let mut refuse = |field: &str, problem: String| {
        let message = format!("spec.{field} {problem}");
        unsupported.push(Finding::new(PoolReason::NotSupportedByParent, message));
    };
    let mut ports = ports(spec).unwrap_or_else(|problem| {
        refuse("targetPorts", problem);
        Vec::new()
    });
    if selector
        .match_expressions
        .as_ref()
        .is_some_and(|expressions| !expressions.is_empty())
    {
        // Without them it would select pods that are not meant.
        ports.clear();
        refuse(
            "selector.matchExpressions",
            "is no field of an InferencePool; use matchLabels".to_owned(),
        );
    }
    let protocol = match spec.app_protocol() {
        AppProtocol::Http => Some(Protocol::Http),
        AppProtocol::H2c => Some(Protocol::H2c),
        AppProtocol::Unknown(other) => {
            let problem = format!("is {}; it can be http or kubernetes.io/h2c", quoted(other));
            refuse("appProtocol", problem);
            None
        }
    };
    let (picking, picker) = match endpoint_picker_ref {
        None => (Picking::ByGateway, None),
        Some(reference) => {
            if let EndpointPickerFailureMode::Unknown(other) = reference.failure_mode() {
                refuse(
                    "endpointPickerRef.failureMode",
                    format!(
                        "is {}, which is taken for FailClose; it can be FailOpen or FailClose",
                        quoted(other)
                    ),
                );
            }
            picking(&key.namespace, reference, services)
        }
    };
    Pool {
        upstream: Upstream::Pool {
            namespace: key.namespace.clone(),
            pool: key.name.clone(),
            ports,
        },
        protocol,
        picking,
        unsupported,
        picker,
    }
}

/// Most target ports that a pool can have.
const MOST_PORTS: usize = 8;

/// The target ports in order, each once.
fn ports(spec: &InferencePoolSpec) -> Result<Vec<u16>, String> {
    let numbers = spec.target_ports.iter().map(|port| port.number);
    let ports: Result<Vec<u16>, i32> = numbers
        .map(|number| u16::try_from(number).ok().filter(|port| *port > 0).ok_or(number))
        .collect();
    let mut ports =
        ports.map_err(|number| format!("has {number}, which is no port; give a number from 1 to 65535"))?;
    ports.sort_unstable();
    ports.dedup();
    match ports.len() {
        1..=MOST_PORTS => Ok(ports),
        0 => Err("is empty; name the port of the model servers".to_owned()),
        many => Err(format!("has {many} ports; {MOST_PORTS} is the most")),
    }
}

/// Who chooses, and why it cannot be reached.
fn picking(
    namespace: &str,
    reference: &EndpointPickerRef,
    services: &Services<'_>,
) -> (Picking, Option<Finding<PoolReason>>) {
    let fail_open = *reference.failure_mode() == EndpointPickerFailureMode::FailOpen;
    let key = ObjectKey::new(namespace, &reference.name);
    let by_picker = |port, tls| Picking::ByPicker {
        upstream: Upstream::Service {
            namespace: key.namespace.clone(),
            service: key.name.clone(),
            port,
        },
        tls,
        fail_open,
    };
    match services.picker(&key, reference) {
        Ok((port, tls)) => (by_picker(port, tls), None),
        Err(Unreachable { port, problem }) => {
            let message = format!("spec.endpointPickerRef.{problem}");
            let finding = Finding::new(PoolReason::InvalidExtensionRef, message);
            (by_picker(port, Some(unverified(&key))), Some(finding))
        }
    }
}

/// A picker that cannot be reached.
struct Unreachable {
    /// The port that it would have; [`NO_PORT`] where its Service must not be asked even if it comes to have that.
    port: u16,
    /// The field of the reference, and what is wrong with it.
    problem: String,
}

/// The port of an upstream that has no endpoints, whatever its Service has.
const NO_PORT: u16 = 0;

impl Services<'_> {
    /// The port of a picker's Service, and how it is spoken TLS to.
    ///
    /// A Service or port that is missing is named nevertheless, so that the configuration is the same when it comes.
    fn picker(
        &self,
        key: &ObjectKey,
        reference: &EndpointPickerRef,
    ) -> Result<(u16, Option<Arc<BackendTls>>), Unreachable> {
        let unreachable = |port, problem| Unreachable { port, problem };
        let (group, kind) = (reference.group(), reference.kind());
        if (group, kind) != ("", "Service") {
            let (group, kind) = (quoted(group), quoted(kind));
            let problem = format!(
                "kind: kind {kind} of group {group} is not supported; use a Service of the core group"
            );
            return Err(unreachable(NO_PORT, problem));
        }
        let wanted = reference.port.as_ref().map(|port| port.number);
        let named = wanted
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(NO_PORT);
        let Some(service) = self.snapshot.services.get(key) else {
            return Err(unreachable(named, format!("name: Service {key} does not exist")));
        };
        if backend::is_external(service) {
            let problem = format!(
                "name: Service {key} is of type ExternalName, which is not supported; use one with endpoints"
            );
            return Err(unreachable(NO_PORT, problem));
        }
        let (number, port) =
            backend::port(key, service, wanted).map_err(|mistake| unreachable(named, mistake.to_string()))?;
        let tls = self
            .tls(key, port)
            .map_err(|problem| unreachable(NO_PORT, problem))?;
        Ok((number, tls))
    }

    /// How a picker is spoken TLS to; `None` for plain text.
    ///
    /// A policy says what its certificate must hold. Without one a picker that we run is known by the certificate that
    /// we gave it, and of any other TLS takes whatever it shows, as users of the protocol expect: pickers make one for
    /// themselves when they start.
    fn tls(&self, key: &ObjectKey, port: &ServicePort) -> Result<Option<Arc<BackendTls>>, String> {
        match self.policies.of(key, port.name.as_deref()) {
            Some((_, Policy { tls: Some(tls), .. })) => Ok(Some(Arc::clone(tls))),
            Some((policy, _)) => Err(format!(
                "name: BackendTLSPolicy {policy} says how to verify Service {key} and cannot be used; its status says why"
            )),
            None if self.runs(key) => Ok(Some(Arc::new(picker_tls(key, self.authorities)))),
            None if port.app_protocol.as_deref() == Some("kubernetes.io/h2c") => Ok(None),
            None => Ok(Some(unverified(key))),
        }
    }

    /// Whether the picker behind a Service is one that we run.
    fn runs(&self, picker: &ObjectKey) -> bool {
        !self.authorities.is_empty() && self.snapshot.endpoint_pickers.contains_key(picker)
    }
}

/// TLS that takes any certificate.
fn unverified(picker: &ObjectKey) -> Arc<BackendTls> {
    Arc::new(BackendTls {
        server_name: picker_host(picker),
        verification: None,
        client_certificate: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::Needs,
        resolve::{example::snapshot as read, grant::Grants},
    };

    const PICKER: &str = "
        kind: Service
        metadata: {namespace: models, name: picker}
        spec: {ports: [{port: 9002, appProtocol: http2}, {port: 9004, appProtocol: kubernetes.io/h2c}]}";

    const AUTHORITIES: &str = "the authorities of our pickers";

    fn resolved(services: &[&str], spec: &str) -> Pool {
        let pool =
            format!("{{kind: InferencePool, metadata: {{namespace: models, name: llama}}, spec: {spec}}}");
        let documents = [services, &[&pool]].concat();
        let snapshot = read(&documents);
        let policies = Policies::new(&snapshot, &Grants::new(&snapshot), &mut Needs::default());
        let mut pools = resolve(&snapshot, &policies, AUTHORITIES);
        pools
            .remove(&ObjectKey::new("models", "llama"))
            .expect("every pool is resolved")
    }

    /// A pool with this reference to a picker.
    fn picked(services: &[&str], reference: &str) -> Pool {
        let spec =
            format!("{{selector: {{}}, targetPorts: [{{number: 8000}}], endpointPickerRef: {reference}}}");
        resolved(services, &spec)
    }

    /// The port of the picker, whether it is spoken TLS to, and whether it fails open.
    fn picking(pool: &Pool) -> (u16, bool, bool) {
        match &pool.picking {
            Picking::ByPicker {
                upstream: Upstream::Service { port, .. },
                tls,
                fail_open,
            } => (*port, tls.is_some(), *fail_open),
            other => panic!("{other:?} is no picker"),
        }
    }

    fn refusal(pool: &Pool) -> &str {
        let finding = pool.picker.as_ref().expect("the picker cannot be reached");
        assert_eq!(finding.reason, PoolReason::InvalidExtensionRef);
        &finding.message
    }

    #[test]
    fn ports_are_in_order_and_each_once() {
        let pool = resolved(
            &[],
            "{selector: {}, targetPorts: [{number: 8001}, {number: 8000}, {number: 8001}]}",
        );
        assert!(matches!(pool.upstream, Upstream::Pool { ports, .. } if ports == [8000, 8001]));
        assert_eq!(pool.picking, Picking::ByGateway);
    }

    #[test]
    fn what_no_schema_admits_is_said_and_has_no_endpoints() {
        let many: Vec<String> = (1..10).map(|port| format!("{{number: {port}}}")).collect();
        for (ports, problem) in [
            ("", "spec.targetPorts is empty"),
            ("{number: 0}", "spec.targetPorts has 0, which is no port"),
            ("{number: 65536}", "spec.targetPorts has 65536"),
            (&many.join(", "), "spec.targetPorts has 9 ports; 8 is the most"),
        ] {
            let pool = resolved(&[], &format!("{{selector: {{}}, targetPorts: [{ports}]}}"));
            let message = &pool.unsupported[0].message;
            assert!(message.starts_with(problem), "{message}");
            assert!(matches!(pool.upstream, Upstream::Pool { ports, .. } if ports.is_empty()));
        }
        let expressions =
            "{selector: {matchExpressions: [{key: a, operator: Exists}]}, targetPorts: [{number: 1}]}";
        assert!(
            matches!(resolved(&[], expressions).upstream, Upstream::Pool { ports, .. } if ports.is_empty())
        );
    }

    #[test]
    fn a_picker_is_asked_over_tls_unless_its_service_says_h2c() {
        let over_tls = picked(&[PICKER], "{name: picker, port: {number: 9002}}");
        assert_eq!((picking(&over_tls), over_tls.picker), ((9002, true, false), None));
        let plain = picked(
            &[PICKER],
            "{name: picker, port: {number: 9004}, failureMode: FailOpen}",
        );
        assert_eq!((picking(&plain), plain.picker), ((9004, false, true), None));
    }

    #[test]
    fn a_policy_says_what_the_certificate_of_a_picker_must_hold() {
        let policy = |validation: &str| {
            format!(
                "{{kind: BackendTLSPolicy, metadata: {{namespace: models, name: strict}}, spec: {{targetRefs: \
                 [{{group: '', kind: Service, name: picker}}], validation: {validation}}}}}"
            )
        };
        let reference = "{name: picker, port: {number: 9004}}";
        let good = policy("{hostname: picker.example, wellKnownCACertificates: System}");
        let pool = picked(&[PICKER, &good], reference);
        assert_eq!(pool.picker, None);
        let Picking::ByPicker { tls: Some(tls), .. } = &pool.picking else {
            panic!("{:?} is not over TLS", pool.picking)
        };
        assert_eq!(tls.server_name, "picker.example");
        assert!(tls.verification.is_some());

        let bad = policy("{hostname: picker.example}");
        let pool = picked(&[PICKER, &bad], reference);
        assert!(refusal(&pool).contains("BackendTLSPolicy models/strict"));
        assert_eq!(picking(&pool).0, NO_PORT, "it is never asked unverified");
    }

    #[test]
    fn a_picker_that_is_missing_is_named_so_that_nothing_changes_when_it_comes() {
        let reference = "{name: picker, port: {number: 9002}}";
        let missing = picked(&[], reference);
        assert_eq!(
            refusal(&missing),
            "spec.endpointPickerRef.name: Service models/picker does not exist"
        );
        assert_eq!(missing.picking, picked(&[PICKER], reference).picking);
    }

    #[test]
    fn a_port_that_the_service_has_not_is_said_with_those_that_it_has() {
        assert_eq!(
            refusal(&picked(&[PICKER], "{name: picker, port: {number: 1}}")),
            "spec.endpointPickerRef.port: Service models/picker has no port 1; it has 9002, 9004"
        );
        let message = refusal(&picked(&[PICKER], "{name: picker}")).to_owned();
        assert!(
            message.starts_with("spec.endpointPickerRef.port: is missing"),
            "{message}"
        );
    }

    #[test]
    fn what_is_no_picker_is_never_asked() {
        let external = "
            kind: Service
            metadata: {namespace: models, name: picker}
            spec: {type: ExternalName, externalName: a.example, ports: [{port: 9002}]}";
        let pool = picked(&[external], "{name: picker, port: {number: 9002}}");
        assert!(refusal(&pool).contains("ExternalName"));
        assert_eq!(picking(&pool).0, NO_PORT);
        let pool = picked(&[PICKER], "{kind: Bucket, name: picker, port: {number: 9002}}");
        assert!(refusal(&pool).contains("kind \"Bucket\" of group \"\" is not supported"));
        assert_eq!(picking(&pool).0, NO_PORT);
    }

    #[test]
    fn an_unknown_failure_mode_refuses_requests_and_is_said() {
        let pool = picked(
            &[PICKER],
            "{name: picker, port: {number: 9002}, failureMode: FailMaybe}",
        );
        assert_eq!(picking(&pool), (9002, true, false));
        assert!(pool.unsupported[0].message.contains("\"FailMaybe\""));
    }

    #[test]
    fn a_picker_of_ours_is_known_by_the_certificate_that_we_gave_it() {
        let ours = "{kind: EndpointPicker, metadata: {namespace: models, name: picker}, spec: {}}";
        let verification = |objects: &[&str]| {
            let pool = picked(objects, "{name: picker, port: {number: 9002}}");
            match pool.picking {
                Picking::ByPicker { tls: Some(tls), .. } => tls.verification.clone(),
                other => panic!("{other:?} is no picker over TLS"),
            }
        };
        assert_eq!(verification(&[PICKER]), None);
        let verification = verification(&[PICKER, ours]).expect("ours is verified");
        assert_eq!(verification.authorities.as_deref(), Some(AUTHORITIES));
        assert_eq!(verification.hostnames, ["picker.models.svc"]);
    }
}
