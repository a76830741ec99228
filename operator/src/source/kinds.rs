//! The kinds that are read, as a table, and what all of them can do.

use std::{any::TypeId, borrow::Cow, fmt, sync::Arc};

use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource,
    core::DeserializeGuard,
    runtime::{
        reflector::{ObjectRef, store::Writer},
        watcher::Event,
    },
};
use operator_core::{object::ObjectKey, outcome::StatusChange, with_kinds};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::names::NameRule;
use crate::stores::Writers;

/// One object among those of all kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    /// Such as `HTTPRoute`.
    pub kind: &'static str,
    /// Namespace and name.
    pub key: ObjectKey,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.key)
    }
}

impl From<&StatusChange> for ObjectId {
    fn from(change: &StatusChange) -> Self {
        Self {
            kind: change.kind,
            key: change.object.clone(),
        }
    }
}

/// An object of whichever kind.
pub trait Object: Send + Sync {
    /// Its metadata.
    fn metadata(&self) -> &ObjectMeta;

    /// Stores it with that metadata, and with the status of the object that is stored under its name.
    ///
    /// Statuses of the core group are facts that come with the object, and replace what was stored.
    fn put(&self, metadata: ObjectMeta, writers: &mut Writers);

    /// Stores it with that metadata and status; an error if its kind has no such status.
    fn put_with_status(
        &self,
        metadata: ObjectMeta,
        status: Value,
        writers: &mut Writers,
    ) -> serde_json::Result<()>;

    /// The stored object's status; `null` if it has none.
    fn stored_status(&self, writers: &mut Writers) -> Value;

    /// Removes the stored object.
    fn remove(&self, writers: &mut Writers);
}

/// What is known of a kind before any object of it is seen.
pub(crate) struct Kind {
    /// Such as `HTTPRoute`.
    pub name: &'static str,
    /// Such as `gateway.networking.k8s.io`; empty for the core group.
    pub group: Cow<'static, str>,
    /// The version that its type is made for.
    pub version: Cow<'static, str>,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What its objects may be called.
    pub name_rule: NameRule,
    /// Makes an object of it; the error names the field.
    pub decode: fn(Value) -> Result<Decoded, String>,
}

impl Kind {
    fn of<K: Stored>() -> Self {
        let name = K::NAME;
        Self {
            name,
            group: K::group(&()),
            version: K::version(&()),
            namespaced: is_namespaced::<K>(),
            name_rule: if matches!(name, "Service" | "Namespace") {
                NameRule::Label
            } else {
                NameRule::Subdomain
            },
            decode: decode::<K>,
        }
    }

    /// Whether objects of that version have the shape of this kind's type.
    pub(crate) fn reads(&self, version: &str) -> bool {
        version == self.version
            || self.group == "gateway.networking.k8s.io"
                && match version {
                    "v1" | "v1beta1" | "v1alpha3" => true,
                    "v1alpha2" => self.name.ends_with("Route") || self.name == "ReferenceGrant",
                    _ => false,
                }
    }
}

/// What a scope of resources says about where to ask for them.
pub(crate) trait Scope<K> {
    /// The objects of a namespace, or of the cluster; those of a kind without namespaces are always the cluster's.
    fn api(client: Client, namespace: Option<&str>) -> Api<K>;
}

impl<K: Resource<DynamicType = (), Scope = Self>> Scope<K> for NamespaceResourceScope {
    fn api(client: Client, namespace: Option<&str>) -> Api<K> {
        match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }
}

impl<K: Resource<DynamicType = (), Scope = Self>> Scope<K> for ClusterResourceScope {
    fn api(client: Client, _: Option<&str>) -> Api<K> {
        Api::all(client)
    }
}

/// A kind that has a store.
pub(crate) trait Stored:
    Resource<DynamicType = (), Scope: Scope<DeserializeGuard<Self>> + 'static>
    + Clone
    + PartialEq
    + fmt::Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Such as `HTTPRoute`.
    const NAME: &'static str;

    /// The writing side of its store.
    fn writer(writers: &mut Writers) -> &mut Writer<Self>;
}

/// Whether objects of a kind live in namespaces.
pub(crate) fn is_namespaced<K: Stored>() -> bool {
    TypeId::of::<K::Scope>() != TypeId::of::<ClusterResourceScope>()
}

macro_rules! stored {
    ($($field:ident: $type:ty = $kind:literal),* $(,)?) => {
        $(
            impl Stored for $type {
                const NAME: &'static str = $kind;

                fn writer(writers: &mut Writers) -> &mut Writer<Self> {
                    &mut writers.$field
                }
            }
        )*

        /// Every kind that is read.
        pub(crate) fn kinds() -> Vec<Kind> {
            vec![ $( Kind::of::<$type>(), )* ]
        }
    };
}
with_kinds!(stored);

impl<K: Stored> Object for K {
    fn metadata(&self) -> &ObjectMeta {
        self.meta()
    }

    fn put(&self, metadata: ObjectMeta, writers: &mut Writers) {
        let status = if K::group(&()).is_empty() {
            Value::Null
        } else {
            self.stored_status(writers)
        };
        if status.is_null() || self.put_with_status(metadata.clone(), status, writers).is_err() {
            store(self.clone(), metadata, writers);
        }
    }

    fn put_with_status(
        &self,
        metadata: ObjectMeta,
        status: Value,
        writers: &mut Writers,
    ) -> serde_json::Result<()> {
        let mut content = serde_json::to_value(self)?;
        content["status"] = status;
        store(serde_json::from_value::<K>(content)?, metadata, writers);
        Ok(())
    }

    fn stored_status(&self, writers: &mut Writers) -> Value {
        let stored = K::writer(writers).as_reader().get(&ObjectRef::from_obj(self));
        let content = stored.and_then(|object| serde_json::to_value(&*object).ok());
        content
            .and_then(|mut content| Some(content.get_mut("status")?.take()))
            .unwrap_or_default()
    }

    fn remove(&self, writers: &mut Writers) {
        K::writer(writers).apply_watcher_event(&Event::Delete(self.clone()));
    }
}

fn store<K: Stored>(mut object: K, metadata: ObjectMeta, writers: &mut Writers) {
    *object.meta_mut() = metadata;
    K::writer(writers).apply_watcher_event(&Event::Apply(object));
}

/// An object, and what stands beside it.
pub(crate) struct Decoded {
    /// The object.
    pub object: Arc<dyn Object>,
    /// Paths of fields that its kind has not.
    pub unknown: Vec<String>,
}

fn decode<K: Stored>(content: Value) -> Result<Decoded, String> {
    let mut unknown = Vec::new();
    let mut ignored = |path: serde_ignored::Path<'_>| {
        let path = path.to_string();
        // These two chose the type.
        if !["apiVersion", "kind"].contains(&path.as_str()) {
            unknown.push(path);
        }
    };
    let content = serde_ignored::Deserializer::new(content, &mut ignored);
    let object = serde_path_to_error::deserialize::<_, K>(content).map_err(|error| error.to_string())?;
    Ok(Decoded {
        object: Arc::new(object),
        unknown,
    })
}
