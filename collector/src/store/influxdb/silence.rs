//! Notices that a server has fallen silent: it takes connections, or packets get lost, and no answer ever comes.
//!
//! Whoever shows a page would wait for the whole timeout, question after question. So the server is pinged beside a
//! slow answer: one that is only slow answers the ping, and is waited for. Once it does not, nobody asks it for a
//! while, unless it is heard of again (the lanes go on trying).

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long an answer is waited for before the server is pinged.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer to a ping may take: a busy server has it in milliseconds.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// How long nobody asks.
const LASTS: Duration = Duration::from_secs(15);

/// Whether a server is silent.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<Option<Instant>>);

impl Silence {
    /// Returns whether it fell silent a moment ago, and was not heard of since.
    pub(super) fn lasts(&self) -> bool {
        let since = *self.lock();
        since.is_some_and(|since| since.elapsed() < LASTS)
    }

    /// Notes that it does not answer.
    pub(super) fn begins(&self) {
        *self.lock() = Some(Instant::now());
    }

    /// Notes that it answered something.
    pub(super) fn ends(&self) {
        *self.lock() = None;
    }

    /// Waits for an answer as long as pings are answered, be it by an error; `None` once one is not.
    pub(super) async fn or<T, P: Future>(
        &self,
        answer: impl Future<Output = T>,
        ping: impl Fn() -> P,
    ) -> Option<T> {
        let falls_silent = async {
            loop {
                sleep(PATIENCE).await;
                if timeout(PING_TIMEOUT, ping()).await.is_err() {
                    return;
                }
            }
        };
        let mut answer = pin!(answer);
        tokio::select! {
            biased;
            answer = &mut answer => Some(answer),
            () = falls_silent => {
                self.begins();
                None
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_server_is_waited_for_and_a_silent_one_is_left_alone_for_a_while() {
        let silence = Silence::default();
        let slow = async { sleep(Duration::from_secs(25)).await };
        assert_eq!(silence.or(slow, || ready(())).await, Some(()));
        assert!(!silence.lasts());
        let begun = Instant::now();
        assert_eq!(silence.or(pending::<()>(), pending::<()>).await, None);
        assert_eq!(begun.elapsed(), PATIENCE + PING_TIMEOUT);
        assert!(silence.lasts());
        sleep(LASTS).await;
        assert!(!silence.lasts());
        silence.begins();
        silence.ends();
        assert!(!silence.lasts());
    }
}
