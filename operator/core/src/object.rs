use std::fmt;

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use serde::Serialize;

/// Namespace and name of an object; the namespace of a cluster-wide one is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectKey {
    /// Empty for cluster-wide objects.
    pub namespace: String,
    /// Unique among the namespace's objects of one kind.
    pub name: String,
}

impl ObjectKey {
    /// The key of that namespace and name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object.
    pub fn of(object: &impl ResourceExt) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            formatter.write_str(&self.name)
        } else {
            write!(formatter, "{}/{}", self.namespace, self.name)
        }
    }
}

/// When an object was created; one without a time, as files have none, is older than any.
pub(crate) fn created(object: &impl Resource) -> Option<Timestamp> {
    let created = object.meta().creation_timestamp.as_ref();
    created.map(|created| created.0)
}
