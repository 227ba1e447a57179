//! Rules out segments and blocks for a query, reading only zones and one page of the filter.
//!
//! Errors go one way only: a matching span is never ruled out.

use std::ops::Bound;

use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, FALLBACK_OUTCOME};

use super::super::lists::List;
use super::super::segment::{Reach, Segment, ServiceRange, Zones, tokens};
use crate::model::{Condition, EVENT_NAME, SCOPE_NAME, SCOPE_VERSION, Test};
use crate::store::StoreError;
use crate::store::cancel;

/// Returns the blocks that may have a span which meets every condition.
pub(super) fn reach(conditions: &[Condition], segment: &Segment) -> Result<Reach, StoreError> {
    if conditions.is_empty() {
        return Ok(Reach::Everything);
    }
    let zones = segment.zones()?;
    let mut reach = match zones.list.is_empty() {
        true => Reach::Everything,
        false => {
            let by_zone = zones.list.iter().map(|zone| match &zone.services {
                None => Ok(true),
                Some(ranges) => any_range_may(conditions, ranges, &zones),
            });
            Reach::of_all(by_zone.collect::<Result<_, _>>()?)
        }
    };
    for condition in conditions {
        if reach == Reach::Nothing {
            break;
        }
        reach = reach.and(zones_that_may(condition, &zones, segment)?);
    }
    Ok(by_block(&zones, reach))
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
    if names.0.is_empty() {
        return Ok(reach);
    }
    let by_zone = names.0.iter().map(|names| match names {
        None => true,
        Some(names) => names
            .iter()
            .any(|&name| passing.get(name as usize) != Some(&false)),
    });
    let named = by_block(&*segment.zones()?, Reach::of_all(by_zone.collect()));
    Ok(reach.and(named))
}

/// Expands flags of zones to their blocks; all of them without zones.
fn by_block(zones: &Zones, reach: Reach) -> Reach {
    match reach {
        Reach::Some(_) if zones.list.is_empty() => Reach::Everything,
        reach => reach.by_block(zones.list.iter().map(|zone| zone.blocks)),
    }
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

/// Returns the zones in which a span may meet the condition, by its attributes or name.
fn zones_that_may(
    condition: &Condition,
    zones: &Zones,
    segment: &Segment,
) -> Result<Reach, StoreError> {
    match condition {
        Condition::Operation(test) => {
            zones_with(test, segment, |name| tokens::of_name(name.as_bytes()))
        }
        Condition::Attribute { key, test, .. } => {
            // These match fields other than attributes, too.
            if [SCOPE_NAME, SCOPE_VERSION, EVENT_NAME].contains(&key.as_str()) {
                return Ok(Reach::Everything);
            }
            match key_may(key, test, zones) {
                true => zones_with(test, segment, |text| tokens::of_attribute(key, text)),
                false => Ok(Reach::Nothing),
            }
        }
        Condition::Circuit(name) => zones_with_attribute(BREAKER_NAME, name, segment),
        Condition::Outcome(outcome) => {
            zones_with_attribute(BREAKER_OUTCOME, outcome.as_str(), segment)
        }
        Condition::FallbackSucceeded => zones_with_attribute(FALLBACK_OUTCOME, "success", segment),
        Condition::Any(any) => {
            let mut reach = Reach::Nothing;
            for one in any {
                reach = reach.or(zones_that_may(one, zones, segment)?);
            }
            Ok(reach)
        }
        _ => Ok(Reach::Everything),
    }
}

fn zones_with_attribute(key: &str, text: &str, segment: &Segment) -> Result<Reach, StoreError> {
    segment.zones_of(&[tokens::of_attribute(key, text)])
}

/// Reads the segment's filter, if the test is for specific texts.
fn zones_with(
    test: &Test,
    segment: &Segment,
    token: impl Fn(&str) -> u64,
) -> Result<Reach, StoreError> {
    match test {
        Test::Equals(text) => segment.zones_of(&[token(text)]),
        Test::OneOf(texts) => {
            segment.zones_of(&texts.iter().map(|text| token(text)).collect::<Vec<_>>())
        }
        _ => Ok(Reach::Everything),
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
    use super::super::super::tests::support::{NOW, open_store, search_all, span, write};
    use super::*;
    use crate::model::{StatusCode, TimeRange, TraceQuery, Value};

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

    /// *Guarantees*: small blocks are joined to one of each zone when they are sealed, and values and traces are found in
    /// the block that has them.
    #[test]
    fn joined_blocks_are_found_by_their_zone() {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_store(dir.path(), 1);
        for block in 0..12u64 {
            let spans = (block * 8..block * 8 + 8).map(|number| {
                let mut span = span(number + 1, number + 1, "shop");
                let attribute = ("size".to_owned(), Value::Int(number as i64));
                span.attributes.push(attribute);
                span
            });
            write(&mut writers[0], &spans.collect::<Vec<_>>());
            writers[0].commit().unwrap();
        }
        writers[0].seal().unwrap();
        let segment = store.catalog.snapshot()[0].clone();
        assert_eq!(
            segment.blocks().len(),
            3,
            "four blocks of eight rows a zone"
        );
        for number in [0, 31, 32, 95] {
            let condition = Condition::parse_attribute(&format!("size={number}")).unwrap();
            let zone = number as usize / 32;
            let expected = (0..3).map(|at| at == zone).collect();
            let found = reach(std::slice::from_ref(&condition), &segment).unwrap();
            assert_eq!(found, Reach::of(expected), "{number}");
            assert_eq!(segment.blocks_of(number + 1).unwrap(), [zone as u32]);
            let query = TraceQuery::in_range(TimeRange::ALL).with([condition]);
            assert_eq!(search_all(&store, &query).len(), 1);
        }
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
        let blocks = |list: [bool; 3]| Reach::of(list.to_vec());
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
        assert_eq!(of("size=7"), blocks([true, false, false]));
        assert_eq!(of("size=700"), blocks([false, false, true]));
        for present in [
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
