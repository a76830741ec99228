//! Who chooses among the endpoints of `InferencePool`s, and how that picker is reached.
//!
//! What is wrong with the reference to an endpoint picker is said on the pool and not on the routes that lead there;
//! requests then find a picker without endpoints, and its failure mode says what becomes of them.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::ServicePort;

use super::{
    backend_tls::{Policies, Policy},
    endpoint_picker::Picker,
    finding::{Finding, reasons},
    mistake::quoted,
    route::Picking,
    service,
};
use crate::{
    api::{EndpointPickerFailureMode, EndpointPickerRef},
    config::{BackendTls, Upstream},
    infra::{picker_host, picker_tls},
    object::ObjectKey,
    snapshot::Snapshot,
};

/// What the pickers of pools are looked up in.
pub(super) struct Pickers<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) policies: &'a Policies,
    /// Those that we run.
    pub(super) ours: &'a BTreeMap<ObjectKey, Picker>,
    /// Certificates of the authorities that those of our pickers come from, in PEM; empty where pickers are run by
    /// others alone.
    pub(super) authorities: &'a str,
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
        /// A picker that we are about to run.
        Pending = "Pending",
    }
}

/// A picker that cannot be reached.
struct Unreachable {
    /// The port that it would have; [`NO_PORT`] where its Service must not be asked even if it comes to have that.
    port: u16,
    reason: PoolReason,
    /// The field of the reference, and what is wrong with it.
    problem: String,
}

/// The port of an upstream that has no endpoints, whatever its Service has.
const NO_PORT: u16 = 0;

impl Pickers<'_> {
    /// Who chooses for a pool that has this reference, and why that picker cannot be reached.
    pub(super) fn picking(
        &self,
        pool: &ObjectKey,
        reference: &EndpointPickerRef,
    ) -> (Picking, Option<Finding<PoolReason>>) {
        let key = ObjectKey::new(&pool.namespace, &reference.name);
        let by_picker = |port, tls| Picking::ByPicker {
            upstream: Upstream::Service {
                namespace: key.namespace.clone(),
                service: key.name.clone(),
                port,
            },
            tls,
            fail_open: *reference.failure_mode() == EndpointPickerFailureMode::FailOpen,
            // Those of others may be made to share the requests.
            one_leads: self.ours.contains_key(&key),
        };
        match self.reach(pool, &key, reference) {
            Ok((port, tls)) => (by_picker(port, tls), None),
            Err(Unreachable {
                port,
                reason,
                problem,
            }) => {
                let message = format!("spec.endpointPickerRef.{problem}");
                let finding = Finding::new(reason, message);
                (by_picker(port, Some(unverified(&key))), Some(finding))
            }
        }
    }

    /// The port of a picker's Service, and how it is spoken TLS to.
    ///
    /// A Service or port that is missing is named nevertheless, so that the configuration is the same when it comes.
    fn reach(
        &self,
        pool: &ObjectKey,
        key: &ObjectKey,
        reference: &EndpointPickerRef,
    ) -> Result<(u16, Option<Arc<BackendTls>>), Unreachable> {
        let unreachable = |port, problem| Unreachable {
            port,
            reason: PoolReason::InvalidExtensionRef,
            problem,
        };
        let (group, kind) = (reference.group(), reference.kind());
        if (group, kind) != ("", "Service") {
            let (group, kind) = (quoted(group), quoted(kind));
            let problem = format!(
                "kind: kind {kind} of group {group} is not supported; use a Service of the core group"
            );
            return Err(unreachable(NO_PORT, problem));
        }
        let holder = self.ours.get(key).and_then(|picker| picker.pool.as_ref());
        if let Some(holder) = holder.filter(|holder| **holder != pool.name) {
            let problem = format!(
                "name: EndpointPicker {key} picks for InferencePool {holder}, which comes first, and a picker knows \
                 one pool; make an EndpointPicker for this pool and name that"
            );
            return Err(unreachable(NO_PORT, problem));
        }
        let wanted = reference.port.as_ref().map(|port| port.number);
        let named = wanted
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(NO_PORT);
        let Some(service) = self.snapshot.services.get(key) else {
            return Err(self.missing(key, named));
        };
        if service::is_external(service) {
            let problem = format!(
                "name: Service {key} is of type ExternalName, which is not supported; use one with endpoints"
            );
            return Err(unreachable(NO_PORT, problem));
        }
        let (number, port) =
            service::port(key, service, wanted).map_err(|mistake| unreachable(named, mistake.to_string()))?;
        let tls = self
            .tls(key, port)
            .map_err(|problem| unreachable(NO_PORT, problem))?;
        Ok((number, tls))
    }

    /// Why the Service of a picker does not exist, which would have that port.
    fn missing(&self, key: &ObjectKey, port: u16) -> Unreachable {
        let (reason, problem) = match self.ours.get(key) {
            None => (
                PoolReason::InvalidExtensionRef,
                format!("name: Service {key} does not exist"),
            ),
            Some(picker) if picker.problems.is_empty() => (
                PoolReason::Pending,
                format!("name: EndpointPicker {key} is about to run; its status says how far it is"),
            ),
            Some(_) => (
                PoolReason::InvalidExtensionRef,
                format!("name: EndpointPicker {key} does not run; its status says why"),
            ),
        };
        Unreachable {
            port,
            reason,
            problem,
        }
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
        !self.authorities.is_empty() && self.ours.contains_key(picker)
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
    use crate::resolve::inference::{
        Pool,
        tests::{AUTHORITIES, resolved},
    };

    const PICKER: &str = "
        kind: Service
        metadata: {namespace: models, name: picker}
        spec: {ports: [{port: 9002, appProtocol: http2}, {port: 9004, appProtocol: kubernetes.io/h2c}]}";

    const OURS: &str = "{kind: EndpointPicker, metadata: {namespace: models, name: picker}, spec: {}}";

    /// A pool with this reference to a picker, beside these objects.
    fn picked(others: &[&str], reference: &str) -> Pool {
        let spec =
            format!("{{selector: {{}}, targetPorts: [{{number: 8000}}], endpointPickerRef: {reference}}}");
        resolved(others, &spec)
    }

    /// The port of the picker, whether it is spoken TLS to, and whether it fails open.
    fn picking(pool: &Pool) -> (u16, bool, bool) {
        match &pool.picking {
            Picking::ByPicker {
                upstream: Upstream::Service { port, .. },
                tls,
                fail_open,
                ..
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
    fn a_picker_of_ours_that_does_not_run_yet_is_no_mistake() {
        let finding = |picker: &str| {
            let pool = picked(&[picker], "{name: picker, port: {number: 9002}}");
            assert_eq!(picking(&pool).0, 9002, "nothing changes when it comes");
            pool.picker.expect("it cannot be reached")
        };
        let pending = finding(OURS);
        assert_eq!(pending.reason, PoolReason::Pending);
        assert_eq!(
            pending.message,
            "spec.endpointPickerRef.name: EndpointPicker models/picker is about to run; its status says how far it is"
        );
        let invalid = finding(&OURS.replace("spec: {}", "spec: {implementation: LlmD}"));
        assert_eq!(invalid.reason, PoolReason::InvalidExtensionRef);
        assert!(
            invalid.message.ends_with("does not run; its status says why"),
            "{invalid:?}"
        );
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
    fn a_picker_of_ours_is_known_by_the_certificate_that_we_gave_it() {
        let verification = |objects: &[&str]| {
            let pool = picked(objects, "{name: picker, port: {number: 9002}}");
            match pool.picking {
                Picking::ByPicker { tls: Some(tls), .. } => tls.verification.clone(),
                other => panic!("{other:?} is no picker over TLS"),
            }
        };
        assert_eq!(verification(&[PICKER]), None);
        let verification = verification(&[PICKER, OURS]).expect("ours is verified");
        assert_eq!(verification.authorities.as_deref(), Some(AUTHORITIES));
        assert_eq!(verification.hostnames, ["picker.models.svc"]);
    }

    #[test]
    fn a_picker_of_ours_is_never_asked_for_a_pool_that_it_does_not_pick_for() {
        let reference = "{name: picker, port: {number: 9002}}";
        let other = |name: &str| {
            format!(
                "{{kind: InferencePool, metadata: {{namespace: models, name: {name}}}, spec: {{selector: {{}}, \
                 targetPorts: [{{number: 1}}], endpointPickerRef: {reference}}}}}"
            )
        };
        let second = picked(&[PICKER, OURS, &other("chat")], reference);
        assert_eq!(picking(&second).0, NO_PORT);
        assert_eq!(
            refusal(&second),
            "spec.endpointPickerRef.name: EndpointPicker models/picker picks for InferencePool chat, which comes \
             first, and a picker knows one pool; make an EndpointPicker for this pool and name that"
        );
        let first = picked(&[PICKER, OURS, &other("mistral")], reference);
        assert_eq!((picking(&first).0, first.picker), (9002, None));
        let not_ours = picked(&[PICKER, &other("chat")], reference);
        assert_eq!((picking(&not_ours).0, not_ours.picker), (9002, None));
    }
}
