//! Generations as agents are told of them: only the part that changed.

use std::sync::Arc;

use futures::{Stream, stream};
use operator_core::generation::{self, Files, Generation};
use proto::fleet::{Config, Data, EndpointPort, Endpoints, File, Wanted};
use tokio::sync::watch;
use tonic::Status;

use super::leg;

/// The service in the names that upstreams resolve.
const SERVICE: &str = "e";

/// Everything that an agent is told: at first all that there is, then what changes.
///
/// It is made when the agent is ready to take it, so a slow one skips to the newest.
pub(super) fn wanted(
    generations: watch::Receiver<Option<Arc<Generation>>>,
) -> impl Stream<Item = Result<Wanted, Status>> {
    stream::unfold((generations, None), |(mut generations, told)| async move {
        loop {
            let newest = generations.borrow_and_update().clone();
            if let Some(newest) = newest
                && let Some(wanted) = difference(told.as_deref(), &newest)
            {
                return Some((Ok(wanted), (generations, Some(newest))));
            }
            generations.changed().await.ok()?;
        }
    })
}

/// What an agent that knows `told` has to be told of `newest`; `None` if nothing.
fn difference(told: Option<&Generation>, newest: &Generation) -> Option<Wanted> {
    let Generation { config, data } = newest;
    let config = told
        .is_none_or(|told| told.config.version != config.version)
        .then(|| to_config(config));
    let data = told
        .is_none_or(|told| told.data.version != data.version)
        .then(|| to_data(data));
    (config.is_some() || data.is_some()).then_some(Wanted { config, data })
}

fn to_config(Files { version, files }: &Files) -> Config {
    Config {
        version: version.clone(),
        files: files.iter().map(|(path, content)| file(path, content)).collect(),
    }
}

fn to_data(
    generation::Data {
        version,
        endpoints,
        certificates,
        legs,
        proxy,
    }: &generation::Data,
) -> Data {
    Data {
        version: version.clone(),
        endpoints: endpoints.iter().map(to_endpoints).collect(),
        certificates: certificates
            .iter()
            .map(|(path, pem)| file(path, &pem.0))
            .collect(),
        legs: legs
            .iter()
            .map(|(name, leg)| leg::to_leg(*name, leg, certificates))
            .collect(),
        proxy: Some(leg::to_settings(proxy)),
    }
}

fn to_endpoints(generation::Endpoints { name, ports }: &generation::Endpoints) -> Endpoints {
    let port = |(port, addresses): (&u16, &Vec<String>)| EndpointPort {
        port: u32::from(*port),
        addresses: addresses.clone(),
    };
    Endpoints {
        name: name.clone(),
        service: SERVICE.to_owned(),
        ports: ports.iter().map(port).collect(),
    }
}

fn file(path: &str, content: &str) -> File {
    File {
        path: path.to_owned(),
        content: content.as_bytes().to_vec(),
    }
}
