//! One thread of the process that makes changes that are due by time without a call: half-open for breakers with
//! `automatic_half_open`, and the end of a limited half-open time. It is started when a breaker first needs it.
//!
//! The thread sleeps by the real clock, even if a test pauses a runtime's clock. In such a test the same changes are
//! made by the next call or reader of the breaker.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Condvar, LazyLock, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::Shell;
use crate::sync::StaticMutex;

static TIMER: LazyLock<Timer> = LazyLock::new(Timer::default);

#[derive(Default)]
struct Timer {
    queue: StaticMutex<Queue>,
    changed: Condvar,
}

/// The breakers to look at, each once, at the earliest time that was requested.
#[derive(Default)]
struct Queue {
    times: BTreeSet<(Instant, ShellId)>,
    shells: HashMap<ShellId, (Instant, Weak<Shell>)>,
    runs: bool,
}

/// The address of a breaker, which is not reused while a `Weak` to it exists.
type ShellId = usize;

impl Queue {
    /// Adds a breaker, or moves it to an earlier time. A later time is ignored: when the earlier one comes, the breaker
    /// is scheduled again.
    fn add(&mut self, at: Instant, shell: &Weak<Shell>) {
        let id = id(shell);
        if let Some((earlier, _)) = self.shells.get(&id) {
            if *earlier <= at {
                return;
            }
            self.times.remove(&(*earlier, id));
        }
        self.times.insert((at, id));
        self.shells.insert(id, (at, Weak::clone(shell)));
    }

    fn remove(&mut self, id: ShellId) -> Option<Weak<Shell>> {
        let (at, shell) = self.shells.remove(&id)?;
        self.times.remove(&(at, id));
        Some(shell)
    }
}

fn id(shell: &Weak<Shell>) -> ShellId {
    shell.as_ptr().addr()
}

/// Looks at a breaker after `delay`.
pub(super) fn wake_after(delay: Duration, shell: &Weak<Shell>) {
    let mut queue = TIMER.queue.lock();
    queue.add(Instant::now() + delay, shell);
    if !queue.runs {
        let thread = std::thread::Builder::new().name("fusebox-timer".to_owned());
        // If the thread cannot be started, the next call or reader makes the change.
        queue.runs = thread.spawn(run).is_ok();
    }
    drop(queue);
    TIMER.changed.notify_one();
}

/// Removes a dropped breaker, so that the queue is never longer than the number of breakers.
pub(super) fn forget(shell: &Weak<Shell>) {
    TIMER.queue.lock().remove(id(shell));
}

fn run() {
    loop {
        if let Some(shell) = next().upgrade() {
            shell.catch_up();
            if let Some(due) = shell.due() {
                shell.wake_at(due);
            }
        }
    }
}

/// Waits until a breaker is due.
fn next() -> Weak<Shell> {
    let mut queue = TIMER.queue.lock();
    loop {
        let now = Instant::now();
        let Some((at, id)) = queue.times.first().copied() else {
            queue = wait(queue, None);
            continue;
        };
        if at > now {
            queue = wait(queue, Some(at - now));
        } else if let Some(shell) = queue.remove(id) {
            return shell;
        }
    }
}

fn wait(queue: MutexGuard<'static, Queue>, limit: Option<Duration>) -> MutexGuard<'static, Queue> {
    match limit {
        Some(limit) => {
            let woken = TIMER.changed.wait_timeout(queue, limit);
            woken.unwrap_or_else(PoisonError::into_inner).0
        }
        None => TIMER
            .changed
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit_breaker::{CircuitBreaker, Registry};

    /// Guarantees: a breaker is queued once, at the earliest time, however often it changes.
    #[test]
    fn a_breaker_is_queued_once() {
        let registry = Registry::new();
        let build = |name| CircuitBreaker::builder(name).registry(&registry).build();
        let [first, second] = ["first", "second"].map(build);
        let [first, second] =
            [first, second].map(|breaker| std::sync::Arc::downgrade(&breaker.shell));
        let (mut queue, now) = (Queue::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        for seconds in [5, 3, 9, 4, 3, 7] {
            queue.add(after(seconds), &first);
        }
        queue.add(after(4), &second);
        let expected = [(after(3), id(&first)), (after(4), id(&second))];
        assert!(queue.times.iter().eq(&expected));
        assert_eq!(queue.shells.len(), 2);
        assert!(queue.remove(id(&first)).unwrap().ptr_eq(&first));
        assert!(queue.remove(id(&first)).is_none());
        assert!(queue.times.iter().eq(&expected[1..]));
    }
}
