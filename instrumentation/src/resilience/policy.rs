//! The common parts of all kinds of policies: each is a handle to shared state with a name, settings and counts, which
//! a registry holds too.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::task::Waker;

use super::current::Current;
use super::errors::SettingsError;
use super::event::Kind;
use super::instrument::Instrument;
use super::snapshot::Snapshot;
use crate::setting::Problem;

/// Most calls that may wait at a rate limiter, bulkhead or cache; each is a future that the application holds, and an
/// entry of about 100 bytes here.
pub const MAX_WAITING: u32 = 65_536;

/// A kind of policy: [`Retry`](super::Retry), [`RateLimiter`](super::RateLimiter), [`Bulkhead`](super::Bulkhead),
/// [`TimeLimiter`](super::TimeLimiter), [`Hedge`](super::Hedge) or [`Cache`](super::Cache). It cannot be implemented
/// outside this crate.
#[expect(private_bounds, reason = "the private trait seals the public one")]
pub trait Policy: Handle {
    /// Its settings.
    type Settings: PolicySettings;
}

/// The settings of a policy.
pub trait PolicySettings: Clone + PartialEq + Default + Debug + Send + Sync + 'static {
    /// Checks every setting.
    ///
    /// # Errors
    /// Returns the first invalid setting.
    fn validate(&self) -> Result<(), SettingsError>;
}

/// A handle to a policy.
pub(super) trait Handle: Sized + Clone + 'static {
    type Inner: Inner;

    fn from_inner(inner: Arc<Self::Inner>) -> Self;

    fn inner(&self) -> &Self::Inner;
}

/// What the handles of a policy share.
pub(super) trait Inner: Registered + Sized {
    type Settings: PolicySettings;

    const KIND: Kind;

    fn new(instrument: Instrument, settings: Self::Settings) -> Self;

    fn settings(&self) -> &Current<Self::Settings>;

    /// Adapts the state to new settings; returns the callers to wake.
    fn apply(&self, _old: &Self::Settings, _new: &Self::Settings) -> Wakers {
        Wakers::default()
    }
}

/// The callers to wake once no lock is held, because a waker may run code of the application.
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

impl Extend<Waker> for Wakers {
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        self.0.extend(wakers);
    }
}

/// A policy as a registry holds it.
pub(super) trait Registered: Any + Send + Sync {
    fn instrument(&self) -> &Instrument;

    /// The counts now.
    fn snapshot(&self) -> Snapshot {
        self.instrument().snapshot()
    }

    /// Returns whether a new policy of this name would be in the same state.
    fn is_idle(&self) -> bool {
        true
    }
}

/// Replaces the settings.
pub(super) fn update<I: Inner>(policy: &I, settings: I::Settings) -> Result<(), SettingsError> {
    settings.validate()?;
    let apply = |old: &I::Settings, new: &I::Settings| policy.apply(old, new);
    let wakers = policy.settings().replace(settings, apply);
    wakers.wake();
    Ok(())
}

/// Adds the kind of the policy to the problem of a setting.
pub(super) fn refused(policy: Kind, problem: Problem) -> SettingsError {
    let Problem { field, problem } = problem;
    SettingsError {
        policy,
        field,
        problem,
    }
}
