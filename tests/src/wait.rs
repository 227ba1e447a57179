//! Waiting for a condition with a deadline.

use std::future::Future;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;

/// After this long a condition is taken never to come true. The slowest ones need 65 s on an idle machine (a minute's
/// figures in InfluxDB); a busy one takes several times as long.
pub const DEADLINE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(50);

/// Calls `ask` until it returns a value.
///
/// # Panics
/// Panics with `what` if there is none within `DEADLINE`.
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
        Err(_) => panic!("not within {DEADLINE:?}: {what}"),
    }
}

/// Returns a variable of the environment without which a test is skipped: `#[ignore = "needs VARIABLE"]`.
///
/// # Panics
/// Panics when it is not set.
pub fn needed(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set"))
}

/// Gets JSON; `None` for anything but a 200.
pub async fn get_json(url: &str) -> Option<Value> {
    let response = reqwest::get(url).await.ok()?;
    if response.status() != 200 {
        return None;
    }
    response.json().await.ok()
}

/// Returns one of a collector's own counters; `None` if it is not exported.
pub async fn counter(web: &str, name: &str) -> Option<u64> {
    let answer = reqwest::get(format!("{web}/metrics")).await.ok()?;
    let text = answer.text().await.ok()?;
    let name = format!("fusebox_collector_{name} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

/// Reads lines of a child until `answer` returns a value. Keeps reading in the background, so that the child never blocks
/// on a full pipe.
///
/// # Panics
/// Panics with `name` if the child exits first or does not print it within `DEADLINE`.
pub(crate) async fn read_until<T>(
    name: &str,
    stdout: ChildStdout,
    answer: impl FnMut(&str) -> Option<T>,
) -> T {
    let found = read_until_exit(name, stdout, answer).await;
    found.unwrap_or_else(|| panic!("{name} exited before it printed its address"))
}

/// Does the same; returns `None` if the child exits first.
///
/// # Panics
/// Panics with `name` if the child does not print it within `DEADLINE`.
pub(crate) async fn read_until_exit<T>(
    name: &str,
    stdout: ChildStdout,
    mut answer: impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    let mut lines = BufReader::new(stdout).lines();
    let listening = async {
        while let Some(line) = lines.next_line().await.expect("its output is text") {
            if let Some(found) = answer(&line) {
                return Some(found);
            }
        }
        None
    };
    let read = tokio::time::timeout(DEADLINE, listening).await;
    let found = read.unwrap_or_else(|_| panic!("{name} printed no address within {DEADLINE:?}"));
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    found
}
