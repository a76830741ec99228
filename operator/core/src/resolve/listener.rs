//! Listeners, of Gateways and `ListenerSets` alike.

use std::collections::BTreeSet;

pub use super::{
    listener_context::ListenerOwner,
    listener_findings::{Conflict, ListenerFindings, ListenerRefusal, UnresolvedReference},
    listener_tls::ListenerTls,
};
use crate::{
    api::{self, GATEWAY_GROUP, ProtocolType},
    resolve::{
        finding::Finding, listener_context::ListenerContext, listener_tls, lookup::Lookup,
        namespaces::Namespaces,
    },
    syntax::Hostname,
};

/// One listener.
#[derive(Debug)]
pub struct Listener {
    /// Whose it is.
    pub owner: ListenerOwner,
    /// Its name, unique in its owner.
    pub name: String,
    /// The port that clients connect to; 0 where it is none.
    pub port: u16,
    /// What clients speak.
    pub protocol: ProtocolType,
    /// Hosts that it takes; `None` for all.
    pub hostname: Option<Hostname>,
    /// How it ends TLS; `None` for a protocol without.
    pub tls: Option<ListenerTls>,
    /// Kinds of routes of [`GATEWAY_GROUP`] that may attach; empty if we serve none that it allows.
    pub kinds: Vec<&'static str>,
    /// Namespaces that routes may attach from.
    pub namespaces: Namespaces,
    /// Whether it takes requests: nothing is wrong with it that would keep it from doing so.
    pub serves: bool,
    /// What is wrong with it.
    pub findings: ListenerFindings,
}

impl Listener {
    /// What all listeners of an object mean, each by itself.
    pub(super) fn resolve_all(
        lookup: &mut Lookup<'_>,
        context: &ListenerContext<'_>,
        listeners: &[api::Listener],
    ) -> Vec<Self> {
        let mut names = BTreeSet::new();
        let mut resolved = Vec::with_capacity(listeners.len());
        for written in listeners {
            let mut listener = Self::resolve(lookup, context, written);
            if !names.insert(&written.name) {
                let message = format!("Another listener before it has the name {:?} too", written.name);
                listener.findings.refuse_value(message);
            }
            resolved.push(listener);
        }
        resolved
    }

    /// What a listener means by itself; how it gets along with others is for
    /// [`conflict`](crate::resolve::conflict).
    fn resolve(lookup: &mut Lookup<'_>, context: &ListenerContext<'_>, listener: &api::Listener) -> Self {
        let mut findings = ListenerFindings::default();
        let port = port(listener.port, &mut findings);
        let kinds = kinds(listener, &mut findings);
        let hostname = hostname(listener, &mut findings);
        check_values(listener, &mut findings);
        let tls = (listener.protocol == ProtocolType::Https)
            .then(|| listener_tls::resolve(lookup, context, listener, &mut findings));
        let allowed = listener.allowed_namespaces();
        let mut listener = Self {
            owner: context.owner.clone(),
            name: listener.name.clone(),
            port,
            protocol: listener.protocol.clone(),
            hostname,
            tls,
            kinds,
            namespaces: Namespaces::new(allowed.from(), allowed.selector.as_ref(), context.from.namespace),
            serves: false,
            findings,
        };
        listener.decide();
        listener
    }

    /// Whether its port is open: the listener makes sense, by itself and beside others.
    ///
    /// One that does not serve for want of certificates, its own or those of authorities, refuses handshakes there:
    /// the port does not come and go with what the listener refers to, and no other listener gets its requests.
    #[must_use]
    pub fn listens(&self) -> bool {
        let mut refusals = self.findings.refusals.iter();
        self.findings.conflict.is_none()
            && refusals.all(|refusal| refusal.reason == ListenerRefusal::NoValidCaCertificate)
    }

    /// Decides whether the listener serves, from its findings.
    pub(super) fn decide(&mut self) {
        let tls = self.tls.as_ref();
        self.serves = self.listens()
            && self.findings.refusals.is_empty()
            && tls.is_none_or(|tls| !tls.certificates.is_empty());
    }
}

fn port(port: i32, findings: &mut ListenerFindings) -> u16 {
    let valid = u16::try_from(port).ok().filter(|port| *port != 0);
    if valid.is_none() {
        let message = format!("port {port} is not from 1 to 65535");
        let refusal = Finding::new(ListenerRefusal::PortUnavailable, message);
        findings.refusals.push(refusal);
    }
    valid.unwrap_or_default()
}

fn hostname(listener: &api::Listener, findings: &mut ListenerFindings) -> Option<Hostname> {
    let written = listener.hostname.as_deref().filter(|name| !name.is_empty())?;
    let hostname = Hostname::new(written);
    if hostname.is_none() {
        let message = format!("hostname {written:?} is no DNS name, nor one with * as its first label");
        findings.refuse_value(message);
    }
    hostname
}

/// Kinds of routes that may attach: those of the protocol that we serve, as far as the listener allows them.
fn kinds(listener: &api::Listener, findings: &mut ListenerFindings) -> Vec<&'static str> {
    let served: &[&'static str] = match listener.protocol {
        ProtocolType::Http | ProtocolType::Https => &["HTTPRoute"],
        ProtocolType::Tls | ProtocolType::Tcp | ProtocolType::Udp | ProtocolType::Unknown(_) => &[],
    };
    let allowed = listener.allowed_kinds();
    // Of a protocol that is not served there is no more to say than that.
    if allowed.is_empty() || served.is_empty() {
        return served.to_vec();
    }
    let mut kinds = Vec::new();
    for allowed in allowed {
        let same = |served: &&&str| allowed.group() == GATEWAY_GROUP && allowed.kind == **served;
        match served.iter().find(same) {
            Some(kind) => kinds.push(*kind),
            None => findings.unresolved.push(Finding::new(
                UnresolvedReference::InvalidRouteKinds,
                format!(
                    "allowedRoutes has {} of group {:?}; for protocol {} it can have {} of group {GATEWAY_GROUP:?}",
                    allowed.kind,
                    allowed.group(),
                    listener.protocol,
                    served.join(", ")
                ),
            )),
        }
    }
    kinds.dedup();
    kinds
}

/// Refuses what we cannot serve, where going on without it would serve what nobody asked for.
fn check_values(listener: &api::Listener, findings: &mut ListenerFindings) {
    let protocol = &listener.protocol;
    match protocol {
        ProtocolType::Http | ProtocolType::Https => {}
        ProtocolType::Tls | ProtocolType::Tcp | ProtocolType::Udp => {
            let message = format!("protocol {protocol} is not supported yet; HTTP and HTTPS are");
            findings
                .refusals
                .push(Finding::new(ListenerRefusal::UnsupportedProtocol, message));
        }
        ProtocolType::Unknown(unknown) => {
            let message = format!("protocol {unknown:?} is not supported; HTTP and HTTPS are");
            findings
                .refusals
                .push(Finding::new(ListenerRefusal::UnsupportedProtocol, message));
        }
    }
    if *protocol == ProtocolType::Http && listener.tls.is_some() {
        findings.refuse_value(
            "tls has no place in a listener of protocol HTTP; HTTPS would be one for it".to_owned(),
        );
    }
    if listener
        .filters
        .as_ref()
        .is_some_and(|filters| !filters.requests.is_empty())
    {
        findings.refuse_value("filters of listeners are not supported yet".to_owned());
    }
    if let api::FromNamespaces::Unknown(from) = listener.allowed_namespaces().from() {
        findings.refuse_value(format!(
            "allowedRoutes.namespaces.from is {from:?}; it can be All, Same, or Selector"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{object::ObjectKey, resolve::example};

    /// The one listener, written in YAML, of a Gateway `edge/web`, among these objects.
    fn listener(listener: &str, others: &[&str]) -> Listener {
        let gateway = format!(
            "kind: Gateway\nmetadata: {{namespace: edge, name: web}}\n\
             spec: {{gatewayClassName: ours, listeners: [{listener}]}}"
        );
        let mut resolved = example::resolved(&[&[gateway.as_str()], others].concat());
        let gateway = resolved.gateways.remove(&ObjectKey::new("edge", "web"));
        let mut listeners = gateway.expect("the Gateway is ours").listeners;
        listeners.pop().expect("the Gateway has a listener")
    }

    fn refusals(yaml: &str) -> Vec<(ListenerRefusal, String)> {
        let refusals = listener(yaml, &[]).findings.refusals.into_iter();
        refusals
            .map(|finding| (finding.reason, finding.message))
            .collect()
    }

    fn unresolved(yaml: &str, others: &[&str]) -> Vec<(UnresolvedReference, String)> {
        let unresolved = listener(yaml, others).findings.unresolved.into_iter();
        unresolved
            .map(|finding| (finding.reason, finding.message))
            .collect()
    }

    #[test]
    fn plain_http_listener_takes_http_routes_for_all_hosts() {
        let listener = listener("{name: http, port: 80, protocol: HTTP}", &[]);
        assert!(listener.serves);
        assert_eq!(listener.kinds, ["HTTPRoute"]);
        assert_eq!(listener.hostname, None);
        assert_eq!(listener.namespaces, Namespaces::Only("edge".to_owned()));
    }

    #[test]
    fn protocols_that_are_not_served_are_refused_and_take_no_routes() {
        for (protocol, message) in [
            (
                "INVALID",
                r#"protocol "INVALID" is not supported; HTTP and HTTPS are"#,
            ),
            ("TLS", "protocol TLS is not supported yet; HTTP and HTTPS are"),
        ] {
            let yaml = format!("{{name: odd, port: 1111, protocol: {protocol}}}");
            assert_eq!(
                refusals(&yaml),
                [(ListenerRefusal::UnsupportedProtocol, message.to_owned())]
            );
            assert!(listener(&yaml, &[]).kinds.is_empty());
        }
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        for (fields, reason, message) in [
            (
                "port: 70000, protocol: HTTP",
                ListenerRefusal::PortUnavailable,
                "port 70000 is not from 1 to 65535",
            ),
            (
                r#"port: 80, protocol: HTTP, hostname: "a\nb""#,
                ListenerRefusal::UnsupportedValue,
                r#"hostname "a\nb" is no DNS name, nor one with * as its first label"#,
            ),
            (
                "port: 80, protocol: HTTP, tls: {certificateRefs: [{name: shop}]}",
                ListenerRefusal::UnsupportedValue,
                "tls has no place in a listener of protocol HTTP; HTTPS would be one for it",
            ),
            (
                "port: 443, protocol: HTTPS, tls: {mode: Passthrough}",
                ListenerRefusal::UnsupportedValue,
                "tls.mode is Passthrough; with protocol HTTPS it can be Terminate",
            ),
            (
                "port: 80, protocol: HTTP, filters: {requests: [{type: ExternalAuth}]}",
                ListenerRefusal::UnsupportedValue,
                "filters of listeners are not supported yet",
            ),
        ] {
            let yaml = format!("{{name: odd, {fields}}}");
            assert_eq!(refusals(&yaml), [(reason, message.to_owned())]);
            assert!(!listener(&yaml, &[]).serves);
        }
    }

    #[test]
    fn second_listener_of_a_name_is_refused() {
        let two = "{name: http, port: 80, protocol: HTTP}, {name: http, port: 8080, protocol: HTTP}";
        let message = r#"Another listener before it has the name "http" too"#.to_owned();
        assert_eq!(refusals(two), [(ListenerRefusal::UnsupportedValue, message)]);
    }

    #[test]
    fn kinds_that_cannot_attach_are_left_out() {
        let yaml = "{name: http, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: HTTPRoute}, {kind: Odd}]}}";
        assert_eq!(listener(yaml, &[]).kinds, ["HTTPRoute"]);
        let reasons: Vec<_> = unresolved(yaml, &[])
            .into_iter()
            .map(|(reason, _)| reason)
            .collect();
        assert_eq!(reasons, [UnresolvedReference::InvalidRouteKinds]);
    }

    #[test]
    fn listener_of_kinds_that_cannot_attach_takes_none() {
        let yaml = "{name: http, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: Odd}]}}";
        assert!(listener(yaml, &[]).kinds.is_empty());
    }

    #[test]
    fn certificates_that_cannot_be_used_are_named_and_keep_the_listener_from_serving() {
        let opaque = "kind: Secret\nmetadata: {namespace: edge, name: opaque}\ntype: Opaque";
        for (reference, reason, message) in [
            (
                "{name: gone}",
                UnresolvedReference::InvalidCertificateRef,
                "tls.certificateRefs: Secret edge/gone does not exist",
            ),
            (
                "{name: opaque}",
                UnresolvedReference::InvalidCertificateRef,
                "tls.certificateRefs: Secret edge/opaque is of type Opaque; it has to be kubernetes.io/tls",
            ),
            (
                "{kind: ConfigMap, name: gone}",
                UnresolvedReference::InvalidCertificateRef,
                r#"tls.certificateRefs: it names a ConfigMap of group ""; it can name a Secret of group """#,
            ),
            (
                "{namespace: certificates, name: shop}",
                UnresolvedReference::RefNotPermitted,
                "tls.certificateRefs: no ReferenceGrant in namespace certificates lets a Gateway of namespace edge \
                 refer to Secret certificates/shop",
            ),
        ] {
            let yaml = format!(
                "{{name: https, port: 443, protocol: HTTPS, tls: {{certificateRefs: [{reference}]}}}}"
            );
            assert_eq!(unresolved(&yaml, &[opaque]), [(reason, message.to_owned())]);
            assert!(!listener(&yaml, &[opaque]).serves);
        }
    }

    #[test]
    fn https_listener_without_a_certificate_does_not_serve() {
        let listener = listener("{name: https, port: 443, protocol: HTTPS}", &[]);
        assert!(!listener.serves);
        assert_eq!(
            listener.findings.unresolved[0].reason,
            UnresolvedReference::InvalidCertificateRef
        );
    }
}
