//! The reason of a breaker's transition. Services send it in English; sentences of our library are translated for pages
//! in another language, and others are shown unchanged.

use std::borrow::Cow;
use std::fmt::Display;

use super::text;
use crate::pages::words::{Language, Text};

/// The sentences of the library, more specific ones first.
const SENTENCES: [Text; 16] = [
    Text::find("{percent} % of the last {calls} calls failed (limit {limit} %)"),
    Text::find("{percent} % of the last {calls} calls took longer than {time} (limit {limit} %)"),
    Text::find("{percent} % of {calls} calls failed in {window} (limit {limit} %)"),
    Text::find(
        "{percent} % of {calls} calls took longer than {time} in {window} (limit {limit} %)",
    ),
    Text::find("open time of {time} has passed"),
    Text::find("too few probes ended in {time} of half-open"),
    Text::find("probe succeeded in {time}"),
    Text::find("{n} of {all} probes succeeded"),
    Text::find("probe failed"),
    Text::find("probe timed out after {time}"),
    Text::find("probe took {time} (limit {limit})"),
    Text::find("{n} of {all} probes failed"),
    Text::find("{n} of {all} probes were slow"),
    Text::find("override released ({reason})"),
    Text::find("override expired ({reason})"),
    Text::find("would have gone from {from} to {to}: {reason}"),
];

/// Returns a reason as shown, with at most `chars_max` characters.
pub(crate) fn shown(reason: &str, chars_max: usize) -> Cow<'_, str> {
    let cut = text::shown(reason, chars_max);
    match Language::current() {
        Language::English => cut,
        _ => said(&cut).map_or(cut, Cow::Owned),
    }
}

/// Returns a sentence of the library in the language of the page.
fn said(reason: &str) -> Option<String> {
    let (sentence, values) = SENTENCES
        .iter()
        .find_map(|sentence| Some((sentence, values(sentence.english(), reason)?)))?;
    let values: Vec<(&str, String)> = values
        .into_iter()
        .map(|(name, value)| match name {
            "reason" => (name, said(value).unwrap_or_else(|| value.to_owned())),
            _ => (name, value.to_owned()),
        })
        .collect();
    let values: Vec<(&str, &dyn Display)> = values
        .iter()
        .map(|(name, value)| (*name, value as &dyn Display))
        .collect();
    Some(sentence.filled(&values))
}

/// Returns the values in a sentence; `None` if it is a different sentence.
fn values<'s>(sentence: &'static str, said: &'s str) -> Option<Vec<(&'static str, &'s str)>> {
    let mut parts = sentence.split('{');
    let mut rest = said.strip_prefix(parts.next()?)?;
    let mut values = Vec::new();
    for part in parts {
        let (name, literal) = part.split_once('}')?;
        let end = match literal {
            "" => rest.len(),
            literal => rest.find(literal)?,
        };
        values.push((name, &rest[..end]));
        rest = &rest[end + literal.len()..];
    }
    rest.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_of_the_library_are_said_in_the_language_of_the_page() {
        for (reason, korean) in [
            (
                "52 % of 118 calls failed in 10 s (limit 50 %)",
                "10 s 동안 호출 118건 중 52 % 실패 (임계값 50 %)",
            ),
            ("3 of 3 probes succeeded", "시험 호출 3번 중 3번 성공"),
            (
                "override expired (probe failed)",
                "강제 상태 만료 (시험 호출 실패)",
            ),
            ("the disk is full", "the disk is full"),
            ("probe failed twice", "probe failed twice"),
            ("", ""),
        ] {
            assert_eq!(shown(reason, 200), reason);
            assert_eq!(Language::Korean.within(|| shown(reason, 200)), korean);
        }
        assert_eq!(
            Language::Korean.within(|| shown("probe failed", 5)),
            "probe…"
        );
    }
}
