//! The batch of a request that is collecting arguments, and the window after which it is sent. `R` is what a caller
//! receives.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::sync::Mutex;

/// An argument and the caller that waits for its result.
pub(crate) struct Waiting<A, R> {
    pub(crate) argument: A,
    pub(crate) answer: oneshot::Sender<R>,
}

pub(crate) struct Gathering<A, R>(Mutex<Batch<A, R>>);

struct Batch<A, R> {
    /// Distinguishes this batch from those that were already sent.
    number: u64,
    waiting: Vec<Waiting<A, R>>,
}

impl<A, R> Default for Gathering<A, R> {
    fn default() -> Self {
        let (number, waiting) = (0, Vec::new());
        Self(Mutex::new(Batch { number, waiting }))
    }
}

/// What a caller must do after its argument was added to the batch.
pub(crate) enum Joined<A, R> {
    /// It was the first one: send the batch at the end of its window.
    First(Window<A, R>),
    /// It was the last one: send the batch now.
    Last(Vec<Waiting<A, R>>),
    Between,
}

impl<A, R> Gathering<A, R> {
    /// Adds an argument. The caller that fills the batch takes it in the same step, so that it cannot grow further.
    pub(crate) fn join(self: Arc<Self>, waiting: Waiting<A, R>, most: usize) -> Joined<A, R> {
        let mut batch = self.0.lock();
        batch.waiting.push(waiting);
        match batch.waiting.len() {
            size if size >= most => Joined::Last(batch.take()),
            1 => {
                let number = batch.number;
                drop(batch);
                let gathering = self;
                Joined::First(Window { gathering, number })
            }
            _ => Joined::Between,
        }
    }

    /// Takes the batch of this number, unless it was already sent.
    fn take(&self, number: u64) -> Vec<Waiting<A, R>> {
        let mut batch = self.0.lock();
        if batch.number != number {
            return Vec::new();
        }
        batch.take()
    }
}

impl<A, R> Batch<A, R> {
    fn take(&mut self) -> Vec<Waiting<A, R>> {
        self.number += 1;
        std::mem::take(&mut self.waiting)
    }
}

/// The window of a batch. If it is dropped before its end, with its runtime, it drops the batch too: waiting callers
/// receive an error, and the next caller starts a new batch.
pub(crate) struct Window<A, R> {
    gathering: Arc<Gathering<A, R>>,
    number: u64,
}

impl<A, R> Window<A, R> {
    /// Takes the batch, unless it was full before.
    pub(crate) fn end(self) -> Vec<Waiting<A, R>> {
        self.gathering.take(self.number)
    }
}

impl<A, R> Drop for Window<A, R> {
    fn drop(&mut self) {
        let lost = self.gathering.take(self.number);
        drop(lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: the caller that fills a batch takes it while adding its argument, so that no other caller comes in
    /// between.
    #[test]
    fn a_full_batch_is_taken_by_its_last_caller() {
        let gathering = Arc::new(Gathering::<u32, ()>::default());
        let join = || {
            let (answer, _) = oneshot::channel();
            Arc::clone(&gathering).join(
                Waiting {
                    argument: 1,
                    answer,
                },
                2,
            )
        };
        for _ in 0..2 {
            let Joined::First(window) = join() else {
                panic!("it is the first");
            };
            assert!(matches!(join(), Joined::Last(batch) if batch.len() == 2));
            assert!(window.end().is_empty());
        }
    }
}
