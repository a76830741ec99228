//! Objects of the API server: applied, changed, waited for by watch.

use std::pin::pin;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    runtime::{WatchStreamExt as _, watcher::watch_object},
};
use serde_json::{Value, json};

use super::{Setting, in_time};

/// Who the fields are of that tests apply.
const MANAGER: &str = "test";

/// Kinds without namespaces that tests apply.
const CLUSTER_WIDE: [&str; 5] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "GatewayClass",
    "Namespace",
];

/// A kind by the names that manifests give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    api_version: &'static str,
    kind: &'static str,
}

impl Kind {
    pub(crate) const AUTOSCALER: Self = Self::new("autoscaling/v2", "HorizontalPodAutoscaler");
    pub(crate) const CONFIG_MAP: Self = Self::new("v1", "ConfigMap");
    pub(crate) const DAEMON_SET: Self = Self::new("apps/v1", "DaemonSet");
    pub(crate) const DEFINITION: Self = Self::new("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    pub(crate) const DISRUPTION_BUDGET: Self = Self::new("policy/v1", "PodDisruptionBudget");
    pub(crate) const DEPLOYMENT: Self = Self::new("apps/v1", "Deployment");
    pub(crate) const GATEWAY: Self = Self::new("gateway.networking.k8s.io/v1", "Gateway");
    pub(crate) const GATEWAY_CLASS: Self = Self::new("gateway.networking.k8s.io/v1", "GatewayClass");
    pub(crate) const HTTP_ROUTE: Self = Self::new("gateway.networking.k8s.io/v1", "HTTPRoute");
    pub(crate) const LEASE: Self = Self::new("coordination.k8s.io/v1", "Lease");
    pub(crate) const LISTENER_SET: Self = Self::new("gateway.networking.k8s.io/v1", "ListenerSet");
    pub(crate) const NAMESPACE: Self = Self::new("v1", "Namespace");
    pub(crate) const NETWORK_POLICY: Self = Self::new("networking.k8s.io/v1", "NetworkPolicy");
    pub(crate) const NGINX_FLEET: Self = Self::new("flotilla.dev/v1alpha1", "NginxFleet");
    pub(crate) const POD: Self = Self::new("v1", "Pod");
    pub(crate) const SECRET: Self = Self::new("v1", "Secret");
    pub(crate) const SERVICE: Self = Self::new("v1", "Service");
    pub(crate) const SERVICE_ACCOUNT: Self = Self::new("v1", "ServiceAccount");

    pub(crate) const fn new(api_version: &'static str, kind: &'static str) -> Self {
        Self { api_version, kind }
    }

    /// An object with a name and nothing else.
    pub(crate) fn object(self, name: &str) -> Value {
        json!({"apiVersion": self.api_version, "kind": self.kind, "metadata": {"name": name}})
    }
}

impl Setting {
    /// Applies manifests, one after the other, in the test's namespace where they name none.
    pub(crate) async fn apply(&self, manifests: &str) -> Result<()> {
        for manifest in manifests.split("\n---\n") {
            let object =
                serde_saphyr::from_str(manifest).with_context(|| format!("no manifest: {manifest}"))?;
            self.apply_value(object).await?;
        }
        Ok(())
    }

    /// Applies an object, in the test's namespace where it names none.
    pub(crate) async fn apply_value(&self, object: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let types = object.types.as_ref().context("an object says what it is")?;
        let namespace = object.namespace().unwrap_or_else(|| self.namespace.clone());
        let api = self.api(&types.api_version, &types.kind, &namespace);
        let parameters = PatchParams::apply(MANAGER).force();
        api.patch(&object.name_any(), &parameters, &Patch::Apply(&object))
            .await
            .with_context(|| format!("cannot apply {} {}", types.kind, object.name_any()))?;
        Ok(())
    }

    /// Creates an object in the test's namespace; the API server's refusal is the error.
    pub(crate) async fn create(&self, object: Value) -> Result<Value> {
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let api = self.api(&text("apiVersion"), &text("kind"), &self.namespace);
        let created = api
            .create(&PostParams::default(), &serde_json::from_value(object)?)
            .await?;
        Ok(serde_json::to_value(created)?)
    }

    /// Objects of a kind in the test's namespace, or in none if the kind has none.
    pub(crate) fn namespace(&self, kind: Kind) -> Objects {
        self.namespace_of(kind, &self.namespace)
    }

    /// Objects of a kind in a namespace.
    pub(crate) fn namespace_of(&self, kind: Kind, namespace: &str) -> Objects {
        Objects {
            kind: kind.kind,
            api: self.api(kind.api_version, kind.kind, namespace),
        }
    }

    /// Objects of a kind in all namespaces.
    pub(crate) fn everywhere(&self, kind: Kind) -> Objects {
        Objects {
            kind: kind.kind,
            api: Api::all_with(self.client.clone(), &resource(kind.api_version, kind.kind)),
        }
    }

    /// Deletes an object of the test's namespace if it is there, and waits until it is gone.
    pub(crate) async fn delete(&self, kind: Kind, name: &str) -> Result<()> {
        let objects = self.namespace(kind);
        objects.delete(name).await?;
        objects.gone(name).await
    }

    /// Whether a ServiceAccount, by namespace and name, may do this to a kind of objects in a namespace.
    pub(crate) async fn may(
        &self,
        (account_namespace, account): (&str, &str),
        verb: &str,
        resource: &str,
        namespace: &str,
    ) -> Result<bool> {
        let reviews = Kind::new("authorization.k8s.io/v1", "SubjectAccessReview");
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{account_namespace}:{account}"),
                "resourceAttributes": {"namespace": namespace, "resource": resource, "verb": verb},
            },
        });
        let review = self.everywhere(reviews).create(review).await?;
        Ok(review["status"]["allowed"] == true)
    }

    fn api(&self, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let resource = resource(api_version, kind);
        if CLUSTER_WIDE.contains(&kind) {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }
}

/// Objects of a kind in one place.
#[derive(Debug)]
pub(crate) struct Objects {
    kind: &'static str,
    api: Api<DynamicObject>,
}

impl Objects {
    /// An object as it is now.
    pub(crate) async fn get(&self, name: &str) -> Result<Value> {
        Ok(serde_json::to_value(self.api.get(name).await?)?)
    }

    /// All objects with labels; with an empty selector, all.
    pub(crate) async fn list(&self, labels: &str) -> Result<Vec<Value>> {
        let list = self.api.list(&ListParams::default().labels(labels)).await?;
        let values = list.items.iter().map(serde_json::to_value);
        Ok(values.collect::<Result<_, _>>()?)
    }

    /// Creates an object, and returns what became of it.
    pub(crate) async fn create(&self, object: Value) -> Result<Value> {
        let object = serde_json::from_value(object)?;
        let created = self.api.create(&PostParams::default(), &object).await?;
        Ok(serde_json::to_value(created)?)
    }

    /// Merges a patch into an object.
    pub(crate) async fn merge(&self, name: &str, patch: Value) -> Result<()> {
        let patched = self
            .api
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.with_context(|| format!("cannot patch {} {name}", self.kind))?;
        Ok(())
    }

    /// Merges a patch into the status of an object.
    pub(crate) async fn merge_status(&self, name: &str, patch: Value) -> Result<()> {
        let patched = self
            .api
            .patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.with_context(|| format!("cannot patch the status of {} {name}", self.kind))?;
        Ok(())
    }

    /// Sets the number of pods of an object that has some, in the way that autoscalers and people do.
    pub(crate) async fn scale(&self, name: &str, replicas: usize) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        let scaled = self.api.patch_scale(name, &PatchParams::default(), &patch).await;
        scaled.with_context(|| format!("cannot scale {} {name}", self.kind))?;
        Ok(())
    }

    /// Deletes an object if it is there, without waiting for its end.
    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        self.delete_with(name, &DeleteParams::default()).await
    }

    /// Deletes an object if it is there, in a way of one's own.
    pub(crate) async fn delete_with(&self, name: &str, parameters: &DeleteParams) -> Result<()> {
        match self.api.delete(name, parameters).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => deleted
                .map(drop)
                .with_context(|| format!("cannot delete {} {name}", self.kind)),
        }
    }

    /// Waits until an object is as it should be; null while it is not there.
    pub(crate) async fn until(
        &self,
        name: &str,
        claim: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        let watch = async {
            let mut changes = pin!(watch_object(self.api.clone(), name).default_backoff());
            while let Some(change) = changes.next().await {
                match change {
                    Ok(object) => last = serde_json::to_value(object)?,
                    // It begins anew by itself.
                    Err(error) => {
                        eprintln!("the watch of {} {name} broke off: {error}", self.kind);
                        continue;
                    }
                }
                if holds(&last) {
                    break;
                }
            }
            anyhow::Ok(())
        };
        in_time(claim, watch)
            .await
            .with_context(|| format!("{} {name} is {}", self.kind, last))?;
        Ok(last)
    }

    /// Waits until an object is not there.
    pub(crate) async fn gone(&self, name: &str) -> Result<()> {
        self.until(name, "it is gone", Value::is_null).await?;
        Ok(())
    }
}

/// The condition of this type in a status, or in the part of it that has conditions; null when there is none.
pub(crate) fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let conditions = status["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind);
    found.unwrap_or(&Value::Null)
}

fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}
