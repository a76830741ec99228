//! What would change in NGINX.

use std::{collections::BTreeMap, path::Path};

use operator_core::outcome::Outcome;
use similar::TextDiff;

use super::{
    offline::Offline,
    render::{endpoints, generations},
};

/// A unified diff over all files of all gateways; empty if nothing would change.
pub(super) fn diff(old: &Path, new: &Path) -> anyhow::Result<String> {
    let [old, new] = [old, new].map(Offline::read_loudly);
    let [old, new] = [texts(&old?.outcome()), texts(&new?.outcome())];
    let mut names = old.keys().chain(new.keys()).collect::<Vec<_>>();
    names.sort();
    names.dedup();
    Ok(names
        .into_iter()
        .map(|name| diff_of_one(name, old.get(name), new.get(name)))
        .collect())
}

/// Everything that NGINX and its agent would be given, by a name for it.
fn texts(outcome: &Outcome) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for (gateway, generation) in generations(outcome) {
        for (path, content) in &generation.config.files {
            texts.insert(format!("{gateway}/{path}"), content.clone());
        }
        for (path, pem) in &generation.data.certificates {
            // Keys are not for screens; their digest shows whether they change.
            let digest = crate::digest::digest(&pem.0);
            texts.insert(
                format!("{gateway}/certificates/{path}"),
                format!("digest {digest}\n"),
            );
        }
        texts.insert(format!("{gateway}/endpoints.json"), endpoints(generation));
    }
    texts
}

fn diff_of_one(name: &str, old: Option<&String>, new: Option<&String>) -> String {
    let header =
        |text: Option<&String>, side: &str| text.map_or("/dev/null".to_owned(), |_| format!("{side}/{name}"));
    let [before, after] = [old, new].map(|text| text.map_or("", String::as_str));
    TextDiff::from_lines(before, after)
        .unified_diff()
        .header(&header(old, "old"), &header(new, "new"))
        .to_string()
}
