//! The definitions of our own kinds, for clusters.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{EndpointPicker, NginxFleet};

/// The same as [`crds`] in YAML, ready to be applied.
pub const CRDS: &str = concat!(
    include_str!("../../../../crds/flotilla.dev_endpointpickers.yaml"),
    "---\n",
    include_str!("../../../../crds/flotilla.dev_nginxfleets.yaml"),
);

/// The definitions of our own kinds, made from their types.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![EndpointPicker::crd(), NginxFleet::crd()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_GOLDEN=1 cargo test -p operator-core committed_crds` writes the files anew.
    #[test]
    fn committed_crds_are_those_of_the_types() {
        let mut documents = Vec::new();
        for definition in crds() {
            let wanted = serde_saphyr::to_string(&definition).expect("a definition encodes");
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                let plural = &definition.spec.names.plural;
                let path = format!(
                    "{}/../../crds/flotilla.dev_{plural}.yaml",
                    env!("CARGO_MANIFEST_DIR")
                );
                std::fs::write(path, &wanted).expect("the checkout can be written");
            }
            documents.push(wanted);
        }
        if std::env::var_os("UPDATE_GOLDEN").is_none() {
            similar_asserts::assert_eq!(CRDS, documents.join("---\n"));
        }
    }
}
