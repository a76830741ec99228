//! The order of the steps; read this first.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use crate::{
    data::{Slices, data},
    generation::Generation,
    object::ObjectKey,
    observed::Observed,
    options::{ListenOn, Options},
    outcome::{GatewayOutcome, Outcome},
    render::render,
    resolve::{Gateway, Resolved, resolve},
    snapshot::Snapshot,
    status::statuses,
    translate::{Binding, translate},
};

/// Everything that the operator wants, given everything that it knows.
///
/// What the objects mean is found out first, for all of them at once. Then each gateway is translated into what its
/// NGINX must do and printed. Last comes what to say about it all, which also depends on what agents report.
#[must_use]
pub fn reconcile(snapshot: &Snapshot, observed: &Observed, options: &Options) -> Outcome {
    let resolved = resolve(snapshot, observed, options);
    let slices = Slices::new(snapshot);
    let mut gateways = BTreeMap::new();
    for (key, gateway) in &resolved.gateways {
        // What is wrong with the Gateway itself would be wrong in every line: what it serves already is better.
        let binding = binding(key, observed, options).filter(|_| gateway.is_accepted());
        let infra = gateway.infra.clone();
        let generation =
            binding.map(|binding| Arc::new(generation(gateway, &resolved, snapshot, &slices, binding)));
        gateways.insert(key.clone(), GatewayOutcome { infra, generation });
    }
    let statuses = statuses(snapshot, &resolved, &gateways, observed, options);
    let pickers = resolved.pickers.into_iter();
    Outcome {
        gateways,
        pickers: pickers
            .filter_map(|(key, picker)| Some((key, picker.infra?)))
            .collect(),
        statuses,
        needs: resolved.needs,
    }
}

/// What one gateway's NGINX serves from.
fn generation(
    gateway: &Gateway,
    resolved: &Resolved,
    snapshot: &Snapshot,
    slices: &Slices<'_>,
    binding: Binding,
) -> Generation {
    let routes = resolved
        .attachments
        .http_routes
        .get(&gateway.key)
        .map_or(&[][..], Vec::as_slice);
    let config = translate(gateway, routes, binding);
    Generation {
        data: data(gateway, &config, snapshot, slices),
        config: render(&config),
    }
}

/// Where a gateway's NGINX listens; `None` as long as the address that it must have is not known.
fn binding(gateway: &ObjectKey, observed: &Observed, options: &Options) -> Option<Binding> {
    let address = match options.listen {
        ListenOn::Every => None,
        ListenOn::Observed => {
            let addresses = &observed.gateways.get(gateway)?.addresses;
            Some(
                addresses
                    .iter()
                    .find_map(|address| address.parse::<IpAddr>().ok())?,
            )
        }
    };
    Some(Binding {
        address,
        privileged_port_shift: options.privileged_port_shift,
    })
}
