//! Tests of the results of requests for their callers in the list of traces: which are red, and which breakers have a
//! chip.

use fusebox_collector::model::{CircuitMark, Grade, TracePage};

use super::{fixtures, search_page};

/// Returns the row of a request with this result that called breakers with these marks.
fn row(root_failed: bool, error_count: u32, marks: &[[&str; 3]]) -> String {
    let mut found = TracePage {
        next: None,
        ..fixtures::found()
    };
    found.traces.truncate(1);
    let trace = &mut found.traces[0];
    (trace.root_failed, trace.error_count) = (root_failed, error_count);
    let mark = |words: &[&str; 3]| CircuitMark::new("shop", &words.join("-"), *words);
    trace.circuits = marks.iter().map(mark).collect();
    let page = search_page(&[], &found);
    let (_, body) = page.split_once("<tbody>").expect("a table");
    let (rows, _) = body.split_once("</tbody>").expect("its end");
    rows.to_owned()
}

#[test]
fn only_what_failed_for_its_caller_is_red() {
    let fell_back = [["open", "rejected", "success"]];
    for (root_failed, errors, marks, class, word) in [
        (true, 2, &fell_back[..0], "failed", "failed"),
        (false, 1, &fell_back[..0], "degraded", "degraded"),
        (false, 0, &fell_back[..], "degraded", "degraded"),
        (false, 0, &fell_back[..0], "", ""),
    ] {
        let row = row(root_failed, errors, marks);
        assert!(row.contains(&format!("<tr class=\"{class}\">")), "{row}");
        assert_eq!(row.contains("class=\"open\""), root_failed, "{row}");
        assert!(
            row.contains(&format!(">{word}<")) || word.is_empty(),
            "{row}"
        );
    }
}

#[test]
fn a_breaker_has_a_chip_only_where_something_was_not_normal() {
    let marks = [
        ["closed", "success", ""],
        ["closed", "ignored", ""],
        ["closed", "failure", ""],
        ["open", "rejected", "success"],
    ];
    let masked = row(false, 0, &marks);
    assert_eq!(masked.matches("class=\"chip ").count(), 2, "{masked}");
    assert!(masked.contains("+2 closed"), "{masked}");
    // The caller had an answer, so nothing is red. Without an answer, failures without a fallback are red.
    assert!(!masked.contains("chip open"), "{masked}");
    let failed = row(true, 2, &marks);
    assert_eq!(failed.matches("chip open").count(), 1, "{failed}");
}

/// *Scenario*: a fallback answered a refused call; its span has the breaker's name too.
#[test]
fn a_call_and_its_fallback_are_one_chip() {
    let marks = [["open", "rejected", ""], ["", "", "success"]];
    let mut found = TracePage {
        next: None,
        ..fixtures::found()
    };
    found.traces.truncate(1);
    let mark = |words| CircuitMark::new("shop", "review", words);
    found.traces[0].circuits = marks.map(mark).to_vec();
    let page = search_page(&[], &found);
    assert_eq!(page.matches("class=\"chip ").count(), 1, "{page}");
    assert!(page.contains("review rejected, fallback ok"), "{page}");
    let twice = [marks[0], ["closed", "timeout", ""], marks[1]];
    found.traces[0].circuits = twice.map(mark).to_vec();
    let page = search_page(&[], &found);
    assert_eq!(page.matches("class=\"chip ").count(), 3, "{page}");
}

#[test]
fn the_search_offers_every_grade() {
    let page = search_page(&[("grade", "degraded")], &fixtures::found());
    for grade in Grade::ALL {
        let word = grade.as_str();
        assert!(page.contains(&format!("value=\"{word}\"")), "{word}");
    }
    assert!(page.contains("value=\"degraded\" selected"), "{page}");
    assert!(
        page.contains("grade=degraded"),
        "the next page asks the same"
    );
}
