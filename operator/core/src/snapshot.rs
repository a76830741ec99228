//! Everything that the operator knows of Kubernetes objects at one moment.

use std::{collections::BTreeMap, sync::Arc};

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
