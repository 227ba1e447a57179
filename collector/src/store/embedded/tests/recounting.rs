//! The counts of a search's rows where spans share an id: as many as the trace shows.

use std::sync::Arc;

use opentelemetry::SpanId;
use proptest::prelude::*;

use super::support::*;
use crate::model::{Span, SpanKind, StatusCode, TimeRange, TraceQuery, UnixNanos};
use crate::store::assemble;
use crate::store::embedded::SpanLog;

/// Spans of one trace with few ids that differ little.
fn alike() -> impl Strategy<Value = Vec<Span>> {
    let one = (
        (1u64..4, 0u64..3, 0u64..2, -1i64..3, any::<bool>()),
        (0usize..2, 0usize..2, 0usize..2, 0u64..3, 0u64..2),
    );
    proptest::collection::vec(one, 1..16).prop_map(|list| {
        let make = |(first, second)| {
            let (id, kind, start, duration, has_end): (u64, u64, u64, i64, bool) = first;
            let (service, instance, name, status, parent): (usize, usize, usize, _, u64) = second;
            let mut made = span(1, id, ["shop", "cart"][service]);
            Arc::make_mut(&mut made.resource).instance_id = ["", "b"][instance].to_owned();
            made.kind = SpanKind::from_otlp(kind);
            made.start = UnixNanos::new(NOW + start);
            let end = made.start.get().wrapping_add_signed(duration);
            made.end = UnixNanos::new(if has_end { end } else { 0 });
            made.name = ["get", "put"][name].to_owned();
            made.status.code = StatusCode::from_otlp(status);
            made.parent_span_id = (parent > 0).then(|| SpanId::from_bytes([9; 8]));
            made
        };
        list.into_iter().map(make).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// *Scenario*: spans with one id that differ in name, end, parent, status or sender, or lack an end; some
    /// were sent again, to another shard.
    /// *Guarantees*: a search counts as many spans and errors as the trace shows.
    #[test]
    fn a_row_counts_what_the_trace_shows(spans in alike(), again in 0usize..8) {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_store(dir.path(), 2);
        let again = &spans[..again.min(spans.len())];
        write(&mut writers[0], &spans);
        write(&mut writers[1], again);
        for writer in &mut writers {
            writer.commit().unwrap();
        }
        let rows = search_all(&store, &TraceQuery::in_range(TimeRange::ALL));
        let mut received = spans.clone();
        received.extend_from_slice(again);
        let shown = assemble(received).spans;
        let failed = shown.iter().filter(|s| s.status.code == StatusCode::Error);
        prop_assert_eq!(rows.len(), 1);
        prop_assert_eq!(rows[0].span_count as usize, shown.len());
        prop_assert_eq!(rows[0].error_count as usize, failed.count());
    }
}
