//! `/actuator/logfile`: the last log lines, completely or by byte range. To clients it is the end of a growing file:
//! byte offsets stay the same when older lines are dropped.

use std::ops::Range;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, StatusCode};

use super::Inner;

/// `GET /actuator/logfile`
pub(super) async fn lines(State(inner): State<Arc<Inner>>, headers: HeaderMap) -> Response {
    let kept = inner.recent.lines.range();
    let text = |headers: &HeaderMap| headers.get(RANGE)?.to_str().ok().map(str::to_owned);
    let plain = [
        (CONTENT_TYPE, "text/plain;charset=UTF-8"),
        (ACCEPT_RANGES, "bytes"),
    ];
    let Some(wanted) = text(&headers)
        .as_deref()
        .and_then(|text| range(text, kept.end))
    else {
        let (_, bytes) = inner.recent.lines.read(kept);
        return (plain, bytes).into_response();
    };
    let (start, bytes) = inner.recent.lines.read(wanted);
    if bytes.is_empty() {
        let range = [(CONTENT_RANGE, format!("bytes */{}", kept.end))];
        return (StatusCode::RANGE_NOT_SATISFIABLE, range).into_response();
    }
    let last = start + bytes.len() as u64 - 1;
    // More lines may have been written meanwhile.
    let total = kept.end.max(last + 1);
    let range = [(CONTENT_RANGE, format!("bytes {start}-{last}/{total}"))];
    (StatusCode::PARTIAL_CONTENT, plain, range, bytes).into_response()
}

/// Parses a range of one part (RFC 9110, 14.1.2). Any other range is ignored, so the answer contains all lines.
fn range(text: &str, end: u64) -> Option<Range<u64>> {
    let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.parse::<u64>().ok();
    match (first, last) {
        ("", last) => Some(end.saturating_sub(number(last)?)..end),
        (first, "") => Some(number(first)?..u64::MAX),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| first..last.saturating_add(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_parsed() {
        assert_eq!(range("bytes=-10", 100), Some(90..100));
        assert_eq!(range("bytes=-1000", 100), Some(0..100));
        assert_eq!(range("bytes=99-", 100), Some(99..u64::MAX));
        assert_eq!(range("bytes=0-0", 100), Some(0..1));
        let last = format!("bytes=5-{}", u64::MAX);
        assert_eq!(range(&last, 100), Some(5..u64::MAX));
        for other in [
            "bytes=5-4",
            "bytes=0-1,3-4",
            "lines=1-",
            "bytes=-",
            "bytes=x-",
            "",
        ] {
            assert_eq!(range(other, 100), None, "{other}");
        }
    }
}
