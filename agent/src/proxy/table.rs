//! What the newest data says of legs and endpoints, in the shape that requests need it in.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use proto::fleet;
use tracing::error;

use super::{outage::Outage, settings::Settings, tls};

/// Legs and endpoints, shared by all threads. A newer one replaces it as a whole.
#[derive(Debug, Default)]
pub struct Table {
    legs: HashMap<String, Arc<Leg>>,
    /// Every endpoint of every leg and picker, so that the next table finds them.
    endpoints: HashMap<SocketAddr, Arc<Endpoint>>,
    /// Of every picker, by the name of its endpoints, so that the next table finds them.
    outages: HashMap<String, Arc<Outage>>,
    pub settings: Settings,
    /// Requests for legs that there are not.
    pub strays: Arc<Outage>,
}

/// The way of a request to an endpoint.
#[derive(Debug)]
pub struct Leg {
    pub name: String,
    pub endpoints: Arc<[Arc<Endpoint>]>,
    pub transport: Arc<Transport>,
    /// From the request's arrival to the end of the response.
    pub request_timeout: Option<Duration>,
    /// From the start of a try to the end of its response.
    pub try_timeout: Option<Duration>,
    pub retry: Option<Retry>,
    pub picker: Option<Picker>,
    /// Whether what its responses say of tokens is counted.
    pub is_metered: bool,
}

/// When a request is sent again after the endpoint may have seen it.
#[derive(Debug)]
pub struct Retry {
    pub codes: Vec<StatusCode>,
    /// Tries after the first.
    pub attempts: u32,
    pub backoff: Duration,
}

/// Who chooses among the endpoints of a leg.
#[derive(Debug)]
pub struct Picker {
    /// Equal for all legs that ask the same pickers in the same way.
    pub message: Arc<fleet::Picker>,
    pub endpoints: Arc<[Arc<Endpoint>]>,
    pub outage: Arc<Outage>,
}

/// How endpoints are spoken to. Connections are shared by all legs whose transport is the same.
#[derive(Debug)]
pub struct Transport {
    /// Different from that of every other transport of this process.
    id: u64,
    pub protocol: fleet::Protocol,
    pub tls: Option<tls::Client>,
    /// What it was made from.
    message: Option<fleet::Tls>,
}

impl Transport {
    fn new(protocol: fleet::Protocol, tls: Option<tls::Client>, message: Option<fleet::Tls>) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        Self {
            id: MADE.fetch_add(1, Ordering::Relaxed),
            protocol,
            tls,
            message,
        }
    }

    /// An address, spoken to in this way.
    #[must_use]
    pub fn to(&self, address: SocketAddr) -> Destination {
        Destination {
            transport: self.id,
            address,
        }
    }

    /// Whether one made from these would be the same, so that both may share connections.
    fn is_made_from(&self, protocol: fleet::Protocol, tls: Option<&fleet::Tls>) -> bool {
        self.protocol == protocol && self.message.as_ref() == tls
    }
}

/// What a connection leads to, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    transport: u64,
    pub address: SocketAddr,
}

/// An address, with the number of requests that all threads have in flight there.
#[derive(Debug)]
pub struct Endpoint {
    pub address: SocketAddr,
    pub outage: Outage,
    in_flight: AtomicUsize,
}

/// A request in flight at an endpoint, until it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

impl Endpoint {
    /// An endpoint without requests.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            outage: Outage::default(),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// Counts a request.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Requests in flight, of all threads.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl InFlight {
    /// Where it is in flight.
    #[must_use]
    pub const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Table {
    /// What some data says. Endpoints and transports that an earlier table has too are the same ones.
    #[must_use]
    pub fn new(data: &fleet::Data, earlier: &Self) -> Self {
        let mut table = Self {
            settings: Settings::from(data.proxy.unwrap_or_default()),
            strays: Arc::clone(&earlier.strays),
            ..Self::default()
        };
        let mut by_name: HashMap<&str, Arc<[Arc<Endpoint>]>> = HashMap::new();
        for endpoints in &data.endpoints {
            let endpoints_of_name = addresses(endpoints)
                .map(|address| table.endpoint(address, earlier))
                .collect();
            by_name.insert(&endpoints.name, endpoints_of_name);
        }
        let named = |name: &str| by_name.get(name).cloned().unwrap_or_default();
        for leg in &data.legs {
            let Some(transport) = table.transport(leg, earlier) else {
                continue;
            };
            let picker = leg.picker.as_ref().map(|picker| Picker {
                message: Arc::new(picker.clone()),
                endpoints: named(&picker.endpoints),
                outage: table.outage(&picker.endpoints, earlier),
            });
            let compiled = Leg {
                name: leg.name.clone(),
                endpoints: named(&leg.endpoints),
                transport,
                request_timeout: leg.request_timeout.map(Duration::from_millis),
                try_timeout: leg.backend_request_timeout.map(Duration::from_millis),
                retry: leg.retry.as_ref().map(Retry::from),
                picker,
                is_metered: leg.metered,
            };
            table.legs.insert(leg.name.clone(), Arc::new(compiled));
        }
        table
    }

    /// The leg of a name.
    #[must_use]
    pub fn leg(&self, name: &str) -> Option<&Arc<Leg>> {
        self.legs.get(name)
    }

    /// All legs, in no order.
    pub fn legs(&self) -> impl Iterator<Item = &Arc<Leg>> {
        self.legs.values()
    }

    /// Where connections may lead to.
    #[must_use]
    pub fn destinations(&self) -> HashSet<Destination> {
        let legs = self.legs.values();
        legs.flat_map(|leg| {
            leg.endpoints
                .iter()
                .map(|endpoint| leg.transport.to(endpoint.address))
        })
        .collect()
    }

    fn endpoint(&mut self, address: SocketAddr, earlier: &Self) -> Arc<Endpoint> {
        let endpoint = self.endpoints.entry(address).or_insert_with(|| {
            let known = earlier.endpoints.get(&address);
            known.cloned().unwrap_or_else(|| Arc::new(Endpoint::new(address)))
        });
        Arc::clone(endpoint)
    }

    /// What a picker with endpoints of this name fails in.
    fn outage(&mut self, endpoints: &str, earlier: &Self) -> Arc<Outage> {
        let known = || earlier.outages.get(endpoints).cloned().unwrap_or_default();
        Arc::clone(self.outages.entry(endpoints.to_owned()).or_insert_with(known))
    }

    /// How a leg's endpoints are spoken to; none where its TLS cannot be used.
    fn transport(&self, leg: &fleet::Leg, earlier: &Self) -> Option<Arc<Transport>> {
        let message = leg.tls.as_ref();
        let known = self.legs.values().chain(earlier.legs.values());
        let mut transports = known.map(|leg| &leg.transport);
        if let Some(transport) = transports.find(|transport| transport.is_made_from(leg.protocol(), message))
        {
            return Some(Arc::clone(transport));
        }
        let tls = message.map(|message| tls::Client::new(message, tls::protocols(leg.protocol())));
        let tls = tls.transpose().inspect_err(|error| {
            // The operator reports it on the policy; here the leg is as one that does not exist.
            error!(
                leg = leg.name,
                error = error as &dyn std::error::Error,
                "cannot use the leg's TLS"
            );
        });
        Some(Arc::new(Transport::new(
            leg.protocol(),
            tls.ok()?,
            message.cloned(),
        )))
    }
}

impl From<&fleet::Retry> for Retry {
    fn from(retry: &fleet::Retry) -> Self {
        let codes = retry.codes.iter().filter_map(|code| u16::try_from(*code).ok());
        Self {
            codes: codes.filter_map(|code| StatusCode::from_u16(code).ok()).collect(),
            attempts: retry.attempts,
            backoff: Duration::from_millis(retry.backoff),
        }
    }
}

/// All addresses of some endpoints; what is no address is left out.
fn addresses(endpoints: &fleet::Endpoints) -> impl Iterator<Item = SocketAddr> {
    endpoints.ports.iter().flat_map(|port| {
        let number = u16::try_from(port.port);
        let addresses = port
            .addresses
            .iter()
            .filter_map(|address| address.parse::<IpAddr>().ok());
        addresses.filter_map(move |address| Some(SocketAddr::new(address, number.ok()?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(addresses: &[&str]) -> fleet::Data {
        fleet::Data {
            endpoints: vec![fleet::Endpoints {
                name: "shop".to_owned(),
                service: "e".to_owned(),
                ports: vec![fleet::EndpointPort {
                    port: 80,
                    addresses: addresses.iter().map(ToString::to_string).collect(),
                }],
            }],
            legs: vec![fleet::Leg {
                name: "leg".to_owned(),
                endpoints: "shop".to_owned(),
                ..fleet::Leg::default()
            }],
            ..fleet::Data::default()
        }
    }

    #[test]
    fn requests_in_flight_are_known_to_the_next_table() {
        let earlier = Table::new(&data(&["198.18.0.1", "198.18.0.2"]), &Table::default());
        let in_flight = earlier.leg("leg").unwrap().endpoints[1].begin();
        let table = Table::new(&data(&["198.18.0.2", "fd00::1"]), &earlier);
        let endpoints = &table.leg("leg").unwrap().endpoints;
        assert_eq!(endpoints[0].in_flight(), 1);
        assert_eq!(endpoints[1].address, "[fd00::1]:80".parse().unwrap());
        drop(in_flight);
        assert_eq!(endpoints[0].in_flight(), 0);
    }

    #[test]
    fn equal_transports_are_one_over_tables() {
        let earlier = Table::new(&data(&[]), &Table::default());
        let table = Table::new(&data(&["198.18.0.1"]), &earlier);
        assert!(Arc::ptr_eq(
            &earlier.leg("leg").unwrap().transport,
            &table.leg("leg").unwrap().transport
        ));
    }

    #[test]
    fn what_is_no_address_is_left_out() {
        let table = Table::new(&data(&["shop.example", "198.18.0.1"]), &Table::default());
        assert_eq!(table.leg("leg").unwrap().endpoints.len(), 1);
    }

    #[test]
    fn a_leg_whose_tls_cannot_be_used_does_not_exist() {
        let mut data = data(&["198.18.0.1"]);
        data.legs[0].tls = Some(fleet::Tls {
            server_name: "no name".to_owned(),
            ..fleet::Tls::default()
        });
        assert!(Table::new(&data, &Table::default()).leg("leg").is_none());
    }
}
