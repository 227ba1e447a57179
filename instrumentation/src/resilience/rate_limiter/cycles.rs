//! The rules of a rate limiter, as resilience4j has them: time is divided into cycles of one length, each with so many
//! permits; what a cycle leaves over is lost. Calls that find none wait in the order in which they came. Pure: time comes in
//! as nanoseconds.

use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::Duration;

use crate::time::nanos;

/// The place of a call in the queue; later calls have greater ones.
pub(super) type Ticket = u64;

/// The cycle now, its permits, and who waits.
#[derive(Debug)]
pub(super) struct Cycles {
    limit: u32,
    period: u64,
    cycle: u64,
    available: u32,
    next_ticket: Ticket,
    waiting: BTreeMap<Ticket, Waker>,
    /// Waiters that were given a permit and have not seen it yet, with the cycle of the permit.
    granted: BTreeMap<Ticket, u64>,
}

/// Whom to wake, once the lock is released.
#[derive(Debug, Default)]
#[must_use = "a waiter that is not woken waits for its timer"]
pub(super) struct Wakers(VecDeque<Waker>);

impl Wakers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

impl Cycles {
    pub(super) fn new(limit: u32, period: Duration) -> Self {
        Self {
            limit,
            period: nanos(period),
            cycle: 0,
            available: limit,
            next_ticket: 0,
            waiting: BTreeMap::new(),
            granted: BTreeMap::new(),
        }
    }

    /// Begins the cycle of `now` if that is a later one, and gives its permits to those who wait.
    pub(super) fn advance(&mut self, now: u64) -> Wakers {
        let cycle = now / self.period;
        if cycle <= self.cycle {
            return Wakers::default();
        }
        self.cycle = cycle;
        self.available = self.limit;
        self.grant()
    }

    /// Takes a permit of this cycle.
    pub(super) fn take(&mut self) -> bool {
        let has_one = self.available > 0;
        self.available -= u32::from(has_one);
        has_one
    }

    /// How long a call that joins the queue at `now` will wait, at most.
    pub(super) fn wait(&self, now: u64) -> Duration {
        let full_cycles = self.waiting.len() as u64 / u64::from(self.limit);
        let wait = full_cycles.saturating_mul(self.period);
        Duration::from_nanos(wait.saturating_add(self.next_cycle().saturating_sub(now)))
    }

    /// Joins the queue.
    pub(super) fn join(&mut self, waker: Waker) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.insert(ticket, waker);
        ticket
    }

    /// Whether a waiter was given a permit, which is its own from now on; else it will be woken by `waker`.
    pub(super) fn collect(&mut self, ticket: Ticket, waker: &Waker) -> bool {
        if let Some(known) = self.waiting.get_mut(&ticket) {
            known.clone_from(waker);
            return false;
        }
        self.granted.remove(&ticket).is_some()
    }

    /// Leaves the queue. The permit of one that had been given one goes to the next, if its cycle still lasts.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Wakers {
        let was_first = self.is_first(ticket);
        if self.waiting.remove(&ticket).is_some() {
            return match was_first {
                true => self.first(),
                false => Wakers::default(),
            };
        }
        match self.granted.remove(&ticket) {
            Some(cycle) if cycle == self.cycle => {
                self.available += 1;
                self.grant()
            }
            _ => Wakers::default(),
        }
    }

    /// Whether a waiter is the first of the queue, who watches over the beginning of the next cycle.
    pub(super) fn is_first(&self, ticket: Ticket) -> bool {
        let first = self.waiting.first_key_value();
        first.is_some_and(|(first, _)| *first == ticket)
    }

    /// When the next cycle begins.
    pub(super) fn next_cycle(&self) -> u64 {
        (self.cycle + 1).saturating_mul(self.period)
    }

    pub(super) fn available(&self) -> u32 {
        self.available
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Gives permits to those who wait; whoever is the first of the rest must set its timer.
    fn grant(&mut self) -> Wakers {
        let mut wakers = Wakers::default();
        while self.available > 0
            && let Some((ticket, waker)) = self.waiting.pop_first()
        {
            self.available -= 1;
            self.granted.insert(ticket, self.cycle);
            wakers.0.push_back(waker);
        }
        wakers.0.extend(self.first().0);
        wakers
    }

    fn first(&self) -> Wakers {
        let first = self.waiting.first_key_value();
        Wakers(first.map(|(_, waker)| waker.clone()).into_iter().collect())
    }
}
