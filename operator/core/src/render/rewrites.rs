//! Paths with a part of them replaced.

use std::collections::BTreeSet;

use super::{
    actions,
    pattern::Regex,
    text::{Comment, Value, Variable},
    view::views,
};
use crate::{
    config::{Config, PathRewrite, Protocol, Proxy, RewrittenPath, Step},
    syntax::{Id, Path, percent_decoded},
};

views! {
    /// A map to new paths.
    struct RewriteView {
        about: Comment,
        source: Variable,
        variable: Variable,
        entries: Vec<EntryView>,
    }

    /// What one form of the old path becomes.
    struct EntryView {
        regex: Regex,
        value: Value,
    }
}

/// The replacements: of the path as sent, with its query, and where the protocol's module encodes the path again, of
/// the decoded path.
pub(super) fn views_of(config: &Config) -> Vec<RewriteView> {
    let h2c = config
        .servers
        .iter()
        .flat_map(actions)
        .filter_map(|action| match &action.step {
            Step::Proxy(Proxy {
                protocol: Protocol::H2c,
                path: Some(RewrittenPath::Prefix(id)),
                ..
            }) => Some(*id),
            _ => None,
        });
    let h2c = h2c.collect::<BTreeSet<_>>();
    let encoded = config
        .rewrites
        .iter()
        .map(|(&id, rewrite)| encoded_view(id, rewrite));
    let decoded = h2c
        .into_iter()
        .filter_map(|id| Some(decoded_view(id, config.rewrites.get(&id)?)));
    encoded.chain(decoded).collect()
}

fn encoded_view(id: Id, rewrite: &PathRewrite) -> RewriteView {
    let PathRewrite { prefix, replacement } = rewrite;
    let new = replacement.strip_suffix('/').unwrap_or(replacement);
    let mut entries = vec![EntryView {
        regex: Regex::encoded_prefix(prefix, true),
        // The slash is written anew: an encoded one behind the name of a host would be taken for a part of the name.
        value: Value::text(new).then_text("/").then_nginx("1").then_nginx("2"),
    }];
    if has_segments(prefix) {
        entries.push(EntryView {
            regex: Regex::encoded_prefix(prefix, false),
            value: Value::text(or_root(new)).then_nginx("1"),
        });
    }
    RewriteView {
        about: Comment(format!("path {prefix}, replaced by {replacement}")),
        source: Variable::Nginx("plain_uri"),
        variable: Variable::Rewrite(id),
        entries,
    }
}

fn decoded_view(id: Id, rewrite: &PathRewrite) -> RewriteView {
    let PathRewrite { prefix, replacement } = rewrite;
    let new = decoded(replacement.strip_suffix('/').unwrap_or(replacement));
    let mut entries = vec![EntryView {
        regex: Regex::decoded_prefix(prefix, true),
        value: Value::text(&new).then_nginx("1"),
    }];
    if has_segments(prefix) {
        entries.push(EntryView {
            regex: Regex::decoded_prefix(prefix, false),
            value: Value::text(or_root(&new)),
        });
    }
    RewriteView {
        about: Comment(format!("decoded path {prefix}, replaced by {replacement}")),
        source: Variable::Nginx("client_path"),
        variable: Variable::DecodedRewrite(id),
        entries,
    }
}

/// Whether a path can be nothing but the prefix; what is left of the root always starts with a slash.
fn has_segments(prefix: &Path) -> bool {
    !prefix.without_trailing_slash().is_empty()
}

fn or_root(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// A path without its percent-encodings, as far as it is text; as it is where they are none.
pub(super) fn decoded(path: &str) -> String {
    match percent_decoded(path) {
        Some(decoded) => String::from_utf8_lossy(&decoded).into_owned(),
        None => path.to_owned(),
    }
}
