//! The tasks that the operator is made of.

use std::{borrow::Cow, collections::HashMap};

use anyhow::{Context as _, ensure};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// Tasks that last as long as the operator. With one of them missing it would seem to work and would not, so it ends when
/// one does, and whoever runs it starts it again.
///
/// Whatever needs a task takes these and adds it, so that there is no other way to have one. All end when this is dropped.
pub struct Parts {
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, Name>,
}

/// What a part is called in messages, such as `watch of Gateway`.
type Name = Cow<'static, str>;

impl Parts {
    /// None yet; they are told to stop by this.
    #[must_use]
    pub fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            tasks: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    /// What tells the parts to stop.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a part until the operator is told to stop.
    pub fn run<T>(&mut self, name: impl Into<Name>, part: impl Future<Output = T> + Send + 'static) {
        let stop = self.stop.clone();
        self.run_to_end(name, async move {
            stop.run_until_cancelled_owned(part).await;
            Ok(())
        });
    }

    /// Runs a part that knows by itself when the operator is told to stop, and has to be waited for then.
    pub fn run_to_end(
        &mut self,
        name: impl Into<Name>,
        part: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let task = self.tasks.spawn(part);
        self.names.insert(task.id(), name.into());
    }

    /// Ends when the operator is told to stop; before that, with an error, when a part has ended.
    pub async fn last(&mut self) -> anyhow::Result<()> {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.ended()).await.unwrap_or(Ok(()))
    }

    /// Ends when all parts have, after they were told to stop; before that, with an error, when one has.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let (id, result) = match ended {
                Ok((id, result)) => (id, result),
                Err(error) => (error.id(), Err(error).context("this is a bug, please report it")),
            };
            let name = self.names.remove(&id).unwrap_or_default();
            result.with_context(|| format!("a part of the operator failed: {name}"))?;
            ensure!(
                self.stop.is_cancelled(),
                "a part of the operator has ended by itself: {name}"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use tokio::time::timeout;

    use super::*;

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Why an operator has ended of which this is a part.
    async fn end(part: impl Future<Output = ()> + Send + 'static) -> String {
        let mut parts = Parts::new(CancellationToken::new());
        parts.run("patient", pending::<()>());
        parts.run("hasty", part);
        let ended = timeout(PATIENCE, parts.last()).await.unwrap();
        format!("{:#}", ended.unwrap_err())
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_ends_the_operator() {
        assert_eq!(
            end(async {}).await,
            "a part of the operator has ended by itself: hasty"
        );
        let failed = end(async { panic!("on purpose") }).await;
        let expected = "a part of the operator failed: hasty: this is a bug, please report it: ";
        assert!(failed.starts_with(expected), "{failed}");
        assert!(failed.contains("on purpose"), "{failed}");
    }

    #[tokio::test]
    async fn parts_that_have_to_be_waited_for_are() {
        let stop = CancellationToken::new();
        let (told, waits) = (stop.clone(), CancellationToken::new());
        let mut parts = Parts::new(stop.clone());
        parts.run("patient", pending::<()>());
        let finished = waits.clone();
        parts.run_to_end("waiting", async move {
            told.cancelled().await;
            tokio::task::yield_now().await;
            finished.cancel();
            Ok(())
        });
        stop.cancel();
        timeout(PATIENCE, parts.last()).await.unwrap().unwrap();
        timeout(PATIENCE, parts.ended()).await.unwrap().unwrap();
        assert!(waits.is_cancelled());
    }
}
