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

/// What the log says of a file.
struct Words {
    read: &'static str,
    failed: &'static str,
}

pub(super) async fn reload(tokens: TokenSource, auth: Auth) {
    if tokens.file().is_none() {
        return;
    }
    let words = Words {
        read: "read the tokens again: the file has changed",
        failed: "could not read the tokens again: those from before stay valid",
    };
    follow(
        tokens,
        TokenSource::changed,
        |tokens| auth.replace(tokens),
        words,
    )
    .await;
}

pub(super) async fn reload_certificate(source: TlsSource, tls: Tls) {
    let words = Words {
        read: "read the certificate again: its files have changed",
        failed: "could not read the certificate again: the one from before stays in use",
    };
    follow(
        source,
        TlsSource::changed,
        |config| tls.replace(config),
        words,
    )
    .await;
}

pub(super) async fn reload_mapping(file: MappingFile, circuits: Circuits) {
    let words = Words {
        read: "read the mapping of metrics again: the file has changed",
        failed: "could not read the mapping of metrics again: the one from before stays in use",
    };
    let replace = |mapping| circuits.map_metrics(mapping);
    follow(file, MappingFile::changed, replace, words).await;
}

/// Hands on what `changed` finds that is new, and warns now and then while it fails. Runs until aborted.
async fn follow<S, T, E>(
    mut source: S,
    changed: fn(&mut S) -> Result<Option<T>, E>,
    replace: impl Fn(T),
    words: Words,
) where
    S: Send + 'static,
    T: Send + 'static,
    E: std::error::Error + Send + 'static,
{
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warnings = LogThrottle::default();
    loop {
        tick.tick().await;
        let read = tokio::task::spawn_blocking(move || {
            let changed = changed(&mut source);
            (source, changed)
        });
        let Ok((read, changed)) = read.await else {
            return;
        };
        source = read;
        match changed {
            Ok(Some(new)) => {
                replace(new);
                info!("{}", words.read);
            }
            Ok(None) => {}
            Err(error) if warnings.is_due() => warn!(%error, "{}", words.failed),
            Err(_) => {}
        }
    }
}
