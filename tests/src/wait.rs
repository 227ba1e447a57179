//! Waiting for a condition with a deadline.

use std::future::Future;
use std::time::Duration;

use serde_json::Value;

/// Machines are shared and slow at times: a condition that is not met after that long is not coming.
const DEADLINE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Asks again and again until there is an answer.
///
/// # Panics
/// Panics with `what` when there is none within a minute.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(DEADLINE, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("within {DEADLINE:?} there was no: {what}"),
    }
}

/// Gets JSON; `None` for anything but a 200.
pub async fn get_json(url: &str) -> Option<Value> {
    let response = reqwest::get(url).await.ok()?;
    if response.status() != 200 {
        return None;
    }
    response.json().await.ok()
}
