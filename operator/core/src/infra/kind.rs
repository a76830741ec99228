//! The kinds of the objects that run gateways and endpoint pickers.

/// A kind of the objects that run something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectKind {
    /// Empty for the core group.
    pub group: &'static str,
    /// Of the group.
    pub version: &'static str,
    /// Such as `Service`.
    pub kind: &'static str,
    /// Its objects as a resource of the API, such as `services`.
    pub plural: &'static str,
}

pub(super) const SERVICE_ACCOUNT: ObjectKind = ObjectKind::new("", "v1", "ServiceAccount", "serviceaccounts");
pub(super) const ROLE: ObjectKind = ObjectKind::new("rbac.authorization.k8s.io", "v1", "Role", "roles");
pub(super) const ROLE_BINDING: ObjectKind =
    ObjectKind::new("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings");
/// Keeps certificates.
pub const SECRET: ObjectKind = ObjectKind::new("", "v1", "Secret", "secrets");
pub(super) const CONFIG_MAP: ObjectKind = ObjectKind::new("", "v1", "ConfigMap", "configmaps");
/// Where clients find what runs.
pub const SERVICE: ObjectKind = ObjectKind::new("", "v1", "Service", "services");
pub(super) const NETWORK_POLICY: ObjectKind =
    ObjectKind::new("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies");
/// Has pods run.
pub const DEPLOYMENT: ObjectKind = ObjectKind::new("apps", "v1", "Deployment", "deployments");
/// Has a pod run on each node.
pub const DAEMON_SET: ObjectKind = ObjectKind::new("apps", "v1", "DaemonSet", "daemonsets");
pub(super) const AUTOSCALER: ObjectKind = ObjectKind::new(
    "autoscaling",
    "v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
);
pub(super) const DISRUPTION_BUDGET: ObjectKind =
    ObjectKind::new("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets");

/// Every kind that runs gateways, in the order in which its objects need each other.
pub const KINDS: [ObjectKind; 8] = [
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    SERVICE,
    NETWORK_POLICY,
    DEPLOYMENT,
    DAEMON_SET,
    AUTOSCALER,
    DISRUPTION_BUDGET,
];

/// Every kind that runs endpoint pickers, likewise.
pub const PICKER_KINDS: [ObjectKind; 8] = [
    SERVICE_ACCOUNT,
    ROLE,
    ROLE_BINDING,
    CONFIG_MAP,
    SECRET,
    SERVICE,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
];

impl ObjectKind {
    const fn new(
        group: &'static str,
        version: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            group,
            version,
            kind,
            plural,
        }
    }

    /// As objects say it, such as `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The kind that runs pods as this one does, if there is one: an object of it goes when this one's pods are ready,
    /// and no sooner.
    #[must_use]
    pub fn predecessor(&self) -> Option<Self> {
        match *self {
            DEPLOYMENT => Some(DAEMON_SET),
            DAEMON_SET => Some(DEPLOYMENT),
            _ => None,
        }
    }
}
