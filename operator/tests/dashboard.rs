//! The dashboard of the chart shows what there is.

use std::collections::BTreeSet;

use operator::metrics::{KindLabel, Metrics};

const DASHBOARD: &str = include_str!("../../charts/flotilla/dashboards/flotilla.json");

/// Names in the dashboard's queries that start so.
fn names(prefix: &str) -> BTreeSet<&'static str> {
    let words = DASHBOARD.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words
        .filter(|word| {
            word.starts_with(prefix)
                && !word.starts_with("flotilla_agent_")
                && !word.starts_with("flotilla_proxy_")
        })
        .collect()
}

#[test]
fn every_metric_that_is_shown_is_one_of_the_operators() {
    let metrics = Metrics::default();
    metrics.reconcile_duration.observe(0.001);
    metrics
        .objects
        .get_or_create(&KindLabel { kind: "Gateway" })
        .set(1);
    let text = metrics.text().expect("metrics can be written");
    let shown = names("flotilla_");
    assert!(shown.len() >= 8, "{shown:?}");
    for name in shown {
        assert!(
            text.lines()
                .any(|line| line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{"))),
            "{name} is in the dashboard, but no metric"
        );
    }
}
