//! Where a request would go.

use std::{fmt::Write as _, path::Path};

use anyhow::anyhow;
use operator_core::{
    explain::{Request, explain as explain_request},
    observed::Observed,
    resolve::resolve,
};

use super::offline::{Offline, options};

/// What each gateway that listens on the request's port would do with it.
pub(super) fn explain(folder: &Path, request: &str, headers: &[String]) -> anyhow::Result<String> {
    let request =
        Request::parse(request, headers.iter().map(String::as_str)).map_err(|error| anyhow!("{error}"))?;
    let offline = Offline::read_loudly(folder)?;
    let explanations = explain_request(
        &resolve(&offline.snapshot, &Observed::default(), &options()),
        &request,
    );
    if explanations.is_empty() {
        let (scheme, port) = (&request.scheme, request.port);
        return Ok(format!(
            "no gateway listens for {scheme} on port {port}; `flotilla check` may say why\n"
        ));
    }
    let mut text = String::new();
    for explanation in explanations {
        writeln!(text, "{explanation}")?;
    }
    Ok(text)
}
