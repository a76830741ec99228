//! `NginxFleet`s, checked and in NGINX's own terms.

mod check;
mod nginx;
mod provisioning;
mod proxy;

use k8s_openapi::api::core::v1::Service;

use self::check::Check;
use crate::{
    api::{FLOTILLA_GROUP, NginxFleet, NginxFleetSpec},
    config::{Origin, Settings},
    infra::Provisioning,
    object::ObjectKey,
    snapshot::Snapshot,
};

/// Settings as users wrote them.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Of all the `NginxFleet`s, field by field.
    pub spec: NginxFleetSpec,
    /// Those `NginxFleet`s, the one that wins first.
    pub origins: Vec<Origin>,
}

impl Written {
    /// What one `NginxFleet` says.
    #[must_use]
    pub fn by(fleet: &NginxFleet) -> Self {
        let ObjectKey { namespace, name } = ObjectKey::of(fleet);
        let origin = Origin {
            kind: "NginxFleet",
            namespace,
            name,
            part: String::new(),
        };
        Self {
            spec: fleet.spec.clone(),
            origins: vec![origin],
        }
    }

    /// These settings, and those of the fallback where these have none.
    #[must_use]
    pub fn or(self, fallback: Self) -> Self {
        Self {
            spec: self.spec.or(fallback.spec),
            origins: [self.origins, fallback.origins].concat(),
        }
    }

    /// The settings in NGINX's own terms, beside the Service that leads to it, if there is one yet; whatever is absent or
    /// wrong has its default.
    #[must_use]
    pub fn settings(&self, service: Option<&Service>) -> Settings {
        let mut spec = self.spec.clone();
        let workers = provisioning::worker_processes(&spec.container);
        spec.nginx.worker_processes = spec.nginx.worker_processes.or(workers);
        spec.nginx.ipv6 = Some(provisioning::listens_on_ipv6(&spec, service));
        Settings {
            origins: self.origins.clone(),
            ..settings(&spec).0
        }
    }

    /// How gateways run; what is wrong with the settings as a whole otherwise.
    pub fn provisioning(&self) -> Result<Provisioning, String> {
        provisioning::provisioning(&self.spec)
    }
}

/// The `NginxFleet` that a `parametersRef` names; what is wrong with the reference otherwise.
pub fn referent<'a>(
    snapshot: &'a Snapshot,
    group: &str,
    kind: &str,
    key: &ObjectKey,
) -> Result<&'a NginxFleet, String> {
    if (group, kind) != (FLOTILLA_GROUP, "NginxFleet") {
        return Err(format!(
            "parametersRef names a {kind} of group {group:?}; it can name an NginxFleet of {FLOTILLA_GROUP:?}"
        ));
    }
    let fleet = snapshot.nginx_fleets.get(key);
    fleet
        .map(AsRef::as_ref)
        .ok_or_else(|| format!("NginxFleet {key} does not exist"))
}

/// What is wrong with an `NginxFleet`, each with its field.
#[must_use]
pub fn problems(spec: &NginxFleetSpec) -> Vec<String> {
    [settings(spec).1, provisioning::problems(spec)].concat()
}

/// What NGINX and the proxy beside it are told, and what is wrong.
fn settings(spec: &NginxFleetSpec) -> (Settings, Vec<String>) {
    let (mut of_nginx, mut of_proxy) = (Check::of("nginx"), Check::of("proxy"));
    let settings = Settings {
        proxy: proxy::settings(&mut of_proxy, &spec.proxy),
        ..nginx::settings(&mut of_nginx, &spec.nginx)
    };
    (settings, [of_nginx.problems, of_proxy.problems].concat())
}
