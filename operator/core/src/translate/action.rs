//! What is done with the requests that a rule takes.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Tables, define,
    headers::then,
    leg::{Way, way},
    precedence::Candidate,
    share::{WHOLE, shares},
};
use crate::{
    config::{
        Action, HeaderChanges, Internal, MirrorRequest, Origin, PathRewrite, Proxy, Redirect, RewrittenPath,
        Share, Split, Step, Target,
    },
    resolve::{
        Backend, BackendTarget, Filters, Mirror, PathMatch, Rule,
        route::{PathModifier, RedirectFilter},
    },
    syntax::{Id, Path},
};

/// The listener's part in what a rule does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    /// The port that clients connect to, which need not be the one that NGINX binds.
    pub(super) port: u16,
    /// What they speak there.
    pub(super) scheme: &'static str,
}

/// What the rule of `candidate` does with a request that its match took.
pub(super) fn action(
    tables: &mut Tables,
    internal: &mut BTreeMap<Internal, Arc<Action>>,
    candidate: &Candidate<'_>,
    scene: Scene,
) -> Action {
    let rule = candidate.rule;
    let mut draft = Draft {
        tables,
        internal,
        origin: origin(candidate),
        prefix: prefix(candidate),
        rule,
        scene,
    };
    if rule.refused {
        return draft.refuse(500);
    }
    let filters = [&rule.filters];
    if rule.filters.redirect.is_some() {
        return draft.action(&filters, &BackendTarget::Unresolved);
    }
    let backends: Vec<&Backend> = rule
        .backends
        .iter()
        .filter(|backend| backend.weight > 0)
        .collect();
    match backends.as_slice() {
        [] => draft.refuse(500),
        [backend] => draft.action(&[&rule.filters, &backend.filters], &backend.target),
        backends => {
            let balanced = alike(backends).and_then(|services| draft.balanced(&rule.filters, &services));
            balanced.unwrap_or_else(|| draft.split(&rule.filters, backends))
        }
    }
}

fn origin(candidate: &Candidate<'_>) -> Origin {
    let Candidate { route, rule, .. } = candidate;
    let part = match &rule.name {
        Some(name) => format!("rule {} ({name})", rule.index),
        None => format!("rule {}", rule.index),
    };
    Origin {
        kind: "HTTPRoute",
        namespace: route.key.namespace.clone(),
        name: route.key.name.clone(),
        part,
    }
}

fn prefix<'a>(candidate: &Candidate<'a>) -> Option<&'a Path> {
    match &candidate.matched.path {
        PathMatch::Prefix(path) => Some(path),
        PathMatch::Exact(_) | PathMatch::Regex(_) => None,
    }
}

/// The Services of backends that differ in nothing else, so that one variable can name them; `None` where they do.
fn alike<'a>(backends: &[&'a Backend]) -> Option<Vec<(&'a BackendTarget, u32)>> {
    let mut services: Vec<(&BackendTarget, u32)> = Vec::new();
    let mut spoken = Vec::new();
    for backend in backends {
        let BackendTarget::Service { protocol, tls, .. } = &backend.target else {
            return None;
        };
        if backend.filters != Filters::default() {
            return None;
        }
        spoken.push((*protocol, tls));
        match services.iter_mut().find(|(target, _)| *target == &backend.target) {
            Some((_, weight)) => *weight = weight.saturating_add(backend.weight),
            None => services.push((&backend.target, backend.weight)),
        }
    }
    spoken.dedup();
    (spoken.len() == 1).then_some(services)
}

/// An action in the making: where it belongs and what it adds to.
struct Draft<'a> {
    tables: &'a mut Tables,
    internal: &'a mut BTreeMap<Internal, Arc<Action>>,
    origin: Origin,
    /// What the request's path is known to start with.
    prefix: Option<&'a Path>,
    rule: &'a Rule,
    scene: Scene,
}

impl Draft<'_> {
    /// NGINX answers by itself with a status.
    fn refuse(&self, status: u16) -> Action {
        Action {
            origin: self.origin.clone(),
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            cors: None,
            mirrors: Vec::new(),
            step: Step::Refuse(status),
        }
    }

    /// `target` answers after all of `filters`, in their order; the last that says where to rewrite or redirect to
    /// is the one that counts.
    fn action(&mut self, filters: &[&Filters], target: &BackendTarget) -> Action {
        let redirect = filters.iter().rev().find_map(|filters| filters.redirect.as_ref());
        let step = match redirect {
            Some(redirect) => Step::Redirect(self.redirect(redirect)),
            None => self.proxy(filters, target).map_or(Step::Refuse(500), Step::Proxy),
        };
        self.with_filters(filters, step)
    }

    fn proxy(&mut self, filters: &[&Filters], target: &BackendTarget) -> Option<Proxy> {
        let Way {
            target,
            protocol,
            tls,
        } = way(self.tables, target, Some(self.rule))?;
        let last_first = || filters.iter().rev();
        let host = last_first().find_map(|filters| filters.rewrite_host.clone());
        let path = last_first().find_map(|filters| filters.rewrite_path.as_ref());
        Some(Proxy {
            target,
            protocol,
            tls,
            host,
            path: path.map(|path| self.path(path)),
        })
    }

    /// One of several Services answers, which a variable names; `None` where they are reached over the agent's proxy.
    fn balanced(&mut self, filters: &Filters, services: &[(&BackendTarget, u32)]) -> Option<Action> {
        let mut action = self.action(&[filters], services[0].0);
        if let (Step::Proxy(proxy), true) = (&mut action.step, services.len() > 1) {
            if let Target::Leg(_) = proxy.target {
                return None;
            }
            let weights: Vec<u32> = services.iter().map(|(_, weight)| *weight).collect();
            let upstreams: Vec<Share> = services
                .iter()
                .filter_map(|(target, _)| match target {
                    BackendTarget::Service { upstream, .. } => {
                        Some(Share::Upstream(self.tables.upstream(upstream)))
                    }
                    BackendTarget::Pool { .. } | BackendTarget::Unresolved => None,
                })
                .collect();
            let shares = upstreams.into_iter().zip(shares(&weights)).collect();
            proxy.target = Target::Split(define(
                &mut self.tables.config.splits,
                Split {
                    salt: "backend",
                    shares,
                },
            ));
        }
        Some(action)
    }

    /// One of several backends answers, each in an internal location of its own.
    fn split(&mut self, filters: &Filters, backends: &[&Backend]) -> Action {
        let weights: Vec<u32> = backends.iter().map(|backend| backend.weight).collect();
        let mut parts: Vec<(Share, u16)> = Vec::new();
        for (backend, share) in backends.iter().zip(shares(&weights)) {
            let action = self.action(&[filters, &backend.filters], &backend.target);
            let id = Id::of(&action);
            self.internal
                .entry(Internal::Backend(id))
                .or_insert_with(|| Arc::new(action));
            match parts.iter_mut().find(|(part, _)| *part == Share::Backend(id)) {
                Some((_, sum)) => *sum += share,
                None => parts.push((Share::Backend(id), share)),
            }
        }
        let split = define(
            &mut self.tables.config.splits,
            Split {
                salt: "backend",
                shares: parts,
            },
        );
        Action {
            step: Step::Split(split),
            ..self.refuse(500)
        }
    }

    fn with_filters(&mut self, filters: &[&Filters], step: Step) -> Action {
        let mut request_headers = HeaderChanges::default();
        let mut response_headers = HeaderChanges::default();
        for filters in filters {
            request_headers = then(&request_headers, &filters.request_headers);
            response_headers = then(&response_headers, &filters.response_headers);
        }
        self.tables
            .config
            .joined_headers
            .extend(request_headers.add.iter().map(|(name, _)| name.clone()));
        let cors = filters.iter().rev().find_map(|filters| filters.cors.clone());
        let cors = cors.map(|cors| define(&mut self.tables.config.cors, cors));
        let mirrors: Vec<&Mirror> = filters.iter().flat_map(|filters| &filters.mirrors).collect();
        let mirrors = mirrors
            .into_iter()
            .filter_map(|mirror| self.mirror(mirror, &request_headers))
            .collect();
        Action {
            origin: self.origin.clone(),
            request_headers,
            response_headers,
            cors,
            mirrors,
            step,
        }
    }

    fn mirror(&mut self, mirror: &Mirror, request_headers: &HeaderChanges) -> Option<Id> {
        let Way {
            target,
            protocol,
            tls,
        } = way(self.tables, &mirror.target, None)?;
        let sample = (mirror.share < WHOLE).then(|| {
            let shares = [
                (Share::Flag(true), mirror.share),
                (Share::Flag(false), WHOLE - mirror.share),
            ];
            let shares = shares.into_iter().filter(|(_, share)| *share > 0).collect();
            define(
                &mut self.tables.config.splits,
                Split {
                    salt: "mirror",
                    shares,
                },
            )
        });
        let step = Step::Mirror(MirrorRequest {
            target,
            protocol,
            tls,
            sample,
        });
        let action = Action {
            request_headers: request_headers.clone(),
            step,
            ..self.refuse(500)
        };
        let id = Id::of(&action);
        self.internal
            .entry(Internal::Mirror(id))
            .or_insert_with(|| Arc::new(action));
        Some(id)
    }

    /// Where a redirect leads from this listener.
    ///
    /// The port is the redirect's, else the one that its scheme is known for, else the listener's; it is left out
    /// where the scheme makes it needless, see
    /// <https://gateway-api.sigs.k8s.io/reference/spec/#httprequestredirectfilter>.
    fn redirect(&mut self, filter: &RedirectFilter) -> Redirect {
        let scheme = filter.scheme.unwrap_or(self.scene.scheme);
        let well_known = if scheme == "https" { 443 } else { 80 };
        let default = if filter.scheme.is_some() {
            well_known
        } else {
            self.scene.port
        };
        let port = filter.port.unwrap_or(default);
        Redirect {
            status: filter.status,
            scheme: Some(scheme),
            host: filter.hostname.clone(),
            port: (port != well_known).then_some(port),
            path: filter.path.as_ref().map(|path| self.path(path)),
        }
    }

    fn path(&mut self, modifier: &PathModifier) -> RewrittenPath {
        match (modifier, self.prefix) {
            (PathModifier::ReplacePrefixMatch(replacement), Some(prefix)) => {
                let rewrite = PathRewrite {
                    prefix: prefix.clone(),
                    replacement: replacement.clone(),
                };
                RewrittenPath::Prefix(define(&mut self.tables.config.rewrites, rewrite))
            }
            (PathModifier::ReplaceFullPath(path) | PathModifier::ReplacePrefixMatch(path), _) => {
                RewrittenPath::Full(path.clone())
            }
        }
    }
}
