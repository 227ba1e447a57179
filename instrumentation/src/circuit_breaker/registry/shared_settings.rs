//! Keeps one copy of the settings that many breakers have in common.

use std::sync::Arc;

use crate::circuit_breaker::rules::settings::Settings;

/// Number of different settings that are remembered; the breakers of one registry rarely have more.
const REMEMBERED: usize = 8;

/// The settings of the last breakers that were built.
#[derive(Debug, Default)]
pub(super) struct SharedSettings(Vec<Arc<Settings>>);

impl SharedSettings {
    /// Returns a shared copy of `settings` if an earlier breaker had the same.
    pub(super) fn share(&mut self, settings: Settings) -> Arc<Settings> {
        if let Some(known) = self.0.iter().find(|known| ***known == settings) {
            return Arc::clone(known);
        }
        if self.0.len() == REMEMBERED {
            self.0.remove(0);
        }
        let settings = Arc::new(settings);
        self.0.push(Arc::clone(&settings));
        settings
    }
}
