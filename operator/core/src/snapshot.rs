//! Everything that the operator knows of Kubernetes objects at one moment.

use std::{collections::BTreeMap, sync::Arc};

use kube::ResourceExt;

use crate::{api::with_kinds, object::ObjectKey};

/// The objects of one kind.
pub type Objects<K> = BTreeMap<ObjectKey, Arc<K>>;

macro_rules! snapshot {
    ($($field:ident: $kind:ty = $name:literal),* $(,)?) => {
        /// All objects, one field per kind.
        #[derive(Clone, Debug, Default)]
        pub struct Snapshot {
            $(
                #[doc = concat!("Every ", $name, ".")]
                pub $field: Objects<$kind>,
            )*
        }
    };
}
with_kinds!(snapshot);

impl Snapshot {
    /// Whether an object is on its way out, alone or with all else in its namespace: nothing is made for it any more.
    #[must_use]
    pub fn is_terminating(&self, object: &impl ResourceExt) -> bool {
        object.meta().deletion_timestamp.is_some()
            || object
                .namespace()
                .is_some_and(|namespace| self.is_terminating_namespace(&namespace))
    }

    /// Whether a namespace is on its way out; one that nobody knows is not.
    #[must_use]
    pub fn is_terminating_namespace(&self, namespace: &str) -> bool {
        let namespace = self.namespaces.get(&ObjectKey::new("", namespace));
        namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
    }
}
