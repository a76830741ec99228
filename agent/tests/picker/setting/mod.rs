//! A scripted picker, and the proxy's side of exchanges with it.

mod answer;
mod message;
mod picker;
mod proxy;

use std::time::Duration;

use tokio::{task::LocalSet, time::timeout};

pub use answer::{chosen, headers, refusal, streamed, value};
pub use message::{Body, chunks, cut, data, empty, full, get, next, post, text};
pub use picker::{Call, Listening, Picker};
pub use proxy::{Proxy, picker, with_picker, with_settings};

/// Far longer than anything takes that is to happen.
const LONG: Duration = Duration::from_secs(20);

/// The endpoint that pickers choose.
pub const ENDPOINT: &str = "10.0.0.1:8000";

/// Runs a test as the proxy's threads run.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        timeout(LONG * 2, test).await.expect("the test ends");
    });
}

/// What is to happen.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(LONG, future).await.expect("it happens")
}

/// What two of them come to that need each other.
pub async fn together<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
    // In boxes: what tests await is large.
    soon(async { tokio::join!(Box::pin(one), Box::pin(other)) }).await
}
