//! Tests of every page in Korean: all texts of our own are Korean, and the viewer's browser selects the language.

use std::collections::BTreeSet;
use std::path::Path;

use axum::http::StatusCode;
use http_body_util::BodyExt;

use super::collector::Stack;
use super::*;
use crate::pages::words::{Language, Text};

/// Names of programs and formats, units, keys, and literal input: the same in every language.
const SAME: &str = "fusebox opentelemetry otlp http https grpc json jaeger zipkin influxdb prometheus micrometer resilience4j \
    javascript utc asia seoul mib key value kind server service status error resource name esc ctrl shift enter and api sdk \
    alertmanager slack teams webhook notify file md demo aria invalid true code response tracestate off info warn fatal debug trace \
    eureka spring cloud registry out";
/// Words of the test data, and of the collector's texts about it.
const MADE: &str = "get order see was review gateway page product english fallback img src script incident mail shop search \
    step must not parent received the";

/// Returns the words of English letters in a text.
fn english(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| word.len() > 2 && word.chars().all(|c| c.is_ascii_alphabetic()))
}

/// Returns the visible and spoken text of a page, without code and keys.
fn said(html: &str) -> String {
    let mut html = html.replace('<', " <");
    for tag in ["code", "pre", "kbd", "bdi", "script", "textarea"] {
        while let Some(at) = html
            .find(&format!("<{tag}>"))
            .or(html.find(&format!("<{tag} ")))
        {
            let end = format!("</{tag}>");
            let to = html[at..]
                .find(&end)
                .map_or(html.len(), |to| at + to + end.len());
            html.replace_range(at..to, " ");
        }
    }
    let (tags, mut text) = tokens(&html);
    for (_, attributes) in tags {
        for (key, value) in attributes {
            if ["title", "aria-label", "placeholder", "alt"].contains(&key.as_str()) {
                text.push(' ');
                text.push_str(&value);
            }
        }
    }
    text
}

/// Returns the words in the string literals of a program, without its tests.
fn literals(source: &str) -> BTreeSet<String> {
    let source = source.split("#[cfg(test)]\nmod tests {").next();
    let source = source
        .unwrap_or_default()
        .replace("'\"'", "")
        .replace("\\\"", "");
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.collect::<Vec<_>>().join("\n");
    let quoted = code.split('"').skip(1).step_by(2);
    quoted.flat_map(english).map(str::to_lowercase).collect()
}

/// Returns the words that pages may contain in English: those of their functions and of the table.
fn ours() -> BTreeSet<String> {
    let sources = files("src/pages").into_iter();
    let sources = sources.filter(|(name, _)| !name.contains("tests"));
    let words = sources.flat_map(|(_, source)| literals(&source));
    let keys = crate::pages::words::keys();
    let keys = keys.flat_map(english).map(str::to_lowercase);
    words.chain(keys).collect()
}

#[test]
fn no_page_has_english_words_in_korean() {
    let same: BTreeSet<String> = english(SAME)
        .chain(english(MADE))
        .map(str::to_lowercase)
        .collect();
    let ours = ours();
    let mut left: BTreeSet<(String, String)> = BTreeSet::new();
    for (page, html) in Language::Korean.within(all_pages) {
        if page.contains("hostile") {
            continue;
        }
        assert!(html.contains("<html lang=\"ko\""), "{page}");
        let text = said(&html);
        let words = english(&text).map(str::to_lowercase);
        left.extend(
            words
                .filter(|word| ours.contains(word) && !same.contains(word))
                .map(|word| (word, page.to_owned())),
        );
    }
    assert!(left.is_empty(), "{left:?}");
}

/// Returns every file below a folder with its text.
fn files(folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let text = std::fs::read(&path).expect("a file");
                    let text = String::from_utf8_lossy(&text).into_owned();
                    files.push((path.display().to_string(), text));
                }
            }
        }
    }
    files
}

/// Removes the text between two marks.
fn without(text: &str, from: &str, to: &str) -> String {
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once(from) {
        kept.push_str(before);
        kept.push(' ');
        rest = after.split_once(to).map_or("", |(_, after)| after);
    }
    kept + rest
}

#[test]
fn no_template_has_words_of_its_own() {
    let mut bare = BTreeSet::new();
    for (name, template) in files("templates") {
        let mut html = template;
        for (from, to) in [("{{", "}}"), ("{%", "%}"), ("{#", "#}"), ("<!doctype", ">")] {
            html = without(&html, from, to);
        }
        let text = said(&html);
        let words = english(&text).map(str::to_lowercase);
        let known: BTreeSet<String> = english(SAME).map(str::to_lowercase).collect();
        bare.extend(
            words
                .filter(|word| !known.contains(word))
                .map(|word| (word, name.clone())),
        );
    }
    assert!(bare.is_empty(), "{bare:?}");
}

#[test]
fn every_row_of_the_table_is_used() {
    let of = ["src", "templates", "assets"].map(files);
    let sources: String = of
        .into_iter()
        .flatten()
        .filter(|(name, _)| !name.contains("/words/") || name.ends_with("words/mod.rs"))
        .map(|(_, text)| text)
        .collect();
    let quoted = |english: &str| format!("\"{}\"", english.replace('"', "\\\""));
    // Messages come from elsewhere.
    let messages: BTreeSet<_> = crate::pages::words::messages().map(Text::english).collect();
    let keys = crate::pages::words::keys().filter(|key| !messages.contains(key));
    let unused: Vec<_> = keys.filter(|key| !sources.contains(&quoted(key))).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

/// *Guarantees*: a page is in the chosen language, else in that of the browser, and tells caches so.
#[tokio::test(flavor = "multi_thread")]
async fn the_browser_chooses_the_language() {
    let stack = Stack::start().await;
    for (accepted, cookie, language, words) in [
        ("", "", "en", "Circuit breakers"),
        ("ko-KR,ko;q=0.9,en;q=0.8", "", "ko", "서킷 브레이커"),
        ("ko", "fusebox_language=en", "en", "Circuit breakers"),
        ("en", "fusebox_language=ko", "ko", "서킷 브레이커"),
        ("fr", "fusebox_language=fr", "en", "Circuit breakers"),
    ] {
        let request = Request::get("/").header("accept-language", accepted);
        let request = request.header("cookie", cookie).body(Body::empty());
        let answer = stack.ask(request.expect("a request")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-language"], language);
        assert_eq!(answer.headers()["vary"], "accept-language, cookie");
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let html = String::from_utf8_lossy(&body);
        assert!(
            html.contains(&format!("<html lang=\"{language}\"")),
            "{accepted} {cookie}"
        );
        assert!(html.contains(words), "{accepted} {cookie}: {html}");
        assert_eq!(html.contains("/words-ko.js\""), language == "ko");
    }
    let url = assets::words(Language::Korean).expect("a file");
    let (status, words) = stack.get(&url).await;
    assert_eq!(status, StatusCode::OK);
    assert!(words.starts_with("window.fuseboxWords = {"), "{words}");
}

/// *Guarantees*: live pages of one wall in two languages each get their own language, from one tick.
#[test]
fn a_tick_is_drawn_once_in_each_language() {
    let tick = live::Tick::new(fixtures::wall(), None);
    let view = WallView::default();
    let draw = |language: Language| {
        language.within(|| {
            let shown = tick.view(&view);
            (
                shown.clone(),
                tick.circuit(0, crate::pages::wall::Shape::Card),
            )
        })
    };
    let [(english, card), (korean, karte)] = Language::ALL.map(draw);
    assert!(!std::sync::Arc::ptr_eq(&english, &korean));
    assert!(std::sync::Arc::ptr_eq(&english, &draw(Language::English).0));
    assert!(
        card.contains("what opened it") && !karte.contains("what opened it"),
        "{karte}"
    );
    assert!(karte.contains("서킷을 연 호출"), "{karte}");
}

/// Files of the collector and of the library whose sentences pages show.
const SPEAKING: [&str; 37] = [
    "../collector/src/actuator/apply.rs",
    "../collector/src/actuator/bridge.rs",
    "../collector/src/actuator/fetch.rs",
    "../collector/src/actuator/held.rs",
    "../collector/src/actuator/mod.rs",
    "../collector/src/actuator/reads.rs",
    "../collector/src/codec/otlp/error.rs",
    "../collector/src/live/circuits/control/order.rs",
    "../collector/src/live/circuits/control/settings.rs",
    "../collector/src/live/circuits/control/state.rs",
    "../collector/src/live/registry/bounds.rs",
    "../collector/src/log/error.rs",
    "../collector/src/model/condition.rs",
    "../collector/src/model/text.rs",
    "../collector/src/notify/channel.rs",
    "../collector/src/notify/findings.rs",
    "../collector/src/notify/mute.rs",
    "../collector/src/notify/send.rs",
    "../collector/src/notify/settings.rs",
    "../collector/src/notify/template.rs",
    "../collector/src/pipeline/error.rs",
    "../collector/src/pipeline/health.rs",
    "../collector/src/query/kept.rs",
    "../collector/src/query/trace_id.rs",
    "../collector/src/query/uploads.rs",
    "../collector/src/store/assemble.rs",
    "../collector/src/store/assemble/same_ids.rs",
    "../collector/src/store/influxdb/wire/http.rs",
    "../collector/src/store/influxdb/wire/setup/mod.rs",
    "../collector/src/store/logs/search.rs",
    "../collector/src/store/merged/traces.rs",
    "../collector/src/store/search.rs",
    "../instrumentation/src/circuit_breaker/rules/reason.rs",
    "../instrumentation/src/circuit_breaker/rules/validation.rs",
    "../instrumentation/src/circuit_breaker/rules/values.rs",
    "../instrumentation/src/setting.rs",
    "../instrumentation/src/time/duration_text.rs",
];

/// Files with errors that no page shows: they end a start, answer programs, or are only logged.
const SILENT: [&str; 26] = [
    "../collector/src/codec/circuits/mapping.rs",
    "../collector/src/codec/eureka/read.rs",
    "../collector/src/codec/eureka/xml.rs",
    "../collector/src/codec/hystrix/mod.rs",
    "../collector/src/codec/spring_boot_admin.rs",
    "../collector/src/collector/mapping_file.rs",
    "../collector/src/collector/mod.rs",
    "../collector/src/config/mod.rs",
    "../collector/src/live/circuits/control/channels.rs",
    "../collector/src/live/circuits/control/mod.rs",
    "../collector/src/model/network.rs",
    "../collector/src/query/admission.rs",
    "../collector/src/query/mod.rs",
    "../collector/src/query/stream.rs",
    "../collector/src/receivers/auth/source.rs",
    "../collector/src/receivers/auth/tokens.rs",
    "../collector/src/receivers/control.rs",
    "../collector/src/receivers/decompress.rs",
    "../collector/src/receivers/forwarded.rs",
    "../collector/src/receivers/hystrix/pull.rs",
    "../collector/src/receivers/hystrix/source.rs",
    "../collector/src/receivers/listen_addr.rs",
    "../collector/src/receivers/refusal.rs",
    "../collector/src/receivers/tls.rs",
    "../collector/src/store/influxdb/wire/url.rs",
    "../collector/src/traceql/mod.rs",
];

/// *Guarantees*: whoever adds an error decides whether pages show it.
#[test]
fn every_file_with_errors_is_one_that_pages_show_or_not() {
    let rules = "../instrumentation/src/circuit_breaker/rules";
    let places = ["../collector/src", rules];
    let with_errors = places.into_iter().flat_map(files);
    let with_errors = with_errors.filter(|(_, source)| source.contains("#[error("));
    let lists = || SPEAKING.iter().chain(&SILENT);
    let unknown = with_errors.filter(|(name, _)| !lists().any(|known| name.ends_with(known)));
    let unknown: Vec<_> = unknown.map(|(name, _)| name).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Sentences of these files that no page shows as they are: the pages have words of their own, or it is a part.
const UNSHOWN: [&str; 29] = [
    "7 7",
    "could not pass changes on to an actuator",
    "7: 7",
    "7: 7: 7",
    "7; 7",
    "7 s",
    "7 ms",
    "7 µs",
    "7 % of 7 calls 7 in 7",
    "7 % of the last 7 calls 7",
    "took longer than 7",
    "a trace",
    "a trace id has up to 32 hex digits (0-9, a-f); 7",
    "error: ",
    "must be ",
    "a whole number",
    "a number",
    "true or false",
    "7 calls",
    "7 in 7 buckets",
    "a duration such as \"30s\" or \"250ms\", or 7",
    "its first line is about another trace",
    "spans of this trace are still arriving, try again in 7 s",
    "name the file of its certificate authority with --influxdb-ca-file",
    "target 7",
    "the server's own certificate must not be one of an authority (basicConstraints CA:FALSE)",
    "the copy of this trace would be larger than 7 MiB",
    "there is no room for 7 bytes: kept traces take 7 of 7 bytes; remove some",
    "this trace is kept already; remove it first to keep what has arrived since",
];

/// *Guarantees*: a message that the collector adds or rewords has a row in the table.
#[test]
fn the_messages_of_the_collector_are_in_the_table() {
    let mut missing = Vec::new();
    for name in SPEAKING {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let source = std::fs::read_to_string(&path).expect("a source file");
        for sentence in sentences(&source) {
            let is_known = UNSHOWN.contains(&sentence.as_str())
                || crate::pages::view::message::translated(&sentence).is_some();
            if !is_known {
                missing.push(format!("{name}: {sentence}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Stands for a quote in a literal.
const QUOTE: &str = "\u{1}";

/// Returns the sentences among the string literals of a program, with `7` for each value, without its tests and what it
/// logs.
fn sentences(source: &str) -> Vec<String> {
    let source = source
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let code = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: Vec<_> = code
        .map(|line| line.trim_start().trim_end_matches('\\'))
        .collect();
    let code = code.join("\n").replace("'\"'", "").replace("\\\"", QUOTE);
    let parts: Vec<&str> = code.split('"').collect();
    let pairs = parts.chunks_exact(2);
    let said = pairs.filter(|pair| {
        let before = pair[0].rsplit([';', '}']).next().unwrap_or_default();
        let is_said = !["expect(", "warn!(", "info!(", "error!("]
            .iter()
            .any(|call| before.contains(call));
        is_said
            && pair[1].contains(' ')
            && (pair[1].starts_with(|c: char| c.is_ascii_lowercase() || c == '{')
                || pair[1].starts_with("InfluxDB "))
    });
    said.map(|pair| with_values(&pair[1].replace('\n', "").replace(QUOTE, "\"")))
        .collect()
}

/// Replaces the places for values by `7`.
fn with_values(literal: &str) -> String {
    let text = literal.replace("{{", "").replace("}}", "");
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.split_once('}').map_or("", |(_, rest)| rest);
        text + "7" + rest
    })
}
