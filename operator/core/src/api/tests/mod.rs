//! That the types lose nothing: of objects as people write them, and of every object that upstream's schemas admit.

mod documentation;
mod examples;
mod schemas;

use serde_json::Value;

use crate::api::with_kinds;

macro_rules! decode_and_encode {
    ($($field:ident: $type:ty = $kind:literal,)*) => {
        /// An object of any watched kind, read into its type and written again, and what `Debug` says of it.
        fn round_trip(object: &Value) -> serde_json::Result<(Value, String)> {
            match object["kind"].as_str() {
                $(Some($kind) => {
                    let object: $type = serde_json::from_value(object.clone())?;
                    Ok((serde_json::to_value(&object)?, format!("{object:?}")))
                })*
                other => panic!("{other:?} is no watched kind"),
            }
        }
    };
}
with_kinds!(decode_and_encode);
