//! Where the paths of a server lead.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    action::{Scene, action},
    define,
    precedence::Candidate,
};
use crate::{
    config::{Action, Condition, Config, Dispatch, Internal, Location, LocationPath, Subject, Then},
    resolve::PathMatch,
    syntax::{Id, Path},
};

/// The locations of a server, and the internal ones that they need.
///
/// NGINX picks the location by the path alone and never looks at another one. So each holds every rule that can match
/// a request there, its own and those of less specific paths, and a request whose headers do not fit the first rule
/// falls through to the next as the specification says.
pub(super) fn locations(
    config: &mut Config,
    candidates: &[Candidate<'_>],
    scene: Scene,
) -> (Vec<Location>, BTreeMap<Internal, Action>) {
    let index = Index::new(candidates);
    let mut internal = BTreeMap::new();
    let mut locations = Vec::new();
    for path in index.paths() {
        let mut dispatch = Dispatch::default();
        let mut direct = None;
        for candidate in index
            .reaching(&path)
            .into_iter()
            .map(|position| &candidates[position])
        {
            let conditions = conditions(config, candidate);
            let last = conditions.is_empty();
            let action = action(config, &mut internal, candidate, scene);
            if last && dispatch.choices.is_empty() {
                direct = Some(action);
            } else {
                let name = Internal::Rule(Id::of(&action));
                internal.entry(name).or_insert(action);
                dispatch.choices.push((conditions, name));
            }
            if last {
                break;
            }
        }
        let then = match direct {
            Some(action) => Then::Do(Box::new(action)),
            None => Then::Dispatch(define(&mut config.dispatches, dispatch)),
        };
        locations.push(Location { path, then });
    }
    (locations, internal)
}

/// What must hold beside the path that leads to the location; a regular expression of the path is one of these.
fn conditions(config: &mut Config, candidate: &Candidate<'_>) -> Vec<Id> {
    let path = match &candidate.matched.path {
        PathMatch::Regex(pattern) => Some(Condition {
            subject: Subject::Path,
            pattern: pattern.clone(),
        }),
        PathMatch::Exact(_) | PathMatch::Prefix(_) => None,
    };
    let all = path
        .into_iter()
        .chain(candidate.matched.conditions.iter().cloned());
    all.map(|condition| define(&mut config.conditions, condition))
        .collect()
}

/// Positions of candidates by the path that they ask for.
struct Index<'a> {
    exact: BTreeMap<&'a Path, Vec<usize>>,
    /// By path without a slash at its end, which is empty for the root.
    prefix: BTreeMap<&'a [u8], (&'a Path, Vec<usize>)>,
    regex: Vec<usize>,
}

impl<'a> Index<'a> {
    fn new(candidates: &[Candidate<'a>]) -> Self {
        let mut index = Self {
            exact: BTreeMap::new(),
            prefix: BTreeMap::new(),
            regex: Vec::new(),
        };
        for (position, candidate) in candidates.iter().enumerate() {
            match &candidate.matched.path {
                PathMatch::Exact(path) => index.exact.entry(path).or_default().push(position),
                PathMatch::Prefix(path) => {
                    let (_, positions) = index
                        .prefix
                        .entry(path.without_trailing_slash())
                        .or_insert((path, Vec::new()));
                    positions.push(position);
                }
                PathMatch::Regex(_) => index.regex.push(position),
            }
        }
        index
    }

    /// The locations that tell these paths apart.
    fn paths(&self) -> BTreeSet<LocationPath> {
        let mut paths = BTreeSet::new();
        paths.extend(self.exact.keys().map(|path| LocationPath::Exact((*path).clone())));
        for (path, _) in self.prefix.values() {
            let path = path.trimmed();
            paths.extend(path.clone().map(LocationPath::Exact));
            paths.insert(LocationPath::Below(path));
        }
        if !self.regex.is_empty() {
            paths.insert(LocationPath::Below(None));
        }
        paths
    }

    /// The candidates that can match a request at a location, in order of precedence.
    fn reaching(&self, path: &LocationPath) -> Vec<usize> {
        let mut positions = self.regex.clone();
        let mut segments = match path {
            LocationPath::Exact(path) => {
                positions.extend(self.exact.get(path).into_iter().flatten());
                path.as_bytes()
            }
            LocationPath::Below(path) => path.as_ref().map_or(b"".as_slice(), Path::as_bytes),
        };
        loop {
            positions.extend(
                self.prefix
                    .get(segments)
                    .into_iter()
                    .flat_map(|(_, positions)| positions),
            );
            let Some(slash) = segments.iter().rposition(|byte| *byte == b'/') else {
                break;
            };
            segments = &segments[..slash];
        }
        positions.sort_unstable();
        positions
    }
}
