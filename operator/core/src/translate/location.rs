//! Where the paths of a server lead.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Tables,
    action::{Scene, action},
    define,
    precedence::Candidate,
};
use crate::{
    config::{Action, Condition, Dispatch, Internal, Location, LocationPath, Subject, Then},
    resolve::PathMatch,
    syntax::{Id, Path},
};

/// The locations of a server, and the internal ones that they need.
///
/// NGINX picks the location by the path alone and never looks at another one. So each holds every rule that can match
/// a request there, its own and those of less specific paths, and a request whose headers do not fit the first rule
/// falls through to the next as the specification says.
pub(super) fn locations(
    tables: &mut Tables,
    candidates: &[Candidate<'_>],
    scene: Scene,
) -> (Vec<Location>, BTreeMap<Internal, Arc<Action>>) {
    let index = Index::new(candidates);
    let mut internal = BTreeMap::new();
    let mut choices: Vec<Option<Choice>> = candidates.iter().map(|_| None).collect();
    let mut locations = Vec::new();
    for path in index.paths() {
        let mut dispatch = Dispatch::default();
        let mut direct = None;
        for position in index.reaching(&path) {
            let choice = choices[position]
                .get_or_insert_with(|| Choice::new(tables, &mut internal, &candidates[position], scene));
            let last = choice.conditions.is_empty();
            if last && dispatch.choices.is_empty() {
                direct = Some(Arc::clone(&choice.action));
            } else {
                let name = Internal::Rule(Id::of(&choice.action));
                internal.entry(name).or_insert_with(|| Arc::clone(&choice.action));
                dispatch.choices.push((choice.conditions.clone(), name));
            }
            if last {
                break;
            }
        }
        let then = match direct {
            Some(action) => Then::Do(action),
            None => Then::Dispatch(define(&mut tables.config.dispatches, dispatch)),
        };
        locations.push(Location { path, then });
    }
    (locations, internal)
}

/// What a candidate means, the same wherever it can match.
struct Choice {
    /// What must hold beside the path that leads to the location.
    conditions: Vec<Id>,
    /// What is done then.
    action: Arc<Action>,
}

impl Choice {
    fn new(
        tables: &mut Tables,
        internal: &mut BTreeMap<Internal, Arc<Action>>,
        candidate: &Candidate<'_>,
        scene: Scene,
    ) -> Self {
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
        let conditions = all
            .map(|condition| define(&mut tables.config.conditions, condition))
            .collect();
        let action = Arc::new(action(tables, internal, candidate, scene));
        Self { conditions, action }
    }
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
    ///
    /// For each path that ends with a slash there is also one for the path without: NGINX would redirect its requests,
    /// see <https://nginx.org/en/docs/http/ngx_http_core_module.html#location>.
    fn paths(&self) -> BTreeSet<LocationPath> {
        let mut paths = BTreeSet::new();
        for path in self.exact.keys() {
            paths.insert(LocationPath::Exact((*path).clone()));
            paths.extend(path.trimmed().map(LocationPath::Exact));
        }
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
