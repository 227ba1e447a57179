//! Listeners: called when a breaker is registered, changes its settings or changes its state.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};

use super::name::Name;
use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::rules::state::EffectiveState;
use crate::sync::RwLock;

/// A change of the state in force.
///
/// Under [`OverrideKind::MetricsOnly`](crate::circuit_breaker::OverrideKind::MetricsOnly) `from` and `to` are both
/// `MetricsOnly`, and the reason says what would have happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// The name of the breaker.
    pub breaker: Name,
    /// Its group.
    pub group: Name,
    /// When it changed.
    pub time: SystemTime,
    /// The state before.
    pub from: EffectiveState,
    /// The state after.
    pub to: EffectiveState,
    /// Why, as text: `52 % of 118 calls failed in 10 s (limit 50 %)`.
    pub reason: String,
    /// Until when the breaker stays open, if it is open now.
    pub open_until: Option<SystemTime>,
    /// The span of the call that caused the change.
    pub trace: Option<SpanContext>,
}

/// Receives the events of the breakers of a registry. It is called on the thread of the call that caused the event,
/// without a lock held: it must be quick, and may use the breaker.
///
/// ```
/// use std::sync::Arc;
///
/// use fusebox::circuit_breaker::{Listener, Registry, Transition};
///
/// struct Print;
///
/// impl Listener for Print {
///     fn transition(&self, transition: &Transition) {
///         println!("{} is {}: {}", transition.breaker, transition.to.as_str(), transition.reason);
///     }
/// }
///
/// Registry::global().subscribe(Arc::new(Print));
/// ```
pub trait Listener: Send + Sync {
    /// A breaker was registered.
    fn registered(&self, breaker: &CircuitBreaker) {
        let _ = breaker;
    }

    /// A breaker changed its state.
    fn transition(&self, transition: &Transition) {
        let _ = transition;
    }

    /// The settings of a breaker changed.
    fn settings_changed(&self, breaker: &CircuitBreaker) {
        let _ = breaker;
    }
}

/// The listeners of a registry.
#[derive(Default)]
pub(crate) struct Listeners {
    all: RwLock<Arc<Vec<Arc<dyn Listener>>>>,
}

impl Listeners {
    pub(crate) fn add(&self, listener: Arc<dyn Listener>) {
        let mut all = self.all.write();
        Arc::make_mut(&mut all).push(listener);
    }

    /// Calls every listener.
    pub(crate) fn notify(&self, notify: impl Fn(&dyn Listener)) {
        // A copy, because a listener may subscribe another one or register a breaker.
        let all = Arc::clone(&self.all.read());
        all.iter().for_each(|listener| notify(listener.as_ref()));
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all.read();
        write!(f, "{} listeners", all.len())
    }
}

/// Returns the span of the call that runs on this thread.
pub(crate) fn current_span() -> Option<SpanContext> {
    Context::map_current(|context| {
        let span = context
            .has_active_span()
            .then(|| context.span().span_context().clone());
        span.filter(SpanContext::is_valid)
    })
}
