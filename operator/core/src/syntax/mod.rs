//! Strings that were checked once and are known to be well formed from then on.
//!
//! Objects hold plain strings; whatever core decides on holds these. None of them is escaped yet: that is the work
//! of the types in `render::text`, the only ones that a template can print.

mod ambiguity;
mod header_name;
mod hostname;
mod id;
mod method;
mod path;
pub mod pattern;
mod percent;

pub use header_name::HeaderName;
pub use hostname::Hostname;
pub use id::Id;
pub(crate) use id::digest;
pub use method::Method;
pub use path::Path;
pub use pattern::Pattern;
pub(crate) use percent::percent_decoded;
