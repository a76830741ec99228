//! References across namespaces, and who permits them.

use std::collections::BTreeMap;

use crate::{
    api::{GATEWAY_GROUP, ReferenceGrantFrom, ReferenceGrantSpec, ReferenceGrantTo},
    snapshot::Snapshot,
};

/// Every `ReferenceGrant`, by the namespace that it opens.
#[derive(Debug)]
pub struct Grants<'a>(BTreeMap<&'a str, Vec<&'a ReferenceGrantSpec>>);

/// The kind and namespace of an object that refers to another.
#[derive(Clone, Copy, Debug)]
pub struct Referrer<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Kind, such as `HTTPRoute`.
    pub kind: &'a str,
    /// Namespace.
    pub namespace: &'a str,
}

impl<'a> Referrer<'a> {
    /// An object of that kind of Gateway API.
    #[must_use]
    pub fn gateway_api(kind: &'a str, namespace: &'a str) -> Self {
        Self {
            group: GATEWAY_GROUP,
            kind,
            namespace,
        }
    }
}

/// An object that is referred to.
#[derive(Clone, Copy, Debug)]
pub struct Referent<'a> {
    /// API group; empty for the core group.
    pub group: &'a str,
    /// Kind, such as `Service`.
    pub kind: &'a str,
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
}

impl<'a> Grants<'a> {
    /// The grants of a snapshot.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let mut grants = BTreeMap::<_, Vec<_>>::new();
        for (key, grant) in &snapshot.reference_grants {
            grants
                .entry(key.namespace.as_str())
                .or_default()
                .push(&grant.spec);
        }
        Self(grants)
    }

    /// Whether the reference stays in its namespace, or a grant in the other namespace permits it.
    ///
    /// See <https://gateway-api.sigs.k8s.io/api-types/referencegrant/>.
    #[must_use]
    pub fn permits(&self, from: Referrer<'_>, to: Referent<'_>) -> bool {
        let grants = self.0.get(to.namespace).into_iter().flatten();
        let granted = |grant: &ReferenceGrantSpec| {
            grant.from.iter().any(|granted| is_from(granted, from))
                && grant.to.iter().any(|granted| is_to(granted, to))
        };
        from.namespace == to.namespace || grants.into_iter().any(|grant| granted(grant))
    }
}

fn is_from(granted: &ReferenceGrantFrom, from: Referrer<'_>) -> bool {
    let ReferenceGrantFrom {
        group,
        kind,
        namespace,
    } = granted;
    group == from.group && kind == from.kind && namespace == from.namespace
}

/// A grant without a name, or with an empty one, is for all objects of the kind.
fn is_to(granted: &ReferenceGrantTo, to: Referent<'_>) -> bool {
    let ReferenceGrantTo { group, kind, name } = granted;
    let name = name.as_deref().unwrap_or_default();
    group == to.group && kind == to.kind && (name.is_empty() || name == to.name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{api::ReferenceGrant, object::ObjectKey};

    const FROM: Referrer<'static> = Referrer {
        group: "gateway.networking.k8s.io",
        kind: "Gateway",
        namespace: "edge",
    };
    const TO: Referent<'static> = Referent {
        group: "",
        kind: "Secret",
        namespace: "certificates",
        name: "shop",
    };

    /// Whether a grant in the namespace `certificates` with this `from` and `to` permits the reference.
    fn permits(from: &str, to: &str) -> bool {
        let yaml = format!(
            "{{metadata: {{namespace: certificates, name: grant}}, spec: {{from: [{from}], to: [{to}]}}}}"
        );
        let grant: ReferenceGrant = serde_saphyr::from_str(&yaml).expect("a ReferenceGrant");
        let mut snapshot = Snapshot::default();
        snapshot
            .reference_grants
            .insert(ObjectKey::of(&grant), Arc::new(grant));
        Grants::new(&snapshot).permits(FROM, TO)
    }

    const FROM_EDGE: &str = "{group: gateway.networking.k8s.io, kind: Gateway, namespace: edge}";
    const TO_SHOP: &str = "{group: '', kind: Secret, name: shop}";

    #[test]
    fn grant_for_the_name_permits() {
        assert!(permits(FROM_EDGE, TO_SHOP));
    }

    #[test]
    fn grant_without_a_name_permits_all_of_the_kind() {
        assert!(permits(FROM_EDGE, "{group: '', kind: Secret}"));
    }

    #[test]
    fn near_misses_do_not_permit() {
        for from in [
            "{group: '', kind: Gateway, namespace: edge}",
            "{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge}",
            "{group: gateway.networking.k8s.io, kind: Gateway, namespace: certificates}",
        ] {
            assert!(!permits(from, TO_SHOP), "{from}");
        }
        for to in [
            "{group: apps, kind: Secret, name: shop}",
            "{group: '', kind: Service, name: shop}",
            "{group: '', kind: Secret, name: other}",
        ] {
            assert!(!permits(FROM_EDGE, to), "{to}");
        }
    }

    #[test]
    fn grant_of_another_namespace_does_not_permit() {
        let snapshot = Snapshot::default();
        assert!(!Grants::new(&snapshot).permits(FROM, TO));
    }

    #[test]
    fn references_within_a_namespace_need_no_grant() {
        let snapshot = Snapshot::default();
        let to = Referent {
            namespace: FROM.namespace,
            ..TO
        };
        assert!(Grants::new(&snapshot).permits(FROM, to));
    }
}
