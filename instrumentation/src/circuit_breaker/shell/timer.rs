//! One thread of the process that makes what is due by time happen without a call: the half-open of breakers with
//! `automatic_half_open`, and the end of a limited half-open. It exists once a breaker needs it.
//!
//! The thread sleeps by the real clock, whatever a runtime's clock does: where a test pauses that, the same changes are
//! made by whoever looks at the breaker.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::Shell;
use crate::sync::{Mutex, MutexGuard};

/// Shortest time after which a breaker is looked at again that was not due yet, because its clock is another one.
const RETRY: Duration = Duration::from_millis(10);

static TIMER: Timer = Timer {
    queue: Mutex::new(Queue {
        entries: BinaryHeap::new(),
        number: 0,
        runs: false,
    }),
    changed: Condvar::new(),
};

struct Timer {
    queue: Mutex<Queue>,
    changed: Condvar,
}

struct Queue {
    entries: BinaryHeap<Reverse<Entry>>,
    number: u64,
    runs: bool,
}

/// A breaker that is due at `at`; `number` makes entries comparable.
struct Entry {
    at: Instant,
    number: u64,
    shell: Weak<Shell>,
    /// The same time on the breaker's clock; another one by then means that this entry is out of date.
    due: u64,
}

/// Looks at a breaker, which is then due at `due` of its clock, after `delay`.
pub(super) fn wake_after(delay: Duration, due: u64, shell: Weak<Shell>) {
    let mut queue = TIMER.queue.lock();
    let number = queue.number;
    queue.number += 1;
    let at = Instant::now() + delay;
    queue.entries.push(Reverse(Entry {
        at,
        number,
        shell,
        due,
    }));
    if !queue.runs {
        let thread = std::thread::Builder::new().name("fusebox-timer".to_owned());
        // Without it the change is made by the next call or reader.
        queue.runs = thread.spawn(run).is_ok();
    }
    drop(queue);
    TIMER.changed.notify_one();
}

fn run() {
    loop {
        let Entry { shell, due, .. } = next();
        if let Some(shell) = shell.upgrade() {
            shell.catch_up();
            if shell.due() == Some(due) {
                shell.wake_at(due, RETRY);
            }
        }
    }
}

/// Waits for the next breaker that is due.
fn next() -> Entry {
    let mut queue = TIMER.queue.lock();
    loop {
        let now = Instant::now();
        let Some(Reverse(first)) = queue.entries.peek() else {
            queue = wait(queue, None);
            continue;
        };
        if first.at > now {
            let delay = first.at - now;
            queue = wait(queue, Some(delay));
        } else if let Some(Reverse(first)) = queue.entries.pop() {
            return first;
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

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
