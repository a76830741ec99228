//! Follows a folder as it changes.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{api_server::ApiServer, folder::Folder, problem::Problem};

/// How long a folder must be quiet before it is read: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(20);

/// After how many quiet periods it is read although it is not quiet.
const PATIENCE: usize = 10;

/// After what time a folder is read although nothing was heard of it: file systems over a network say nothing, and
/// neither do files that a link leads to.
const LOOK_ANYWAY: Duration = Duration::from_secs(3);

/// What the following thread is woken for.
enum Wake {
    Changed,
    Stop,
}

/// Follows a folder as long as it lives.
pub struct Follower {
    wake: mpsc::Sender<Wake>,
    thread: Option<thread::JoinHandle<()>>,
    ended: CancellationToken,
}

/// Brings every change of the folder to the API server, and says when something did change, with all problems that the
/// folder has then.
#[must_use = "following ends when this is dropped"]
pub fn follow(
    folder: Folder,
    api_server: Arc<Mutex<ApiServer>>,
    changed: impl Fn(&[Problem]) + Send + 'static,
) -> Follower {
    let (wake, woken) = mpsc::channel();
    let watch = Watch::new(folder.root().to_owned(), wake.clone());
    let ended = CancellationToken::new();
    let end = ended.clone().drop_guard();
    let thread = thread::spawn(move || {
        // Dropped however it ends.
        let _end = end;
        run(folder, &api_server, &changed, watch, &woken);
    });
    Follower {
        wake,
        thread: Some(thread),
        ended,
    }
}

impl Follower {
    /// Ends when following does.
    pub fn ended(&self) -> WaitForCancellationFutureOwned {
        self.ended.clone().cancelled_owned()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // An error means that the thread has ended already.
        let _ = self.wake.send(Wake::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    mut folder: Folder,
    api_server: &Mutex<ApiServer>,
    changed: &impl Fn(&[Problem]),
    mut watch: Watch,
    woken: &mpsc::Receiver<Wake>,
) {
    let mut known = folder.objects().problems;
    loop {
        // Watching begins before reading, so that nothing falls between.
        watch.renew();
        folder.read();
        let objects = folder.objects();
        let news = api_server.lock().replace(&objects.manifests);
        if news || objects.problems != known {
            changed(&objects.problems);
            known = objects.problems;
        }
        match woken.recv_timeout(LOOK_ANYWAY) {
            Ok(Wake::Changed) => {
                for _ in 0..PATIENCE {
                    match woken.recv_timeout(QUIET) {
                        Ok(Wake::Changed) => while let Ok(Wake::Changed) = woken.try_recv() {},
                        Ok(Wake::Stop) => return,
                        Err(_) => break,
                    }
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Ok(Wake::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The kernel's notices about a folder, which may be a link that leads elsewhere tomorrow.
struct Watch {
    root: PathBuf,
    wake: mpsc::Sender<Wake>,
    /// What is watched, and which folder the root was then.
    current: Option<(RecommendedWatcher, Identity)>,
    /// Whether it was said that watching fails, which is tried again at each look.
    warned: bool,
}

/// What tells a folder from another one at the same path.
#[derive(PartialEq, Eq)]
struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let metadata = path.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            path,
        })
    }
}

impl Watch {
    fn new(root: PathBuf, wake: mpsc::Sender<Wake>) -> Self {
        Self {
            root,
            wake,
            current: None,
            warned: false,
        }
    }

    /// Watches the folder that the root is now, if it is another one.
    fn renew(&mut self) {
        let Ok(identity) = Identity::of(&self.root) else {
            self.current = None;
            return;
        };
        if self
            .current
            .as_ref()
            .is_some_and(|(_, watched)| *watched == identity)
        {
            return;
        }
        self.current = match self.start(&identity.path) {
            Ok(watcher) => Some((watcher, identity)),
            Err(error) => {
                if !self.warned {
                    tracing::warn!(%error, folder = %self.root.display(), "cannot watch, looking every few seconds");
                    self.warned = true;
                }
                None
            }
        };
    }

    fn start(&self, real: &Path) -> notify::Result<RecommendedWatcher> {
        let wake = self.wake.clone();
        let (folder, root) = (real.to_owned(), self.root.clone());
        let concerns =
            move |path: &PathBuf| path.starts_with(&folder) || path.file_name() == root.file_name();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is reported as well; to react to that would be to wake ourselves for ever.
            let relevant = match &event {
                Ok(event) => {
                    !event.kind.is_access() && (event.paths.is_empty() || event.paths.iter().any(&concerns))
                }
                Err(_) => true,
            };
            if relevant {
                let _ = wake.send(Wake::Changed);
            }
        })?;
        watcher.watch(real, RecursiveMode::Recursive)?;
        // A link that is replaced is an event of the folder that it is in.
        if self.root.is_symlink()
            && let Some(parent) = self.root.parent()
        {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            watcher.watch(parent, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    }
}

#[cfg(test)]
mod tests;
