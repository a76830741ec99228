//! Requests of one client that go to one endpoint (experimental channel).
//!
//! Before v1.7 some fields had other names (`sessionName`, `cookieConfig`); they are not read.

use serde::{Deserialize, Serialize};

use super::Duration;
use super::string_enum::string_enum;

/// How a session is recognized; see <https://gateway-api.sigs.k8s.io/geps/gep-1619/>.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionPersistence {
    /// How long a session lasts at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,
    /// What carries the session, as written; read it with [`Self::persistence_type`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<SessionPersistenceType>,
    /// Details of a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<CookieConfig>,
    /// Details of a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderConfig>,
}

impl SessionPersistence {
    /// What carries the session; a cookie by default.
    #[must_use]
    pub fn persistence_type(&self) -> &SessionPersistenceType {
        self.r#type.as_ref().unwrap_or(&SessionPersistenceType::Cookie)
    }
}

string_enum! {
    /// What carries a session.
    #[derive(Default)]
    pub enum SessionPersistenceType {
        /// A cookie.
        #[default]
        Cookie = "Cookie",
        /// A header.
        Header = "Header",
    }
}

/// The cookie that carries a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CookieConfig {
    /// Name; one of the implementation's choice where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Path, as written; read it with [`Self::path`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How long the client keeps it, as written; read it with [`Self::lifetime_type`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_type: Option<CookieLifetimeType>,
}

impl CookieConfig {
    /// Path; `/` by default.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }

    /// How long the client keeps it; for its own session by default.
    #[must_use]
    pub fn lifetime_type(&self) -> &CookieLifetimeType {
        self.lifetime_type
            .as_ref()
            .unwrap_or(&CookieLifetimeType::Session)
    }
}

string_enum! {
    /// How long a client keeps a cookie.
    #[derive(Default)]
    pub enum CookieLifetimeType {
        /// For the absolute timeout of the session.
        Permanent = "Permanent",
        /// Until the browser is closed.
        #[default]
        Session = "Session",
    }
}

/// The header that carries a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderConfig {
    /// Name.
    pub name: String,
}
