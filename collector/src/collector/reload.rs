//! Reloads files while the collector runs: tokens, certificates and the mapping of metrics are replaced without
//! a restart.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::mapping_file::MappingFile;
use crate::live::circuits::Circuits;
use crate::receivers::{Auth, Tls, TlsSource, TokenSource};
use crate::sync::LogThrottle;

/// Interval of reading the files: soon enough for a person who has just replaced a token, and cheap for such
/// small files.
const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn reload(mut tokens: TokenSource, auth: Auth) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warnings = LogThrottle::default();
    while tokens.file().is_some() {
        tick.tick().await;
        let read = tokio::task::spawn_blocking(move || {
            let changed = tokens.changed();
            (tokens, changed)
        });
        let Ok((read, changed)) = read.await else {
            return;
        };
        tokens = read;
        match changed {
            Ok(Some(changed)) => {
                auth.replace(changed);
                info!("read the tokens again: the file has changed");
            }
            Ok(None) => {}
            Err(error) if warnings.is_due() => {
                warn!(%error, "could not read the tokens again: those from before stay valid");
            }
            Err(_) => {}
        }
    }
}

pub(super) async fn reload_certificate(mut source: TlsSource, tls: Tls) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warnings = LogThrottle::default();
    loop {
        tick.tick().await;
        let read = tokio::task::spawn_blocking(move || {
            let changed = source.changed();
            (source, changed)
        });
        let Ok((read, changed)) = read.await else {
            return;
        };
        source = read;
        match changed {
            Ok(Some(config)) => {
                tls.replace(config);
                info!("read the certificate again: its files have changed");
            }
            Ok(None) => {}
            Err(error) if warnings.is_due() => {
                warn!(%error, "could not read the certificate again: the one from before stays in use");
            }
            Err(_) => {}
        }
    }
}

/// Takes over the mapping of metrics whenever its file changes. Runs until aborted.
pub(super) async fn reload_mapping(mut file: MappingFile, circuits: Circuits) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warnings = LogThrottle::default();
    loop {
        tick.tick().await;
        let read = tokio::task::spawn_blocking(move || {
            let changed = file.changed();
            (file, changed)
        });
        let Ok((read, changed)) = read.await else {
            return;
        };
        file = read;
        match changed {
            Ok(Some(mapping)) => {
                circuits.map_metrics(mapping);
                info!("read the mapping of metrics again: the file has changed");
            }
            Ok(None) => {}
            Err(error) if warnings.is_due() => {
                warn!(%error, "could not read the mapping of metrics again: the one from before stays in use");
            }
            Err(_) => {}
        }
    }
}
