//! Listeners of a Gateway that cannot be told from each other.
//!
//! See "Distinct Listeners" in <https://gateway-api.sigs.k8s.io/reference/spec/#gatewayspec> and
//! <https://gateway-api.sigs.k8s.io/geps/gep-1713/#listener-conflicts>.

use std::collections::BTreeMap;

use crate::{
    api::ProtocolType,
    resolve::{
        finding::Finding,
        listener::{Conflict, Listener, ListenerOwner, ListenerRefusal},
    },
    syntax::Hostname,
};

/// Marks the listeners that are in conflict, and decides anew which ones serve.
///
/// The listeners are in order of precedence, those of one owner together. Of the listeners of one object all that are
/// in conflict lose, for none may be picked as the winner; between objects the one of higher precedence wins. A
/// protocol that we do not serve loses against one that we do, whoever asks for it.
pub(super) fn mark(listeners: &mut [Listener]) {
    let mut ports = BTreeMap::<u16, Vec<usize>>::new();
    for (index, listener) in listeners.iter().enumerate() {
        if makes_sense(listener) {
            ports.entry(listener.port).or_default().push(index);
        }
    }
    for port in ports.values() {
        for (index, conflict) in conflicts(listeners, port) {
            listeners[index].findings.conflict = Some(conflict);
        }
    }
    for listener in listeners.iter_mut() {
        listener.decide();
    }
    for port in ports.values() {
        for (index, other) in overlaps(listeners, port) {
            listeners[index].findings.overlap = Some(other);
        }
    }
}

/// Whether the port, protocol and hostname of a listener mean something, so that it can be compared with others.
///
/// UDP has ports of its own.
fn makes_sense(listener: &Listener) -> bool {
    let mut refusals = listener.findings.refusals.iter().map(|refusal| refusal.reason);
    let comparable = |reason| {
        matches!(
            reason,
            ListenerRefusal::UnsupportedProtocol | ListenerRefusal::NoValidCaCertificate
        )
    };
    let known = !matches!(listener.protocol, ProtocolType::Udp | ProtocolType::Unknown(_));
    known && refusals.all(comparable)
}

/// The conflicts between the listeners of one port, by position of the loser.
fn conflicts(listeners: &[Listener], port: &[usize]) -> Vec<(usize, Finding<Conflict>)> {
    let served = |index: &usize| {
        matches!(
            listeners[*index].protocol,
            ProtocolType::Http | ProtocolType::Https
        )
    };
    let (served, others): (Vec<usize>, Vec<usize>) = port.iter().copied().partition(served);
    let mut conflicts = Vec::new();
    let mut claims = Claims::default();
    for rivals in served.chunk_by(|left, right| listeners[*left].owner == listeners[*right].owner) {
        let mut winners = Vec::new();
        for index in rivals {
            match claims.conflict(&listeners[*index]) {
                Some(conflict) => conflicts.push((*index, conflict)),
                None => winners.push(*index),
            }
        }
        for index in &winners {
            let mut others = winners.iter().filter(|other| *other != index);
            let conflict = others.find_map(|other| conflict_between(&listeners[*index], &listeners[*other]));
            conflicts.extend(conflict.map(|conflict| (*index, conflict)));
        }
        for index in winners {
            claims.add(&listeners[index]);
        }
    }
    for index in others {
        let conflict = claims.conflict(&listeners[index]);
        conflicts.extend(conflict.map(|conflict| (index, conflict)));
    }
    conflicts
}

/// What the listeners of higher precedence have of a port.
#[derive(Default)]
struct Claims<'a> {
    /// The first of them, whose protocol the port has.
    first: Option<&'a Listener>,
    /// Who has which hosts.
    hosts: BTreeMap<Option<&'a Hostname>, &'a Listener>,
}

impl<'a> Claims<'a> {
    fn add(&mut self, listener: &'a Listener) {
        self.first.get_or_insert(listener);
        self.hosts.entry(listener.hostname.as_ref()).or_insert(listener);
    }

    fn conflict(&self, listener: &Listener) -> Option<Finding<Conflict>> {
        let rivals = [self.first, self.hosts.get(&listener.hostname.as_ref()).copied()];
        let mut rivals = rivals.into_iter().flatten();
        rivals.find_map(|rival| conflict_between(listener, rival))
    }
}

/// The conflict between two listeners of one port.
fn conflict_between(listener: &Listener, rival: &Listener) -> Option<Finding<Conflict>> {
    let Listener { port, hostname, .. } = listener;
    let who = name(rival);
    if listener.protocol != rival.protocol {
        let message = format!(
            "Port {port} is taken for protocol {} by {who}; give one of them another port",
            rival.protocol
        );
        Some(Finding::new(Conflict::ProtocolConflict, message))
    } else if listener.hostname == rival.hostname {
        let hosts = hostname.as_ref().map_or("all hosts", Hostname::as_str);
        let message =
            format!("Port {port} is taken for {hosts} by {who}; give one of them another hostname or port");
        Some(Finding::new(Conflict::HostnameConflict, message))
    } else {
        None
    }
}

/// What to call a listener in messages about another.
fn name(listener: &Listener) -> String {
    match &listener.owner {
        ListenerOwner::Gateway => format!("listener {} of the Gateway", listener.name),
        ListenerOwner::ListenerSet(key) => format!("listener {} of ListenerSet {key}", listener.name),
    }
}

/// The listeners with TLS of one port that have hosts in common with another, which is named.
///
/// See <https://gateway-api.sigs.k8s.io/geps/gep-3567/>.
fn overlaps(listeners: &[Listener], port: &[usize]) -> Vec<(usize, String)> {
    let with_tls = |index: &&usize| listeners[**index].serves && listeners[**index].tls.is_some();
    let by_hostname: BTreeMap<Option<Hostname>, usize> = port
        .iter()
        .filter(with_tls)
        .map(|index| (listeners[*index].hostname.clone(), *index))
        .collect();
    let mut overlaps = Vec::new();
    for (hostname, index) in &by_hostname {
        let Some(hostname) = hostname else { continue };
        let covering = covering(hostname).map(Some).chain([None]);
        for other in covering.filter_map(|hostname| by_hostname.get(&hostname)) {
            overlaps.push((*index, name(&listeners[*other])));
            overlaps.push((*other, name(&listeners[*index])));
        }
    }
    overlaps
}

/// The wildcards that cover a hostname, without itself.
fn covering(hostname: &Hostname) -> impl Iterator<Item = Hostname> {
    let name = hostname.as_str();
    let name = name.strip_prefix("*.").unwrap_or(name);
    name.match_indices('.')
        .filter_map(|(dot, _)| Hostname::new(&format!("*{}", &name[dot..])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{object::ObjectKey, resolve::example};

    /// A Gateway `edge/web` with these listeners, which lets everybody add more.
    fn gateway(listeners: &str) -> String {
        format!(
            "kind: Gateway\nmetadata: {{namespace: edge, name: web}}\nspec: {{gatewayClassName: ours, \
             allowedListeners: {{namespaces: {{from: All}}}}, listeners: [{listeners}]}}"
        )
    }

    /// A `ListenerSet` for it that was created in that year.
    fn listener_set(name: &str, year: u32, listeners: &str) -> String {
        format!(
            "kind: ListenerSet\nmetadata: {{namespace: edge, name: {name}, \
             creationTimestamp: '{year}-01-01T00:00:00Z'}}\n\
             spec: {{parentRef: {{name: web}}, listeners: [{listeners}]}}"
        )
    }

    /// The names of the listeners in conflict, and the reason, in order of precedence.
    fn conflicts_of(documents: &[String]) -> Vec<(String, Conflict)> {
        let resolved = example::resolved(&documents.iter().map(String::as_str).collect::<Vec<_>>());
        let gateway = &resolved.gateways[&ObjectKey::new("edge", "web")];
        let listeners = gateway.listeners.iter();
        let conflicts = listeners.filter_map(|listener| {
            let conflict = listener.findings.conflict.as_ref()?;
            assert!(!listener.serves, "a listener in conflict does not serve");
            Some((listener.name.clone(), conflict.reason))
        });
        conflicts.collect()
    }

    fn hostname_conflict(name: &str) -> (String, Conflict) {
        (name.to_owned(), Conflict::HostnameConflict)
    }

    fn protocol_conflict(name: &str) -> (String, Conflict) {
        (name.to_owned(), Conflict::ProtocolConflict)
    }

    #[test]
    fn listeners_of_a_gateway_with_the_same_hostname_all_lose() {
        let gateway = gateway(
            "{name: a, port: 80, protocol: HTTP, hostname: shop.example.com},
             {name: b, port: 80, protocol: HTTP, hostname: Shop.example.com},
             {name: c, port: 80, protocol: HTTP},
             {name: d, port: 8080, protocol: HTTP, hostname: shop.example.com}",
        );
        assert_eq!(
            conflicts_of(&[gateway]),
            [hostname_conflict("a"), hostname_conflict("b")]
        );
    }

    #[test]
    fn listeners_of_a_gateway_with_different_protocols_on_a_port_all_lose() {
        let gateway = gateway(
            "{name: a, port: 80, protocol: HTTP, hostname: a.example.com},
             {name: b, port: 80, protocol: HTTPS, hostname: b.example.com}",
        );
        assert_eq!(
            conflicts_of(&[gateway]),
            [protocol_conflict("a"), protocol_conflict("b")]
        );
    }

    #[test]
    fn gateway_wins_over_listener_sets_and_older_ones_over_younger() {
        let documents = [
            gateway("{name: own, port: 80, protocol: HTTP, hostname: a.example.com}"),
            listener_set(
                "a-younger",
                2025,
                "{name: third, port: 80, protocol: HTTP, hostname: b.example.com}",
            ),
            listener_set(
                "z-older",
                2024,
                "{name: first, port: 80, protocol: HTTP, hostname: a.example.com},
                 {name: second, port: 80, protocol: HTTP, hostname: b.example.com}",
            ),
        ];
        assert_eq!(
            conflicts_of(&documents),
            [hostname_conflict("first"), hostname_conflict("third")]
        );
    }

    #[test]
    fn listener_sets_of_one_age_are_in_order_of_name() {
        let documents = [
            gateway("{name: own, port: 8080, protocol: HTTP}"),
            listener_set("b", 2024, "{name: loser, port: 80, protocol: HTTP}"),
            listener_set("a", 2024, "{name: winner, port: 80, protocol: HTTP}"),
        ];
        assert_eq!(conflicts_of(&documents), [hostname_conflict("loser")]);
    }

    #[test]
    fn loser_takes_no_hosts_from_younger_listener_sets() {
        let documents = [
            gateway("{name: own, port: 80, protocol: HTTP, hostname: a.example.com}"),
            listener_set(
                "a",
                2024,
                "{name: loser, port: 80, protocol: HTTPS, hostname: b.example.com}",
            ),
            listener_set(
                "b",
                2025,
                "{name: fine, port: 80, protocol: HTTP, hostname: b.example.com}",
            ),
        ];
        assert_eq!(conflicts_of(&documents), [protocol_conflict("loser")]);
    }

    #[test]
    fn protocol_that_is_not_served_loses_against_one_that_is() {
        let documents = [
            gateway("{name: tcp, port: 80, protocol: TCP}, {name: udp, port: 80, protocol: UDP}"),
            listener_set("a", 2024, "{name: http, port: 80, protocol: HTTP}"),
        ];
        assert_eq!(conflicts_of(&documents), [protocol_conflict("tcp")]);
    }

    #[test]
    fn wildcards_overlap_with_what_they_cover() {
        let hostname = Hostname::new("*.b.example.com").expect("a hostname");
        let covering: Vec<_> = covering(&hostname).map(|hostname| hostname.to_string()).collect();
        assert_eq!(covering, ["*.example.com", "*.com"]);
    }
}
