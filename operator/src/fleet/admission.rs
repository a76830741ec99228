//! Which gateway an agent may see: what it says of itself does not matter, only what others say of its token.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use operator_core::object::ObjectKey;
use tokio::time::sleep;
use tonic::Status;

use super::{reviews::Reviews, tokens::Tokens};

/// Who decides.
#[derive(Clone)]
pub enum Guard {
    /// Tokens that we gave out ourselves.
    Tokens(Tokens),
    /// The API server, for the tokens of pods.
    Reviews(Arc<Reviews>),
}

/// What an agent is admitted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    /// The gateway that it may see.
    pub(super) gateway: ObjectKey,
    /// Its pod's name; `None` where it may name itself.
    pub(super) instance: Option<String>,
    /// When it has to prove itself again.
    pub(super) until: Option<SystemTime>,
}

impl From<Tokens> for Guard {
    fn from(tokens: Tokens) -> Self {
        Self::Tokens(tokens)
    }
}

impl From<Reviews> for Guard {
    fn from(reviews: Reviews) -> Self {
        Self::Reviews(Arc::new(reviews))
    }
}

impl Guard {
    /// What the bearer of an `authorization` header is admitted to.
    pub(super) async fn admit(&self, authorization: &str) -> Result<Admission, Status> {
        match self {
            Self::Tokens(tokens) => {
                let gateway = tokens.gateway(authorization);
                let gateway =
                    gateway.ok_or_else(|| Status::unauthenticated("this token is good for no gateway"))?;
                Ok(Admission {
                    gateway,
                    instance: None,
                    until: None,
                })
            }
            Self::Reviews(reviews) => reviews.admit(authorization).await,
        }
    }
}

impl Admission {
    /// Ends when the agent has to prove itself again.
    pub(super) async fn expiry(self) {
        match self.until {
            Some(until) => sleep(until.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)).await,
            None => std::future::pending().await,
        }
    }
}
