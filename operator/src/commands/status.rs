//! What every gateway serves, and what is wrong, of the operator in a cluster.

mod pods;

use std::fmt::Write as _;

use anyhow::{Context as _, anyhow};
use axum::http::Request;
use k8s_openapi::api::{coordination::v1::Lease, core::v1};
use kube::{Api, Client, ResourceExt as _};

use self::pods::{absence, pods, strays};
use super::{client_of_cluster, operator::LEASE};
use crate::{
    admin::{Fleet, Fleets, Pod, Problem},
    args::Status,
    leader,
};

/// What is known of the gateways of a cluster.
struct Report {
    /// As the operator knows it.
    fleets: Fleets,
    /// All pods of gateways, as the API server knows them; or why it does not tell.
    pods: Result<Vec<v1::Pod>, String>,
}

/// The report of the replica that writes statuses, which is the one that all agents' reports reach.
pub(super) fn status(args: &Status) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let report = runtime.context("cannot start the runtime")?.block_on(ask(args))?;
    Ok(print(&report, args.gateway.as_deref()))
}

async fn ask(args: &Status) -> anyhow::Result<Report> {
    let client = client_of_cluster().await?;
    Ok(Report {
        fleets: ask_operator(&client, args).await?,
        pods: pods(client, args.gateway.as_deref())
            .await
            .map_err(|error| error.to_string()),
    })
}

async fn ask_operator(client: &Client, args: &Status) -> anyhow::Result<Fleets> {
    let Status {
        namespace,
        admin_port,
        ..
    } = args;
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let lease = leases
        .get_opt(LEASE)
        .await
        .context("cannot read the operator's Lease")?;
    let lease = lease.with_context(|| {
        format!("namespace {namespace} has no operator; name the one that it is in with --namespace")
    })?;
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    let holder = holder.filter(|holder| !holder.is_empty());
    let holder = holder.context("no operator leads at the moment; look at its Deployment's pods")?;
    let leader = leader::name(&holder);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{leader}:{admin_port}/proxy/fleets");
    let request = Request::get(&path).body(Vec::new())?;
    let fleets = client.request(request).await;
    fleets.map_err(|error| {
        anyhow!(error).context(format!(
            "pod {leader} does not answer; is its admin port {admin_port}?"
        ))
    })
}

/// A table of gateways, below each its pods that are not as they should be, and then what is wrong.
fn print(report: &Report, gateway: Option<&str>) -> String {
    let Report { fleets, pods } = report;
    let all_pods = pods.as_deref().unwrap_or_default();
    let asked = fleets.gateways.iter();
    let asked: Vec<(&Fleet, Vec<&v1::Pod>)> = asked
        .filter(|fleet| gateway.is_none_or(|gateway| fleet.gateway == gateway))
        .map(|fleet| (fleet, strays(fleet, all_pods)))
        .collect();
    let rows = asked.iter().map(|(fleet, strays)| row(fleet, strays.len()));
    let header = ["GATEWAY", "READY", "CURRENT", "GENERATION", "ADDRESSES"].map(str::to_owned);
    let mut table: Vec<[String; 5]> = [header].into_iter().chain(rows).collect();
    if asked.is_empty() {
        table[0] = [const { String::new() }; 5];
    }
    let widths: [usize; 5] = std::array::from_fn(|column| {
        table
            .iter()
            .map(|row| row[column].len())
            .max()
            .unwrap_or_default()
    });
    let mut text = String::new();
    for (index, row) in table.iter().enumerate() {
        let cells = row.iter().zip(widths);
        let line = cells.fold(String::new(), |line, (cell, width)| {
            format!("{line}{cell:width$}  ")
        });
        text.extend([line.trim_end(), "\n"]);
        if let Some((fleet, strays)) = index.checked_sub(1).and_then(|index| asked.get(index)) {
            text.push_str(&troubles(fleet, strays));
        }
    }
    if asked.is_empty() {
        text = match gateway {
            Some(gateway) => format!("The operator runs no Gateway {gateway}.\n"),
            None => "The operator runs no Gateways.\n".to_owned(),
        };
    }
    let problems = fleets.problems.iter();
    let problems: Vec<&Problem> = problems
        .filter(|problem| {
            gateway.is_none() || problem.gateway.is_none() || problem.gateway.as_deref() == gateway
        })
        .collect();
    for complaints in problems.chunk_by(|one, other| one.object == other.object) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{}", complaints[0].object);
        for Problem { complaint, .. } in complaints {
            let _ = writeln!(text, "  {complaint}");
        }
    }
    if let Err(error) = pods {
        let _ = write!(
            text,
            "\nPods that are not connected to the operator are not shown: {error}\n"
        );
    }
    text
}

fn row(fleet: &Fleet, strays: usize) -> [String; 5] {
    let Fleet {
        gateway,
        addresses,
        wanted,
        pods,
        ..
    } = fleet;
    let ready = pods.iter().filter(|pod| pod.ready).count();
    let current = pods.iter().filter(|pod| is_current(fleet, pod)).count();
    let all = pods.len() + strays;
    [
        gateway.clone(),
        format!("{ready}/{all}"),
        format!("{current}/{all}"),
        wanted.clone().unwrap_or_else(|| "-".to_owned()),
        addresses.join(","),
    ]
}

fn is_current(fleet: &Fleet, pod: &Pod) -> bool {
    pod.serves.is_some() && pod.serves == fleet.wanted
}

/// What is not as it should be, a line each.
fn troubles(fleet: &Fleet, strays: &[&v1::Pod]) -> String {
    let mut text = String::new();
    if let Some(failure) = &fleet.failure {
        let _ = writeln!(text, "  {failure}");
    }
    for pod in &fleet.pods {
        let serves = pod.serves.as_deref().unwrap_or("nothing yet");
        let line = match (&pod.rejection, is_current(fleet, pod), pod.ready) {
            (Some(rejection), ..) => format!("serves {serves}; NGINX refused {rejection}"),
            (None, false, _) => format!("serves {serves}"),
            (None, true, false) => "is not ready".to_owned(),
            (None, true, true) => continue,
        };
        let _ = writeln!(text, "  pod {} {line}", pod.name);
    }
    for pod in strays {
        let _ = writeln!(
            text,
            "  pod {} is not connected: {}",
            pod.name_any(),
            absence(pod)
        );
    }
    if fleet.pods.is_empty() && strays.is_empty() {
        text.push_str("  no pod is connected to the operator\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, serves: &str, rejection: Option<&str>) -> Pod {
        Pod {
            name: name.to_owned(),
            serves: Some(serves.to_owned()),
            ready: true,
            rejection: rejection.map(str::to_owned),
        }
    }

    fn report() -> Report {
        let edge = Fleet {
            gateway: "default/edge".to_owned(),
            addresses: vec!["198.18.0.1".to_owned()],
            wanted: Some("3a4b".to_owned()),
            failure: None,
            pods: vec![
                pod("edge-0", "3a4b", None),
                pod("edge-1", "1f2e", Some("3a4b: no such host")),
            ],
        };
        let lone = Fleet {
            gateway: "team/lone".to_owned(),
            ..Fleet::default()
        };
        let problem = Problem {
            object: "HTTPRoute default/shop".to_owned(),
            gateway: Some("default/edge".to_owned()),
            complaint: "parent edge: ResolvedRefs=False reason BackendNotFound: Service blog does not exist."
                .to_owned(),
        };
        let homeless = json!({
            "metadata": {"namespace": "default", "name": "edge-2"},
            "spec": {"serviceAccountName": "flotilla-edge", "containers": []},
            "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available."}]},
        });
        Report {
            fleets: Fleets {
                gateways: vec![edge, lone],
                problems: vec![problem],
            },
            pods: Ok(vec![serde_json::from_value(homeless).unwrap()]),
        }
    }

    #[test]
    fn the_report_names_pods_that_lag_and_objects_that_are_wrong() {
        assert_eq!(
            print(&report(), None),
            "\
GATEWAY       READY  CURRENT  GENERATION  ADDRESSES
default/edge  2/3    1/3      3a4b        198.18.0.1
  pod edge-1 serves 1f2e; NGINX refused 3a4b: no such host
  pod edge-2 is not connected: 0/1 nodes are available.
team/lone     0/0    0/0      -
  no pod is connected to the operator

HTTPRoute default/shop
  parent edge: ResolvedRefs=False reason BackendNotFound: Service blog does not exist.
"
        );
    }

    #[test]
    fn one_gateway_can_be_asked_for() {
        let text = print(&report(), Some("team/lone"));
        assert!(text.contains("team/lone") && !text.contains("default/"), "{text}");
        let nothing = Report {
            fleets: Fleets::default(),
            pods: Ok(Vec::new()),
        };
        let text = print(&nothing, Some("team/lone"));
        assert_eq!(text, "The operator runs no Gateway team/lone.\n");
    }

    #[test]
    fn who_may_not_see_pods_is_told_what_is_missing() {
        let report = Report {
            pods: Err("pods is forbidden".to_owned()),
            ..report()
        };
        let text = print(&report, None);
        assert!(text.contains("default/edge  2/2    1/2"), "{text}");
        assert!(text.ends_with("not shown: pods is forbidden\n"), "{text}");
    }
}
