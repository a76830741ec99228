//! Everything that is wrong with the objects of a folder.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use super::{offline::Offline, strangers::strangers};
use crate::{
    source::ObjectId,
    status::{Complaint, complaints},
};

/// One line for each problem, in order of place; empty if there is none. What cannot be checked is said on standard
/// error.
pub(super) fn check(folder: &Path) -> anyhow::Result<String> {
    let offline = Offline::read(folder)?;
    for (id, missing) in strangers(&offline.snapshot) {
        if let Some(position) = offline.positions.get(&id) {
            eprintln!("note: {position}: {id}: not checked, as {missing} is not in the folder");
        }
    }
    let mut lines = BTreeSet::new();
    for problem in &offline.problems {
        lines.insert((Some(&problem.position), problem.message.clone()));
    }
    for change in offline.outcome_when_served().statuses {
        let id = ObjectId::from(&change);
        let status = serde_json::to_value(&change.status)?;
        for complaint in causes(complaints(&status)) {
            lines.insert((offline.positions.get(&id), format!("{id}: {complaint}")));
        }
    }
    let mut text = String::new();
    for (position, message) in lines {
        match position {
            Some(position) => writeln!(text, "{position}: {message}")?,
            None => writeln!(text, "{message}")?,
        }
    }
    Ok(text)
}

/// One complaint for each cause: a part that is not accepted or not resolved is not programmed either, and a conflict is
/// said twice.
fn causes(complaints: Vec<Complaint>) -> Vec<Complaint> {
    let mut causes = Vec::<Complaint>::new();
    // What is programmed comes last, whatever its place in the status.
    let (programmed, others): (Vec<_>, Vec<_>) = complaints
        .into_iter()
        .partition(|complaint| complaint.condition == "Programmed");
    for complaint in others {
        let said = |cause: &Complaint| cause.about == complaint.about && cause.message == complaint.message;
        if !causes.iter().any(said) {
            causes.push(complaint);
        }
    }
    for complaint in programmed {
        if !causes.iter().any(|cause| cause.about == complaint.about) {
            causes.push(complaint);
        }
    }
    causes
}
