//! How a request gets to a backend: from NGINX itself, or over the agent's proxy where NGINX cannot do exactly what is
//! asked for.

use super::{Tables, define};
use crate::{
    config::{BackendTls, Leg, Picker, Protocol, Target, Verification},
    resolve::{
        BackendTarget, Rule,
        route::{Picking, Timeouts},
    },
    syntax::Id,
};

/// The way to a backend's endpoints.
pub(super) struct Way {
    pub(super) target: Target,
    pub(super) protocol: Protocol,
    /// How NGINX speaks TLS there; `None` where it does not, or the proxy does.
    pub(super) tls: Option<Id>,
}

/// The way to a backend as a rule wants it; without a rule for copies of requests, for which nobody waits. `None` if it
/// leads nowhere.
pub(super) fn way(tables: &mut Tables, backend: &BackendTarget, rule: Option<&Rule>) -> Option<Way> {
    let (upstream, protocol, tls, picking) = match backend {
        BackendTarget::Service {
            upstream,
            protocol,
            tls,
        } => (upstream, *protocol, tls.as_deref(), None),
        BackendTarget::Pool {
            upstream,
            protocol,
            picking,
        } => (upstream, *protocol, None, Some(picking)),
        BackendTarget::Unresolved => return None,
    };
    let upstream = tables.upstream(upstream);
    let tls = tls.map(|tls| BackendTls {
        client_certificate: tables.client_certificate.clone(),
        ..tls.clone()
    });
    let Timeouts {
        request,
        backend_request,
    } = rule.map(|rule| rule.timeouts).unwrap_or_default();
    let leg = Leg {
        upstream,
        protocol,
        tls,
        request_timeout: request,
        backend_request_timeout: backend_request,
        retry: rule.and_then(|rule| rule.retry.clone()),
        picker: picking.and_then(|picking| picker(tables, picking)),
        metered: picking.is_some(),
    };
    Some(if nginx_does(&leg) {
        Way {
            target: Target::Upstream(upstream),
            protocol,
            tls: leg.tls.map(|tls| tables.tls(tls)),
        }
    } else {
        Way {
            target: Target::Leg(define(&mut tables.config.legs, leg)),
            protocol,
            tls: None,
        }
    })
}

fn picker(tables: &mut Tables, picking: &Picking) -> Option<Picker> {
    let Picking::ByPicker {
        upstream,
        tls,
        fail_open,
        one_leads,
    } = picking
    else {
        return None;
    };
    Some(Picker {
        upstream: tables.upstream(upstream),
        tls: tls.as_deref().cloned(),
        fail_open: *fail_open,
        one_leads: *one_leads,
    })
}

/// Whether NGINX does all of this exactly.
///
/// Its `proxy_read_timeout` is for two reads in a row and not for a request, and `proxy_next_upstream` tries no
/// endpoint twice (<https://nginx.org/en/docs/http/ngx_http_proxy_module.html>).
fn nginx_does(leg: &Leg) -> bool {
    let Leg {
        upstream: _,
        protocol: _,
        tls,
        request_timeout,
        backend_request_timeout,
        retry,
        picker,
        metered,
    } = leg;
    request_timeout.is_none()
        && backend_request_timeout.is_none()
        && retry.is_none()
        && picker.is_none()
        && !metered
        && tls.as_ref().is_none_or(nginx_speaks)
}

/// Whether NGINX verifies a server as is asked for: it knows authorities from files of its own, and looks for the one
/// name that it also asks for in the handshake.
fn nginx_speaks(tls: &BackendTls) -> bool {
    match &tls.verification {
        None => false,
        Some(Verification {
            authorities,
            hostnames,
            uris,
        }) => {
            let same_name = hostnames.iter().all(|name| *name == tls.server_name);
            authorities.is_some() && same_name && uris.is_empty()
        }
    }
}
