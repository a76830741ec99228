//! What one NGINX must do, in NGINX's own terms but without its syntax.
//!
//! ```text
//!  Config
//!   ├─ settings                      from NginxFleet
//!   ├─ servers ── locations          where a request's path leads: straight to an action, or to a dispatch
//!   │         └── internal           what a dispatch, a split or a mirror leads to, by name
//!   ├─ dispatches ── conditions      which of several rules takes the request
//!   ├─ splits                        which of several backends takes the request
//!   ├─ rewrites, cors, joined_headers  values that actions print
//!   ├─ tls                           how upstreams are spoken TLS to
//!   ├─ legs                          what goes through the agent's proxy, and how; data, but for the name
//!   └─ upstreams                     endpoints by name; the addresses are data
//! ```
//!
//! Everything that several places share is named by an [`Id`] made from its content, so equal things are defined
//! once and a change touches only what it is about. Two configurations that do the same are equal.

mod action;
mod leg;
mod matching;
mod server;
mod settings;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use action::{
    Action, Cors, HeaderChanges, MirrorRequest, Origin, OriginPattern, PathRewrite, Proxy, Redirect,
    RewrittenPath, Step, Target,
};
pub use leg::{BackendTls, Leg, Picker, ProxySettings, Retry, Verification};
pub use matching::{Condition, Dispatch, Subject};
pub use server::{
    Certificates, ClientValidation, Internal, Listen, Location, LocationPath, Misdirected, Server, ServerTls,
    Then,
};
pub use settings::{AccessLog, ErrorLogLevel, RealIp, RealIpSource, Settings, Timeouts};
pub use upstream::{Protocol, Share, Split, Upstream};

use crate::syntax::{HeaderName, Id};

/// What one NGINX must do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Config {
    /// What holds for all of it.
    pub settings: Settings,
    /// In order of port, then of hostname; the catch-all of a port comes last.
    pub servers: Vec<Server>,
    /// Which listener a host belongs to, for each port where that has to be compared with the name of the TLS
    /// handshake.
    pub misdirected: BTreeMap<u16, Misdirected>,
    /// Yes-or-no questions about a request.
    pub conditions: BTreeMap<Id, Condition>,
    /// Choices between rules.
    pub dispatches: BTreeMap<Id, Dispatch>,
    /// Choices between backends.
    pub splits: BTreeMap<Id, Split>,
    /// Prefix replacements of paths.
    pub rewrites: BTreeMap<Id, PathRewrite>,
    /// Policies of cross-origin resource sharing.
    pub cors: BTreeMap<Id, Cors>,
    /// Request headers that some action appends to.
    pub joined_headers: BTreeSet<HeaderName>,
    /// Groups of endpoints.
    pub upstreams: BTreeMap<Id, Upstream>,
    /// How NGINX speaks TLS to endpoints.
    pub tls: BTreeMap<Id, BackendTls>,
    /// The one of these whose authorities most requests want; `None` without TLS.
    pub usual_tls: Option<Id>,
    /// What the agent's proxy does with the requests that it is handed.
    pub legs: BTreeMap<Id, Leg>,
}
