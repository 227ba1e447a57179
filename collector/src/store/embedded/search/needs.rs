//! Rules out segments and blocks for a query, reading only zones and one page of the filter.
//!
//! Errors go one way only: a matching span is never ruled out.

use std::ops::Bound;

use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, FALLBACK_OUTCOME};

use super::super::lists::List;
use super::super::segment::{Segment, ServiceRange, Zones, tokens};
use crate::model::{Condition, EVENT_NAME, SCOPE_NAME, SCOPE_VERSION, Test};
use crate::store::StoreError;
use crate::store::cancel;

/// The blocks of a segment that may have a matching span.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Nothing,
    Everything,
    /// The flagged ones.
    Blocks(Vec<bool>),
}

impl Reach {
    pub(super) fn includes(&self, block: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Blocks(list) => list.get(block) != Some(&false),
        }
    }
}

/// Returns the blocks that may have a span which meets every condition.
pub(super) fn reach(conditions: &[Condition], segment: &Segment) -> Result<Reach, StoreError> {
    if conditions.is_empty() {
        return Ok(Reach::Everything);
    }
    let zones = segment.zones()?;
    let by_zone = zones.list.iter().map(|zone| match &zone.services {
        None => Ok(true),
        Some(ranges) => any_range_may(conditions, ranges, &zones),
    });
    let by_zone: Vec<bool> = by_zone.collect::<Result<_, _>>()?;
    if !by_zone.is_empty() && !by_zone.contains(&true) {
        return Ok(Reach::Nothing);
    }
    for condition in conditions {
        if !segment_may(condition, &zones, segment)? {
            return Ok(Reach::Nothing);
        }
    }
    Ok(by_block(&zones, &by_zone))
}

/// Excludes the blocks of zones without a span of the requested names.
pub(super) fn with_names(
    reach: Reach,
    conditions: &[Condition],
    segment: &Segment,
) -> Result<Reach, StoreError> {
    let mut tests = conditions.iter().filter_map(|condition| match condition {
        Condition::Operation(test) => Some(test),
        _ => None,
    });
    let Some(test) = tests.next() else {
        return Ok(reach);
    };
    let passing = segment.passing(List::Names, |name| {
        test.matches_text(std::str::from_utf8(name).unwrap_or_default())
    })?;
    let names = segment.zone_names()?;
    let by_zone = names.0.iter().map(|names| match names {
        None => true,
        Some(names) => names
            .iter()
            .any(|&name| passing.get(name as usize) != Some(&false)),
    });
    let zones = segment.zones()?;
    let of_names = by_block(&zones, &by_zone.collect::<Vec<_>>());
    Ok(match (reach, of_names) {
        (Reach::Blocks(some), Reach::Blocks(named)) => {
            let both = some.into_iter().zip(named).map(|(one, other)| one && other);
            Reach::Blocks(both.collect())
        }
        (Reach::Everything, other) | (other, _) => other,
    })
}

/// Expands flags of zones to their blocks.
fn by_block(zones: &Zones, by_zone: &[bool]) -> Reach {
    if by_zone.is_empty() || !by_zone.contains(&false) {
        return Reach::Everything;
    }
    let blocks = zones.list.iter().zip(by_zone);
    let blocks = blocks.flat_map(|(zone, &may)| std::iter::repeat_n(may, zone.blocks as usize));
    Reach::Blocks(blocks.collect())
}

/// Returns whether a span of a zone may meet every condition.
fn any_range_may(
    conditions: &[Condition],
    ranges: &[ServiceRange],
    zones: &Zones,
) -> Result<bool, StoreError> {
    for range in ranges {
        cancel::spend(zones.services.get(range.service).len())?;
        let mut conditions = conditions.iter();
        if conditions.all(|condition| range_may(condition, range, zones)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn range_may(condition: &Condition, range: &ServiceRange, zones: &Zones) -> bool {
    match condition {
        Condition::Service(test) => test.matches_text(zones.services.text(range.service)),
        Condition::Status(code) => range.statuses >> code.as_otlp() & 1 == 1,
        Condition::Duration { min, max } => {
            range.max_duration >= *min && range.min_duration <= *max
        }
        Condition::Any(any) => any.iter().any(|one| range_may(one, range, zones)),
        _ => true,
    }
}

/// Returns whether a span of the segment may meet the condition, by its attributes or name.
fn segment_may(
    condition: &Condition,
    zones: &Zones,
    segment: &Segment,
) -> Result<bool, StoreError> {
    match condition {
        Condition::Operation(test) => {
            may_hold(test, segment, |name| tokens::of_name(name.as_bytes()))
        }
        Condition::Attribute { key, test, .. } => {
            // These match fields other than attributes, too.
            if [SCOPE_NAME, SCOPE_VERSION, EVENT_NAME].contains(&key.as_str()) {
                return Ok(true);
            }
            Ok(key_may(key, test, zones)
                && may_hold(test, segment, |text| tokens::of_attribute(key, text))?)
        }
        Condition::Circuit(name) => attribute_may(BREAKER_NAME, name, segment),
        Condition::Outcome(outcome) => attribute_may(BREAKER_OUTCOME, outcome.as_str(), segment),
        Condition::FallbackSucceeded => attribute_may(FALLBACK_OUTCOME, "success", segment),
        Condition::Any(any) => {
            for one in any {
                if segment_may(one, zones, segment)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Ok(true),
    }
}

fn attribute_may(key: &str, text: &str, segment: &Segment) -> Result<bool, StoreError> {
    segment.may_hold(&[tokens::of_attribute(key, text)])
}

/// Checks the segment's filter, if the test is for specific texts.
fn may_hold(
    test: &Test,
    segment: &Segment,
    token: impl Fn(&str) -> u64,
) -> Result<bool, StoreError> {
    match test {
        Test::Equals(text) => segment.may_hold(&[token(text)]),
        Test::OneOf(texts) => {
            segment.may_hold(&texts.iter().map(|text| token(text)).collect::<Vec<_>>())
        }
        _ => Ok(true),
    }
}

/// Returns whether the segment may have a passing value of a key, by the types and number range of the key.
fn key_may(key: &str, test: &Test, zones: &Zones) -> bool {
    let Some(known) = zones.key(key) else {
        return true;
    };
    let Some(values) = known else {
        return false;
    };
    match (test, values.numbers()) {
        (Test::IsList, _) => values.may_be_lists(),
        (Test::Between(min, max), Some((least, greatest))) => {
            let is_above = match *min {
                Bound::Included(min) => greatest >= min,
                Bound::Excluded(min) => greatest > min,
                Bound::Unbounded => true,
            };
            let is_below = match *max {
                Bound::Included(max) => least <= max,
                Bound::Excluded(max) => least < max,
                Bound::Unbounded => true,
            };
            is_above && is_below
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::super::SpanLog;
    use super::super::super::tests::support::{NOW, open_store, span, write};
    use super::*;
    use crate::model::{StatusCode, Value};

    /// Seals spans as three blocks, each one zone and too large to be merged; returns their segment.
    fn sealed(dir: &std::path::Path) -> Segment {
        let (store, mut writers, _) = open_store(dir, 1);
        for block in 0..3u64 {
            let spans = (0..240).map(|row| {
                let mut span = span(block * 240 + row, 1, ["shop", "cart"][row as usize % 2]);
                span.name = format!("step {block}");
                span.end = span.start + Duration::from_micros(block + 1);
                let number = (block * 240 + row) as i64;
                span.attributes
                    .push(("size".to_owned(), Value::Int(number)));
                span
            });
            let mut spans: Vec<_> = spans.collect();
            if block == 2 {
                spans[0].status.code = StatusCode::Error;
            }
            write(&mut writers[0], &spans);
            writers[0].commit().unwrap();
        }
        writers[0].seal().unwrap();
        assert!(
            store
                .stats()
                .oldest
                .is_some_and(|oldest| oldest.get() >= NOW)
        );
        store.catalog.snapshot()[0].clone()
    }

    /// *Guarantees*: an integer and a double of equal bits under one key are both found.
    #[test]
    fn numbers_of_equal_bits_are_distinguished() {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_store(dir.path(), 1);
        let values = [Value::Int(1f64.to_bits() as i64), Value::Double(1.0)];
        let spans = values.into_iter().zip(1..).map(|(value, id)| {
            let mut span = span(id, 1, "shop");
            span.attributes.push(("ratio".to_owned(), value));
            span
        });
        write(&mut writers[0], &spans.collect::<Vec<_>>());
        writers[0].commit().unwrap();
        writers[0].seal().unwrap();
        let segment = store.catalog.snapshot()[0].clone();
        for text in ["ratio=1", "ratio=4607182418800017408"] {
            let condition = Condition::parse_attribute(text).unwrap();
            let reach = reach(&[condition], &segment).unwrap();
            assert_ne!(reach, Reach::Nothing, "{text}");
        }
    }

    /// *Guarantees*: values that a segment cannot have are ruled out without reading a block; for services,
    /// durations and statuses, only blocks that may have them are read.
    #[test]
    fn zones_and_filter_rule_out_what_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let segment = sealed(dir.path());
        let reach = |conditions: &[Condition]| reach(conditions, &segment).unwrap();
        let of = |text: &str| reach(&[Condition::parse_attribute(text).unwrap()]);
        let longer = |min| Condition::Duration { min, max: u64::MAX };
        let failed = Condition::Status(StatusCode::Error);
        let blocks = |list: [bool; 3]| Reach::Blocks(list.to_vec());
        assert_eq!(reach(&[Condition::service("pay")]), Reach::Nothing);
        assert_eq!(reach(&[Condition::service("shop")]), Reach::Everything);
        assert_eq!(reach(&[longer(5_000)]), Reach::Nothing);
        assert_eq!(reach(&[longer(2_500)]), blocks([false, false, true]));
        let in_shop = [Condition::service("shop"), failed.clone()];
        assert_eq!(reach(&in_shop), blocks([false, false, true]));
        assert_eq!(reach(&[Condition::service("cart"), failed]), Reach::Nothing);
        assert_eq!(reach(&[Condition::operation("walk")]), Reach::Nothing);
        for absent in [
            "no.such.key",
            "size>720",
            "size<0",
            "request.id=7",
            "http.request.method=PUT",
        ] {
            assert_eq!(of(absent), Reach::Nothing, "{absent}");
        }
        for present in [
            "size=7",
            "size>718",
            "request.id=7-1",
            "request.id!=1",
            "service.name=cart",
        ] {
            assert_eq!(of(present), Reach::Everything, "{present}");
        }
        let named = [Condition::operation("step 1")];
        let reach = with_names(reach(&named), &named, &segment).unwrap();
        assert_eq!(reach, blocks([false, true, false]));
    }
}
