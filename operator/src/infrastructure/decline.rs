//! Endpoint pickers where none can be run.

use operator_core::observed::ObservedPicker;
use tokio::sync::watch;

use crate::{controller::Pickers, observations::Observations};

/// Says of every endpoint picker that is wanted that it does not run and what to do about it, in a sentence without its
/// full stop; for ever.
pub async fn decline_pickers(
    mut wanted: watch::Receiver<Option<Pickers>>,
    observations: Observations,
    reason: &str,
) {
    while wanted.changed().await.is_ok() {
        let pickers = wanted.borrow_and_update().clone().unwrap_or_default();
        let declined = ObservedPicker {
            failure: Some(reason.to_owned()),
            ..ObservedPicker::default()
        };
        let pickers = pickers.into_keys().map(|picker| (picker, declined.clone()));
        observations.note_pickers(pickers.collect());
    }
}

#[cfg(test)]
mod tests {
    use operator_core::{infra::PickerInfra, object::ObjectKey};

    use super::*;

    #[tokio::test]
    async fn every_picker_that_is_wanted_hears_why_it_does_not_run() {
        let picker = ObjectKey::new("ai", "llm-picker");
        let wanted = watch::Sender::new(None);
        let observations = Observations::default();
        let declining = decline_pickers(wanted.subscribe(), observations.clone(), "There are no pods");
        wanted.send_replace(Some([(picker.clone(), PickerInfra::default())].into()));
        drop(wanted);
        declining.await;
        let observed = observations.get().pickers.remove(&picker).unwrap();
        assert_eq!(observed.failure.as_deref(), Some("There are no pods"));
    }
}
