//! What the agent says of itself and its NGINX in figures.

use std::fmt;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::ConstCounter, family::Family, gauge::ConstGauge, gauge::Gauge, info::Info},
    registry::Registry,
};
use proto::fleet::Report;

use crate::{
    nginx::{Connections, process},
    prefix::Prefix,
};

/// What every text ends with, see <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
const END: &str = "# EOF\n";

/// Everything that is known at some moment.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// What the operator is told.
    pub report: Report,
    /// None where NGINX does not count them.
    pub connections: Option<Connections>,
    /// Worker processes of NGINX.
    pub workers: Workers,
    /// Figures of the proxy, as a text of their own; none where it does not answer.
    pub proxy: Option<String>,
}

/// Worker processes of NGINX, by what they are at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Workers {
    /// Those that accept connections.
    pub accepting: usize,
    /// Those of before a reload, whose connections have not ended yet.
    pub ending: usize,
}

impl Workers {
    /// Those of the NGINX that runs from a folder.
    #[must_use]
    pub fn count(prefix: &Prefix) -> Self {
        Self {
            accepting: process::accepting_workers(prefix).len(),
            ending: process::ending_workers(prefix).len(),
        }
    }
}

impl Figures {
    /// All of them in the text format of `OpenMetrics`.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry())?;
        let Some(proxy) = &self.proxy else {
            return Ok(text);
        };
        let own = text.strip_suffix(END).unwrap_or(&text);
        Ok(format!("{own}{proxy}"))
    }

    /// Made anew each time: all of this is counted elsewhere.
    fn registry(&self) -> Registry {
        let Self {
            report,
            connections,
            workers: Workers { accepting, ending },
            proxy,
        } = self;
        let mut registry = Registry::with_prefix("flotilla_agent");
        let flag = |holds: bool| ConstGauge::new(u64::from(holds));
        registry.register("ready", "Whether NGINX takes requests", flag(report.ready));
        registry.register(
            "rejected",
            "Whether the newest configuration is not served",
            flag(report.rejection.is_some()),
        );
        registry.register(
            "proxy_answers",
            "Whether the proxy says what it counts",
            flag(proxy.is_some()),
        );
        registry.register(
            "reloads",
            "Reloads since NGINX was started",
            ConstCounter::new(report.reloads),
        );
        let versions = vec![
            ("config", report.config.clone()),
            ("data", report.data.clone()),
            ("nginx", report.nginx.clone()),
        ];
        registry.register("serving", "Versions of what is served", Info::new(versions));
        registry.register(
            "workers",
            "Worker processes of NGINX by state; those of before a reload are ending until their connections have",
            by_state([("accepting", *accepting as u64), ("ending", *ending as u64)]),
        );
        if let Some(connections) = connections {
            let Connections {
                active,
                reading,
                writing,
                waiting,
            } = *connections;
            let connections = [
                ("active", active),
                ("reading", reading),
                ("writing", writing),
                ("waiting", waiting),
            ];
            registry.register(
                "connections",
                "Connections of NGINX by state; active are all of them",
                by_state(connections),
            );
        }
        registry
    }
}

fn by_state<const STATES: usize>(
    numbers: [(&'static str, u64); STATES],
) -> Family<[(&'static str, &'static str); 1], Gauge> {
    let family = Family::default();
    for (state, number) in numbers {
        let gauge: &Gauge = &family.get_or_create(&[("state", state)]);
        gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_agent_and_proxy_are_one_text() {
        let figures = Figures {
            report: Report {
                config: "1f2e".to_owned(),
                ready: true,
                reloads: 3,
                ..Report::default()
            },
            connections: Some(Connections {
                active: 6,
                reading: 1,
                writing: 2,
                waiting: 3,
            }),
            workers: Workers {
                accepting: 2,
                ending: 4,
            },
            proxy: Some("flotilla_proxy_in_flight 7\n# EOF\n".to_owned()),
        };
        let text = figures.text().unwrap();
        for line in [
            "flotilla_agent_ready 1",
            "flotilla_agent_rejected 0",
            "flotilla_agent_proxy_answers 1",
            "flotilla_agent_reloads_total 3",
            "flotilla_agent_serving_info{config=\"1f2e\",data=\"\",nginx=\"\"} 1",
            "flotilla_agent_connections{state=\"waiting\"} 3",
            "flotilla_agent_workers{state=\"ending\"} 4",
            "flotilla_proxy_in_flight 7",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in:\n{text}");
        }
        assert_eq!(text.matches(END).count(), 1);
        assert!(text.ends_with(END));
    }

    #[test]
    fn a_proxy_that_does_not_answer_is_a_figure_too() {
        let text = Figures::default().text().unwrap();
        assert!(text.contains("flotilla_agent_proxy_answers 0\n"), "{text}");
        assert!(!text.contains("flotilla_agent_connections"), "{text}");
        assert!(text.ends_with(END));
    }
}
