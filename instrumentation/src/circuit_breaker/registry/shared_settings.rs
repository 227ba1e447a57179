//! Equal settings of many breakers, kept once.

use std::sync::Arc;

use crate::circuit_breaker::rules::settings::Settings;

/// Different settings that are remembered; breakers of one registry rarely have more.
const REMEMBERED: usize = 8;

/// The settings that breakers were built with last.
#[derive(Debug, Default)]
pub(super) struct SharedSettings(Vec<Arc<Settings>>);

impl SharedSettings {
    /// Returns `settings` as those of an earlier breaker, if that had the same.
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
