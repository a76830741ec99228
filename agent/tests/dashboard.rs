//! The dashboard of the chart shows what agents and their proxies count.

use std::collections::BTreeSet;

use agent::{metrics::Figures, nginx::Connections, proxy::metrics::Metrics};

/// How names of figures begin, and how many of each kind are shown at least.
const PREFIXES: [(&str, usize); 4] = [
    ("flotilla_agent_", 4),
    ("flotilla_proxy_", 4),
    ("gen_ai_client_", 1),
    ("gen_ai_server_", 2),
];

const DASHBOARD: &str = include_str!("../../charts/flotilla/dashboards/flotilla.json");

/// Names in the dashboard's queries that start so.
fn names(prefix: &str) -> BTreeSet<&'static str> {
    let words = DASHBOARD.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with(prefix)).collect()
}

#[test]
fn every_metric_that_is_shown_is_one_of_the_agents_or_the_proxys() {
    let metrics = Metrics::default();
    // The figures of a model are there once it has answered.
    let _ = metrics.models.model(Some("tide-1b"));
    let figures = Figures {
        connections: Some(Connections::default()),
        proxy: Some(metrics.text().expect("metrics can be written")),
        ..Figures::default()
    };
    let text = figures.text().expect("figures can be written");
    for (prefix, least) in PREFIXES {
        let shown = names(prefix);
        assert!(shown.len() >= least, "{shown:?}");
        for name in shown {
            assert!(
                text.lines()
                    .any(|line| line.starts_with(&format!("{name} "))
                        || line.starts_with(&format!("{name}{{"))),
                "{name} is in the dashboard, but no metric"
            );
        }
    }
}
