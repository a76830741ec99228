//! `ListenerSets`: listeners that others add to a Gateway.

use std::collections::BTreeMap;

use crate::{
    api::{self, GATEWAY_GROUP},
    object::{ObjectKey, created},
    resolve::{
        finding::{Finding, reasons},
        namespaces::Namespaces,
    },
    snapshot::Snapshot,
};

/// A `ListenerSet` whose parent is a Gateway of ours.
#[derive(Debug)]
pub struct ListenerSet {
    /// The Gateway. Its `listeners` include those of the `ListenerSet` if it is not refused.
    pub gateway: ObjectKey,
    /// Why the Gateway does not take its listeners.
    pub refusal: Option<Finding<ListenerSetRefusal>>,
}

reasons! {
    /// Why a Gateway does not take the listeners of a `ListenerSet`.
    ///
    /// See <https://gateway-api.sigs.k8s.io/reference/spec/#listenersetconditionreason>.
    pub enum ListenerSetRefusal {
        /// It allows no `ListenerSets` from that namespace.
        NotAllowed = "NotAllowed",
        /// It is not accepted itself.
        ParentNotAccepted = "ParentNotAccepted",
    }
}

/// The `ListenerSets` of one Gateway, in order of precedence.
type Siblings<'a> = Vec<(&'a ObjectKey, &'a api::ListenerSet)>;

/// The `ListenerSets` of every Gateway, in order of precedence: by age, then by namespace and name.
pub(super) fn by_gateway(snapshot: &Snapshot) -> BTreeMap<ObjectKey, Siblings<'_>> {
    let mut by_gateway = BTreeMap::<_, Siblings<'_>>::new();
    for (key, listener_set) in &snapshot.listener_sets {
        let parent = &listener_set.spec.parent_ref;
        if (parent.group(), parent.kind()) == (GATEWAY_GROUP, "Gateway") {
            let namespace = parent.namespace.as_ref().unwrap_or(&key.namespace);
            let siblings = by_gateway.entry(ObjectKey::new(namespace, &parent.name));
            siblings.or_default().push((key, listener_set.as_ref()));
        }
    }
    for siblings in by_gateway.values_mut() {
        siblings.sort_by_key(|(key, listener_set)| (created(*listener_set), *key));
    }
    by_gateway
}

/// Why a Gateway does not take the listeners of a `ListenerSet` of that namespace.
pub(super) fn refusal(
    snapshot: &Snapshot,
    key: &ObjectKey,
    gateway: &api::Gateway,
    is_accepted: bool,
    namespace: &str,
) -> Option<Finding<ListenerSetRefusal>> {
    let allowed = gateway.spec.allowed_listener_namespaces();
    let namespaces = Namespaces::new(allowed.from(), allowed.selector.as_ref(), &key.namespace);
    if !namespaces.contain(namespace, snapshot) {
        let message = format!(
            "Gateway {key} does not allow ListenerSets of namespace {namespace} in spec.allowedListeners"
        );
        Some(Finding::new(ListenerSetRefusal::NotAllowed, message))
    } else if !is_accepted {
        let message = format!("Gateway {key} is not accepted");
        Some(Finding::new(ListenerSetRefusal::ParentNotAccepted, message))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::example;

    /// What a Gateway `edge/web` with these fields says to `ListenerSets` of the namespaces `edge` and `shop`.
    fn refusals(fields: &str) -> [Option<ListenerSetRefusal>; 2] {
        let gateway = format!(
            "kind: Gateway\nmetadata: {{namespace: edge, name: web}}\n\
             spec: {{gatewayClassName: ours, listeners: [], {fields}}}"
        );
        let listener_set = |namespace: &str| {
            format!(
                "kind: ListenerSet\nmetadata: {{namespace: {namespace}, name: more}}\n\
                 spec: {{parentRef: {{namespace: edge, name: web}}, \
                 listeners: [{{name: http, port: 80, protocol: HTTP}}]}}"
            )
        };
        let namespace = "kind: Namespace\nmetadata: {name: shop, labels: {listeners: welcome}}";
        let (edge, shop) = (listener_set("edge"), listener_set("shop"));
        let resolved = example::resolved(&[&gateway, &edge, &shop, namespace]);
        ["edge", "shop"].map(|namespace| {
            let listener_set = &resolved.listener_sets[&ObjectKey::new(namespace, "more")];
            listener_set.refusal.as_ref().map(|refusal| refusal.reason)
        })
    }

    const NOT_ALLOWED: Option<ListenerSetRefusal> = Some(ListenerSetRefusal::NotAllowed);

    #[test]
    fn listener_sets_are_allowed_by_namespace_and_by_default_not_at_all() {
        for (allowed, refused) in [
            ("{}", [NOT_ALLOWED, NOT_ALLOWED]),
            ("{namespaces: {from: None}}", [NOT_ALLOWED, NOT_ALLOWED]),
            ("{namespaces: {from: Same}}", [None, NOT_ALLOWED]),
            ("{namespaces: {from: All}}", [None, None]),
            (
                "{namespaces: {from: Selector, selector: {matchLabels: {listeners: welcome}}}}",
                [NOT_ALLOWED, None],
            ),
        ] {
            assert_eq!(
                refusals(&format!("allowedListeners: {allowed}")),
                refused,
                "{allowed}"
            );
        }
    }

    #[test]
    fn gateway_that_is_not_accepted_takes_no_listeners() {
        let fields = "allowedListeners: {namespaces: {from: All}}, addresses: [{value: here}]";
        let refusal = Some(ListenerSetRefusal::ParentNotAccepted);
        assert_eq!(refusals(fields), [refusal, refusal]);
    }
}
