//! Where a listener stands: whose it is, and who serves it.

use super::grant::Referrer;
use crate::{api::FrontendTlsConfig, object::ObjectKey};

/// Whose listener it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListenerOwner {
    /// The Gateway's own.
    Gateway,
    /// One that a `ListenerSet` adds.
    ListenerSet(ObjectKey),
}

/// What a listener is resolved in.
pub(super) struct ListenerContext<'a> {
    /// Whose it is.
    pub(super) owner: ListenerOwner,
    /// The object that it is written in.
    pub(super) from: Referrer<'a>,
    /// The Gateway that serves it.
    pub(super) gateway: Referrer<'a>,
    /// The Gateway's settings for TLS with clients.
    pub(super) frontend: Option<&'a FrontendTlsConfig>,
}
