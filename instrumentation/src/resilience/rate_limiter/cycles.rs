//! The rules of a rate limiter, as in resilience4j: time is divided into cycles of equal length, each with a number of
//! permits; unused permits expire with their cycle. Calls that find no permit wait in FIFO order. Pure: time is an
//! argument, in nanoseconds.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use crate::resilience::policy::Wakers;
use crate::time::nanos;

/// The position of a call in the queue; later calls have greater ones.
pub(super) type Ticket = u64;

/// The current cycle, its permits, and the waiting calls.
#[derive(Debug)]
pub(super) struct Cycles {
    limit: u32,
    period: u64,
    cycle: u64,
    /// Permits of this cycle that are taken.
    used: u32,
    next_ticket: Ticket,
    waiting: BTreeMap<Ticket, Waker>,
    /// Waiting calls that were given a permit but have not collected it yet, with the cycle of the permit.
    granted: BTreeMap<Ticket, u64>,
}

impl Cycles {
    pub(super) fn new(limit: u32, period: Duration) -> Self {
        Self {
            limit,
            period: nanos(period),
            cycle: 0,
            used: 0,
            next_ticket: 0,
            waiting: BTreeMap::new(),
            granted: BTreeMap::new(),
        }
    }

    /// Starts the cycle of `now` if it is a later one, and gives its permits to waiting calls.
    #[inline]
    pub(super) fn advance(&mut self, now: u64) -> Wakers {
        // Not by a division, which costs more than the rest of a call.
        if now < self.next_cycle() {
            return Wakers::default();
        }
        self.cycle = now / self.period;
        self.used = 0;
        self.grant()
    }

    /// Applies other settings. Permits that were used in this cycle stay used. The first waiting call is woken to set
    /// its timer.
    pub(super) fn change(&mut self, limit: u32, period: Duration, now: u64) -> Wakers {
        self.limit = limit;
        self.period = nanos(period);
        let before = std::mem::replace(&mut self.cycle, now / self.period);
        for granted in self.granted.values_mut() {
            // The cycles are numbered anew.
            *granted = match *granted == before {
                true => self.cycle,
                false => u64::MAX,
            };
        }
        self.grant()
    }

    /// Returns whether no permit of this cycle is used.
    pub(super) fn is_unused(&self) -> bool {
        self.used == 0
    }

    /// Takes a permit of this cycle.
    #[inline]
    pub(super) fn take(&mut self) -> bool {
        let has_one = self.used < self.limit;
        self.used += u32::from(has_one);
        has_one
    }

    /// Returns the longest time that a call that joins the queue at `now` will wait.
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

    /// Returns whether a waiting call has been given a permit, which it then owns; otherwise `waker` will be woken.
    pub(super) fn collect(&mut self, ticket: Ticket, waker: &Waker) -> bool {
        if let Some(known) = self.waiting.get_mut(&ticket) {
            known.clone_from(waker);
            return false;
        }
        self.granted.remove(&ticket).is_some()
    }

    /// Leaves the queue. If the call had been given a permit, it goes to the next call, if its cycle still lasts.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Wakers {
        let was_first = self.is_first(ticket);
        if self.waiting.remove(&ticket).is_some() {
            let mut wakers = Wakers::default();
            wakers.extend(was_first.then(|| self.first()).flatten());
            return wakers;
        }
        match self.granted.remove(&ticket) {
            Some(cycle) if cycle == self.cycle => {
                self.used -= 1;
                self.grant()
            }
            _ => Wakers::default(),
        }
    }

    /// Returns whether a call is the first in the queue, which waits for the start of the next cycle.
    pub(super) fn is_first(&self, ticket: Ticket) -> bool {
        let first = self.waiting.first_key_value();
        first.is_some_and(|(first, _)| *first == ticket)
    }

    /// Returns when the next cycle starts.
    #[inline]
    pub(super) fn next_cycle(&self) -> u64 {
        (self.cycle + 1).saturating_mul(self.period)
    }

    pub(super) fn available(&self) -> u32 {
        self.limit.saturating_sub(self.used)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Gives permits to waiting calls; the first of the remaining ones must set its timer.
    fn grant(&mut self) -> Wakers {
        let mut wakers = Wakers::default();
        while self.used < self.limit
            && let Some((ticket, waker)) = self.waiting.pop_first()
        {
            self.used += 1;
            self.granted.insert(ticket, self.cycle);
            wakers.extend([waker]);
        }
        wakers.extend(self.first());
        wakers
    }

    fn first(&self) -> Option<Waker> {
        let first = self.waiting.first_key_value();
        first.map(|(_, waker)| waker.clone())
    }
}
