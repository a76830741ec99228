//! Whether what runs for a Gateway serves what it asks for.

use std::collections::BTreeMap;

use super::condition::sentences;
use crate::{
    generation::Generation,
    observed::{InfrastructureFailure, Instance, ObservedGateway, Rejection},
    outcome::GatewayOutcome,
    resolve::{
        Gateway,
        finding::{Finding, reasons},
    },
};

reasons! {
    /// Why a Gateway is not programmed.
    ///
    /// See <https://gateway-api.sigs.k8s.io/reference/spec/#gatewayconditionreason>.
    pub(super) enum NotProgrammed {
        /// It, or the configuration made of it, cannot be served.
        Invalid = "Invalid",
        /// It will be served as soon as its instances have caught up.
        Pending = "Pending",
        /// What it needs to run cannot be had.
        NoResources = "NoResources",
        /// It has no address yet.
        AddressNotAssigned = "AddressNotAssigned",
        /// It cannot have the address that it asks for.
        AddressNotUsable = "AddressNotUsable",
    }
}

/// Who serves what a Gateway asks for, in a sentence; why it is not programmed otherwise.
pub(super) type Programming = Result<String, Finding<NotProgrammed>>;

/// How far the instances of a Gateway are.
///
/// It is programmed when every instance that takes requests serves the wanted configuration, and there is one.
pub(super) fn programming(
    gateway: &Gateway,
    outcome: Option<&GatewayOutcome>,
    observed: Option<&ObservedGateway>,
) -> Programming {
    use NotProgrammed::{AddressNotAssigned, AddressNotUsable, Invalid, NoResources, Pending};

    let default = ObservedGateway::default();
    let ObservedGateway {
        addresses,
        node_ports,
        unaddressed_service,
        failure,
        pods,
        missing_pods,
        instances,
    } = observed.unwrap_or(&default);
    if !gateway.is_accepted() {
        return Err(Finding::new(
            Invalid,
            "The Gateway is not accepted; what runs keeps the configuration that it has",
        ));
    }
    if !gateway.listeners.iter().any(|listener| listener.serves) {
        return Err(Finding::new(Invalid, "None of the listeners can be served"));
    }
    match failure {
        Some(InfrastructureFailure::AddressNotUsable(message)) => {
            return Err(Finding::new(AddressNotUsable, message.as_str()));
        }
        Some(InfrastructureFailure::Other(message)) => {
            return Err(Finding::new(NoResources, message.as_str()));
        }
        None => {}
    }
    let obstacles = obstacles(pods, missing_pods.as_deref());
    let with_obstacles = |message: String| {
        let messages: Vec<String> = [message].into_iter().chain(obstacles.clone()).collect();
        messages.join(". ")
    };
    let generation = outcome.and_then(|outcome| outcome.generation.as_deref());
    let Some(generation) = generation.filter(|_| !addresses.is_empty()) else {
        let message = match unaddressed_service {
            Some(service) => format!(
                "Service {service} has no address from a load balancer yet; where the cluster has none, choose another \
                 spec.service.type in the NginxFleet"
            ),
            None => "The Gateway has no address yet".to_owned(),
        };
        return Err(Finding::new(AddressNotAssigned, with_obstacles(message)));
    };
    let wanted = generation.config.version.as_str();
    for (name, instance) in instances {
        if let Some(rejection) = instance
            .rejection
            .as_ref()
            .filter(|rejection| rejection.config == wanted)
        {
            return Err(Finding::new(
                Invalid,
                refused(name, instance, rejection, generation),
            ));
        }
    }
    let ready = instances.values().filter(|instance| instance.ready);
    let (ready, serving) = ready.fold((0, 0), |(ready, serving), instance| {
        (ready + 1, serving + usize::from(instance.config == wanted))
    });
    let count = format!("{serving} of {ready} ready instances serve configuration {wanted}");
    if ready == 0 {
        let is_hopeless = pods.values().all(Option::is_some) && !obstacles.is_empty();
        let message = match instances.len() {
            0 => "No instance has reported yet".to_owned(),
            number => format!("None of {number} instances is ready"),
        };
        let reason = if is_hopeless { NoResources } else { Pending };
        Err(Finding::new(reason, with_obstacles(message)))
    } else if serving < ready {
        Err(Finding::new(Pending, with_obstacles(count)))
    } else {
        let ways = ways_through_nodes(node_ports);
        let messages = [count].into_iter().chain(ways).chain(obstacles);
        Ok(sentences(messages.collect::<Vec<_>>().iter().map(String::as_str)))
    }
}

/// What keeps pods from serving, and others from being made, each thing once, however many pods it keeps.
pub(super) fn obstacles(pods: &BTreeMap<String, Option<String>>, missing_pods: Option<&str>) -> Vec<String> {
    let mut kept = BTreeMap::<&str, (&str, usize)>::new();
    for (pod, obstacle) in pods {
        if let Some(obstacle) = obstacle {
            kept.entry(obstacle).or_insert((pod, 0)).1 += 1;
        }
    }
    let of_pods = kept.into_iter().map(|(obstacle, (pod, count))| match count {
        1 => format!("Pod {pod} {obstacle}"),
        _ => format!("Pod {pod} and {} more {obstacle}", count - 1),
    });
    let missing = missing_pods.map(|reason| format!("Pods are missing: {reason}"));
    of_pods.chain(missing).collect()
}

/// Which ports of nodes lead to the listeners, where some do: the addresses of the status are for the listeners' ports.
fn ways_through_nodes(node_ports: &BTreeMap<u16, u16>) -> Option<String> {
    let ports = node_ports.iter();
    let ports: Vec<String> = ports
        .map(|(port, node_port)| format!("{node_port} to {port}"))
        .collect();
    (!ports.is_empty()).then(|| {
        format!(
            "Ports of each node lead to those of listeners: {}",
            ports.join(", ")
        )
    })
}

/// Who refuses what, why, where it comes from, and what is served instead.
fn refused(name: &str, instance: &Instance, rejection: &Rejection, generation: &Generation) -> String {
    let Rejection {
        config,
        message,
        file,
        line,
    } = rejection;
    let files = &generation.config;
    let origin = files
        .origin_of_line(file, *line)
        .or_else(|| files.origin_of_quoted(message));
    let origin = origin.map_or_else(String::new, |origin| {
        format!(", which comes from {}", origin.trim())
    });
    let instead = if instance.config.is_empty() {
        "nothing is served yet".to_owned()
    } else {
        format!("configuration {} keeps serving", instance.config)
    };
    format!("Instance {name} refuses configuration {config}: {message}{origin}; {instead}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        config::{Origin, Settings},
        generation::{Data, Files},
        infra::GatewayInfra,
        object::ObjectKey,
        resolve::{
            gateway::GatewayFindings,
            listener::{Listener, ListenerFindings, ListenerOwner},
            namespaces::Namespaces,
        },
    };

    fn gateway() -> Gateway {
        Gateway {
            key: ObjectKey::new("edge", "web"),
            settings: Settings::default(),
            infra: GatewayInfra::default(),
            listeners: vec![Listener {
                owner: ListenerOwner::Gateway,
                name: "http".to_owned(),
                port: 80,
                protocol: crate::api::ProtocolType::Http,
                hostname: None,
                tls: None,
                kinds: Vec::new(),
                namespaces: Namespaces::All,
                serves: true,
                findings: ListenerFindings::default(),
            }],
            client_certificate: None,
            findings: GatewayFindings::default(),
        }
    }

    /// The configuration `new`, whose second line comes from an `HTTPRoute`.
    fn outcome() -> GatewayOutcome {
        let text = format!("{}HTTPRoute default/shop\nproxy_pass odd;\n", Origin::MARK);
        let config = Files {
            version: "new".to_owned(),
            files: BTreeMap::from([("http.conf".to_owned(), text)]),
        };
        let data = Data::default();
        GatewayOutcome {
            infra: GatewayInfra::default(),
            generation: Some(Arc::new(Generation { config, data })),
        }
    }

    fn instance(config: &str) -> Instance {
        Instance {
            config: config.to_owned(),
            ready: true,
            ..Instance::default()
        }
    }

    fn observed(instances: Vec<Instance>) -> ObservedGateway {
        let names = ["a", "b", "c"].map(str::to_owned);
        ObservedGateway {
            addresses: vec!["127.0.0.2".to_owned()],
            node_ports: BTreeMap::new(),
            unaddressed_service: None,
            failure: None,
            pods: BTreeMap::new(),
            missing_pods: None,
            instances: names.into_iter().zip(instances).collect(),
        }
    }

    fn programming_of(observed: &ObservedGateway) -> Programming {
        programming(&gateway(), Some(&outcome()), Some(observed))
    }

    fn not_programmed(observed: &ObservedGateway) -> (NotProgrammed, String) {
        let finding = programming_of(observed).expect_err("the Gateway is not programmed");
        (finding.reason, finding.message)
    }

    #[test]
    fn programmed_when_every_ready_instance_serves_the_wanted_configuration() {
        let starting = Instance {
            ready: false,
            ..instance("")
        };
        let observed = observed(vec![instance("new"), instance("new"), starting]);
        let message = "2 of 2 ready instances serve configuration new.";
        assert_eq!(programming_of(&observed).as_deref(), Ok(message));
    }

    #[test]
    fn ports_of_nodes_that_lead_to_listeners_are_told() {
        let observed = ObservedGateway {
            node_ports: [(80, 30080), (443, 30443)].into(),
            ..observed(vec![instance("new")])
        };
        let message = "1 of 1 ready instances serve configuration new. Ports of each node lead to those of listeners: \
                       30080 to 80, 30443 to 443.";
        assert_eq!(programming_of(&observed).as_deref(), Ok(message));
    }

    #[test]
    fn pending_while_an_instance_serves_an_older_configuration() {
        let observed = observed(vec![instance("new"), instance("old")]);
        let message = "1 of 2 ready instances serve configuration new".to_owned();
        assert_eq!(not_programmed(&observed), (NotProgrammed::Pending, message));
    }

    #[test]
    fn pending_while_nothing_runs() {
        let message = "No instance has reported yet".to_owned();
        assert_eq!(
            not_programmed(&observed(Vec::new())),
            (NotProgrammed::Pending, message)
        );
    }

    #[test]
    fn what_keeps_every_pod_from_serving_is_told_once_and_is_more_than_a_matter_of_time() {
        let obstacle = Some("cannot be scheduled: 0/1 nodes are available".to_owned());
        let pods = ["a", "b", "c"].map(|name| (name.to_owned(), obstacle.clone()));
        let all = ObservedGateway {
            pods: pods.into(),
            ..observed(Vec::new())
        };
        let message =
            "No instance has reported yet. Pod a and 2 more cannot be scheduled: 0/1 nodes are available";
        assert_eq!(
            not_programmed(&all),
            (NotProgrammed::NoResources, message.to_owned())
        );
        let mut some = all;
        some.pods.insert("d".to_owned(), None);
        assert_eq!(
            not_programmed(&some),
            (NotProgrammed::Pending, message.to_owned())
        );
    }

    #[test]
    fn pods_that_are_not_made_are_told() {
        let observed = ObservedGateway {
            missing_pods: Some("exceeded quota".to_owned()),
            ..observed(Vec::new())
        };
        let message = "No instance has reported yet. Pods are missing: exceeded quota".to_owned();
        assert_eq!(not_programmed(&observed), (NotProgrammed::NoResources, message));
    }

    #[test]
    fn a_gateway_is_programmed_although_one_more_pod_cannot_serve_and_says_so() {
        let pods = [("a", None), ("b", Some("cannot start: no such image".to_owned()))];
        let observed = ObservedGateway {
            pods: pods.map(|(name, obstacle)| (name.to_owned(), obstacle)).into(),
            ..observed(vec![instance("new")])
        };
        let message = "1 of 1 ready instances serve configuration new. Pod b cannot start: no such image.";
        assert_eq!(programming_of(&observed).as_deref(), Ok(message));
    }

    #[test]
    fn a_gateway_without_an_address_says_what_is_wrong_with_its_pods_too() {
        let pods = [("a".to_owned(), Some("cannot be scheduled".to_owned()))];
        let observed = ObservedGateway {
            addresses: Vec::new(),
            pods: pods.into(),
            ..observed(Vec::new())
        };
        let message = "The Gateway has no address yet. Pod a cannot be scheduled".to_owned();
        assert_eq!(
            not_programmed(&observed),
            (NotProgrammed::AddressNotAssigned, message)
        );
    }

    #[test]
    fn refusal_names_instance_message_origin_and_what_keeps_serving() {
        let rejection = Rejection {
            config: "new".to_owned(),
            message: "invalid URL prefix in http.conf:2".to_owned(),
            file: "http.conf".to_owned(),
            line: 2,
        };
        let refusing = Instance {
            rejection: Some(rejection),
            ..instance("old")
        };
        let message = "Instance a refuses configuration new: invalid URL prefix in http.conf:2, which comes from \
                       HTTPRoute default/shop; configuration old keeps serving";
        assert_eq!(
            not_programmed(&observed(vec![refusing])),
            (NotProgrammed::Invalid, message.to_owned())
        );
    }

    #[test]
    fn refusal_of_an_older_configuration_is_over() {
        let rejection = Rejection {
            config: "older".to_owned(),
            ..Rejection::default()
        };
        let trying = Instance {
            rejection: Some(rejection),
            ..instance("old")
        };
        assert_eq!(not_programmed(&observed(vec![trying])).0, NotProgrammed::Pending);
    }

    #[test]
    fn address_that_cannot_be_had_is_told() {
        let message = "192.0.2.1 is no address of this machine".to_owned();
        let observed = ObservedGateway {
            failure: Some(InfrastructureFailure::AddressNotUsable(message.clone())),
            ..observed(vec![instance("new")])
        };
        assert_eq!(
            not_programmed(&observed),
            (NotProgrammed::AddressNotUsable, message)
        );
    }

    #[test]
    fn gateway_without_an_address_is_not_programmed() {
        let observed = ObservedGateway {
            addresses: Vec::new(),
            ..observed(vec![instance("new")])
        };
        assert_eq!(not_programmed(&observed).0, NotProgrammed::AddressNotAssigned);
        let waiting = ObservedGateway {
            unaddressed_service: Some("edge/flotilla-web".to_owned()),
            ..observed
        };
        let (reason, message) = not_programmed(&waiting);
        assert_eq!(reason, NotProgrammed::AddressNotAssigned);
        assert!(
            message.starts_with("Service edge/flotilla-web has no address from a load balancer yet; "),
            "{message}"
        );
    }
}
