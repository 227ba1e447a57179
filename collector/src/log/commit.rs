//! Group commit: a thread that owns a log's files, collects the waiting appends, writes and syncs them
//! together, and answers each once it is durable.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;
use std::{io, thread};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::StoreError;

/// Minimum time between two syncs under load: appends that arrive meanwhile share the next one.
const SYNC_GAP: Duration = Duration::from_millis(20);
/// Rows written with one sync; a larger group is written at once.
const GROUP_ROWS_MAX: usize = 20_000;
/// Capacity of the queue; further appends wait to enter it.
const WAITING_MAX: usize = 4_096;

/// The queue of the thread, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Committer<R> {
    queue: mpsc::Sender<Append<R>>,
    waiting: Arc<Semaphore>,
}

#[derive(Debug)]
struct Append<R> {
    rows: Vec<R>,
    is_urgent: bool,
    done: oneshot::Sender<Result<(), StoreError>>,
    /// The append's slot in the queue, held until it is written, even if the caller stops waiting.
    permit: OwnedSemaphorePermit,
}

impl<R: Send + 'static> Committer<R> {
    /// Starts the thread. `commit` writes and syncs rows; groups without urgent rows wait up to `linger` for
    /// more.
    pub(crate) fn start(
        thread_name: &str,
        linger: Duration,
        commit: impl FnMut(Vec<R>) -> Result<(), StoreError> + Send + 'static,
    ) -> io::Result<Self> {
        let (queue, appends) = mpsc::channel();
        thread::Builder::new()
            .name(thread_name.to_owned())
            .spawn(move || run(&appends, linger, commit))?;
        Ok(Self {
            queue,
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        })
    }

    /// Appends rows; returns once they are durable, `None` if the thread has ended.
    pub(crate) async fn append(
        &self,
        rows: Vec<R>,
        is_urgent: bool,
    ) -> Option<Result<(), StoreError>> {
        let permit = Arc::clone(&self.waiting).acquire_owned().await.ok()?;
        let (done, durable) = oneshot::channel();
        let append = Append {
            rows,
            is_urgent,
            done,
            permit,
        };
        self.queue.send(append).ok()?;
        durable.await.ok()
    }
}

fn run<R>(
    queue: &Receiver<Append<R>>,
    linger: Duration,
    mut commit: impl FnMut(Vec<R>) -> Result<(), StoreError>,
) {
    let mut last_sync = None;
    while let Ok(first) = queue.recv() {
        let (mut rows, mut waiting) = (Vec::new(), Vec::new());
        for append in gather(first, queue, linger, last_sync) {
            rows.extend(append.rows);
            waiting.push((append.done, append.permit));
        }
        let result = commit(rows);
        last_sync = Some(Instant::now());
        for (done, _permit) in waiting {
            // The caller may have stopped waiting.
            let _ = done.send(result.clone());
        }
    }
}

/// Collects appends that share the next sync: briefly, or for up to `linger` as long as none is urgent.
fn gather<R>(
    first: Append<R>,
    queue: &Receiver<Append<R>>,
    linger: Duration,
    last_sync: Option<Instant>,
) -> Vec<Append<R>> {
    let now = Instant::now();
    let soon = last_sync.map_or(now, |last| last + SYNC_GAP);
    let mut deadline = if first.is_urgent { soon } else { now + linger };
    let mut rows = first.rows.len();
    let mut group = vec![first];
    while rows < GROUP_ROWS_MAX {
        let wait = deadline.saturating_duration_since(Instant::now());
        match queue.recv_timeout(wait) {
            Ok(next) => {
                if next.is_urgent {
                    deadline = deadline.min(soon);
                }
                rows += next.rows.len();
                group.push(next);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn callers_that_stop_waiting_leave_no_room_for_more() {
        let (release, held) = mpsc::channel::<()>();
        let commit = move |_| {
            let _released = held.recv();
            Ok(())
        };
        let committer = Committer::start("test", Duration::ZERO, commit).unwrap();
        for _ in 0..2 * WAITING_MAX {
            assert!(committer.append(vec![0], true).now_or_never().is_none());
        }
        assert_eq!(committer.waiting.available_permits(), 0);
        drop(release);
    }
}
