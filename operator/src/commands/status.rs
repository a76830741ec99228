//! What every gateway serves, and what is wrong, of the operator in a cluster.

use std::fmt::Write as _;

use anyhow::{Context as _, anyhow};
use axum::http::Request;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use super::{client_of_cluster, operator::LEASE};
use crate::{
    admin::{Fleet, Fleets, Pod},
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
    let Status {
        namespace,
        admin_port,
        ..
    } = args;
    let client = client_of_cluster().await?;
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
fn print(fleets: &Fleets, gateway: Option<&str>) -> String {
    let is_asked = |fleet: &&Fleet| gateway.is_none_or(|gateway| fleet.gateway == gateway);
    let asked: Vec<&Fleet> = fleets.gateways.iter().filter(is_asked).collect();
    let rows = asked.iter().map(|fleet| row(fleet));
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
        if let Some(fleet) = index.checked_sub(1).and_then(|index| asked.get(index)) {
            text.push_str(&troubles(fleet));
        }
    }
    if asked.is_empty() {
        text = match gateway {
            Some(gateway) => format!("The operator runs no Gateway {gateway}.\n"),
            None => "The operator runs no Gateways.\n".to_owned(),
        };
    }
    for problem in &fleets.problems {
        // Writing to a string does not fail.
        let _ = write!(text, "\n{}\n  {}\n", problem.object, problem.complaint);
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
    [
        gateway.clone(),
        format!("{ready}/{}", pods.len()),
        format!("{current}/{}", pods.len()),
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
        let serves = pod.serves.as_deref().unwrap_or("nothing yet");
        let line = match (&pod.rejection, is_current(fleet, pod), pod.ready) {
            (Some(rejection), ..) => format!("serves {serves}; NGINX refused {rejection}"),
            (None, false, _) => format!("serves {serves}"),
            (None, true, false) => "is not ready".to_owned(),
            (None, true, true) => continue,
        };
        let _ = writeln!(text, "  pod {} {line}", pod.name);
    }
    if fleet.pods.is_empty() {
        text.push_str("  no pod is connected to the operator\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Problem;

    fn pod(name: &str, serves: &str, rejection: Option<&str>) -> Pod {
        Pod {
            name: name.to_owned(),
            serves: Some(serves.to_owned()),
            ready: true,
            rejection: rejection.map(str::to_owned),
        }
    }

    fn fleets() -> Fleets {
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
            complaint: "parent edge: ResolvedRefs=False reason BackendNotFound: Service blog does not exist."
                .to_owned(),
        };
        Fleets {
            gateways: vec![edge, lone],
            problems: vec![problem],
        }
    }

    #[test]
    fn the_report_names_pods_that_lag_and_objects_that_are_wrong() {
        assert_eq!(
            print(&fleets(), None),
            "\
GATEWAY       READY  CURRENT  GENERATION  ADDRESSES
default/edge  2/2    1/2      3a4b        198.18.0.1
  pod edge-1 serves 1f2e; NGINX refused 3a4b: no such host
team/lone     0/0    0/0      -
  no pod is connected to the operator

HTTPRoute default/shop
  parent edge: ResolvedRefs=False reason BackendNotFound: Service blog does not exist.
"
        );
    }

    #[test]
    fn one_gateway_can_be_asked_for() {
        let text = print(&fleets(), Some("team/lone"));
        assert!(
            text.contains("team/lone") && !text.contains("default/edge "),
            "{text}"
        );
        let text = print(&Fleets::default(), Some("team/lone"));
        assert_eq!(text, "The operator runs no Gateway team/lone.\n");
    }
}
