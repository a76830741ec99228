//! A small picker: the endpoint with the fewest requests that wait or run, the others after it in that order.
//!
//! It shows the protocol at work on a machine without a cluster. In one, take a real picker: this one knows
//! nothing of caches, adapters, priorities or limits.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};
use tonic::Status;

use super::picker::{Exchange, Picker};
use crate::client::{Request, Target};

/// How often the endpoints are asked for their metrics.
const PERIOD: Duration = Duration::from_millis(50);

/// How long an endpoint may take to say them.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running picker; it stops when this value is dropped.
#[derive(Debug)]
pub struct QueuePicker {
    picker: Picker,
    endpoints: Arc<Mutex<Vec<Endpoint>>>,
    scraper: AbortHandle,
}

/// An endpoint and what it said last.
#[derive(Clone, Debug, PartialEq)]
struct Endpoint {
    address: SocketAddr,
    load: Option<Load>,
    /// How many requests were sent there since then.
    sent: u32,
}

/// How loaded an endpoint is; what waits says more than what runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    waiting: u32,
    running: u32,
}

impl QueuePicker {
    /// Starts a picker without endpoints.
    pub async fn start(address: SocketAddr) -> Result<Self> {
        let endpoints = Arc::<Mutex<Vec<Endpoint>>>::default();
        let known = Arc::clone(&endpoints);
        let picker = Picker::start(address, move |exchange| pick(exchange, Arc::clone(&known))).await?;
        let scraper = tokio::spawn(scrape(Arc::clone(&endpoints))).abort_handle();
        Ok(Self {
            picker,
            endpoints,
            scraper,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.picker.address()
    }

    /// Chooses among these from now on.
    pub fn set_endpoints(&self, addresses: &[SocketAddr]) {
        let mut endpoints = self.endpoints.lock();
        endpoints.retain(|endpoint| addresses.contains(&endpoint.address));
        for address in addresses {
            if endpoints.iter().all(|endpoint| endpoint.address != *address) {
                endpoints.push(Endpoint {
                    address: *address,
                    load: None,
                    sent: 0,
                });
            }
        }
    }
}

impl Drop for QueuePicker {
    fn drop(&mut self) {
        self.scraper.abort();
    }
}

impl Endpoint {
    /// Those that say nothing come last, and what was sent since the last look counts as waiting.
    fn rank(&self) -> (bool, Load) {
        let load = self.load.unwrap_or_default();
        let waiting = load.waiting + self.sent;
        (self.load.is_none(), Load { waiting, ..load })
    }
}

async fn pick(mut exchange: Exchange, endpoints: Arc<Mutex<Vec<Endpoint>>>) -> Result<(), Status> {
    let asked = exchange.request().await?;
    let chosen = choice(&mut endpoints.lock(), asked.subset.as_deref());
    let Some(chosen) = chosen else {
        return exchange.refuse(503, &[], "no endpoint is ready\n").await;
    };
    exchange.choose(&chosen).await?;
    exchange.return_body(asked.body).await?;
    exchange.pass_response().await
}

/// Endpoints in order of preference, of which the first is taken to get the request.
fn choice(endpoints: &mut [Endpoint], subset: Option<&[String]>) -> Option<String> {
    endpoints.sort_by_key(Endpoint::rank);
    let allowed = |endpoint: &Endpoint| {
        let address = endpoint.address.to_string();
        subset.is_none_or(|subset| subset.contains(&address))
    };
    endpoints.iter_mut().find(|endpoint| allowed(endpoint))?.sent += 1;
    let allowed = endpoints.iter().filter(|endpoint| allowed(endpoint));
    let addresses: Vec<String> = allowed.map(|endpoint| endpoint.address.to_string()).collect();
    Some(addresses.join(","))
}

async fn scrape(endpoints: Arc<Mutex<Vec<Endpoint>>>) {
    loop {
        let addresses: Vec<SocketAddr> = endpoints.lock().iter().map(|endpoint| endpoint.address).collect();
        let loads = join_all(addresses.into_iter().map(async |address| {
            let load = timeout(PATIENCE, load(address)).await;
            (address, load.ok().and_then(Result::ok))
        }));
        for (address, load) in loads.await {
            let mut endpoints = endpoints.lock();
            if let Some(endpoint) = endpoints.iter_mut().find(|endpoint| endpoint.address == address) {
                *endpoint = Endpoint {
                    address,
                    load,
                    sent: 0,
                };
            }
        }
        sleep(PERIOD).await;
    }
}

async fn load(address: SocketAddr) -> Result<Load> {
    let answer = Target::http(address).send(Request::get("/metrics")).await?;
    ensure!(answer.status.is_success(), "{answer}");
    let text = String::from_utf8_lossy(&answer.body);
    Ok(Load {
        waiting: gauge(&text, "vllm:num_requests_waiting")?,
        running: gauge(&text, "vllm:num_requests_running")?,
    })
}

/// The sum of a gauge's series.
fn gauge(metrics: &str, name: &str) -> Result<u32> {
    let series = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        rest.starts_with(['{', ' ']).then(|| rest.rsplit(' ').next())?
    });
    let values: Vec<&str> = series.collect();
    ensure!(!values.is_empty(), "there is no {name}");
    values.iter().try_fold(0, |sum, value| {
        let value: u32 = value.parse().with_context(|| format!("{name} is {value}"))?;
        Ok(sum + value)
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// With how many requests wait and run, if it says so.
    fn endpoint(host: u8, load: Option<[u32; 2]>) -> Endpoint {
        Endpoint {
            address: (Ipv4Addr::new(127, 0, 0, host), 8000).into(),
            load: load.map(|[waiting, running]| Load { waiting, running }),
            sent: 0,
        }
    }

    #[test]
    fn shortest_queue_comes_first_and_silent_endpoints_last() {
        let mut endpoints = [
            endpoint(1, None),
            endpoint(2, Some([1, 0])),
            endpoint(3, Some([0, 4])),
        ];
        let choice = choice(&mut endpoints, None).unwrap();
        assert_eq!(choice, "127.0.0.3:8000,127.0.0.2:8000,127.0.0.1:8000");
    }

    #[test]
    fn requests_between_two_looks_are_spread() {
        let mut endpoints = [endpoint(1, Some([0, 0])), endpoint(2, Some([0, 0]))];
        let mut first = [(); 4].map(|()| choice(&mut endpoints, None).unwrap()[..9].to_owned());
        first.sort();
        assert_eq!(first, ["127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"]);
    }

    #[test]
    fn choice_is_limited_to_the_subset() {
        let mut endpoints = [endpoint(1, Some([0, 0])), endpoint(2, Some([9, 9]))];
        let subset = ["127.0.0.2:8000".to_owned()];
        assert_eq!(choice(&mut endpoints, Some(&subset)).unwrap(), subset[0]);
        assert_eq!(choice(&mut endpoints, Some(&[])), None);
    }
}
