mod everything;
mod matching;
mod nginx;
mod syntax;

use std::collections::BTreeMap;

use everything::{Words, action, header, hostname, path, proxy};
use proptest::prelude::*;
use syntax::{Directive, directives};

use super::*;
use crate::{
    config::{
        Action, Condition, Dispatch, HeaderChanges, Internal, Location, LocationPath, PathRewrite, Proxy,
        Redirect, RewrittenPath, Step, Subject, Then, Upstream,
    },
    syntax::{Method, Path, Pattern},
};

/// Words with anything in them, more often than not with what NGINX's syntax is made of.
fn words() -> impl Strategy<Value = Words> {
    let text = || {
        prop_oneof![
            any::<String>(),
            r"[ -~\n\r\t\x00]{0,40}",
            r#"[\{\};"'\\\n\r\t \$#~*@\x00a-c]{0,20}"#,
        ]
    };
    (text(), text(), text(), text()).prop_map(|(name, value, path, pattern)| Words {
        name,
        value,
        path,
        pattern,
    })
}

/// The names of the directives below those they stand in, sorted: what is named by its content has no fixed order.
fn shape(directives: &[Directive]) -> Vec<String> {
    let mut names = Vec::new();
    for Directive { name, block, .. } in directives {
        names.push(name.clone());
        names.extend(shape(block).into_iter().map(|inner| format!("{name} {inner}")));
    }
    names.sort();
    names
}

/// All directives of that name, at any depth.
fn all<'a>(directives: &'a [Directive], name: &'a str) -> Vec<&'a Directive> {
    let nested = |directive: &'a Directive| {
        let own = (directive.name == name).then_some(directive);
        own.into_iter().chain(all(&directive.block, name))
    };
    directives.iter().flat_map(nested).collect()
}

proptest! {
    #[test]
    fn no_words_change_what_is_configured(words in words()) {
        let files = render(&everything::config(&words, None)).files;
        let usual = render(&everything::config(&Words::default(), None)).files;
        prop_assert_eq!(files.keys().collect::<Vec<_>>(), usual.keys().collect::<Vec<_>>());
        let is_compared = |name: &str| name != "maps.conf" && std::path::Path::new(name).extension().is_none_or(|kind| kind != "pem");
        for (name, content) in files.iter().filter(|(name, _)| is_compared(name)) {
            prop_assert_eq!(shape(&directives(content)), shape(&directives(&usual[name])), "{}", name);
        }
        // Maps are sorted by names made from content, and have as many entries as there are rules.
        let sorted = |content: &str| {
            let mut sizes = directives(content).iter().map(|map| map.block.len()).collect::<Vec<_>>();
            sizes.sort_unstable();
            sizes
        };
        prop_assert_eq!(sorted(&files["maps.conf"]), sorted(&usual["maps.conf"]));
    }

    #[test]
    fn words_arrive_as_written(words in words()) {
        let files = render(&everything::config(&words, None)).files;
        let servers = directives(&files["servers/8443.conf"]);
        let last = |directive: &Directive| directive.parameters.last().cloned().expect("it has parameters");
        let set = all(&servers, "proxy_set_header");
        let set = set.into_iter().find(|directive| directive.parameters[0] == "x-set").map(last);
        prop_assert_eq!(text_of(&set.expect("the header is set")), Some(without_controls(&words.value)));
        let name = last(all(&servers, "proxy_ssl_name")[0]);
        prop_assert_eq!(text_of(&name), Some(without_controls(&words.name)));
        let replaced = format!("{}$is_args$args", with_dollars(&without_controls(&words.path)));
        prop_assert!(all(&servers, "return").into_iter().map(last).any(|url| url.ends_with(&replaced)));
        let maps = directives(&files["maps.conf"]);
        let certificates = maps.iter().find(|map| map.parameters[1].starts_with("$certificate_"));
        let entries = &certificates.expect("certificates are chosen").block;
        for entry in entries.iter().filter(|entry| entry.name != "hostnames") {
            let file = format!("certificates/default_{}.pem", without_controls(&words.name));
            prop_assert_eq!(text_of(&last(entry)), Some(file));
        }
    }

    #[test]
    fn paths_arrive_as_written(text in r"[!-~]{0,20}") {
        let encoded = text.bytes().fold(String::new(), |encoded, byte| format!("{encoded}%{byte:02x}"));
        if let Some(path) = Path::new(&format!("/{encoded}")) {
            let config = one_location(LocationPath::Exact(path), Then::Do(refusal().into()));
            let servers = directives(&render(&config).files["servers/80.conf"]);
            prop_assert_eq!(&all(&servers, "location")[0].parameters, &["=".to_owned(), format!("/{text}")]);
        }
    }
}

/// What a parameter says that no variable is to be part of.
fn text_of(parameter: &str) -> Option<String> {
    let text = parameter.replace("${dollar}", "\u{1}");
    (!text.contains('$')).then(|| text.replace('\u{1}', "$"))
}

fn with_dollars(text: &str) -> String {
    text.replace('$', "${dollar}")
}

/// A text as a header, an address or a path can have it.
fn without_controls(text: &str) -> String {
    text.replace(|character: char| character.is_ascii_control(), " ")
}

fn refusal() -> Action {
    action(&Words::default(), 0, Step::Refuse(500))
}

fn one_location(path: LocationPath, then: Then) -> Config {
    Config {
        servers: vec![Server {
            listen: Listen {
                address: None,
                port: 80,
                default: true,
            },
            hostname: None,
            tls: None,
            locations: vec![Location { path, then }],
            internal: BTreeMap::new(),
        }],
        ..Config::default()
    }
}

/// The lines of the one location for `/a`, without indentation and comments.
fn location_of(action: Action) -> Vec<String> {
    let config = one_location(LocationPath::Exact(path("/a")), Then::Do(action.into()));
    let servers = render(&config).files["servers/80.conf"].clone();
    let lines = servers
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "location = /a {")
        .skip(1);
    lines.take_while(|line| *line != "}").map(str::to_owned).collect()
}

fn upstream_id() -> Id {
    Id::of(&Upstream::Service {
        namespace: "default".to_owned(),
        service: "shop".to_owned(),
        port: 80,
    })
}

#[test]
fn equal_configurations_have_equal_versions() {
    let version = || render(&everything::config(&Words::default(), None)).version;
    assert_eq!(version(), version());
}

#[test]
fn lines_name_the_object_they_come_from() {
    let files = render(&everything::config(&Words::default(), None));
    let servers = files.files["servers/8080.conf"].lines();
    let redirect = servers
        .zip(1..)
        .find(|(line, _)| line.contains("return 302"))
        .expect("a redirect");
    let origin = files.origin_of_line("servers/8080.conf", redirect.1);
    assert_eq!(origin, Some("HTTPRoute default/shop rule 4"));
}

#[test]
fn request_goes_on_as_it_came() {
    let id = upstream_id();
    assert_eq!(
        location_of(action(&Words::default(), 0, Step::Proxy(proxy(id)))),
        [format!("proxy_pass http://{id}-service;")]
    );
}

#[test]
fn rewritten_host_and_path_keep_the_query() {
    let id = upstream_id();
    let proxy = Proxy {
        host: Some(hostname("internal.example")),
        path: Some(RewrittenPath::Full("/b".to_owned())),
        ..proxy(id)
    };
    let lines = location_of(action(&Words::default(), 0, Step::Proxy(proxy)));
    assert_eq!(
        lines.first().map(String::as_str),
        Some("proxy_set_header host internal.example;")
    );
    assert_eq!(
        lines.last(),
        Some(&format!("proxy_pass http://{id}-service/b$is_args$args;"))
    );
}

#[test]
fn redirect_has_what_is_said_and_the_rest_from_the_request() {
    let redirect = Redirect {
        status: 301,
        scheme: None,
        host: Some(hostname("b.example")),
        port: Some(8443),
        path: None,
    };
    assert_eq!(
        location_of(action(&Words::default(), 0, Step::Redirect(redirect))),
        ["return 301 $scheme://b.example:8443$request_uri;"]
    );
}

#[test]
fn fields_of_the_connection_cannot_be_changed() {
    let changes = HeaderChanges {
        set: vec![(header("content-length"), "0".to_owned())],
        add: vec![(header("transfer-encoding"), vec!["chunked".to_owned()])],
        remove: vec![header("connection"), header("host")],
    };
    let action = Action {
        request_headers: changes.clone(),
        response_headers: changes,
        ..action(&Words::default(), 0, Step::Proxy(proxy(upstream_id())))
    };
    let lines = location_of(action).join("\n");
    assert!(
        !lines.contains("content-length") && !lines.contains("transfer-encoding"),
        "{lines}"
    );
    assert!(
        lines.contains("proxy_set_header connection $connection_header;"),
        "{lines}"
    );
    assert!(lines.contains("proxy_set_header host $request_host;"), "{lines}");
}

#[test]
fn fields_that_nginx_passes_in_any_case_can_all_be_set() {
    let names = ["content-type", "date", "server"];
    let action = Action {
        response_headers: HeaderChanges {
            set: names.map(|name| (header(name), "ours".to_owned())).to_vec(),
            ..HeaderChanges::default()
        },
        ..action(&Words::default(), 0, Step::Proxy(proxy(upstream_id())))
    };
    let lines = location_of(action).join("\n");
    for name in names {
        assert!(lines.contains(&format!("proxy_hide_header {name};")), "{lines}");
        assert!(!lines.contains(&format!("proxy_pass_header {name};")), "{lines}");
    }
}

/// The one map of a configuration, as it stands in `maps.conf`.
fn map_of(config: &Config) -> String {
    let maps = render(config).files["maps.conf"].clone();
    let map = maps.find("\nmap").map(|start| maps[start..].trim().to_owned());
    map.expect("there is a map")
}

#[test]
fn dispatch_takes_the_first_rule_whose_conditions_hold() {
    let methods = ["GET", "POST"].map(|name| {
        let method = Method::new(name).expect("a method");
        Id::of(&Condition {
            subject: Subject::Method(method),
            pattern: Pattern::literal(name.as_bytes()),
        })
    });
    let mut sorted = methods;
    sorted.sort();
    let rules = ["a", "b", "c"].map(|rule| Internal::Rule(Id::of(rule)));
    let dispatch = Dispatch {
        choices: vec![
            (sorted.to_vec(), rules[0]),
            (vec![sorted[1]], rules[1]),
            (Vec::new(), rules[2]),
        ],
    };
    let id = Id::of(&dispatch);
    let config = Config {
        dispatches: BTreeMap::from([(id, dispatch)]),
        ..Config::default()
    };
    let [a, b, c] = ["a", "b", "c"].map(Id::of);
    let [first, second] = sorted;
    assert_eq!(
        map_of(&config),
        format!(
            "map $is_{first}$is_{second} $dispatch_{id} {{\n    default rule:{c};\n    \"~^11\" rule:{a};\n    \
             \"~^.1\" rule:{b};\n}}"
        )
    );
}

#[test]
fn dispatch_over_one_header_is_a_map_over_it() {
    let conditions = ["v1", "v2"].map(|value| Condition {
        subject: Subject::Header(header("x-version")),
        pattern: Pattern::literal(value.as_bytes()),
    });
    let conditions = conditions.map(|condition| (Id::of(&condition), condition));
    let rules = ["a", "b"].map(|rule| Internal::Rule(Id::of(rule)));
    let dispatch = Dispatch {
        choices: vec![
            (vec![conditions[0].0], rules[0]),
            (vec![conditions[1].0], rules[1]),
        ],
    };
    let id = Id::of(&dispatch);
    let config = Config {
        conditions: BTreeMap::from(conditions),
        dispatches: BTreeMap::from([(id, dispatch)]),
        ..Config::default()
    };
    let [a, b] = ["a", "b"].map(Id::of);
    assert_eq!(
        map_of(&config),
        format!(
            "map $http_x_version $dispatch_{id} {{\n    default rule:none;\n    \"~^v1\\z\" rule:{a};\n    \
             \"~^v2\\z\" rule:{b};\n}}"
        )
    );
}

#[test]
fn dispatch_over_many_conditions_is_put_together_from_parts() {
    let conditions = (0..1_000).map(|number| Id::of(&number)).collect::<Vec<_>>();
    let rule = Internal::Rule(Id::of("rule"));
    let dispatch = Dispatch {
        choices: conditions
            .into_iter()
            .map(|condition| (vec![condition], rule))
            .collect(),
    };
    let config = Config {
        dispatches: BTreeMap::from([(Id::of(&dispatch), dispatch)]),
        ..Config::default()
    };
    let maps = render(&config).files["maps.conf"].clone();
    assert!(maps.lines().all(|line| line.len() < 4_000));
}

#[test]
fn expression_that_is_too_long_for_nginx_is_told_and_never_matches() {
    let condition = |count: usize| Condition {
        subject: Subject::Query("name".to_owned()),
        pattern: Pattern::regex(&".".repeat(count)).expect("an expression"),
    };
    assert!(fits(&condition(10)));
    assert!(!fits(&condition(1_000)));
    assert_eq!(
        pattern::Regex::condition(&condition(1_000)).to_string(),
        "\"~(?!)\""
    );
}

#[test]
fn root_is_rewritten_too() {
    let rewrite = PathRewrite {
        prefix: path("/"),
        replacement: "/new/".to_owned(),
    };
    let id = Id::of(&rewrite);
    let config = Config {
        rewrites: BTreeMap::from([(id, rewrite)]),
        ..Config::default()
    };
    assert!(map_of(&config).starts_with(&format!(
        "map $plain_uri $rewrite_{id} {{\n    default \"\";\n    \
         \"~^(?:%..|[^%?]){{0}}(?:/|%2[Ff])([^?]*)(\\?.*)?\\z\" /new/$1$2;\n}}"
    )));
}
