//! Configurations and data as an operator would send them.

use std::net::SocketAddr;

use proto::fleet::{Config, Data, EndpointPort, Endpoints, File, Leg};

/// A configuration that passes everything to the upstream `shop.test`, and says its version at `/config`.
///
/// More goes into its `http` block. A worker may keep a connection to each of a thousand upstreams.
pub fn config(version: &str, address: SocketAddr, more: &str) -> Config {
    let nginx = "pid nginx.pid;\n\
                 error_log stderr crit;\n\
                 worker_processes 2;\n\
                 events { worker_connections 4096; }\n\
                 http {\n\
                     access_log off;\n\
                     keepalive_min_timeout 10s;\n\
                     include agent.conf;\n\
                     include conf.d/http.conf;\n\
                 }\n";
    let http = format!(
        "upstream shop {{ zone endpoints 16m; server shop.test service=e resolve; }}\n\
         server {{\n\
             listen {address};\n\
             location / {{ proxy_pass http://shop; proxy_buffering off; }}\n\
             location = /config {{ return 200 {version}; }}\n\
         }}\n\
         {more}\n"
    );
    let file = |path: &str, content: &str| File {
        path: path.to_owned(),
        content: content.into(),
    };
    Config {
        version: version.to_owned(),
        files: vec![file("nginx.conf", nginx), file("conf.d/http.conf", &http)],
    }
}

/// Data in which `shop.test` has the given endpoints.
pub fn data(version: &str, addresses: &[SocketAddr]) -> Data {
    Data {
        version: version.to_owned(),
        endpoints: vec![endpoints("shop.test", addresses)],
        ..Data::default()
    }
}

/// What goes into the `http` block for a server that hands everything to the proxy, by the leg of a name.
pub fn over_leg(address: SocketAddr, leg: &str) -> String {
    format!(
        "upstream proxy {{ zone endpoints; include proxy.conf; keepalive 16; }}\n\
         server {{\n\
             listen {address};\n\
             location / {{\n\
                 proxy_pass http://proxy;\n\
                 proxy_http_version 1.1;\n\
                 proxy_set_header Connection \"\";\n\
                 proxy_set_header x-flotilla-leg {leg};\n\
                 proxy_buffering off;\n\
             }}\n\
         }}"
    )
}

/// The same as [`data`], with a leg of a name to `shop.test`.
pub fn data_with_leg(version: &str, addresses: &[SocketAddr], leg: &str) -> Data {
    let leg = Leg {
        name: leg.to_owned(),
        endpoints: "shop.test".to_owned(),
        ..Leg::default()
    };
    Data {
        legs: vec![leg],
        ..data(version, addresses)
    }
}

/// The endpoints of a name, by port.
pub fn endpoints(name: &str, addresses: &[SocketAddr]) -> Endpoints {
    let mut ports: Vec<EndpointPort> = Vec::new();
    for address in addresses {
        let (port, ip) = (address.port().into(), address.ip().to_string());
        match ports.iter_mut().find(|known| known.port == port) {
            Some(known) => known.addresses.push(ip),
            None => ports.push(EndpointPort {
                port,
                addresses: vec![ip],
            }),
        }
    }
    Endpoints {
        name: name.to_owned(),
        service: "e".to_owned(),
        ports,
    }
}
