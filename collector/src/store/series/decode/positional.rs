//! Decodes transitions, settings and standings of earlier builds: numbers in a fixed order, without a length.
//! Never written any more.

use std::time::Duration;

use opentelemetry::{SpanId, TraceId};

use super::{Decoded, Decoder, Lookup};
use crate::codec::circuits::override_kind;
use crate::model::{
    CircuitKey, CircuitSettings, CircuitTransition, OverrideView, Provenance, Source, UnixNanos,
    zero_is_none::some,
};
use crate::store::series::record::{SeriesRecord, SettingsRecord, Standing};

impl Decoder<'_> {
    pub(super) fn transition(&mut self) -> Option<Decoded> {
        let key = self.key()?;
        let instance = self.string()?;
        let time = self.time()?;
        let from = self.state()?;
        let to = self.state()?;
        let reason = self.text()?;
        let open_until = self.optional()?;
        let trace_id = self.trace_id()?;
        let span = SpanId::from_bytes(self.array()?);
        Some(self.decide(key, instance, |key, instance| {
            SeriesRecord::Transition(CircuitTransition {
                key,
                instance,
                time,
                from,
                to,
                provenance: Provenance::of_stored_transition(&reason),
                reason,
                open_until,
                trace_id,
                span_id: (span != SpanId::INVALID).then_some(span),
            })
        }))
    }

    pub(super) fn settings(&mut self) -> Option<Decoded> {
        let key = self.key()?;
        let instance = self.string()?;
        let time = self.time()?;
        let group = self.string()?;
        let settings = CircuitSettings {
            group: group.as_deref().unwrap_or_default().to_owned(),
            window_ms: some(self.uint()?),
            window_calls: some(self.uint()?),
            minimum_calls: some(self.uint()?),
            failure_rate_percent: some(f64::from_bits(self.uint()?)),
            slow_call_rate_percent: some(f64::from_bits(self.uint()?)),
            slow_call_duration_ms: some(self.uint()?),
            open_duration_ms: some(self.uint()?),
            half_open_probes: some(self.uint()?),
            timeout_ms: some(self.uint()?),
            max_concurrent: some(self.uint()?),
            ..CircuitSettings::default()
        };
        let forced = match self.byte()? {
            0 => None,
            _ => {
                let kind = override_kind(&self.text()?);
                let (reason, expires) = (self.text()?, self.optional()?);
                kind.map(|kind| OverrideView {
                    kind,
                    reason,
                    expires,
                })
            }
        };
        Some(self.decide(key, instance, |key, instance| {
            SeriesRecord::Settings(SettingsRecord {
                key,
                instance,
                time,
                settings,
                forced,
            })
        }))
    }

    pub(super) fn standing(&mut self) -> Option<Decoded> {
        let key = self.key()?;
        let instance = self.string()?;
        let [source, target, reason] = [self.string()?, self.string()?, self.string()?];
        let words = |word: Lookup| word.as_deref().unwrap_or_default().to_owned();
        let state = self.state()?;
        let opened_by = self.trace_id()?;
        let time = self.time()?;
        let standing = Standing {
            key: CircuitKey {
                service: String::new(),
                name: String::new(),
            },
            instance: String::new(),
            time,
            source: source
                .as_deref()
                .and_then(Source::parse)
                .unwrap_or(Source::Fusebox),
            target: words(target),
            provenance: Provenance::of_stored_state(reason.as_deref().unwrap_or_default()),
            reason: words(reason),
            state,
            opened_by,
            last_seen: time - Duration::from_nanos(self.uint()?),
            since: self.time()?,
            retry_at: self.optional()?,
            opened_at: self.optional()?,
            outage: None,
            in_flight: u32::try_from(self.uint()?).ok()?,
            first_seen: self.time()?,
            interval_ms: self.uint()?,
            own_window: None,
            totals: None,
        };
        Some(self.decide(key, instance, |key, instance| {
            SeriesRecord::Standing(Standing {
                key,
                instance,
                ..standing
            })
        }))
    }

    fn trace_id(&mut self) -> Option<Option<TraceId>> {
        Some(match self.byte()? {
            0 => None,
            _ => Some(TraceId::from_bytes(self.array()?)),
        })
    }

    /// Decodes a number for which zero means none.
    fn optional(&mut self) -> Option<Option<UnixNanos>> {
        Some(Some(self.time()?).filter(|time| time.get() > 0))
    }
}
