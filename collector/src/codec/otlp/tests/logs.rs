//! Log records out of requests: what is kept, cut, redacted and refused.

use fusebox::semconv;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord as Sent, ResourceLogs, ScopeLogs};
use proptest::prelude::*;
use prost::Message;

use super::super::{Limits, LogsRead, read_logs};
use crate::codec::circuits::request::{logs, resource, text};
use crate::model::{DAY, LogRecord, SECOND, Severity, UnixNanos, Value};

const NOW: UnixNanos = UnixNanos::new(1_795_428_000_000_000_000);

fn read(record: Sent) -> LogsRead {
    let request = logs(resource("shop", Some("one")), record).encode_to_vec();
    read_logs(&request, &Limits::default(), NOW).unwrap()
}

fn one(record: Sent) -> LogRecord {
    let mut read = read(record);
    assert_eq!((read.records.len(), read.refused), (1, 0));
    read.records.remove(0)
}

fn body(text: &str) -> Option<AnyValue> {
    Some(AnyValue {
        value: Some(any_value::Value::StringValue(text.to_owned())),
    })
}

#[test]
fn everything_that_a_record_says_is_read() {
    let record = one(Sent {
        time_unix_nano: NOW.get() - 7,
        observed_time_unix_nano: NOW.get(),
        severity_number: 17,
        severity_text: "ERR".to_owned(),
        body: body("no stock"),
        attributes: vec![text("a", "b"), text("db.password", "x")],
        dropped_attributes_count: 3,
        flags: 1,
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        event_name: "sold out".to_owned(),
    });
    assert_eq!(record.time, UnixNanos::new(NOW.get() - 7));
    assert_eq!(record.observed, NOW);
    assert_eq!(
        (record.severity, &*record.severity_text),
        (Severity::ERROR, "ERR")
    );
    assert_eq!(record.body, Value::String("no stock".to_owned()));
    assert_eq!(record.attribute("a"), Some(&Value::String("b".to_owned())));
    let secret = record.attribute("db.password");
    assert_eq!(secret, Some(&Value::String("REDACTED".to_owned())));
    assert_eq!((record.dropped_attributes_count, record.flags), (3, 1));
    assert_eq!(record.trace_id.unwrap().to_bytes(), [7; 16]);
    assert_eq!(record.span_id.unwrap().to_bytes(), [8; 8]);
    assert_eq!((record.event(), record.service()), ("sold out", "shop"));
}

#[test]
fn a_record_without_a_time_has_that_of_its_arrival() {
    assert_eq!(one(Sent::default()).time, NOW);
    let observed = Sent {
        observed_time_unix_nano: 5,
        ..Sent::default()
    };
    assert_eq!(one(observed).time, UnixNanos::new(5));
    let at = |time: UnixNanos| {
        let read = read(Sent {
            time_unix_nano: time.get(),
            ..Sent::default()
        });
        (read.records.len(), read.refused)
    };
    assert_eq!(at(NOW + DAY), (1, 0));
    assert_eq!(at(NOW + DAY + SECOND), (0, 1));
}

#[test]
fn an_id_of_a_wrong_length_is_none() {
    for (trace, cut) in [
        (vec![], 0),
        (vec![0; 16], 0),
        (vec![1; 8], 1),
        (vec![1; 17], 1),
    ] {
        let read = read(Sent {
            trace_id: trace,
            ..Sent::default()
        });
        assert_eq!(read.records[0].trace_id, None);
        assert_eq!(read.truncated, cut);
    }
}

#[test]
fn what_is_too_much_is_cut_and_counted() {
    let limits = Limits::default();
    let long = "x".repeat(limits.string_bytes + 1);
    let many = (0..200).map(|n| text(&format!("key{n}"), "v"));
    let read_many = read(Sent {
        body: body(&long),
        attributes: many.collect(),
        ..Sent::default()
    });
    let record = &read_many.records[0];
    assert_eq!(record.body, Value::String(long[1..].to_owned()));
    assert_eq!(record.attributes.len(), limits.attributes);
    assert_eq!(record.dropped_here, 200 - limits.attributes as u32);
    assert_eq!(read_many.truncated, 1 + u64::from(record.dropped_here));
    // Together they fill what one record may have.
    let large = (0..5).map(|n| text(&format!("key{n}"), &long));
    let large = one(Sent {
        attributes: large.collect(),
        ..Sent::default()
    });
    assert_eq!((large.attributes.len(), large.dropped_here), (2, 3));
    assert!(large.memory_bytes() < 100_000);
}

#[test]
fn a_body_that_is_too_large_a_list_is_kept_as_text() {
    let item = AnyValue {
        value: Some(any_value::Value::IntValue(7)),
    };
    let values = vec![item; 20_000];
    let list = any_value::Value::ArrayValue(ArrayValue { values });
    let record = one(Sent {
        body: Some(AnyValue { value: Some(list) }),
        ..Sent::default()
    });
    assert!(matches!(record.body, Value::String(text) if text.starts_with("[7, 7, ")));
}

/// *Scenario*: a service, a logger, an attribute and a body in Latin-1.
/// *Guarantees*: nothing of a record is lost to them: what is no UTF-8 is replaced, and counted.
#[test]
fn ill_formed_text_is_replaced_and_counted() {
    let mut request = logs(
        resource("caf~", Some("one")),
        Sent {
            body: body("pi~ata"),
            attributes: vec![text("se~or", "ma~ana"), text("plain", "text")],
            trace_id: vec![7; 16],
            ..Sent::default()
        },
    );
    request.resource_logs[0].scope_logs[0].scope = Some(InstrumentationScope {
        name: "ni~o".to_owned(),
        ..InstrumentationScope::default()
    });
    let mut bytes = request.encode_to_vec();
    let marks = bytes.iter_mut().filter(|byte| **byte == b'~');
    marks.for_each(|byte| *byte = 0xf1);
    let read = read_logs(&bytes, &Limits::default(), NOW).unwrap();
    assert_eq!((read.replaced, read.truncated), (5, 0));
    let record = &read.records[0];
    assert_eq!(record.service(), "caf\u{fffd}");
    assert_eq!(record.scope.name, "ni\u{fffd}o");
    assert_eq!(record.body, Value::String("pi\u{fffd}ata".to_owned()));
    let value = record.attribute("se\u{fffd}or");
    assert_eq!(value, Some(&Value::String("ma\u{fffd}ana".to_owned())));
    assert_eq!((record.attributes.len(), record.dropped_here), (2, 0));
    assert_eq!(record.trace_id.unwrap().to_bytes(), [7; 16]);
}

/// *Guarantees*: events of circuits are separated from other records, whatever their clock says, and keep their values.
#[test]
fn events_of_circuits_are_separated_from_records() {
    let ahead = (NOW + 7 * DAY).get();
    let named = Sent {
        time_unix_nano: ahead,
        event_name: semconv::EVENT_TRANSITION.to_owned(),
        attributes: vec![text(semconv::BREAKER_NAME, "token=of-the-shop")],
        ..Sent::default()
    };
    let by_attribute = Sent {
        time_unix_nano: ahead,
        attributes: vec![text("event.name", semconv::EVENT_ENDED)],
        ..Sent::default()
    };
    for sent in [named, by_attribute] {
        let mut read = read(sent);
        assert_eq!((read.records.len(), read.refused), (0, 0));
        let event = read.events.remove(0);
        assert_eq!(event.time.get(), ahead);
        let name = event.attribute(semconv::BREAKER_NAME);
        assert!(name.is_none_or(|name| name.to_string() == "token=of-the-shop"));
    }
}

proptest! {
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_logs(&noise, &Limits::default(), NOW);
    }

    #[test]
    fn every_record_of_a_request_is_kept_or_refused(
        times in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..20)), 0..20),
    ) {
        let record = |(time, id): &(u64, Vec<u8>)| Sent {
            time_unix_nano: *time,
            trace_id: id.clone(),
            attributes: vec![KeyValue::default()],
            ..Sent::default()
        };
        let request = ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                scope_logs: vec![ScopeLogs {
                    log_records: times.iter().map(record).collect(),
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            }],
        };
        let read = read_logs(&request.encode_to_vec(), &Limits::default(), NOW).unwrap();
        prop_assert_eq!(read.records.len() as u64 + read.refused, times.len() as u64);
    }
}
