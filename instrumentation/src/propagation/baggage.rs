//! Reads and writes W3C baggage within its limits of 64 members and 8,192 bytes.
//!
//! The SDK's `BaggagePropagator` is not used because it drops a header that is too long instead of the members beyond
//! the limit, cuts values at a second `=`, drops members with invalid UTF-8, and writes headers beyond the limit.

use std::sync::LazyLock;

use opentelemetry::Context;
use opentelemetry::baggage::{Baggage, BaggageExt, BaggageMetadata};
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

const BAGGAGE: &str = "baggage";
static FIELDS: LazyLock<[String; 1]> = LazyLock::new(|| [BAGGAGE.into()]);

/// Most members that are passed on (W3C baggage, section 3.3.2, asks for at least 64).
const MAX_MEMBERS: usize = 64;
/// Most bytes of all members with their commas (same section).
const MAX_BYTES: usize = 8192;
/// Characters that must be encoded in a value (all but `baggage-octet`, and the percent sign).
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b',')
    .add(b';')
    .add(b'\\')
    .add(b'%');

/// Reads and writes W3C `baggage`.
#[derive(Debug, Clone, Copy, Default)]
pub struct BaggagePropagator;

impl TextMapPropagator for BaggagePropagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        let header = write(cx.baggage());
        if !header.is_empty() {
            injector.set(BAGGAGE, header);
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let baggage = read(&extractor.get_all(BAGGAGE).unwrap_or_default());
        if baggage.is_empty() {
            return cx.clone();
        }
        cx.with_baggage(baggage)
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(FIELDS.as_slice())
    }
}

/// Reads the headers, joined in order, up to the limits; only malformed members are dropped.
fn read(headers: &[&str]) -> Baggage {
    let mut baggage = Baggage::new();
    let mut bytes = 0;
    for member in headers.iter().flat_map(|header| header.split(',')) {
        bytes += member.len() + 1;
        if bytes > MAX_BYTES + 1 || baggage.len() == MAX_MEMBERS {
            break;
        }
        let (pair, properties) = member.split_once(';').unwrap_or((member, ""));
        let Some((key, value)) = pair.split_once('=') else {
            continue;
        };
        let value = percent_decode_str(value.trim()).decode_utf8_lossy();
        // The API rejects keys that are not tokens, and anything beyond its own limits, which are the same.
        baggage.insert_with_metadata(
            key.trim().to_owned(),
            value.into_owned(),
            BaggageMetadata::from(properties.trim()),
        );
    }
    baggage
}

/// Writes as many whole members as the limits allow, sorted by key so that the same baggage gives the same text.
fn write(baggage: &Baggage) -> String {
    let mut members: Vec<_> = baggage.iter().collect();
    members.sort_unstable_by(|a, b| a.0.cmp(b.0));
    let mut header = String::new();
    for (key, (value, properties)) in members.into_iter().take(MAX_MEMBERS) {
        let before = header.len();
        if before > 0 {
            header.push(',');
        }
        header.push_str(key.as_str());
        header.push('=');
        header.extend(utf8_percent_encode(value.as_str(), ENCODED));
        if printable(properties.as_str()) {
            header.push(';');
            header.push_str(properties.as_str());
        }
        if header.len() > MAX_BYTES {
            header.truncate(before); // A shorter member may still fit.
        }
    }
    header
}

/// Returns whether properties can be passed on unchanged without breaking the header.
fn printable(properties: &str) -> bool {
    !properties.is_empty()
        && properties
            .bytes()
            .all(|byte| matches!(byte, b'\t' | b' '..=b'~') && byte != b',')
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use opentelemetry::{KeyValue, StringValue};
    use proptest::prelude::*;

    use super::*;

    fn get<'a>(baggage: &'a Baggage, key: &str) -> Option<&'a str> {
        baggage.get(key).map(StringValue::as_str)
    }

    #[test]
    fn members_are_read_with_blanks_equal_signs_and_properties() {
        let baggage = read(&[
            "key1=value1 , key2 = a=b;prop=1;p2, bad",
            "key3=%F0%9F%94%A5%20x",
        ]);
        assert_eq!(get(&baggage, "key1"), Some("value1"));
        assert_eq!(get(&baggage, "key2"), Some("a=b"));
        assert_eq!(get(&baggage, "key3"), Some("🔥 x"));
        assert_eq!(
            baggage.get_with_metadata("key2").unwrap().1.as_str(),
            "prop=1;p2"
        );
        assert_eq!(baggage.len(), 3);
        assert_eq!(
            write(&baggage),
            "key1=value1,key2=a=b;prop=1;p2,key3=%F0%9F%94%A5%20x"
        );
    }

    #[test]
    fn invalid_utf8_becomes_the_replacement_character() {
        assert_eq!(get(&read(&["a=%ff%C3%28"]), "a"), Some("\u{fffd}\u{fffd}("));
    }

    #[test]
    fn members_beyond_the_limits_are_dropped_whole() {
        let many: Vec<String> = (0..70).map(|i| format!("k{i}=v")).collect();
        assert_eq!(read(&[&many.join(",")]).len(), 64);
        let member = |key: &str| format!("{key}={}", "v".repeat(4000));
        let long = [member("a"), member("b"), member("c")].join(",");
        let baggage = read(&[&long]);
        assert_eq!(baggage.len(), 2);
        assert_eq!(write(&baggage), [member("a"), member("b")].join(","));
    }

    #[test]
    fn values_that_grow_when_encoded_stay_within_the_limit() {
        let baggage: Baggage = ["a", "b", "c"]
            .map(|key| KeyValue::new(key, "\"".repeat(1300)))
            .into_iter()
            .collect();
        let header = write(&baggage);
        assert_eq!(header.len(), 2 * (2 + 3900) + 1);
    }

    proptest! {
        #[test]
        fn what_is_injected_is_extracted(members in proptest::collection::btree_map("[a-z0-9!#$%&'*+.^_`|~-]{1,12}", ".{0,20}", 0..20)) {
            let baggage: Baggage = members.iter().map(|(k, v)| KeyValue::new(k.clone(), v.clone())).collect();
            let mut carrier = HashMap::new();
            let cx = Context::new().with_baggage(baggage);
            BaggagePropagator.inject_context(&cx, &mut carrier);
            let cx = BaggagePropagator.extract_with_context(&Context::new(), &carrier);
            let read: std::collections::BTreeMap<_, _> =
                cx.baggage().iter().map(|(k, (v, _))| (k.to_string(), v.to_string())).collect();
            prop_assert_eq!(read, members);
        }

        #[test]
        fn no_text_panics(text in ".{0,400}") {
            let header = write(&read(&[&text]));
            prop_assert!(header.is_ascii());
        }
    }
}
