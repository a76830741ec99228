//! `InferencePool`s: model servers, and who chooses among them.

use std::collections::BTreeMap;

pub use super::picking::PoolReason;
use super::{finding::Finding, mistake::quoted, picking::Pickers, route::Picking};
use crate::{
    api::{AppProtocol, EndpointPickerFailureMode, InferencePoolSpec},
    config::{Protocol, Upstream},
    object::ObjectKey,
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

/// Every `InferencePool`.
#[must_use]
pub(super) fn resolve(pickers: &Pickers<'_>) -> BTreeMap<ObjectKey, Pool> {
    let pools = pickers.snapshot.inference_pools.iter();
    pools
        .map(|(key, object)| (key.clone(), pool(key, &object.spec, pickers)))
        .collect()
}

fn pool(key: &ObjectKey, spec: &InferencePoolSpec, pickers: &Pickers<'_>) -> Pool {
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
            pickers.picking(key, reference)
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        observed::Observed,
        options::Options,
        resolve::{example::snapshot, resolve},
    };

    /// The authorities that certificates of our pickers come from.
    pub(crate) const AUTHORITIES: &str = "the authorities of our pickers";

    /// What the pool `models/llama` with this specification means beside these objects.
    pub(crate) fn resolved(others: &[&str], spec: &str) -> Pool {
        let pool =
            format!("{{kind: InferencePool, metadata: {{namespace: models, name: llama}}, spec: {spec}}}");
        let observed = Observed {
            authorities: AUTHORITIES.to_owned(),
            ..Observed::default()
        };
        let snapshot = snapshot(&[others, &[&pool]].concat());
        let mut pools = resolve(&snapshot, &observed, &Options::default()).inference_pools;
        pools
            .remove(&ObjectKey::new("models", "llama"))
            .expect("every pool is resolved")
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
    fn an_unknown_failure_mode_refuses_requests_and_is_said() {
        let reference = "{name: picker, port: {number: 9002}, failureMode: FailMaybe}";
        let pool = resolved(
            &[],
            &format!("{{selector: {{}}, targetPorts: [{{number: 1}}], endpointPickerRef: {reference}}}"),
        );
        assert!(matches!(pool.picking, Picking::ByPicker { fail_open: false, .. }));
        assert!(pool.unsupported[0].message.contains("\"FailMaybe\""));
    }
}
