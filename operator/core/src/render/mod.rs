//! What one NGINX must do, as the files that it reads.
//!
//! ```text
//!  nginx.conf          settings, and what never changes
//!   ├─ agent.conf      where to ask for endpoints; the agent puts its own in its place
//!   ├─ proxy.conf      sockets of the agent's proxy; likewise
//!   ├─ maps.conf       conditions, dispatches, splits, rewrites, policies: values made from a request
//!   ├─ upstreams.conf  a Service's port each, by name, and the agent's proxy
//!   └─ servers/        a file for each port
//!  clients/, backends/ authorities that certificates of clients and backends are verified with
//! ```
//!
//! Nothing is decided here, only printed: templates hold NGINX's syntax, views (in the files beside this one) hold
//! what they print, and `text` holds the types that views are made of, whose `Display` is the escaping. `view` sees
//! to it that they are made of nothing else.

mod alike;
mod backend_tls;
mod cors;
mod headers;
mod location;
mod maps;
mod pattern;
mod rewrites;
mod servers;
mod settings;
mod text;
mod upstreams;
mod view;

use std::collections::BTreeMap;

use askama::Template;
#[cfg(test)]
pub(crate) use pattern::fits;
use text::FileName;
use view::{print, views};

use crate::{
    config::{Action, Config, Listen, Location, Server, ServerTls, Then},
    generation::Files,
    syntax::{Id, digest},
};

/// The files of a configuration.
///
/// `nginx -t -p FOLDER -c nginx.conf` accepts them in a folder of their own, provided that the certificates they
/// name can be read when a client asks for them.
#[must_use]
pub fn render(config: &Config) -> Files {
    let mut ports = BTreeMap::<u16, Vec<&Server>>::new();
    for server in &config.servers {
        let Listen { port, .. } = server.listen;
        ports.entry(port).or_default().push(server);
    }
    let mut files = BTreeMap::from([
        (
            "nginx.conf".to_owned(),
            settings::view(&config.settings, ports.keys().copied()),
        ),
        ("agent.conf".to_owned(), print(&Agent {})),
        ("proxy.conf".to_owned(), print(&ProxySockets {})),
        ("maps.conf".to_owned(), maps::view(config)),
        ("upstreams.conf".to_owned(), upstreams::view(config)),
    ]);
    for (port, servers) in ports {
        files.insert(
            FileName::Servers(port).to_string(),
            servers::view(&servers, config),
        );
    }
    for server in &config.servers {
        if let Some(ServerTls::Terminate {
            client: Some(client), ..
        }) = &server.tls
        {
            files.insert(
                clients_file(&client.authorities).to_string(),
                client.authorities.clone(),
            );
        }
    }
    for tls in config.tls.values() {
        let verification = tls.verification.as_ref();
        if let Some(authorities) = verification.and_then(|verification| verification.authorities.as_ref()) {
            files.insert(backends_file(authorities).to_string(), authorities.clone());
        }
    }
    for content in files.values_mut() {
        if !content.ends_with('\n') {
            content.push('\n');
        }
    }
    let contents = files
        .iter()
        .flat_map(|(name, content)| [name.as_bytes(), content.as_bytes()]);
    Files {
        version: digest(contents),
        files,
    }
}

/// What a server does, in all of its locations.
fn actions(server: &Server) -> impl Iterator<Item = &Action> {
    let direct = server.locations.iter().filter_map(direct);
    direct.chain(server.internal.values().map(|action| -> &Action { action }))
}

/// What a location does without a dispatch.
fn direct(location: &Location) -> Option<&Action> {
    match &location.then {
        Then::Do(action) => Some(action),
        Then::Dispatch(_) => None,
    }
}

/// The file of the authorities that clients are verified with.
fn clients_file(authorities: &str) -> FileName {
    FileName::Clients(Id::of(authorities))
}

/// The file of the authorities that a backend is verified with.
fn backends_file(authorities: &str) -> FileName {
    FileName::Backends(Id::of(authorities))
}

views! {
    #[derive(Template)]
    #[template(path = "agent.conf")]
    struct Agent {}

    #[derive(Template)]
    #[template(path = "proxy.conf")]
    struct ProxySockets {}
}

#[cfg(test)]
mod tests;
