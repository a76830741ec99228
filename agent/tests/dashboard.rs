//! The dashboard of the chart shows what agents and their proxies count.

use std::collections::BTreeSet;

use agent::{metrics::Figures, nginx::Connections, proxy::metrics::Metrics};

const DASHBOARD: &str = include_str!("../../charts/flotilla/dashboards/flotilla.json");

/// Names in the dashboard's queries that start so.
fn names(prefix: &str) -> BTreeSet<&'static str> {
    let words = DASHBOARD.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with(prefix)).collect()
}

#[test]
fn every_metric_that_is_shown_is_one_of_the_agents_or_the_proxys() {
    let figures = Figures {
        connections: Some(Connections::default()),
        proxy: Some(Metrics::default().text().expect("metrics can be written")),
        ..Figures::default()
    };
    let text = figures.text().expect("figures can be written");
    for prefix in ["flotilla_agent_", "flotilla_proxy_"] {
        let shown = names(prefix);
        assert!(shown.len() >= 4, "{shown:?}");
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
