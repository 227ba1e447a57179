//! One thread of the process that makes what is due by time happen without a call: the half-open of breakers with
//! `automatic_half_open`, and the end of a limited half-open. It exists once a breaker needs it.
//!
//! The thread sleeps by the real clock, whatever a runtime's clock does: where a test pauses that, the same changes are
//! made by whoever looks at the breaker.

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

/// The breakers to look at, each once: at the earliest time that was asked for.
#[derive(Default)]
struct Queue {
    times: BTreeSet<(Instant, ShellId)>,
    shells: HashMap<ShellId, (Instant, Weak<Shell>)>,
    runs: bool,
}

/// The address of a breaker, which is not used again while a `Weak` to it exists.
type ShellId = usize;

impl Queue {
    /// Adds a breaker, or looks at it earlier; of one that is due later, the thread asks at the earlier time.
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
        // Without it the change is made by the next call or reader.
        queue.runs = thread.spawn(run).is_ok();
    }
    drop(queue);
    TIMER.changed.notify_one();
}

/// Removes a breaker that ends, so that the queue is no longer than the number of breakers.
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

/// Waits for the next breaker that is due.
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

    /// Guarantees: a breaker is queued once however often it changes, at the earliest time.
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
