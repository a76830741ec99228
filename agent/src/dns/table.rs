//! What is known about names.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hickory_proto::rr::{Name, RData, Record, RecordType, rdata::SRV};
use proto::fleet::Endpoints;

use super::Question;

/// With no more services than this, answers are good for the moment only.
///
/// NGINX asks again one second after the last answer has expired. TTL 0 therefore means that a change takes at most
/// one second, TTL 1 two; but 1,000 services with TTL 0 are 3,000 queries a second.
const FRESH_SERVICES: usize = 250;

/// What `server NAME service=SERVICE resolve` asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upstream {
    pub name: String,
    pub service: String,
}

impl fmt::Display for Upstream {
    /// The name of the SRV query.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "_{}._tcp.{}", self.service, self.name)
    }
}

/// Every name that exists, ready to be answered from. Names compare without case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    nodes: BTreeMap<Name, Node>,
    /// In seconds.
    ttl: u32,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    /// Ports, with the names that have their addresses.
    Service(Vec<(u16, Name)>),
    Addresses {
        v4: Vec<Ipv4Addr>,
        v6: Vec<Ipv6Addr>,
    },
}

impl Table {
    /// The names of all endpoints that can be expressed; with the rest, each as a sentence.
    pub fn new<'endpoints>(all: impl IntoIterator<Item = &'endpoints Endpoints>) -> (Self, Vec<String>) {
        let mut table = Self::default();
        let mut problems = Vec::new();
        for endpoints in all {
            if let Err(problem) = table.add(endpoints, &mut problems) {
                problems.push(problem);
            }
        }
        let is_service = |node: &&Node| matches!(node, Node::Service(_));
        table.ttl = u32::from(table.nodes.values().filter(is_service).count() > FRESH_SERVICES);
        (table, problems)
    }

    /// The records of a name, none where it has none of the type; absent when there is no such name.
    #[must_use]
    pub fn records(&self, (name, kind): &Question) -> Option<Vec<Record>> {
        let record = |data| Record::from_rdata(name.clone(), self.ttl, data);
        Some(match (self.nodes.get(name)?, kind) {
            (Node::Service(ports), RecordType::SRV) => ports
                .iter()
                .map(|(port, target)| record(RData::SRV(SRV::new(0, 1, *port, target.clone()))))
                .collect(),
            (Node::Addresses { v4, .. }, RecordType::A) => v4
                .iter()
                .map(|address| record(RData::A((*address).into())))
                .collect(),
            (Node::Addresses { v6, .. }, RecordType::AAAA) => v6
                .iter()
                .map(|address| record(RData::AAAA((*address).into())))
                .collect(),
            _ => Vec::new(),
        })
    }

    /// Everything NGINX asks until it knows the endpoints of an upstream.
    #[must_use]
    pub fn questions(&self, upstream: &Upstream) -> Vec<Question> {
        let Ok(service) = absolute(&upstream.to_string()) else {
            return Vec::new();
        };
        let targets = match self.nodes.get(&service) {
            Some(Node::Service(ports)) => ports.as_slice(),
            _ => &[],
        };
        let addresses = targets.iter().flat_map(|(_, target)| {
            [
                (target.clone(), RecordType::A),
                (target.clone(), RecordType::AAAA),
            ]
        });
        addresses.chain([(service.clone(), RecordType::SRV)]).collect()
    }

    fn add(&mut self, endpoints: &Endpoints, problems: &mut Vec<String>) -> Result<(), String> {
        let Endpoints { name, service, ports } = endpoints;
        let upstream = Upstream {
            name: name.clone(),
            service: service.clone(),
        };
        let service = absolute(&upstream.to_string())?;
        let mut targets = Vec::new();
        for entry in ports {
            let port =
                u16::try_from(entry.port).map_err(|_| format!("{upstream} has port {}", entry.port))?;
            let target = absolute(&format!("p{port}.{name}"))?;
            let (mut v4, mut v6) = (Vec::new(), Vec::new());
            for address in &entry.addresses {
                match address.parse() {
                    Ok(IpAddr::V4(address)) => v4.push(address),
                    Ok(IpAddr::V6(address)) => v6.push(address),
                    Err(_) => problems.push(format!("{upstream} has address {address:?}")),
                }
            }
            targets.push((port, target.clone()));
            self.nodes.insert(target, Node::Addresses { v4, v6 });
        }
        self.nodes.insert(service, Node::Service(targets));
        Ok(())
    }
}

fn absolute(name: &str) -> Result<Name, String> {
    let mut parsed =
        Name::from_ascii(name).map_err(|error| format!("{name:?} is no domain name: {error}"))?;
    parsed.set_fqdn(true);
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use proto::fleet::EndpointPort;

    use super::*;

    fn shop() -> Endpoints {
        let port = |port, addresses: &[&str]| EndpointPort {
            port,
            addresses: addresses.iter().map(ToString::to_string).collect(),
        };
        Endpoints {
            name: "shop.default".to_owned(),
            service: "e".to_owned(),
            ports: vec![
                port(8080, &["10.0.0.1", "10.0.0.2", "fd00::1"]),
                port(9090, &["10.0.0.3"]),
            ],
        }
    }

    fn records(table: &Table, name: &str, kind: RecordType) -> Option<Vec<String>> {
        let records = table.records(&(absolute(name).unwrap(), kind))?;
        Some(
            records
                .iter()
                .map(|record| format!("{} {}", record.ttl, record.data))
                .collect(),
        )
    }

    #[test]
    fn a_service_has_a_record_for_each_port() {
        let (table, problems) = Table::new(&[shop()]);
        assert!(problems.is_empty());
        let answer = records(&table, "_e._tcp.shop.default", RecordType::SRV).unwrap();
        assert_eq!(
            answer,
            ["0 0 1 8080 p8080.shop.default.", "0 0 1 9090 p9090.shop.default."]
        );
    }

    #[test]
    fn a_port_has_its_addresses_by_family() {
        let (table, _) = Table::new(&[shop()]);
        assert_eq!(
            records(&table, "p8080.shop.default", RecordType::A).unwrap(),
            ["0 10.0.0.1", "0 10.0.0.2"]
        );
        assert_eq!(
            records(&table, "P8080.SHOP.default", RecordType::AAAA).unwrap(),
            ["0 fd00::1"]
        );
        assert_eq!(
            records(&table, "p9090.shop.default", RecordType::AAAA).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn many_services_are_asked_for_less_often() {
        let names = |count| {
            (0..count).map(|number| Endpoints {
                name: format!("{number}.default"),
                ..shop()
            })
        };
        let ttl = |count| Table::new(&names(count).collect::<Vec<_>>()).0.ttl;
        assert_eq!((ttl(FRESH_SERVICES), ttl(FRESH_SERVICES + 1)), (0, 1));
    }

    #[test]
    fn a_service_without_endpoints_exists_and_is_empty() {
        let (table, _) = Table::new(&[Endpoints {
            ports: Vec::new(),
            ..shop()
        }]);
        assert_eq!(
            records(&table, "_e._tcp.shop.default", RecordType::SRV),
            Some(Vec::new())
        );
        assert_eq!(records(&table, "_f._tcp.shop.default", RecordType::SRV), None);
        assert_eq!(records(&table, "p8080.shop.default", RecordType::A), None);
    }

    #[test]
    fn what_cannot_be_expressed_is_left_out_and_named() {
        let mut broken = shop();
        broken.ports[0].addresses.push("somewhere".to_owned());
        let unnameable = Endpoints {
            name: "a..b".to_owned(),
            ..shop()
        };
        let (table, problems) = Table::new(&[broken, unnameable]);
        assert_eq!(
            records(&table, "p8080.shop.default", RecordType::A)
                .unwrap()
                .len(),
            2
        );
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn an_upstream_is_known_after_questions_for_service_and_addresses() {
        let (table, _) = Table::new(&[shop()]);
        let upstream = Upstream {
            name: "shop.default".to_owned(),
            service: "e".to_owned(),
        };
        assert_eq!(table.questions(&upstream).len(), 5);
        assert_eq!(
            table
                .questions(&Upstream {
                    name: "none".to_owned(),
                    ..upstream
                })
                .len(),
            1
        );
    }
}
