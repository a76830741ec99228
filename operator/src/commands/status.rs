//! What every gateway serves, and what is wrong, of the operator in a cluster.

use std::fmt::Write as _;

use anyhow::{Context as _, anyhow};
use axum::http::Request;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use super::{client_of_cluster, operator::LEASE};
use crate::{
    admin::{Fleet, Fleets, Pod, Problem},
    args::Status,
    leader,
};

/// The report of the replica that writes statuses, which is the one that all agents' reports reach.
pub(super) fn status(args: &Status) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let fleets = runtime.context("cannot start the runtime")?.block_on(ask(args))?;
    Ok(print(&fleets, args.gateway.as_deref()))
}

async fn ask(args: &Status) -> anyhow::Result<Fleets> {
    let client = client_of_cluster().await?;
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

/// What the operator cannot read, a table of gateways, below each its pods that are not as they should be, and then what is
/// wrong.
fn print(fleets: &Fleets, gateway: Option<&str>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    for gap in &fleets.gaps {
        let _ = writeln!(text, "{gap}\n");
    }
    let asked = fleets.gateways.iter();
    let asked: Vec<&Fleet> = asked
        .filter(|fleet| gateway.is_none_or(|gateway| fleet.gateway == gateway))
        .collect();
    let gateways = match gateway {
        _ if !asked.is_empty() => table(&asked),
        Some(gateway) => format!("The operator runs no Gateway {gateway}.\n"),
        None => "The operator runs no Gateways.\n".to_owned(),
    };
    text.push_str(&gateways);
    let problems = fleets.problems.iter();
    let problems: Vec<&Problem> = problems
        .filter(|problem| {
            gateway.is_none() || problem.gateway.is_none() || problem.gateway.as_deref() == gateway
        })
        .collect();
    for complaints in problems.chunk_by(|one, other| one.object == other.object) {
        let _ = writeln!(text, "\n{}", complaints[0].object);
        for Problem { complaint, .. } in complaints {
            let _ = writeln!(text, "  {complaint}");
        }
    }
    text
}

/// A line for each gateway, in columns as wide as they have to be, and below it what is not as it should be.
fn table(fleets: &[&Fleet]) -> String {
    let header = ["GATEWAY", "READY", "CURRENT", "GENERATION", "ADDRESSES"].map(str::to_owned);
    let rows: Vec<[String; 5]> = fleets.iter().map(|fleet| row(fleet)).collect();
    let widths: [usize; 5] = std::array::from_fn(|column| {
        let cells = rows.iter().chain([&header]).map(|row| row[column].len());
        cells.max().unwrap_or_default()
    });
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths);
        let line = cells.fold(String::new(), |line, (cell, width)| {
            format!("{line}{cell:width$}  ")
        });
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&header);
    for (row, fleet) in rows.iter().zip(fleets) {
        text.push_str(&line(row));
        text.push_str(&troubles(fleet));
    }
    text
}

fn row(fleet: &Fleet) -> [String; 5] {
    let Fleet {
        gateway,
        addresses,
        wanted,
        pods,
        ..
    } = fleet;
    let ready = pods.iter().filter(|pod| pod.ready).count();
    let current = pods.iter().filter(|pod| is_current(fleet, pod)).count();
    let all = pods.len();
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
fn troubles(fleet: &Fleet) -> String {
    let mut text = String::new();
    if let Some(failure) = &fleet.failure {
        let _ = writeln!(text, "  {failure}");
    }
    for pod in &fleet.pods {
        if let Some(trouble) = trouble(fleet, pod) {
            let _ = writeln!(text, "  pod {} {trouble}", pod.name);
        }
    }
    match &fleet.missing_pods {
        Some(reason) => {
            let _ = writeln!(text, "  pods are missing: {reason}");
        }
        None if fleet.pods.is_empty() => text.push_str("  there is no pod yet\n"),
        None => {}
    }
    text
}

/// What is not as it should be with a pod, said of it by a verb.
fn trouble(fleet: &Fleet, pod: &Pod) -> Option<String> {
    let serves = pod.serves.as_deref().unwrap_or("nothing yet");
    let trouble = match pod {
        Pod {
            rejection: Some(rejection),
            ..
        } => format!("serves {serves}; NGINX refused {rejection}"),
        Pod {
            obstacle: Some(obstacle),
            ..
        } => obstacle.clone(),
        Pod { connected: false, .. } => "is not connected to the operator yet".to_owned(),
        _ if !is_current(fleet, pod) => format!("serves {serves}"),
        Pod { ready: false, .. } => "is not ready".to_owned(),
        _ => return None,
    };
    Some(trouble)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, serves: &str, rejection: Option<&str>) -> Pod {
        Pod {
            name: name.to_owned(),
            serves: Some(serves.to_owned()),
            connected: true,
            ready: true,
            rejection: rejection.map(str::to_owned),
            obstacle: None,
        }
    }

    /// One that the operator knows from the cluster alone.
    fn stray(name: &str, obstacle: Option<&str>) -> Pod {
        Pod {
            name: name.to_owned(),
            obstacle: obstacle.map(str::to_owned),
            ..Pod::default()
        }
    }

    fn fleets() -> Fleets {
        let edge = Fleet {
            gateway: "default/edge".to_owned(),
            addresses: vec!["198.18.0.1".to_owned()],
            wanted: Some("3a4b".to_owned()),
            pods: vec![
                pod("edge-0", "3a4b", None),
                pod("edge-1", "1f2e", Some("3a4b: no such host")),
                stray("edge-2", Some("cannot be scheduled: 0/1 nodes are available")),
                stray("edge-3", None),
            ],
            missing_pods: Some("exceeded quota: small".to_owned()),
            ..Fleet::default()
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
        Fleets {
            gateways: vec![edge, lone],
            problems: vec![problem],
            gaps: ["Cannot read each InferencePool in the cluster: forbidden".to_owned()].into(),
        }
    }

    #[test]
    fn the_report_names_pods_that_lag_and_objects_that_are_wrong() {
        assert_eq!(
            print(&fleets(), None),
            "\
Cannot read each InferencePool in the cluster: forbidden

GATEWAY       READY  CURRENT  GENERATION  ADDRESSES
default/edge  2/4    1/4      3a4b        198.18.0.1
  pod edge-1 serves 1f2e; NGINX refused 3a4b: no such host
  pod edge-2 cannot be scheduled: 0/1 nodes are available
  pod edge-3 is not connected to the operator yet
  pods are missing: exceeded quota: small
team/lone     0/0    0/0      -
  there is no pod yet

HTTPRoute default/shop
  parent edge: ResolvedRefs=False reason BackendNotFound: Service blog does not exist.
"
        );
    }

    #[test]
    fn one_gateway_can_be_asked_for() {
        let text = print(&fleets(), Some("team/lone"));
        assert!(text.contains("team/lone") && !text.contains("default/"), "{text}");
        let text = print(&Fleets::default(), Some("team/lone"));
        assert_eq!(text, "The operator runs no Gateway team/lone.\n");
    }
}
