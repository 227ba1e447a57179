//! Turns rows of an answer back into the records they were written from; foreign rows give none.

use fusebox::circuit_breaker::EffectiveState;
use opentelemetry::SpanId;

use super::TEN_SECONDS;
use super::text::{parse, read_seconds, trace_id};
use crate::model::{CircuitKey, CircuitTransition, MINUTE, Provenance, UnixNanos};
use crate::store::influxdb::schema::{
    DESTINATION, INSTANCE, NAME, NAMES, OPERATION, SERVICE, SOURCE,
};
use crate::store::influxdb::wire::query::{Cell, Series};
use crate::store::series::{
    DependencyMinute, InstanceRecord, RedMinute, SeriesKind, SeriesRecord, SettingsRecord, Standing,
};

/// A row with access by column name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    series: &'a Series,
    cells: &'a [Cell],
}

impl<'a> Row<'a> {
    pub(super) fn all(series: &'a Series) -> impl Iterator<Item = Row<'a>> {
        let rows = series.rows.iter();
        rows.map(move |cells| Row { series, cells })
    }

    pub(super) fn int(self, column: &str) -> Option<i64> {
        self.cell(column)?.as_int()
    }

    pub(super) fn count(self, column: &str) -> Option<u64> {
        u64::try_from(self.int(column)?).ok()
    }

    pub(super) fn time(self, column: &str) -> Option<UnixNanos> {
        self.count(column).map(UnixNanos::new)
    }

    pub(super) fn digits(self, column: &str) -> Option<UnixNanos> {
        time_of(self.text(column)?)
    }

    /// Returns the text in a column; `None` for a missing value.
    pub(super) fn text(self, column: &str) -> Option<&'a str> {
        self.cell(column)?.as_text()
    }

    pub(super) fn truth(self, column: &str) -> Option<bool> {
        self.cell(column)?.as_bool()
    }

    fn cell(self, column: &str) -> Option<&'a Cell> {
        self.cells.get(self.series.column(column)?)
    }

    fn word(self, column: &str) -> String {
        self.text(column).unwrap_or_default().to_owned()
    }

    /// Returns the original names: those in the field `NAMES` if present, else the tags.
    fn names<const N: usize>(self, tags: [&str; N]) -> Option<[String; N]> {
        match self.text(NAMES) {
            Some(names) => parse::<Vec<String>>(names)?.try_into().ok(),
            None => Some(tags.map(|tag| self.word(tag))),
        }
    }

    pub(super) fn visit(self, kind: SeriesKind, visit: &mut dyn FnMut(SeriesRecord)) -> Option<()> {
        match kind {
            SeriesKind::Sample => return self.samples(visit),
            SeriesKind::Transition => visit(SeriesRecord::Transition(self.transition()?)),
            SeriesKind::Settings => {
                let settings: SettingsRecord = parse(self.text("j")?)?;
                visit(SeriesRecord::Settings(settings));
            }
            SeriesKind::Standing => {
                visit(SeriesRecord::Standing(read_standing(self.text("j")?)?));
            }
            SeriesKind::Rollup => visit(SeriesRecord::Rollup(parse(self.text("j")?)?)),
            SeriesKind::Red => visit(SeriesRecord::Red(self.red()?)),
            SeriesKind::Dependency => visit(SeriesRecord::Dependency(self.dependency()?)),
            SeriesKind::Instance => visit(SeriesRecord::Instance(self.instance()?)),
            SeriesKind::Policy => visit(SeriesRecord::Policy(parse(self.text("j")?)?)),
            SeriesKind::Control | SeriesKind::Registry | SeriesKind::Address => {}
        }
        Some(())
    }

    fn samples(self, visit: &mut dyn FnMut(SeriesRecord)) -> Option<()> {
        let window = self.time("time")?.floor(TEN_SECONDS);
        let [instance, name, service] = self.names([INSTANCE, NAME, SERVICE])?;
        let key = CircuitKey { service, name };
        let samples = read_seconds(self.text("s")?, window, &key, &instance)?;
        samples
            .into_iter()
            .map(SeriesRecord::Sample)
            .for_each(visit);
        Some(())
    }

    fn transition(self) -> Option<CircuitTransition> {
        let [instance, name, service] = self.names([INSTANCE, NAME, SERVICE])?;
        let state = |column| EffectiveState::parse(self.text(column)?);
        Some(CircuitTransition {
            key: CircuitKey { service, name },
            instance,
            time: self.digits("at")?,
            from: state("from")?,
            to: state("to")?,
            provenance: match self.truth("derived") {
                Some(true) => Provenance::Derived,
                Some(false) => Provenance::Reported,
                None => Provenance::of_stored_transition(&self.word("reason")),
            },
            reason: self.word("reason"),
            open_until: self.digits("open_until"),
            trace_id: trace_id(self.text("tid")),
            span_id: self.text("sid").and_then(|id| SpanId::from_hex(id).ok()),
        })
    }

    fn red(self) -> Option<RedMinute> {
        let [operation, service] = self.names([OPERATION, SERVICE])?;
        Some(RedMinute {
            service,
            operation,
            minute: self.minute()?,
            calls: self.count("calls")?,
            errors: self.count("errors")?,
            latency_buckets: parse(self.text("h")?)?,
        })
    }

    fn dependency(self) -> Option<DependencyMinute> {
        let [child, parent] = self.names([DESTINATION, SOURCE])?;
        Some(DependencyMinute {
            parent,
            child,
            child_is_virtual: self.truth("virtual")?,
            minute: self.minute()?,
            calls: self.count("calls")?,
            errors: self.count("errors")?,
            circuits: parse(self.text("circuits")?)?,
        })
    }

    fn instance(self) -> Option<InstanceRecord> {
        let [_, service] = self.names([INSTANCE, SERVICE])?;
        let (first, last) = self.text("exact")?.split_once(' ')?;
        Some(InstanceRecord {
            service,
            id: self.word("id"),
            first_seen: time_of(first)?,
            last_seen: time_of(last)?,
        })
    }

    fn minute(self) -> Option<UnixNanos> {
        Some(self.time("time")?.floor(MINUTE))
    }
}

/// Parses a standing; one written without a provenance has it in its reason.
fn read_standing(json: &str) -> Option<Standing> {
    parse(json).or_else(|| {
        let mut stored: serde_json::Value = parse(json)?;
        let provenance = Provenance::of_stored_state(stored.get("reason")?.as_str()?);
        let fields = stored.as_object_mut()?;
        fields.insert(
            "provenance".to_owned(),
            serde_json::to_value(provenance).ok()?,
        );
        serde_json::from_value(stored).ok()
    })
}

fn time_of(digits: &str) -> Option<UnixNanos> {
    digits.parse().ok().map(UnixNanos::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: an old standing without provenance gets it from its reason; a newer one from its field,
    /// whatever the reason.
    #[test]
    fn a_standing_without_provenance_is_read() {
        let json = |reason: &str, provenance: &str| {
            format!(
                r#"{{"key":{{"service":"shop","name":"stock"}},"instance":"a","time_unix_nanos":9,"source":"fusebox",
                "target":"","state":"open","since_unix_nanos":5,"retry_at_unix_nanos":null,"reason":"{reason}",
                {provenance}"opened_by":null,"opened_at_unix_nanos":0,"in_flight":0,"first_seen_unix_nanos":1,
                "last_seen_unix_nanos":9,"interval_ms":1000,"added_later":{{}}}}"#
            )
        };
        let read =
            |reason, provenance| read_standing(&json(reason, provenance)).unwrap().provenance;
        assert_eq!(read("reported by fusebox", ""), Provenance::Derived);
        assert_eq!(read("", ""), Provenance::Derived);
        assert_eq!(read("it failed", ""), Provenance::Reported);
        let stored = r#""provenance":"reported","#;
        assert_eq!(read("reported by fusebox", stored), Provenance::Reported);
        assert_eq!(read_standing("{}"), None);
    }
}
