//! What the parts of Flotilla say to each other, generated from the `.proto` files beside this crate's `src`.

/// The link between the operator and its agents.
pub mod fleet {
    #![allow(clippy::pedantic, unreachable_pub, missing_docs)]
    tonic::include_proto!("flotilla.fleet.v1");
}
