//! What the parts of Flotilla say to each other and to endpoint pickers, generated from the `.proto` files beside
//! this crate's `src`.

/// The link between the operator and its agents.
pub mod fleet {
    #![allow(clippy::pedantic, unreachable_pub, missing_docs)]
    tonic::include_proto!("flotilla.fleet.v1");
}

/// The part of Envoy's ext_proc protocol that endpoint pickers speak, under Envoy's own names.
///
/// See <https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ext_proc/v3/external_processor.proto>.
#[allow(clippy::pedantic, unreachable_pub, missing_docs)]
pub mod envoy {
    pub mod config {
        pub mod core {
            pub mod v3 {
                tonic::include_proto!("envoy.config.core.v3");
            }
        }
    }
    pub mod extensions {
        pub mod filters {
            pub mod http {
                pub mod ext_proc {
                    pub mod v3 {
                        tonic::include_proto!("envoy.extensions.filters.http.ext_proc.v3");
                    }
                }
            }
        }
    }
    pub mod service {
        pub mod ext_proc {
            pub mod v3 {
                tonic::include_proto!("envoy.service.ext_proc.v3");
            }
        }
    }
    pub mod r#type {
        pub mod v3 {
            tonic::include_proto!("envoy.r#type.v3");
        }
    }
}
