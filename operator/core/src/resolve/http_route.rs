//! `HTTPRoute`s.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    backend::Backends,
    mistake::{Mistake, Mistakes, quoted},
    route::{HttpRoute, Rule},
    rule::rule,
};
use crate::{
    api,
    object::{ObjectKey, created},
    syntax::Hostname,
};

/// Every `HTTPRoute`.
#[must_use]
pub(super) fn resolve(backends: &Backends<'_>) -> BTreeMap<ObjectKey, Arc<HttpRoute>> {
    let resolved = |(key, route): (&ObjectKey, &Arc<api::HttpRoute>)| {
        (key.clone(), Arc::new(resolve_route(key, route, backends)))
    };
    backends.snapshot.http_routes.iter().map(resolved).collect()
}

fn resolve_route(key: &ObjectKey, route: &api::HttpRoute, backends: &Backends<'_>) -> HttpRoute {
    let mut mistakes = Mistakes::default();
    let mut hostnames = Vec::with_capacity(route.spec.hostnames.len());
    for (index, hostname) in route.spec.hostnames.iter().enumerate() {
        match Hostname::new(hostname) {
            Some(hostname) => hostnames.push(hostname),
            None => mistakes.hostnames.push(Mistake::unsupported(
                format!("hostnames[{index}]"),
                format!(
                    "{} is not a DNS name, nor one whose first label is *",
                    quoted(hostname)
                ),
            )),
        }
    }
    hostnames.sort();
    hostnames.dedup();
    if route.spec.use_default_gateways.is_some() {
        mistakes.ignored.push(Mistake::unsupported(
            "useDefaultGateways",
            "is not supported yet and has no effect; name the Gateways in parentRefs",
        ));
    }
    let written = route.spec.rules().iter().enumerate();
    let rules: Vec<Rule> = written
        .filter_map(|(index, written)| rule(index, written, &key.namespace, backends, &mut mistakes))
        .collect();
    HttpRoute {
        key: key.clone(),
        created: created(route),
        hostnames,
        rules,
        mistakes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::example::resolved;

    fn route(spec: &str) -> Arc<HttpRoute> {
        let route =
            format!("{{kind: HTTPRoute, metadata: {{namespace: default, name: shop}}, spec: {{{spec}}}}}");
        let mut routes = resolved(&[&route]).http_routes;
        routes
            .remove(&ObjectKey::new("default", "shop"))
            .expect("every route is resolved")
    }

    const INVALID: &str = "matches: [{path: {value: no-slash}}]";
    const GUARDED: &str = "filters: [{type: ExternalAuth}]";

    #[test]
    fn hostnames_are_in_order_of_precedence_and_each_once() {
        let hostnames = route("hostnames: ['*.a.org', b.org, B.org, long.a.org]")
            .hostnames
            .clone();
        let hostnames: Vec<&str> = hostnames.iter().map(Hostname::as_str).collect();
        assert_eq!(hostnames, ["long.a.org", "b.org", "*.a.org"]);
    }

    #[test]
    fn an_invalid_hostname_is_left_out() {
        let route = route(r#"hostnames: [a.org, "b\n.org"]"#);
        assert_eq!(route.hostnames.len(), 1);
        assert!(
            route.mistakes.hostnames[0]
                .to_string()
                .starts_with(r#"hostnames[1]: "b\n.org" is not"#)
        );
        assert_eq!(route.refusal(), None);
    }

    #[test]
    fn a_route_whose_hostnames_are_all_invalid_is_not_one_for_all_hosts() {
        assert!(route("hostnames: ['a b']").refusal().is_some());
    }

    #[test]
    fn a_rule_that_is_left_out_is_counted() {
        let route = route(&format!("rules: [{{{INVALID}}}, {{}}]"));
        assert_eq!(route.rules.len(), 1);
        assert_eq!(route.rules[0].index, 1);
        assert_eq!(route.refusal(), None);
    }

    #[test]
    fn a_route_without_a_rule_that_can_be_served_is_refused() {
        assert!(route(&format!("rules: [{{{INVALID}}}]")).refusal().is_some());
        assert!(route(&format!("rules: [{{{GUARDED}}}]")).refusal().is_some());
    }

    #[test]
    fn a_guarded_rule_beside_others_stays_and_is_refused() {
        let route = route(&format!("rules: [{{{GUARDED}}}, {{}}]"));
        assert_eq!(route.refusal(), None);
        assert_eq!(
            route.rules.iter().map(|rule| rule.refused).collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn a_route_without_rules_takes_every_request() {
        assert_eq!(route("").rules.len(), 1);
    }
}
