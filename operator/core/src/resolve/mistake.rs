//! What is wrong with a route, and with which of its fields.

use std::fmt;

use super::finding::reasons;

reasons! {
    /// Why a route, or a part of it, is not served.
    ///
    /// See `RouteConditionReason` in <https://gateway-api.sigs.k8s.io/reference/spec/>.
    pub enum RouteReason {
        /// A value that does not exist, or that we cannot do.
        UnsupportedValue = "UnsupportedValue",
        /// Filters that cannot be done together.
        IncompatibleFilters = "IncompatibleFilters",
        /// No listener of the parent is the one that the route asks for.
        NoMatchingParent = "NoMatchingParent",
        /// The listeners do not let routes of this kind, or from this namespace, attach.
        NotAllowedByListeners = "NotAllowedByListeners",
        /// The listeners have no hostname in common with the route.
        NoMatchingListenerHostname = "NoMatchingListenerHostname",
        /// A reference to another namespace that does not grant it.
        RefNotPermitted = "RefNotPermitted",
        /// A reference to a kind that we do not know.
        InvalidKind = "InvalidKind",
        /// A reference to something that does not exist.
        BackendNotFound = "BackendNotFound",
        /// A reference to a backend that speaks something that we do not.
        UnsupportedProtocol = "UnsupportedProtocol",
    }
}

/// Something that is wrong with a field of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The reason of the condition.
    pub reason: RouteReason,
    /// The field, as `rules[0].matches[1].path.value`, from the object that is looked at; empty for all of that.
    place: String,
    /// What is wrong there and what would be right, without a full stop.
    problem: String,
}

/// What is wrong with a route by itself, whatever it attaches to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// Hostnames that are none, and are left out.
    pub hostnames: Vec<Mistake>,
    /// Rules that are left out, or answered with 500 where leaving them out would let requests pass that must not.
    pub rules: Vec<Mistake>,
    /// Fields that are not supported yet, and are ignored.
    pub ignored: Vec<Mistake>,
    /// References that lead nowhere.
    pub references: Vec<Mistake>,
}

impl Mistake {
    /// A mistake in the field at `place`.
    pub(super) fn new(reason: RouteReason, place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            reason,
            place: place.into(),
            problem: problem.into(),
        }
    }

    /// A value that does not exist, or that we cannot do.
    pub(super) fn unsupported(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(RouteReason::UnsupportedValue, place, problem)
    }

    /// Filters that cannot be done together.
    pub(super) fn incompatible(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(RouteReason::IncompatibleFilters, place, problem)
    }

    /// The same mistake, seen from the object whose field `outer` is.
    #[must_use]
    pub(super) fn within(mut self, outer: impl fmt::Display) -> Self {
        let dot = if self.place.is_empty() { "" } else { "." };
        self.place = format!("{outer}{dot}{}", self.place);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reason: _,
            place,
            problem,
        } = self;
        let colon = if place.is_empty() { "" } else { ": " };
        write!(formatter, "{place}{colon}{problem}")
    }
}

impl Mistakes {
    /// Adds what is wrong within the field `outer`.
    pub(super) fn absorb(&mut self, outer: impl fmt::Display, inner: Self) {
        let Self {
            hostnames,
            rules,
            ignored,
            references,
        } = inner;
        for (all, some) in [
            (&mut self.hostnames, hostnames),
            (&mut self.rules, rules),
            (&mut self.ignored, ignored),
            (&mut self.references, references),
        ] {
            if !some.is_empty() {
                all.extend(some.into_iter().map(|mistake| mistake.within(&outer)));
            }
        }
    }
}

/// A text of the user's for a message: quoted, without control characters, cut where it is longer than a line.
pub(super) fn quoted(text: &str) -> String {
    const LINE: usize = 80;
    match text.char_indices().nth(LINE) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_paths_of_fields() {
        let mistake = Mistake::unsupported("value", "is odd")
            .within("path")
            .within("rules[1]");
        assert_eq!(mistake.to_string(), "rules[1].path.value: is odd");
    }

    #[test]
    fn a_place_may_be_all_of_a_field() {
        let mistake = Mistake::unsupported("", "is missing").within("rules[1]");
        assert_eq!(mistake.to_string(), "rules[1]: is missing");
    }

    #[test]
    fn long_texts_of_users_are_cut_in_messages() {
        assert_eq!(quoted("a\n"), r#""a\n""#);
        assert_eq!(quoted(&"ä".repeat(10_000)).chars().count(), 83);
    }
}
