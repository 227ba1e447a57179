//! What is no TraceQL, or not supported, is refused by its name and place.

use super::*;

/// Invalid queries with their errors.
const REFUSED: &[(&str, &str)] = &[
    ("", "col 1: syntax error: unexpected the end of the query"),
    (
        "{",
        "col 2: syntax error: unexpected the end of the query, where a field",
    ),
    ("{ name = \"a\" ", "where `}` is expected"),
    ("{ } }", "col 5: syntax error: unexpected `}`"),
    ("{ name }", "col 3: a condition is expected"),
    ("{ duration + 1 }", "a condition is expected"),
    (
        "{ name > 5 }",
        "col 8: binary operations must operate on the same type",
    ),
    ("{ status = \"error\" }", "same type"),
    ("{ status > error }", "have no order"),
    ("{ kind = 3 }", "same type"),
    ("{ duration =~ \"5.*\" }", "a pattern is for texts"),
    ("{ name =~ 5 }", "a pattern in quotes"),
    ("{ name =~ \"(\" }", "col 11: the query has a wrong pattern"),
    ("{ name + 1 = 2 }", "`+` is for numbers"),
    ("{ !name }", "a condition is expected"),
    ("{ .a < nil }", "with nil, only = and !="),
    (
        "{ foo = 1 }",
        "col 3: `foo` is neither an intrinsic nor an attribute",
    ),
    (
        "{ parent.x = 1 }",
        "attributes of the parent (`parent.`) are not supported",
    ),
    ("{ pod.x = 1 }", "there is no scope `pod`"),
    ("{ } | count() ", "a comparison"),
    ("{ } | median(duration) > 1", "unexpected `median`"),
    ("{ } | avg(name) > 1", "a number is expected"),
    ("{ } | select()", "a field"),
    (
        "{ } | compare({ status = error })",
        "the function compare() is not supported",
    ),
    (
        "({ } | rate()) / ({ } | rate())",
        "arithmetic with metrics is for the routes of metrics only",
    ),
    (
        "{ } | rate() + 1",
        "to calculate with a metric, put it in brackets",
    ),
    (
        "100 * ({ } | rate())",
        "col 8: arithmetic with metrics is for the routes of metrics only",
    ),
    (
        "-1 - 2 / ({ } | rate())",
        "arithmetic with metrics is for the routes",
    ),
    ("{ } | rate() | count() > 1", "topk or bottomk"),
    ("3 = 2", "col 1: an aggregate is expected"),
    ("{ } | sum(3) = 2", "col 11: a field is expected"),
    ("{ } | max(1h + 2h) > 1", "a field is expected"),
    ("{ } | by(\"foo\")", "col 10: a field is expected"),
    (
        "{ } | quantile_over_time(duration)",
        "a quantile such as 0.99",
    ),
    ("{ } | quantile_over_time(duration, 99)", "between 0 and 1"),
    (
        "{ } | rate() by (.a, .b, .c, .d, .e, .f)",
        "at most 5 fields",
    ),
    (
        "{ } with (extrapolate=true)",
        "the hint `extrapolate` is not supported",
    ),
    ("{ } | topk(1)", "unexpected `topk`"),
    ("{ true } |\n  | { true }", "line 2, col 3"),
];

#[test]
fn what_is_wrong_is_named_where_it_stands() {
    for (query, problem) in REFUSED {
        let error = Query::parse(query).unwrap_err().to_string();
        assert!(
            error.starts_with("invalid TraceQL query: parse error at line "),
            "{error}"
        );
        assert!(error.contains(problem), "{query}: {error}");
    }
}

/// Guarantees: parsing and evaluating a query recurse no deeper than the limit.
#[test]
fn queries_are_bounded() {
    let chain = format!("{{ {} .a }}", ".a && ".repeat(300));
    let error = Query::parse(&chain).unwrap_err().to_string();
    assert!(error.contains("at most 256 operators"), "{error}");
    let many = |sign: &str| sign.repeat(100);
    for deep in [
        format!("{{ {}.a{} }}", many("("), many(")")),
        format!("{{ {}.a }}", many("!")),
        format!("{{ {}1 = 1 }}", many("-")),
        format!("{{ {}2 = 1 }}", many("2 ^ ")),
        format!("{}{{ }}{}", many("("), many(")")),
        format!("{{ }} | {}count(){} > 1", many("("), many(")")),
    ] {
        let error = Query::parse(&deep).unwrap_err().to_string();
        assert!(error.contains("nested at most 32 deep"), "{deep}: {error}");
    }
    let grouped = format!("{{ }}{}", " | by(name)".repeat(9));
    let error = Query::parse(&grouped).unwrap_err().to_string();
    assert!(error.contains("groups at most 8 times"), "{error}");
    let long = Query::parse(&" ".repeat(20_000)).unwrap_err();
    assert!(long.to_string().contains("16384 bytes"));
    let most = format!("{{ {}.a }}", ".a && ".repeat(255));
    Query::parse(&most).unwrap().matches(&trace()).unwrap();
    let most = format!("{{ {}.a{} }}", "(".repeat(32), ")".repeat(32));
    Query::parse(&most).unwrap().matches(&trace()).unwrap();
}
