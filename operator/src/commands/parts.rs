//! The tasks that the operator is made of.

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Tasks that last as long as the operator. With one of them missing it would seem to work and would not, so it ends when
/// one does, and whoever runs it starts it again.
pub(super) struct Parts {
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Parts {
    /// None yet; they are told to stop by this.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            tasks: JoinSet::new(),
        }
    }

    /// Runs a part until the operator is told to stop.
    pub(super) fn run(&mut self, part: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.run_to_end(async move {
            stop.run_until_cancelled_owned(part).await;
            Ok(())
        });
    }

    /// Runs a part that knows by itself when the operator is told to stop, and has to be waited for then.
    pub(super) fn run_to_end(&mut self, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.tasks.spawn(part);
    }

    /// Ends when the operator is told to stop; before that, with an error, when a part has ended.
    pub(super) async fn last(&mut self) -> anyhow::Result<()> {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.ended()).await.unwrap_or(Ok(()))
    }

    /// Ends when all parts have, after they were told to stop; before that, with an error, when one has.
    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a part of the operator failed; this is a bug, please report it")??;
            ensure!(
                self.stop.is_cancelled(),
                "a part of the operator has ended by itself"
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
        parts.run(pending());
        parts.run(part);
        let ended = timeout(PATIENCE, parts.last()).await.unwrap();
        ended.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_ends_the_operator() {
        assert_eq!(end(async {}).await, "a part of the operator has ended by itself");
        let failed = end(async { panic!("on purpose") }).await;
        assert!(failed.starts_with("a part of the operator failed"), "{failed}");
    }

    #[tokio::test]
    async fn parts_that_have_to_be_waited_for_are() {
        let stop = CancellationToken::new();
        let (told, waits) = (stop.clone(), CancellationToken::new());
        let mut parts = Parts::new(stop.clone());
        parts.run(pending());
        let finished = waits.clone();
        parts.run_to_end(async move {
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
