//! What is said about routes, one entry for each parent of ours
//! (<https://gateway-api.sigs.k8s.io/reference/spec/#routestatus>).

use super::{
    condition::{Wanted, sentences},
    entries::Entries,
};
use crate::{
    api::{Route, RouteStatus},
    object::ObjectKey,
    options::Options,
    outcome::{Status, StatusChange},
    resolve::{
        Attachment, HttpRoute, Resolved,
        finding::Reason,
        mistake::{Mistake, Mistakes},
    },
    snapshot::{Objects, Snapshot},
};

/// Types of the conditions that are ours.
const TYPES: [&str; 3] = ["Accepted", "ResolvedRefs", "PartiallyInvalid"];

/// Most entries that the API server takes in `status.parents`.
const MOST_PARENTS: usize = 32;

/// Most mistakes that one message lists.
const LISTED: usize = 10;

/// Statuses of routes of all kinds that differ from the stored ones.
#[must_use]
pub(super) fn changes(snapshot: &Snapshot, resolved: &Resolved, options: &Options) -> Vec<StatusChange> {
    let mut writer = Writer {
        resolved,
        options,
        changes: Vec::new(),
    };
    writer.add("HTTPRoute", &snapshot.http_routes, |key, attachment| {
        let route = resolved.http_routes.get(key);
        route.map_or_else(Vec::new, |route| conditions(route, attachment))
    });
    let unserved = |_: &ObjectKey, attachment: &Attachment| vec![accepted(attachment)];
    writer.add("GRPCRoute", &snapshot.grpc_routes, unserved);
    writer.add("TLSRoute", &snapshot.tls_routes, unserved);
    writer.add("TCPRoute", &snapshot.tcp_routes, unserved);
    writer.add("UDPRoute", &snapshot.udp_routes, unserved);
    writer.changes
}

struct Writer<'a> {
    resolved: &'a Resolved,
    options: &'a Options,
    changes: Vec<StatusChange>,
}

impl Writer<'_> {
    /// Adds the statuses of a kind, with what `conditions` wants of a route at one parent.
    fn add<K: Route>(
        &mut self,
        kind: &'static str,
        routes: &Objects<K>,
        conditions: impl Fn(&ObjectKey, &Attachment) -> Vec<Wanted>,
    ) {
        for (key, route) in routes {
            let attachments = self.resolved.attachments.of(kind, key).iter();
            let wanted = attachments.map(|attachment| {
                let parent_ref = route.parent_refs()[attachment.parent_ref].clone();
                (parent_ref, conditions(key, attachment))
            });
            let entries = Entries {
                controller_name: &self.options.controller_name,
                types: &TYPES,
                generation: route.meta().generation,
                most: MOST_PARENTS,
            };
            let stored = route.status().map(|status| status.parents.as_slice());
            let parents = entries.changed(stored.unwrap_or_default(), wanted);
            let status = parents.map(|parents| Status::Route(RouteStatus { parents }));
            let change = status.and_then(|status| StatusChange::to(kind, route.as_ref(), status));
            self.changes.extend(change);
        }
    }
}

/// What holds for an `HTTPRoute` at one parent.
fn conditions(route: &HttpRoute, attachment: &Attachment) -> Vec<Wanted> {
    let Mistakes {
        hostnames,
        rules,
        ignored: _,
        references,
    } = &route.mistakes;
    let accepted = match &attachment.refusal {
        Some(refusal) if Some(refusal) == route.refusal() => Wanted::no(
            "Accepted",
            refusal.reason.as_str(),
            list(hostnames.iter().chain(rules)),
        ),
        _ => accepted(attachment),
    };
    let resolved = match references.first() {
        Some(first) => Wanted::no("ResolvedRefs", first.reason.as_str(), list(references)),
        None => Wanted::yes(
            "ResolvedRefs",
            "ResolvedRefs",
            "All references lead to a backend.",
        ),
    };
    let mut conditions = vec![accepted, resolved];
    if let (None, Some(message)) = (&attachment.refusal, partial(&route.mistakes)) {
        conditions.push(Wanted::yes("PartiallyInvalid", "UnsupportedValue", message));
    }
    conditions
}

fn accepted(attachment: &Attachment) -> Wanted {
    match &attachment.refusal {
        None => Wanted::yes("Accepted", "Accepted", "The route is accepted."),
        Some(refusal) => Wanted::no("Accepted", refusal.reason.as_str(), list([refusal])),
    }
}

/// What is missing of a route of which the rest is served; the specification wants it to start with "Dropped Rule".
fn partial(mistakes: &Mistakes) -> Option<String> {
    let Mistakes {
        hostnames,
        rules,
        ignored,
        references: _,
    } = mistakes;
    let parts = [
        ("Dropped Rule(s): ", rules),
        ("Dropped Rule hostnames: ", hostnames),
        ("Dropped Rule settings: ", ignored),
    ];
    let parts = parts.into_iter().filter(|(_, mistakes)| !mistakes.is_empty());
    let parts: Vec<String> = parts
        .map(|(title, mistakes)| format!("{title}{}", list(mistakes)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn list<'a>(mistakes: impl IntoIterator<Item = &'a Mistake>) -> String {
    let mut mistakes = mistakes.into_iter();
    let mut listed: Vec<String> = mistakes.by_ref().take(LISTED).map(ToString::to_string).collect();
    let more = mistakes.count();
    if more > 0 {
        listed.push(format!("{more} more are not listed"));
    }
    sentences(listed.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::Condition,
        observed::Observed,
        resolve::{
            example::{GATEWAY, snapshot},
            resolve,
        },
    };

    /// What changes for a route `default/shop` at generation 7 with these fields.
    fn change(fields: &str) -> Option<RouteStatus> {
        change_of("HTTPRoute", fields)
    }

    fn change_of(kind: &str, fields: &str) -> Option<RouteStatus> {
        let route = format!(
            "{{kind: {kind}, metadata: {{namespace: default, name: shop, generation: 7, resourceVersion: '42'}}, {fields}}}"
        );
        let snapshot = snapshot(&[GATEWAY, &route]);
        let options = Options::default();
        let mut all = changes(
            &snapshot,
            &resolve(&snapshot, &Observed::default(), &options),
            &options,
        );
        let StatusChange {
            kind: found,
            object,
            resource_version,
            status,
        } = all.pop()?;
        assert!(all.is_empty());
        assert_eq!(
            (found, object),
            (kind_of(kind), ObjectKey::new("default", "shop"))
        );
        assert_eq!(resource_version.as_deref(), Some("42"));
        match status {
            Status::Route(status) => Some(status),
            other => panic!("a route has no status like {other:?}"),
        }
    }

    fn kind_of(kind: &str) -> &'static str {
        if kind == "HTTPRoute" {
            "HTTPRoute"
        } else {
            "GRPCRoute"
        }
    }

    /// Type, status, reason and message of the conditions at the only parent.
    fn said(fields: &str) -> Vec<(String, String, String, String)> {
        let [entry] = change(fields)
            .expect("a change")
            .parents
            .try_into()
            .expect("one parent");
        let said = |condition: Condition| {
            (
                condition.type_,
                condition.status,
                condition.reason,
                condition.message,
            )
        };
        entry.conditions.into_iter().map(said).collect()
    }

    fn has(said: &[(String, String, String, String)], type_: &str, status: &str, reason: &str) -> bool {
        said.iter()
            .any(|condition| (&*condition.0, &*condition.1, &*condition.2) == (type_, status, reason))
    }

    #[test]
    fn a_route_that_is_served_is_accepted_and_resolved_at_its_generation() {
        let status = change("spec: {parentRefs: [{name: edge}]}").expect("a change");
        let entry = &status.parents[0];
        assert_eq!(entry.controller_name, Options::CONTROLLER_NAME);
        let conditions: Vec<_> = entry
            .conditions
            .iter()
            .map(|condition| {
                (
                    &*condition.type_,
                    &*condition.status,
                    condition.observed_generation,
                )
            })
            .collect();
        assert_eq!(
            conditions,
            [("Accepted", "True", Some(7)), ("ResolvedRefs", "True", Some(7))]
        );
    }

    #[test]
    fn what_is_stored_already_is_not_written_again() {
        let spec = "spec: {parentRefs: [{name: edge}]}";
        let status = serde_json::to_string(&change(spec).expect("a change")).expect("a status encodes");
        assert_eq!(change(&format!("{spec}, status: {status}")), None);
    }

    #[test]
    fn a_route_without_parent_of_ours_is_left_alone() {
        assert_eq!(change("spec: {parentRefs: [{name: elsewhere}]}"), None);
    }

    #[test]
    fn entries_of_others_are_kept_and_those_of_parents_that_are_gone_removed() {
        let entry = |controller: &str| {
            format!("{{parentRef: {{name: gone}}, controllerName: {controller}, conditions: []}}")
        };
        let (foreign, stale) = (entry("example.com/other"), entry(Options::CONTROLLER_NAME));
        let status = change(&format!(
            "spec: {{parentRefs: [{{name: edge}}]}}, status: {{parents: [{stale}, {foreign}]}}"
        ));
        let parents = status.expect("a change").parents;
        let names: Vec<_> = parents
            .iter()
            .map(|entry| (entry.controller_name.as_str(), entry.parent_ref.name.as_str()))
            .collect();
        assert_eq!(
            names,
            [("example.com/other", "gone"), (Options::CONTROLLER_NAME, "edge")]
        );
    }

    #[test]
    fn references_that_lead_nowhere_leave_the_route_accepted() {
        let said =
            said("spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: gone, port: 80}]}]}");
        assert!(has(&said, "Accepted", "True", "Accepted"));
        assert!(has(&said, "ResolvedRefs", "False", "BackendNotFound"));
        assert_eq!(
            said[1].3,
            "rules[0].backendRefs[0].name: Service default/gone does not exist."
        );
    }

    #[test]
    fn dropped_rules_and_ignored_fields_are_partially_invalid() {
        let said = said(
            "spec: {parentRefs: [{name: edge}], rules: [{matches: [{path: {value: a}}]}, {sessionPersistence: {type: Cookie}}]}",
        );
        assert!(has(&said, "PartiallyInvalid", "True", "UnsupportedValue"));
        let message = &said[2].3;
        assert!(
            message.starts_with("Dropped Rule(s): rules[0].matches[0].path.value: "),
            "{message}"
        );
        assert!(message.ends_with(
            "Dropped Rule settings: rules[1].sessionPersistence: is not supported yet and has no effect."
        ));
    }

    #[test]
    fn a_route_with_nothing_to_serve_is_not_accepted_for_all_its_mistakes() {
        let said = said(
            "spec: {parentRefs: [{name: edge}], rules: [{matches: [{path: {value: a}}]}, {filters: [{type: CORS}]}]}",
        );
        assert!(has(&said, "Accepted", "False", "UnsupportedValue"));
        assert!(said[0].3.contains("rules[0].matches[0]") && said[0].3.contains("rules[1].filters[0].cors"));
        assert_eq!(
            said.len(),
            2,
            "PartiallyInvalid is for routes that are served in part"
        );
    }

    #[test]
    fn a_route_that_no_listener_lets_in_is_not_accepted() {
        let said = said("spec: {parentRefs: [{name: edge, sectionName: none}]}");
        assert!(has(&said, "Accepted", "False", "NoMatchingParent"));
        assert!(has(&said, "ResolvedRefs", "True", "ResolvedRefs"));
    }

    #[test]
    fn long_lists_of_mistakes_are_cut() {
        let rules = vec!["{backendRefs: [{name: gone, port: 80}]}"; LISTED + 5].join(", ");
        let said = said(&format!(
            "spec: {{parentRefs: [{{name: edge}}], rules: [{rules}]}}"
        ));
        assert!(said[1].3.ends_with("5 more are not listed."), "{}", said[1].3);
    }

    #[test]
    fn a_kind_that_is_not_served_is_told_so() {
        let status = change_of("GRPCRoute", "spec: {parentRefs: [{name: edge}]}").expect("a change");
        let condition = &status.parents[0].conditions[0];
        assert_eq!((&*condition.type_, &*condition.status), ("Accepted", "False"));
        assert_eq!(
            condition.message,
            "GRPCRoute is not served by this version of Flotilla."
        );
    }
}
