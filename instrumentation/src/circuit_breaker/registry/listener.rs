//! Listeners are called when a breaker is registered, removed, changes its settings or changes its state.

use std::fmt;
use std::sync::Arc;

use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::model::transition::Transition;
use crate::circuit_breaker::shell::{Observer, Shell};
use crate::isolated::isolated;
use crate::sync::RwLock;

/// Receives the events of the breakers of a registry. It is called on the thread of the call that caused the event,
/// without a lock held. It should return quickly, and may use the breaker. A panic of a listener is caught and logged.
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
    fn registered(&self, _breaker: &CircuitBreaker) {}

    /// A breaker was removed, replaced, or evicted from a full registry.
    fn removed(&self, _breaker: &CircuitBreaker) {}

    /// A breaker changed its state.
    fn transition(&self, _transition: &Transition) {}

    /// The settings of a breaker changed.
    fn settings_changed(&self, _breaker: &CircuitBreaker) {}

    /// Returns whether the listener needs no more events; if so, it is removed when another one subscribes.
    fn is_gone(&self) -> bool {
        false
    }
}

#[derive(Default)]
pub(crate) struct Listeners {
    all: RwLock<Arc<Vec<Arc<dyn Listener>>>>,
}

impl Listeners {
    pub(crate) fn add(&self, listener: Arc<dyn Listener>) {
        let mut gone = Vec::clone(&self.all.read());
        gone.retain(|one| isolated("listener", || one.is_gone()).unwrap_or(false));
        let mut all = self.all.write();
        let all = Arc::make_mut(&mut all);
        all.retain(|one| !gone.iter().any(|gone| Arc::ptr_eq(one, gone)));
        all.push(listener);
    }

    /// Calls every listener, even if another one panics.
    pub(crate) fn notify(&self, notify: impl Fn(&dyn Listener)) {
        // A copy, because a listener may subscribe another one or register a breaker.
        let all = Arc::clone(&self.all.read());
        for listener in all.iter() {
            isolated("listener", || notify(listener.as_ref()));
        }
    }
}

impl Observer for Listeners {
    fn transition(&self, transition: &Transition) {
        self.notify(|listener| listener.transition(transition));
    }

    fn settings_changed(&self, shell: &Arc<Shell>) {
        let breaker = CircuitBreaker {
            shell: Arc::clone(shell),
        };
        self.notify(|listener| listener.settings_changed(&breaker));
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all.read();
        write!(f, "{} listeners", all.len())
    }
}
