//! The signal that the collector stops: one switch, many observers.

use tokio::sync::watch;

/// Signals every observer, also when dropped.
#[derive(Debug)]
pub(crate) struct StopSwitch(watch::Sender<bool>);

/// Observes the switch; cheap to clone. The default one is never signalled.
#[derive(Debug, Clone, Default)]
pub struct Stop(Option<watch::Receiver<bool>>);

pub(crate) fn stop_signal() -> (StopSwitch, Stop) {
    let (sender, receiver) = watch::channel(false);
    (StopSwitch(sender), Stop(Some(receiver)))
}

impl StopSwitch {
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Waits until the collector stops.
    pub async fn requested(&mut self) {
        match &mut self.0 {
            // A dropped switch means that the collector is gone, so stop.
            Some(switch) => drop(switch.wait_for(|stopping| *stopping).await),
            None => std::future::pending().await,
        }
    }
}
