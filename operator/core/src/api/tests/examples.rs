//! Objects as people write them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::round_trip;
use crate::api::{
    FromNamespaces, Gateway, HttpRoute, HttpRouteFilterType, ParentReference, PathMatchType, Route,
    TlsModeType,
};

fn examples() -> Vec<Value> {
    serde_saphyr::from_multiple(include_str!("examples.yaml")).expect("the examples are YAML")
}

fn example<K: serde::de::DeserializeOwned>(name: &str) -> K {
    let example = examples()
        .into_iter()
        .find(|example| example["metadata"]["name"] == name);
    serde_json::from_value(example.expect("there is an example of that name")).expect("the example decodes")
}

#[test]
fn examples_of_every_kind_are_written_as_they_were_read() {
    for example in examples() {
        let (written, _) = round_trip(&example).expect("the example decodes");
        similar_asserts::assert_eq!(written, example);
    }
}

#[test]
fn every_kind_that_is_not_built_into_kubernetes_has_an_example() {
    macro_rules! kinds {
        ($($field:ident: $type:ty = $kind:literal,)*) => { [$((<$type as kube::Resource>::group(&()), $kind)),*] };
    }
    let examples = examples();
    let shown: BTreeSet<_> = examples
        .iter()
        .filter_map(|example| example["kind"].as_str())
        .collect();
    for (group, kind) in crate::with_kinds!(kinds) {
        let ours_or_upstreams = group.ends_with(".networking.k8s.io") || group == crate::api::FLOTILLA_GROUP;
        assert_eq!(shown.contains(kind), ours_or_upstreams, "{kind}");
    }
}

#[test]
fn unknown_values_are_kept_and_told_apart() {
    let route: HttpRoute = example("shop");
    let rule = &route.spec.rules[0];
    assert_eq!(
        rule.matches[1].path().match_type(),
        &PathMatchType::Unknown("Glob".to_owned())
    );
    assert_eq!(
        rule.filters[6].r#type,
        HttpRouteFilterType::Unknown("Teleport".to_owned())
    );
}

#[test]
fn what_the_api_server_would_fill_in_is_there_without_it() {
    let gateway: Gateway = example("edge");
    assert_eq!(
        gateway.spec.allowed_listener_namespaces().from(),
        &FromNamespaces::None
    );
    assert_eq!(
        gateway.spec.listeners[0].allowed_namespaces().from(),
        &FromNamespaces::Same
    );
    assert!(gateway.spec.listeners[0].allowed_kinds().is_empty());

    let gateway: Gateway = example("edge-large");
    let tls = gateway.spec.listeners[0]
        .tls
        .as_ref()
        .expect("the listener has TLS");
    assert_eq!(tls.mode(), &TlsModeType::Terminate);
    assert_eq!(
        (tls.certificate_refs[0].group(), tls.certificate_refs[0].kind()),
        ("", "Secret")
    );

    let route: HttpRoute = example("everything");
    let [rule] = route.spec.rules() else {
        panic!("one rule by default")
    };
    let [every] = rule.matches() else {
        panic!("one match by default")
    };
    assert_eq!(
        (every.path().match_type(), every.path().value()),
        (&PathMatchType::PathPrefix, "/")
    );
    assert!(rule.backend_refs.is_empty());

    let route: HttpRoute = example("shop");
    let backend_ref = &route.spec.rules[0].backend_refs[1].backend_ref;
    assert_eq!(
        (
            backend_ref.reference.group(),
            backend_ref.reference.kind(),
            backend_ref.weight()
        ),
        ("", "Service", 1)
    );
}

#[test]
fn frontend_tls_of_a_port_replaces_the_default() {
    let gateway: Gateway = example("edge-large");
    let frontend = gateway
        .spec
        .tls
        .and_then(|tls| tls.frontend)
        .expect("the gateway has frontend TLS");
    assert!(frontend.for_port(443).validation.is_none());
    assert!(frontend.for_port(8443).validation.is_some());
}

#[test]
fn routes_of_all_kinds_answer_alike() {
    let route: HttpRoute = example("shop");
    assert_eq!(route.hostnames(), ["www.shop.example", "*.shop.example"]);
    assert_eq!(route.parent_refs()[1].group(), "gateway.networking.k8s.io");
    assert_eq!(route.parent_refs()[1].kind(), "Gateway");
    assert_eq!(
        route.parent_refs()[0],
        ParentReference {
            group: Some(String::new()),
            kind: Some("Service".to_owned()),
            name: "shop".to_owned(),
            port: Some(80),
            ..ParentReference::default()
        }
    );
    assert_eq!(Route::status(&route).map(|status| status.parents.len()), Some(1));

    let route: crate::api::UdpRoute = example("dns");
    assert!(route.hostnames().is_empty());
}
