//! The definitions of our own kinds, for clusters.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::NginxFleet;

/// The same as [`crds`] in YAML, ready to be applied.
pub const CRDS: &str = include_str!("../../../../crds/flotilla.dev_nginxfleets.yaml");

/// The definitions of our own kinds, made from their types.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![NginxFleet::crd()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_GOLDEN=1 cargo test -p operator-core committed_crds` writes the file anew.
    #[test]
    fn committed_crds_are_those_of_the_types() {
        let documents: Result<Vec<_>, _> = crds().iter().map(serde_saphyr::to_string).collect();
        let wanted = documents.expect("a definition encodes").join("---\n");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let path = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../crds/flotilla.dev_nginxfleets.yaml"
            );
            std::fs::write(path, &wanted).expect("the checkout can be written");
        } else {
            similar_asserts::assert_eq!(CRDS, wanted);
        }
    }
}
