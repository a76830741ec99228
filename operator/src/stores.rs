//! What is known of Kubernetes objects: one store per kind, filled by a source, read by the controller.

use std::{hash::Hash, sync::Arc};

use kube::{
    Resource,
    runtime::reflector::store::{Store, Writer},
};
use operator_core::{
    object::ObjectKey,
    snapshot::{Objects, Snapshot},
    with_kinds,
};
use parking_lot::Mutex;
use serde_json::Value;

macro_rules! stores {
    ($($field:ident: $type:ty = $kind:literal),* $(,)?) => {
        /// The reading side, one store per kind.
        #[derive(Clone)]
        pub struct Stores {
            $(
                #[doc = concat!("Of every ", $kind, ".")]
                pub(crate) $field: Store<$type>,
            )*
            together: Arc<Mutex<()>>,
        }

        /// The writing side, one writer per kind; a source feeds each with watcher events.
        #[derive(Default)]
        pub struct Writers {
            $(
                #[doc = concat!("Of every ", $kind, ".")]
                pub $field: Writer<$type>,
            )*
            together: Arc<Mutex<()>>,
        }

        impl Writers {
            /// What reads what is written here.
            #[must_use]
            pub fn stores(&self) -> Stores {
                Stores { $( $field: self.$field.as_reader(), )* together: self.together.clone() }
            }
        }

        impl Stores {
            /// All objects as they are now.
            #[must_use]
            pub fn snapshot(&self) -> Snapshot {
                let _undisturbed = self.together.lock();
                Snapshot { $( $field: by_key(&self.$field), )* }
            }

            /// The objects of those API groups that are wanted as JSON, each with its `apiVersion` and `kind`.
            #[must_use]
            pub fn list(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Value> {
                let snapshot = self.snapshot();
                let mut list = Vec::new();
                $(
                    if is_wanted(&<$type as Resource>::group(&())) {
                        let objects = snapshot.$field.values();
                        list.extend(objects.filter_map(|object| serde_json::to_value(&**object).ok()));
                    }
                )*
                list
            }

            /// How many objects there are of each kind.
            #[must_use]
            pub fn counts(&self) -> Vec<(&'static str, usize)> {
                vec![ $( ($kind, self.$field.len()), )* ]
            }
        }
    };
}
with_kinds!(stores);

impl Writers {
    /// Makes changes of several objects appear together: no snapshot is taken while they are made.
    pub fn together<T>(&mut self, change: impl FnOnce(&mut Self) -> T) -> T {
        let together = self.together.clone();
        let _undisturbed = together.lock();
        change(self)
    }
}

fn by_key<K>(store: &Store<K>) -> Objects<K>
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    store
        .state()
        .into_iter()
        .map(|object| (ObjectKey::of(&*object), object))
        .collect()
}
