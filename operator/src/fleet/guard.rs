//! Which gateway an agent may see: what it says of itself does not matter, only what others say of its token.

use std::{net::IpAddr, sync::Arc};

use tonic::Status;

use super::{admission::Admission, reviews::Reviews, tokens::Tokens};

/// Who decides.
#[derive(Clone)]
pub enum Guard {
    /// Tokens that we gave out ourselves.
    Tokens(Tokens),
    /// The API server, for the tokens of pods.
    Reviews(Arc<Reviews>),
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
    /// What the bearer of an `authorization` header is admitted to, who has that address if it has one.
    pub(super) async fn admit(&self, authorization: &str, peer: Option<IpAddr>) -> Result<Admission, Status> {
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
            Self::Reviews(reviews) => reviews.admit(authorization, peer).await,
        }
    }
}
