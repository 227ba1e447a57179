//! The area of kept traces: over a restart, full, and with orders that are wrong.

use super::*;
use crate::model::Note;

const NOW: UnixNanos = UnixNanos::new(77_000_000_000);

fn trace(id: u128, name: &str) -> Trace {
    let file = format!(
        r#"{{"resourceSpans": [{{"resource": {{"attributes": [{{"key": "service.name", "value": {{"stringValue": "shop"}}}}]}},
        "scopeSpans": [{{"spans": [{{"traceId": "{id:032x}", "spanId": "000000000000000a", "name": "{name}", "kind": 2,
        "startTimeUnixNano": "5", "endTimeUnixNano": "9", "attributes": [{{"key": "a", "value": {{"intValue": "7"}}}}],
        "events": [{{"timeUnixNano": "6", "name": "e"}}]}}]}}]}}]}}"#
    );
    read_file(file.as_bytes()).expect("OTLP JSON").remove(0)
}

fn order(note: &str) -> KeepOrder {
    KeepOrder {
        note: note.to_owned(),
        by: "kim".to_owned(),
    }
}

async fn keep(kept: &Kept, trace: Trace) -> Result<KeptTrace, KeepError> {
    kept.keep(trace, order("outage"), NOW).await
}

#[tokio::test]
async fn a_kept_trace_is_the_same_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::open(dir.path(), 1 << 20).unwrap();
    let one = trace(1, "GET /");
    let head = keep(&kept, one.clone()).await.unwrap();
    assert_eq!(
        (head.service.as_str(), head.operation.as_str()),
        ("shop", "GET /")
    );
    assert!(matches!(
        keep(&kept, one.clone()).await,
        Err(KeepError::Already)
    ));
    drop(kept);
    // A crash may leave what was not renamed yet, and a disk may damage a file.
    fs::write(dir.path().join("kept/x.new"), "{").unwrap();
    fs::write(
        dir.path()
            .join("kept/00000000000000000000000000000002.json"),
        "{",
    )
    .unwrap();
    let kept = Kept::open(dir.path(), 1 << 20).unwrap();
    assert_eq!(kept.list(), std::slice::from_ref(&head));
    assert!(!dir.path().join("kept/x.new").exists());
    let read = kept.trace(one.id).await.unwrap().expect("it is kept");
    assert_eq!(read.spans, one.spans);
    assert_eq!(kept.remove(one.id, None).await.unwrap(), Some(head));
    assert_eq!(kept.trace(one.id).await.unwrap(), None);
    assert!(Kept::open(dir.path(), 1 << 20).unwrap().list().is_empty());
}

#[tokio::test]
async fn the_room_is_bounded_and_its_end_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::open(dir.path(), 1_000).unwrap();
    keep(&kept, trace(1, "GET /")).await.unwrap();
    let error = keep(&kept, trace(2, &"x".repeat(500))).await.unwrap_err();
    assert!(
        matches!(
            error,
            KeepError::Full {
                bytes_max: 1_000,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("remove some"), "{error}");
    // What is removed makes room.
    kept.remove(TraceId::from(1_u128), None).await.unwrap();
    assert_eq!(kept.room().0, 0);
    keep(&kept, trace(2, "GET /")).await.unwrap();
}

#[tokio::test]
async fn an_order_says_who_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::open(dir.path(), 1 << 20).unwrap();
    for (note, by, wrong) in [
        ("", "kim", "note"),
        ("a\nb", "kim", "note"),
        ("a", " ", "by"),
    ] {
        let order = KeepOrder {
            note: note.to_owned(),
            by: by.to_owned(),
        };
        let error = kept
            .keep(trace(1, "a"), order, UnixNanos::new(0))
            .await
            .unwrap_err();
        assert!(error.to_string().starts_with(wrong), "{error}");
    }
    let mut cut = trace(1, "a");
    cut.truncated = true;
    assert!(matches!(keep(&kept, cut).await, Err(KeepError::TooLarge)));
    assert!(kept.list().is_empty());
}

/// Guarantees: a trace is not copied while spans of it may arrive, which takes longer if a parent is missing; an end in the
/// far future, by a clock that is ahead, does not count.
#[tokio::test]
async fn a_trace_whose_spans_arrive_is_not_kept_yet() {
    let dir = tempfile::tempdir().unwrap();
    let kept = Kept::open(dir.path(), 1 << 20).unwrap();
    let ended = |seconds_ago: u64| {
        let mut one = trace(1, "a");
        one.spans[0].end = NOW - Duration::from_secs(seconds_ago);
        one
    };
    let left = |result| match result {
        Err(KeepError::Arriving { seconds }) => seconds,
        other => panic!("{other:?}"),
    };
    assert_eq!(left(keep(&kept, ended(0)).await), 16);
    assert_eq!(left(keep(&kept, ended(14)).await), 2);
    let mut gap = ended(20);
    gap.notes.push(Note {
        code: "missing_parent",
        span_id: gap.spans[0].span_id,
        message: String::new(),
    });
    assert_eq!(left(keep(&kept, gap).await), 41);
    assert!(kept.list().is_empty());
    keep(&kept, ended(15)).await.unwrap();
    let mut ahead = trace(2, "a");
    ahead.spans[0].end = NOW + Duration::from_secs(3_600);
    assert_eq!(keep(&kept, ahead).await.unwrap().spans, 1);
}
