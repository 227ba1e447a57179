//! Messages that come as English text: reasons of transitions, which services send, and problems that the collector
//! describes, as its API and its log have them. Those of our library and of the collector are translated for pages in
//! another language; others are shown unchanged.

use std::borrow::Cow;
use std::fmt::Display;

use super::text;
use crate::pages::words::{self, Language, Text};

/// Longest problem of a field or a form as shown, in characters.
pub(crate) const PROBLEM_CHARS: usize = 500;

/// Longest message that is recognized, in characters: longer ones have much text from outside.
const RECOGNIZED_CHARS: usize = 2_000;

/// Returns a message as shown, with at most `chars_max` characters.
pub(crate) fn shown(message: &str, chars_max: usize) -> Cow<'_, str> {
    let whole = match Language::current() {
        Language::English => None,
        // What is cut off could not be recognized any more.
        _ => translated(&text::shown(message, RECOGNIZED_CHARS)),
    };
    match whole {
        Some(whole) => Cow::Owned(text::shown(&whole, chars_max).into_owned()),
        None => text::shown(message, chars_max),
    }
}

/// Returns a message in the language of the page; `None` if it is not one of ours.
pub(crate) fn translated(message: &str) -> Option<String> {
    let (sentence, values) = words::messages()
        .find_map(|sentence| Some((sentence, values(sentence.english(), message)?)))?;
    let values: Vec<_> = values
        .into_iter()
        .map(|(name, value)| (name, value_of(name, value)))
        .collect();
    let values: Vec<(&str, &dyn Display)> = values
        .iter()
        .map(|(name, value)| (*name, value as &dyn Display))
        .collect();
    Some(sentence.filled(&values))
}

/// Returns a value in the language of the page: a message within the message, a length of time, a state.
fn value_of(name: &str, value: &str) -> String {
    let known = match name {
        "why" => translated(value),
        "time" | "least" => time(value),
        "from" | "to" | "state" => {
            Text::find_maybe(&value.replace('_', "-")).map(|word| word.to_string())
        }
        _ => None,
    };
    known.unwrap_or_else(|| value.to_owned())
}

/// Returns a length of time of whole seconds, whose unit is a word; other units are symbols.
fn time(value: &str) -> Option<String> {
    let seconds = value.strip_suffix(" s")?;
    let is_number = seconds.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_number.then(|| t!("{n} s", n = seconds))
}

/// Returns the values in a message; `None` if it is another message.
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
    use fusebox_collector::model::{SECOND, UnixNanos};
    use fusebox_collector::query::{Missing, MissingPart};
    use fusebox_collector::store::StoreError;

    use super::*;

    #[test]
    fn our_messages_are_in_the_language_of_the_page() {
        for (message, korean) in [
            (
                "52 % of 118 calls failed in 10 s (limit 50 %)",
                "10초 동안 호출 118건 중 52 % 실패 (임계값 50 %)",
            ),
            ("3 of 3 probes succeeded", "시험 호출 3번 중 3번 성공"),
            (
                "would have gone from half_open to open: probe timed out after 20 ms",
                "반열림에서 열림 상태로 바뀌었을 것임: 시험 호출 20 ms 후 시간 초과",
            ),
            (
                "override expired (probe failed)",
                "강제 상태 만료 (시험 호출 실패)",
            ),
            (
                "could not reach it: no route to host",
                "연결하지 못함: no route to host",
            ),
            (
                "circuit breaker setting open_duration must be a duration: \"5\" is no duration: write a number with a unit, such as \"30s\" or \"250ms\" (ns, us, ms, s, m, h, d)",
                "서킷 브레이커 설정 open_duration: 시간이어야 합니다: \"5\"은(는) 시간이 아닙니다. \"30s\"나 \"250ms\"처럼 숫자와 단위(ns, us, ms, s, m, h, d)를 쓰세요",
            ),
            (
                "the registry is full: there are 1,000 services already",
                "레지스트리가 가득 찼습니다. 한도: 서비스 1,000개",
            ),
            ("the fuse is blown", "the fuse is blown"),
            ("probe failed twice", "probe failed twice"),
            ("", ""),
        ] {
            assert_eq!(shown(message, 200), message);
            assert_eq!(Language::Korean.within(|| shown(message, 200)), korean);
        }
        let long = format!("could not store: {}", "x".repeat(100));
        let shown = Language::Korean.within(|| shown(&long, 12).into_owned());
        assert!(
            shown.starts_with("저장하지 못함: ") && shown.ends_with('…'),
            "{shown}"
        );
    }

    #[test]
    fn each_part_of_what_is_missing_is_translated() {
        let missing = Missing {
            error: StoreError::Remote {
                action: "query",
                url: String::new(),
                problem: "no answer in time".to_owned(),
            },
            since: Some(UnixNanos::of_window(1_795_428_251, SECOND)),
            part: MissingPart::OlderThan(UnixNanos::of_window(1_795_420_000, SECOND)),
        };
        let shown = Language::Korean.within(|| shown(&missing.to_string(), 300).into_owned());
        assert_eq!(
            shown,
            "InfluxDB를 읽을 수 없음 (제시간에 응답 없음), 2026-11-23T10:04:11Z부터. 2026-11-23T07:46:40Z 이전 데이터는 \
             빠져 있습니다"
        );
    }
}
