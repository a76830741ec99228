//! What templates print: structures of the types of [`super::text`], and of nothing else.

use askama::Template;

/// What a template may hold: types of [`super::text`], views made of them, and what decides whether something is
/// printed at all.
pub(super) trait Printable {}

impl Printable for bool {}
impl<T: Printable> Printable for Option<T> {}
impl<T: Printable> Printable for Vec<T> {}

/// Declares what templates print; a field that is not [`Printable`] does not compile.
macro_rules! views {
    ($( $(#[$meta:meta])* struct $name:ident { $( $(#[$field_meta:meta])* $field:ident: $type:ty, )* } )*) => { $(
        $(#[$meta])*
        pub(super) struct $name { $( $(#[$field_meta])* pub(super) $field: $type, )* }
        impl $crate::render::view::Printable for $name where $( $type: $crate::render::view::Printable, )* {}
    )* };
}
pub(super) use views;

/// The text that a template makes.
pub(super) fn print(view: &(impl Template + Printable)) -> String {
    view.render().expect("printing to a string succeeds")
}
